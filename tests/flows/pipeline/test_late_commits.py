"""Rows that commit after their window was read: a window is complete when it has settled."""

from __future__ import annotations

import logging
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.client.schemas.objects import State, StateType
from prefect.deployments import run_deployment
from prefect.states import Cancelling

from ferry.batch import Batch
from ferry.coverage.standings import Status
from ferry.errors import StoppedError
from ferry.specs.tables import TableSpec
from ferry.windows import Window, day_window
from flows.backfill_tables import backfill
from flows.pipeline import settle
from flows.show_coverage import show_coverage
from flows.sync_all import sync_all
from flows.sync_table import sync_table
from tasks.places.readers import readers_limit
from tests.flows.pipeline.forks import command
from tests.harness.api import Api, eventually
from tests.harness.plain_runs import run_at

pytestmark = pytest.mark.usefixtures("plain_runs")

HOURLY = {"mode": "window", "key": ["id"], "every": "hour"}
ONE_ROUTE = pytest.mark.parametrize("route", ["sqlite-folder-duckdb"], indirect=True)
TWO_ROUTES = pytest.mark.parametrize(
    "route", ["sqlite-folder-duckdb", "mysql-s3-redshift"], indirect=True
)
TEN, ELEVEN = datetime(2023, 1, 5, 10, tzinfo=UTC), datetime(2023, 1, 5, 11, tzinfo=UTC)
FIVE_PAST = ELEVEN + timedelta(minutes=5)


@pytest.fixture
def shop(journey: Any) -> Any:
    """One sale at ten o'clock."""
    journey.sql("CREATE TABLE sales (id INT NOT NULL PRIMARY KEY, modified DATETIME NOT NULL)")
    journey.sql("INSERT INTO sales VALUES (?, ?)", [(1, "2023-01-05 10:00:00")])
    journey.write_specs(sales=HOURLY)
    return journey


@contextmanager
def late_sale(shop: Any, request: pytest.FixtureRequest, at: str) -> Iterator[None]:
    """A sale in a transaction of its own, which commits at the end of the block."""
    insert = f"INSERT INTO sales VALUES (2, '{at}')"
    if hasattr(shop.source, "path"):
        connection: Any = sqlite3.connect(shop.source.path, isolation_level=None)
        connection.execute("BEGIN")
        connection.execute(insert)
    else:
        connection = request.getfixturevalue("mariadb").connect(database=shop.source.database)
        connection.cursor().execute(insert)
    yield
    connection.commit()
    connection.close()


