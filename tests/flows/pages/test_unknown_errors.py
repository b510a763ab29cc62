"""An error that is not ours: told with its class, table and step, and its text never."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import State, StateType

from ferry.errors import UnknownError
from flows.backfill_tables import backfill
from flows.carry_windows import carry_windows
from flows.show_coverage import show_coverage
from flows.sync_all import sync_all
from flows.sync_table import sync_table
from flows.update_symbols import update_symbols
from tests.harness.api import Api, eventually

PLANTED = "p1anted"
"""`test_no_secrets.py` looks for it in all that the Prefect server has."""

VALUE = f"{PLANTED}-value-of-a-row"
DAY = date(2023, 1, 5)
DAYS = {"start_date": date(2023, 1, 4), "end_date": date(2023, 1, 6)}
WINDOW = {"mode": "window", "key": ["id"], "insert_rows": 0}
WINDOWS = {
    "table": "orders",
    "windows": [("2023-01-05T00:00:00+00:00", "2023-01-06T00:00:00+00:00")],
    "zone": "UTC",
    "backfill_run_id": "0d7d1bbd-5cf4-4b9d-8ea2-6ccb2c3d7b7f",
    "scheduled_start": "2023-01-07T00:00:00+00:00",
}


class DriverError(Exception):
    """What a driver raises that nobody has foreseen; its text holds a value."""


def broken(*_: Any, **__: Any) -> Any:
    try:
        raise ValueError(f"bad {VALUE}")
    except ValueError as error:
        raise DriverError(f"cannot bind {VALUE}") from error


@pytest.fixture
def route() -> str:
    return "sqlite-folder-duckdb"


@pytest.fixture
def shop(journey: Any) -> Any:
    journey.sql("CREATE TABLE orders (id INT NOT NULL PRIMARY KEY, modified DATETIME)")
    journey.sql("INSERT INTO orders VALUES (?, ?)", [(1, "2023-01-05 12:00:00")])
    journey.write_specs(orders=WINDOW)
    return journey


def source(journey: Any, method: str) -> tuple[Any, str]:
    return type(journey.source), method


def stage(journey: Any, method: str) -> tuple[Any, str]:
    return type(journey.stage), method


def warehouse(journey: Any, method: str) -> tuple[Any, str]:
    return type(journey.warehouse), method


CASES: dict[str, tuple[Callable[[Any, str], tuple[Any, str]], str, Callable[[], Any]]] = {
    "plan": (source, "describe", lambda: sync_table(table="orders", run_date=DAY)),
    "while reading": (source, "read", lambda: sync_table(table="orders", run_date=DAY)),
    "stage": (stage, "put", lambda: sync_table(table="orders", run_date=DAY)),
    "copy": (warehouse, "copy_in", lambda: sync_table(table="orders", run_date=DAY)),
    "upsert": (warehouse, "transaction", lambda: sync_table(table="orders", run_date=DAY)),
    "sync-all": (source, "describe", lambda: sync_all(run_date=DAY)),
    "backfill": (source, "read", lambda: backfill(table="orders", **DAYS)),
    "a backfill's plan": (source, "describe", lambda: backfill(table="orders", **DAYS)),
    "carry-windows": (source, "read", lambda: carry_windows(**WINDOWS)),
    "coverage": (warehouse, "fetch", lambda: show_coverage(table="orders", **DAYS)),
    "update-symbols": (source, "describe", lambda: update_symbols(run_date=DAY)),
}


STEPS = ("plan", "while reading", "stage", "copy", "upsert", "sync-all")
"""Those in which a task run fails; the steps of the others are in their place."""


@pytest.mark.usefixtures("task_runs_recorded")
@pytest.mark.parametrize("case", CASES)
def test_its_text_is_in_no_state_log_artifact_or_failure_and_its_class_is(
    shop: Any,
    api: Api,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    case: str,
) -> None:
    whose, method, run = CASES[case]
    if case == "update-symbols":
        monkeypatch.setattr("flows.update_symbols.load_route", broken)
        shop.write_specs(stock_prices={**WINDOW, "cursor": "date"})
    if case == "coverage":
        sync_table(table="orders", run_date=DAY)
    kind, name = whose(shop, method)
    with monkeypatch.context() as patched, caplog.at_level(logging.DEBUG):
        patched.setattr(kind, name, broken)
        state = ended(run)

    assert state.is_failed()
    message = state.message or ""
    assert "DriverError" in message and "FERRY-UNKNOWN: " in message
    if case != "update-symbols":
        assert f"{shop.schema}.orders" in message or case == "a backfill's plan"
    printed = capfd.readouterr()
    assert PLANTED not in message + caplog.text + printed.out + printed.err
    flow_run_id = state.state_details.flow_run_id
    assert flow_run_id
    told = eventually(lambda: any("Traceback" in line for line in api.log(flow_run_id)))
    assert told, "the class and the traceback are to be in the run's log"
    log = "\n".join(api.log(flow_run_id))
    assert PLANTED not in log
    assert "DriverError" in log
    if case in STEPS:
        assert eventually(
            lambda: [r for r in api.task_runs(flow_run_id) if r.state and r.state.is_failed()]
        )
    states = [task.state and task.state.message for task in api.task_runs(flow_run_id)]
    pages = [artifact.data for artifact in api.artifacts(flow_run_id)]
    assert PLANTED not in f"{states} {pages}"
    tables = shop.warehouse.fetch("SELECT table_name FROM duckdb_tables()")
    if ("failures",) in tables:
        assert PLANTED not in str(shop.warehouse.fetch("SELECT * FROM ferry.failures"))


def ended(run: Callable[[], Any]) -> State[Any]:
    """The state in which the run ended, whether it raised or not."""
    # Others wait for their time; it is taken for the one at which they started.
    over = FlowRunFilterState(
        type=FlowRunFilterStateType(any_=[StateType.COMPLETED, StateType.FAILED])
    )
    since = FlowRunFilterStartTime(after_=datetime.now(UTC))
    try:
        run()
    except Exception as error:  # noqa: BLE001
        assert PLANTED not in f"{error!r} {error.__cause__!r} {error.__context__!r}"
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        (found,) = client.read_flow_runs(
            flow_run_filter=FlowRunFilter(start_time=since, state=over)
        )
    assert found.state
    return found.state


def test_one_window_that_fails_so_ends_no_table_that_is_caught_up(
    shop: Any, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    days = [DAY - timedelta(days=number) for number in range(6)]
    rows = [(10 + n, f"{day} 10:00:00") for n, day in enumerate(days)]
    shop.sql("INSERT INTO orders VALUES (?, ?)", rows)
    shop.write_specs(orders={**WINDOW, "catch_up": True, "start_date": "2023-01-01"})
    kind, real = type(shop.source), type(shop.source).read
    tomorrow = DAY + timedelta(days=1)

    def fails_once(self: Any, query: Any) -> Any:
        if query.start and query.start.day == 2:
            broken()
        return real(self, query)

    monkeypatch.setattr(kind, "read", fails_once)
    monkeypatch.setattr(
        "flows.pipeline.make_batch.scheduled_start",
        lambda: datetime(tomorrow.year, tomorrow.month, tomorrow.day, tzinfo=UTC),
    )
    state = sync_all(return_state=True)

    assert state.is_failed()
    assert "1 past window(s) could not be caught up" in (state.message or "")
    assert ": FERRY-UNKNOWN: extract" in (state.message or "")
    assert PLANTED not in (state.message or "")
    labels = {r.window_label for r in shop.receipts("orders") if r.status == "loaded"}
    assert labels == {"2023-01-01", "2023-01-03", "2023-01-04", "2023-01-05"}
    assert state.state_details.flow_run_id
    (page,) = [a for a in api.artifacts(state.state_details.flow_run_id) if a.key == "sync-all"]
    for label in labels:
        assert label in str(page.data)


def test_a_summary_that_fails_so_does_not_stop_the_others(
    survey: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from flows.pipeline.summaries import publish as flow

    real = flow._publish_one

    def fails_for_one(order: Any, *rest: Any) -> Any:
        return broken() if order.spec.name == "nps_monthly_summary" else real(order, *rest)

    survey.answer(5, [10, 0])
    monkeypatch.setattr(flow, "_publish_one", fails_for_one)
    with caplog.at_level(logging.DEBUG):
        state = sync_table(table="nps", run_date=DAY, return_state=True)
    assert state.is_failed()
    assert "nps_monthly_summary" in (state.message or "") and "FERRY-UNKNOWN: " in state.message
    assert PLANTED not in (state.message or "") + caplog.text
    published = survey.journey.target("nps_summary", "day", "day")
    assert published == [(DAY,)]


def test_whatever_leaves_a_flow_is_ours(monkeypatch: pytest.MonkeyPatch, shop: Any) -> None:
    monkeypatch.setattr("flows.sync_table.load_table_specs", broken)
    with pytest.raises(UnknownError, match="does not know: DriverError"):
        sync_table(table="orders")
