"""A run whose worker is gone stops by itself when its state says that it is over."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from multiprocessing.context import ForkServerProcess
from typing import Any
from uuid import UUID

import pytest
from prefect.client.schemas.objects import State, StateType
from prefect.deployments import run_deployment
from prefect.states import AwaitingRetry, Cancelled, Cancelling, Crashed

from ferry.schema import TableName
from flows.backfill_tables import backfill
from flows.carry_windows import carry_windows
from flows.sync_all import sync_all
from tasks.runs import own_state
from tests.flows.pipeline import forks
from tests.harness.api import Api, eventually

FIRST = datetime(2010, 1, 1)
DAYS = 1_000
SOON_SECONDS = 60.0
"""A look each second, and some for a busy machine; all the windows would take minutes.

One by one: a batch of a thousand days has landed before anybody looks.
"""


@pytest.fixture
def route() -> str:
    """One for all: what becomes of the run does not depend on it."""
    return "sqlite-folder-postgres"


@pytest.fixture
def shop(journey: Any) -> Any:
    """Rows on many days."""
    journey.sql("CREATE TABLE nps (id INT NOT NULL PRIMARY KEY, modified DATETIME)")
    rows = [(n, str(FIRST + n * timedelta(days=1))) for n in range(DAYS)]
    journey.sql("INSERT INTO nps VALUES (?, ?)", rows)
    journey.write_specs(
        nps={
            "mode": "window",
            "key": ["id"],
            "catch_up": True,
            "start_date": "2010-01-01",
            "batch_rows": 0,
        }
    )
    return journey


@pytest.fixture
def orphan(shop: Any, request: pytest.FixtureRequest) -> Iterator[Any]:
    """Starts a run in a process of its own that no worker looks after; gives run id and process."""
    begun: list[ForkServerProcess] = []

    def begin(deployment: str, **parameters: Any) -> tuple[UUID, ForkServerProcess]:
        run: Any = run_deployment(deployment, parameters=parameters, timeout=0)
        begun.append(forks.begin(execute, str(run.id)))
        return run.id, begun[-1]

    yield begin
    for process in begun:
        process.kill()
        process.join()


def execute(run_id: str) -> None:
    """`python -m prefect.engine`, as a worker begins it, which looks ten times as often."""
    own_state.LOOK_EVERY_SECONDS = 1.0
    sys.argv = ["prefect.engine", run_id]
    runpy.run_module("prefect.engine", run_name="__main__", alter_sys=True)


@pytest.mark.parametrize(
    ("state", "end"),
    [
        pytest.param(Cancelled(), StateType.CANCELLED, marks=pytest.mark.nights),
        pytest.param(Cancelling(), StateType.CANCELLED, marks=pytest.mark.nights),
        (Crashed(message="it was taken for dead"), StateType.CRASHED),
    ],
    ids=["cancelled", "cancelling", "crashed"],
)
def test_a_backfill_whose_worker_is_gone_stops_when_it_is_over(
    shop: Any, orphan: Any, api: Api, state: State[Any], end: StateType
) -> None:
    backfill.to_deployment("orphan").apply()
    parameters = {"table": "nps", "start_date": "2010-01-01", "end_date": "2012-09-01"}
    run_id, process = orphan("backfill/orphan", **parameters)
    assert eventually(lambda: process.exitcode is not None or landed(shop) > 3, 60)
    api.client.set_flow_run_state(run_id, state)
    process.join(SOON_SECONDS)
    assert process.exitcode is not None
    assert 3 < landed(shop) < DAYS - 200
    assert api.flow_run(run_id).state_type is end
    assert eventually(lambda: any("this run stops" in line for line in api.log(run_id)))


def test_a_group_ends_when_its_backfill_is_cancelled_of_which_no_process_is_left(
    shop: Any, orphan: Any, api: Api
) -> None:
    """As of one that was evicted: it waits for its next attempt, and its groups go on."""
    carry_windows.to_deployment("orphan").apply()
    waits = api.client.create_flow_run(backfill, state=AwaitingRetry())
    days = [str((FIRST + timedelta(days=n)).replace(tzinfo=UTC)) for n in range(DAYS + 1)]
    run_id, process = orphan(
        "carry-windows/orphan",
        table="nps",
        windows=list(pairwise(days)),
        zone="UTC",
        backfill_run_id=str(waits.id),
        scheduled_start=str(datetime.now(UTC)),
    )
    assert eventually(lambda: process.exitcode is not None or landed(shop) > 3, 60)
    api.client.set_flow_run_state(waits.id, Cancelled())
    process.join(SOON_SECONDS)
    assert process.exitcode is not None
    assert 3 < landed(shop) < DAYS - 200
    ended = api.flow_run(run_id).state
    assert ended and ended.type is StateType.CANCELLED
    assert ended.message == f"the run that has begun it, {waits.id}, was cancelled"


def test_catching_up_stops_when_it_is_over(shop: Any, orphan: Any, api: Api) -> None:
    sync_all.to_deployment("orphan").apply()
    run_id, process = orphan("sync-all/orphan")
    assert eventually(lambda: process.exitcode is not None or landed(shop) > 3, 60)
    api.client.set_flow_run_state(run_id, Cancelled())
    process.join(SOON_SECONDS)
    assert process.exitcode is not None
    assert 3 < landed(shop) < DAYS
    assert api.flow_run(run_id).state_type is StateType.CANCELLED
    assert eventually(lambda: any("this run stops" in line for line in api.log(run_id)))


def landed(shop: Any) -> int:
    """How many windows have a receipt by now."""
    if shop.warehouse.describe(TableName(shop.schema, "nps")) is None:
        return 0
    return len(shop.receipts("nps"))