@pytest.fixture
def clock(shop: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets the source's clock, which then stands, or goes."""

    def set_clock(moment: datetime, *, goes: bool = False) -> None:
        begun = time.monotonic()

        def now(_: Any) -> datetime:
            return moment + timedelta(seconds=time.monotonic() - begun if goes else 0)

        monkeypatch.setattr(type(shop.source), "now", now)

    return set_clock


@pytest.mark.seconds
def test_a_row_that_commits_after_its_hour_was_read_is_missing_and_the_backfill_brings_it(
    shop: Any, clock: Any, request: pytest.FixtureRequest
) -> None:
    clock(ELEVEN + timedelta(seconds=10))
    with late_sale(shop, request, at="2023-01-05 10:59:59"):
        receipt = sync_table(table="sales", window_start=TEN, window_end=ELEVEN)
    assert receipt.rows_extracted == 1
    assert receipt.read_at == ELEVEN + timedelta(seconds=10)
    assert receipt.complete_until == receipt.read_at - timedelta(seconds=300)
    assert shop.receipts("sales") == [receipt]

    clock(ELEVEN + timedelta(hours=1))
    days = {"start_date": date(2023, 1, 5), "end_date": date(2023, 1, 6), "granularity": "hour"}
    backfill(table="sales", **days)

    assert shop.target("sales", "id") == [(1,), (2,)]
    hours = [r.window_start.astimezone(UTC).hour for r in shop.receipts("sales")]
    assert hours.count(10) == 2
    backfill(table="sales", **days)
    again = [r.window_start.astimezone(UTC).hour for r in shop.receipts("sales")]
    assert again.count(10) == 2  # it has settled


@ONE_ROUTE
def test_what_settles_is_by_the_source_clock_and_by_the_table_s_own_word(
    shop: Any, clock: Any
) -> None:
    now = datetime.now(UTC)
    clock(now - timedelta(days=400))
    shop.write_specs(sales={**HOURLY, "every": "day"})
    daily = sync_table(table="sales", run_date=date(2023, 1, 5))
    shop.write_specs(sales={**HOURLY, "settle": 3600})
    slow = sync_table(table="sales", run_date=date(2023, 1, 5))
    full = sync_table(table="sales", mode="full")
    onward = sync_table(table="sales", mode="watermark")
    shop.write_specs(sales={"mode": "full"})
    copied = sync_table(table="sales")
    settled = [r.read_at - r.complete_until for r in (daily, slow, full, onward, copied)]
    assert settled == [timedelta(seconds=s) for s in (0, 3600, 3600, 3600, 0)]
    assert {r.read_at for r in (daily, slow, full, onward, copied)} == {now - timedelta(days=400)}


def test_a_window_settles_by_the_seconds_that_pass_when_the_clocks_go_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(settle, "get_run_logger", lambda: logging.getLogger("settle"))
    stop, zone = threading.Event(), "Europe/Berlin"
    stop.set()
    source: Any = SimpleNamespace(now=lambda: datetime(2023, 10, 29, 2, tzinfo=UTC))
    late = TableSpec(
        name="sales", source="shop", source_table="sales", mode="window", key=["id"], settle=14_400
    )
    day = day_window(date(2023, 10, 28), zone)
    ends_at_22 = Batch(late, "window", day, "run", TEN, Path())
    settle.wait_until_settled(ends_at_22, source, stop)
    second_pass = datetime(2023, 10, 29, 1, 30, tzinfo=UTC)
    half_past = Window(second_pass - timedelta(hours=1), second_pass, zone)
    with pytest.raises(StoppedError):  # it waits
        settle.wait_until_settled(replace(ends_at_22, window=half_past), source, stop)


def test_the_hourly_run_waits_until_its_window_has_settled_by_the_source_s_clock(
    shop: Any, clock: Any, request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> None:
    clock(FIVE_PAST - timedelta(seconds=4), goes=True)
    with ThreadPoolExecutor() as threads:
        committed = threading.Event()

        def sell() -> None:
            with late_sale(shop, request, at="2023-01-05 10:59:59"):
                committed.wait(2)

        sale = threads.submit(sell)
        state = run_at(sync_all, FIVE_PAST, every="hour")
        sale.result()

    assert state.type is StateType.COMPLETED, state.message
    assert shop.target("sales", "id") == [(1,), (2,)]
    (receipt,) = shop.receipts("sales")
    assert ELEVEN <= receipt.complete_until < ELEVEN + timedelta(seconds=60)
    log = [each for each in caplog.messages if "waits" in each and "what commits late" in each]
    assert len(log) == 1


@ONE_ROUTE
@pytest.mark.parametrize(("behind", "most"), [(0.5, 15.0), (7200.0, 15.0)])
def test_a_source_whose_clock_stands_is_not_waited_for_in_vain_and_the_receipt_tells(
    shop: Any, clock: Any, monkeypatch: Any, behind: float, most: float
) -> None:
    monkeypatch.setattr(settle, "PATIENCE_SECONDS", 1.0)
    shop.write_specs(sales={**HOURLY, "settle": 1, "catch_up": True, "start_date": TEN.date()})
    clock(ELEVEN + timedelta(seconds=1 - behind))
    begun = time.monotonic()
    state = run_at(sync_all, FIVE_PAST, every="hour", tables=["sales"])
    assert time.monotonic() - begun < most + 40  # of which the hours before take most
    assert state.type is StateType.COMPLETED, state.message
    first = shop.receipts("sales")[0]
    assert first.complete_until == ELEVEN - timedelta(seconds=behind)

    shop.sql("INSERT INTO sales VALUES (2, '2023-01-05 10:59:59')")
    clock(ELEVEN + timedelta(hours=1, seconds=2))
    run_at(sync_all, FIVE_PAST + timedelta(hours=1), every="hour", tables=["sales"])
    assert shop.target("sales", "id") == [(1,), (2,)]


@ONE_ROUTE
def test_a_person_may_carry_a_window_that_has_not_settled(
    shop: Any, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for flow in (sync_table, sync_all):
        module = sys.modules[flow.fn.__module__]
        monkeypatch.setattr(module, "wait_until_settled", lambda *_: pytest.fail("it waits"))
    clock(ELEVEN + timedelta(minutes=4))
    receipt = sync_table(table="sales", window_start=TEN, window_end=ELEVEN)
    state = sync_all(every="hour", window_start=TEN, window_end=ELEVEN, return_state=True)
    assert state.type is StateType.COMPLETED, state.message
    assert receipt.complete_until == ELEVEN - timedelta(minutes=1)


@ONE_ROUTE
@pytest.mark.parametrize(
    ("flow", "parameters"),
    [
        (sync_all, {"every": "hour"}),
        pytest.param(sync_table, {"table": "sales"}, marks=pytest.mark.nights),
    ],
)
def test_what_waits_holds_no_place_among_readers_and_ends_at_once_when_it_is_cancelled(
    shop: Any, api: Api, flow: Any, parameters: dict[str, Any]
) -> None:
    shop.write_specs(sales={**HOURLY, "settle": 86_400})
    limit = GlobalConcurrencyLimitCreate(name=readers_limit(shop.name), limit=1)
    api.client.create_global_concurrency_limit(limit)
    flow.to_deployment("waits").apply()
    run: Any = run_deployment(f"{flow.name}/waits", parameters=parameters, timeout=0)
    process = command("flow-run", "execute", str(run.id))
    try:
        assert eventually(lambda: any("waits" in line for line in api.log(run.id)), 150)
        assert sync_table(table="sales", run_date=TEN.date()).rows_extracted == 1
        api.client.set_flow_run_state(run.id, Cancelling())
        process.join(100)  # a day was to be waited
        assert process.exitcode is not None
    finally:
        process.kill()
    assert eventually(lambda: api.flow_run(run.id).state_type is StateType.CANCELLED)


@TWO_ROUTES
@pytest.mark.parametrize("cursor", ["modified", "stamp", "day"])
def test_the_next_scheduled_run_brings_what_committed_late_within_its_lookback(
    journey: Any, cursor: str
) -> None:
    stamp = "DATETIME" if hasattr(journey.source, "path") else "TIMESTAMP NULL"
    columns = f"id INT NOT NULL PRIMARY KEY, modified DATETIME, stamp {stamp}, day DATE"
    journey.sql(f"CREATE TABLE sales ({columns})")
    spec = {"mode": "window", "key": ["id"], "cursor": cursor, "lookback": 7200}
    journey.write_specs(sales={**spec, "start_date": date(2023, 1, 3), "catch_up": True})

    def sell(number: int, at: str) -> None:
        journey.sql("INSERT INTO sales VALUES (?, ?, ?, ?)", [(number, at, at, at[:10])])

    def morning(day: int) -> State[Any]:
        return run_at(sync_all, datetime(2023, 1, day, 9, tzinfo=UTC), every="day")

    sell(1, "2023-01-04 23:00:00")
    assert morning(5).type is StateType.COMPLETED
    sell(2, "2023-01-04 22:30:00")  # as if it had committed just now
    sell(3, "2023-01-05 12:00:00")
    sell(4, "2023-01-06 00:00:00")
    state = morning(6)

    assert state.message == "1 tables carried"  # the days before are there
    assert journey.target("sales", "id") == [(1,), (2,), (3,)]
    third, *_, wide = journey.receipts("sales")
    assert (wide.rows_extracted, wide.rows_inserted, wide.rows_unchanged) == (3, 2, 1)
    assert wide.window_start.astimezone(UTC) == datetime(2023, 1, 4, 22, tzinfo=UTC)
    assert wide.window_end.astimezone(UTC) == datetime(2023, 1, 6, tzinfo=UTC)
    assert third.window_start.astimezone(UTC) == datetime(2023, 1, 3, 22, tzinfo=UTC)
    assert [len(journey.receipts("sales")), journey.receipts("sales")[1].window_label] == [
        3,
        "2023-01-03",
    ]
    (days,) = show_coverage(table="sales", end_date=date(2023, 1, 6)).values()
    assert days.count(Status.LOADED) == 3


@TWO_ROUTES
@pytest.mark.parametrize("unit", [None, "ms"], ids=["DATETIME", "Unix time"])
def test_an_hourly_run_brings_what_committed_late_within_its_lookback(
    journey: Any, unit: str | None
) -> None:
    kind = "BIGINT" if unit else "DATETIME"
    journey.sql(f"CREATE TABLE sales (id INT NOT NULL PRIMARY KEY, at {kind})")
    spec = {"mode": "window", "key": ["id"], "cursor": "at", "every": "hour", "lookback": 3600}
    journey.write_specs(sales={**spec, "cursor_unit": unit})

    def sell(number: int, at: datetime) -> None:
        moment = int(at.timestamp() * 1000) if unit else f"{at:%Y-%m-%d %H:%M:%S}"
        journey.sql("INSERT INTO sales VALUES (?, ?)", [(number, moment)])

    sell(1, TEN + timedelta(minutes=10))
    run_at(sync_all, ELEVEN + timedelta(minutes=5), every="hour")
    sell(2, TEN + timedelta(minutes=20))  # as if it had committed just now
    sell(3, ELEVEN + timedelta(minutes=10))
    run_at(sync_all, ELEVEN + timedelta(minutes=65), every="hour")

    assert journey.target("sales", "id") == [(1,), (2,), (3,)]
    wide = journey.receipts("sales")[-1]
    assert (wide.rows_extracted, wide.rows_inserted, wide.rows_unchanged) == (3, 2, 1)
    assert wide.window_start == TEN


@ONE_ROUTE
def test_a_lookback_that_fails_leaves_the_days_before_it_loaded(shop: Any) -> None:
    daily = {"mode": "window", "key": ["code"], "cursor": "modified", "lookback": 3 * 86_400}
    shop.sql("CREATE TABLE visits (id INT, code INT, modified DATETIME)")
    shop.write_specs(visits={**daily, "start_date": date(2023, 1, 1)})
    backfill(table="visits", start_date=date(2023, 1, 1), end_date=date(2023, 1, 5))
    shop.sql("INSERT INTO visits VALUES (1, NULL, '2023-01-05 12:00:00')")

    start = datetime(2023, 1, 6, 9, tzinfo=UTC)
    assert run_at(sync_all, start, every="day").type is StateType.FAILED
    (days,) = show_coverage(table="visits", end_date=date(2023, 1, 6)).values()
    assert (days.count(Status.LOADED), days.count(Status.FAILED)) == (4, 1)

    shop.sql("UPDATE visits SET code = 1")
    run_at(sync_all, start, every="day")
    (days,) = show_coverage(table="visits", end_date=date(2023, 1, 6)).values()
    assert days.count(Status.LOADED) == 5
    assert sync_table(table="visits", run_date=date(2023, 1, 5)).window_label == "2023-01-05"
