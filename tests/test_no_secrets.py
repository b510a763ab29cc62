"""No password and no row's value is told: in no log, state, artifact, exception or SQL text.

What all the other tests told is looked at when their servers stop (`harness/servers.py`).
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.events import Event, Resource
from prefect.events.clients import PrefectEventsClient

from deployments.local.redshift_double import RedshiftDouble
from deployments.local.servers import PrefectServer
from ferry.errors import FerryError
from flows.sync_table import sync_table
from tests.harness.afterwards import PLANTED, statements_with_secrets, tables_with_secrets
from tests.harness.api import Api, eventually

pytestmark = pytest.mark.usefixtures("task_runs_recorded")

FAILED = FlowRunFilter(
    state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.FAILED]))
)
"""Of the runs that the server knows; others may be scheduled for later."""

VALUE = f"{PLANTED}-value-of-a-row"
TABLE = "CREATE TABLE orders (id INT NOT NULL PRIMARY KEY, note LONGTEXT, day DATE)"
INSERT = "INSERT INTO orders VALUES (?, ?, ?)"
BY_COPY = {"mode": "full", "key": ["id"], "insert_rows": 0}


def too_long(journey: Any) -> None:
    journey.sql(INSERT, [(1, VALUE * 3_000, "2023-01-05")])


def bad_date(journey: Any) -> None:
    journey.sql(INSERT, [(1, VALUE, "0000-00-00")])


def a_nul(journey: Any) -> None:
    journey.sql(INSERT, [(1, f"{VALUE}\0{VALUE}", "2023-01-05")])


def null_where_none_may_be(journey: Any) -> None:
    journey.sql(INSERT, [(1, VALUE, None)])
    journey.warehouse.execute(f'CREATE SCHEMA "{journey.schema}"')
    journey.warehouse.execute(
        f'CREATE TABLE "{journey.schema}"."orders" '
        "(id INTEGER, note VARCHAR(65535), day DATE NOT NULL)"
    )


def key_twice(journey: Any) -> None:
    """The target itself allows a key only once, and not where the batch puts it again."""
    journey.sql(INSERT, [(1, VALUE, "2023-01-05"), (2, VALUE, "2023-01-05")])
    journey.warehouse.execute(f'CREATE SCHEMA "{journey.schema}"')
    journey.warehouse.execute(
        f'CREATE TABLE "{journey.schema}"."orders" (id INTEGER, note TEXT UNIQUE, day DATE)'
    )


REDSHIFT, POSTGRES = "mysql-s3-redshift", "mysql-folder-postgres"


@pytest.mark.parametrize(
    ("route", "spoil", "insert_rows"),
    [
        (REDSHIFT, too_long, 0),
        (REDSHIFT, bad_date, 0),
        (REDSHIFT, a_nul, 0),
        (REDSHIFT, null_where_none_may_be, 0),
        (POSTGRES, bad_date, 0),
        (POSTGRES, a_nul, 0),
        (POSTGRES, a_nul, 50),
        (POSTGRES, null_where_none_may_be, 0),
        (POSTGRES, null_where_none_may_be, 50),
        (POSTGRES, key_twice, 0),
        (POSTGRES, key_twice, 50),
    ],
    indirect=["route"],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_row_that_does_not_load_is_not_told(
    journey: Any,
    api: Api,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    spoil: Callable[[Any], None],
    insert_rows: int,
) -> None:
    journey.sql(TABLE)
    journey.write_specs(orders={**BY_COPY, "insert_rows": insert_rows})
    spoil(journey)

    # At DEBUG, the library under Prefect's client logs each message of its websocket: what it says
    # of Prefect's own password is not Ferry's to withhold.
    with (
        caplog.at_level(logging.DEBUG),
        caplog.at_level(logging.INFO, logger="websockets.client"),
        pytest.raises(FerryError) as caught,
    ):
        sync_table(table="orders")

    assert PLANTED not in "".join(traceback.format_exception(caught.value))
    for error in chain(caught.value):
        assert PLANTED not in f"{error} {error!r} {vars(error)}"
    assert PLANTED not in caplog.text
    printed = capfd.readouterr()
    assert PLANTED not in printed.out + printed.err
    failure = str(caught.value)
    (run,) = api.client.read_flow_runs(
        flow_run_filter=FAILED, sort=FlowRunSort.START_TIME_DESC, limit=1
    )
    assert run.state is not None
    assert failure in (run.state.message or "")
    assert PLANTED not in (run.state.message or "")
    told = eventually(lambda: any(failure in line for line in api.log(run.id)) and api.log(run.id))
    assert told, "the failure was not logged"
    assert PLANTED not in "\n".join(told)


@pytest.mark.parametrize("route", [REDSHIFT, POSTGRES], indirect=True)
def test_no_failure_in_the_warehouse_holds_a_secret_or_a_value(journey: Any) -> None:
    journey.sql(TABLE)
    journey.write_specs(orders=BY_COPY)
    a_nul(journey)
    with pytest.raises(FerryError):
        sync_table(table="orders")
    failures = journey.warehouse.fetch("SELECT * FROM ferry.failures")
    assert [failure for failure in failures if f"{journey.schema}.orders" in failure]
    assert [failure for failure in failures if PLANTED in str(failure)] == []


def chain(error: BaseException) -> Iterator[BaseException]:
    """The error, and all that it came from."""
    seen: list[BaseException | None] = [None]
    waiting: list[BaseException | None] = [error]
    while waiting:
        found = waiting.pop()
        if found not in seen and found is not None:
            seen.append(found)
            waiting += [found.__cause__, found.__context__]
            yield found


def test_the_prefect_server_holds_no_secret_and_no_value_in_any_table(
    prefect_server: PrefectServer,
) -> None:
    filled, leaking = tables_with_secrets(prefect_server)
    assert {"flow_run_state", "task_run_state", "log", "block_document"} <= filled
    assert leaking == set()


def test_no_statement_in_the_double_s_log_holds_a_secret_or_a_value(
    redshift_double: RedshiftDouble,
) -> None:
    assert any(each.sql.startswith("COPY") for each in redshift_double.statements())
    assert statements_with_secrets(redshift_double) == []
    printed = Path(redshift_double.log_path).with_name("redshift-double.out")
    assert PLANTED not in printed.read_text(errors="replace")


def test_the_key_to_prefect_s_api_is_in_no_log_at_debug(
    prefect_server: PrefectServer, caplog: pytest.LogCaptureFixture
) -> None:
    async def send_an_event() -> None:
        async with PrefectEventsClient(reconnection_attempts=0) as client:
            resource = Resource({"prefect.resource.id": "ferry.tests"})
            await client.emit(Event(event="ferry.tests.sent", resource=resource))

    with caplog.at_level(logging.DEBUG):
        asyncio.run(send_an_event())
    assert PLANTED in prefect_server.auth_string
    assert PLANTED not in caplog.text
