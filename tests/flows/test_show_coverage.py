"""coverage: what is loaded, missing or failed, as pages to look at and a table to ask."""

from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from datetime import UTC, date, datetime, timedelta
from sys import modules
from typing import Any

import pytest
from prefect.client.schemas.objects import State, StateType

from ferry.coverage.table import COVERAGE, COVERAGE_COLUMNS
from ferry.errors import DataError, FerryError
from ferry.statements import PARAM, Statement, insert_rows
from flows.backfill_tables import backfill
from flows.show_coverage import show_coverage
from flows.sync_table import sync_table
from tasks.gather import gather
from tasks.pages import coverage as coverage_pages
from tasks.record_coverage import record_coverage
from tests.harness.api import Api
from tests.harness.plain_runs import pages_of, run_at

pytestmark = pytest.mark.usefixtures("plain_runs")  # but for one that asks for `api`

show_coverage_module = modules[show_coverage.fn.__module__]
record_coverage_module = modules[record_coverage.fn.__module__]
PLANTED = "p1anted"
ONE_ROUTE = pytest.mark.parametrize("route", ["mysql-folder-postgres"], indirect=True)
EMBEDDED = pytest.mark.parametrize("route", ["sqlite-folder-duckdb"], indirect=True)
ORDERS = {"mode": "window", "key": ["code"], "cursor": "modified", "insert_rows": 0}
DAY = date(2023, 1, 4)
JANUARY = {"start_date": date(2023, 1, 1), "end_date": date(2023, 1, 6)}


@pytest.fixture
def shop(journey: Any) -> Any:
    """Orders on the first five days of 2023; one of the 3rd has no code, which is the key."""
    journey.sql(
        "CREATE TABLE orders (id INT, code VARCHAR(20), note VARCHAR(99), modified DATETIME)"
    )
    rows = [
        (day, None if day == 3 else f"c{day}", f"{PLANTED} {day}", f"2023-01-{day:02} 12:00:00")
        for day in range(1, 6)
    ]
    journey.sql("INSERT INTO orders VALUES (?, ?, ?, ?)", rows)
    journey.write_specs(orders={**ORDERS, "start_date": date(2023, 1, 1)})
    return journey


def run(**parameters: Any) -> State[Any]:
    state: State[Any] = show_coverage(**parameters, return_state=True)
    return state


def in_warehouse(shop: Any, columns: str = "day, status", table: str = "orders") -> list[Any]:
    return shop.warehouse.fetch(
        Statement(
            f"SELECT {columns} FROM ferry.coverage WHERE table_name = {PARAM} "
            "AND day < '2023-01-06' ORDER BY day",
            (f"{shop.schema}.{table}",),
        )
    )


def january(*statuses: str) -> list[tuple[date, str]]:
    return [(date(2023, 1, day), status) for day, status in enumerate(statuses, 1)]


def test_a_day_that_failed_shows_as_failed_with_its_reason_until_it_is_loaded(shop: Any) -> None:
    for day in (1, 2, 5):
        sync_table(table="orders", run_date=date(2023, 1, day))
    with pytest.raises(FerryError):
        sync_table(table="orders", run_date=date(2023, 1, 3))

    state = run(table="orders", **JANUARY)

    assert state.type is StateType.COMPLETED
    assert state.message == "orders: 1 day missing, 1 failed of 5"
    page = pages_of(state)["selected-coverage-orders"]
    assert "Jan 2023  # # X o # \u00b7 \u00b7" in page
    where = f"FERRY-DATA: upsert {shop.schema}.orders 2023-01-03"
    assert f"| 2023-01-03 | 1 | failed | {where}" in page
    assert "rows without a full key (code);" in page
    assert "| 2023-01-04 | 1 | missing | no run has carried it |" in page
    assert (
        "--param start_date=2023-01-03 \\\n    --param end_date=2023-01-05 --param zone=UTC "
        in page
    )
    assert in_warehouse(shop) == january("loaded", "loaded", "failed", "missing", "loaded")
    (failure,) = shop.warehouse.fetch(
        Statement(
            "SELECT window_label, error, reason, flow_run_id FROM ferry.failures "
            f"WHERE table_name = {PARAM}",
            (f"{shop.schema}.orders",),
        )
    )
    assert failure[:2] == ("2023-01-03", "DataError")
    assert "rows without a full key (code)" in failure[2]
    told = f"{failure} {page} {in_warehouse(shop, 'reason')}"
    assert PLANTED not in told
    assert "without a full key" in str(in_warehouse(shop, "reason"))

    shop.sql("UPDATE orders SET code = 'c3' WHERE id = 3")
    sync_table(table="orders", run_date=date(2023, 1, 3))

    assert run(table="orders", **JANUARY).message == "orders: 1 day missing, 0 failed of 5"
    assert in_warehouse(shop) == january("loaded", "loaded", "loaded", "missing", "loaded")


@ONE_ROUTE
def test_every_table_is_told_each_as_its_mode_can_be_told(shop: Any) -> None:
    shop.sql("CREATE TABLE visits (id INT NOT NULL PRIMARY KEY, modified DATETIME)")
    shop.sql("INSERT INTO visits VALUES (?, ?)", [(1, "2023-01-01 12:00:00")])
    watermark = {"mode": "watermark", "key": ["id"], "source_table": "visits"}
    shop.write_specs(
        orders=ORDERS,
        prices={"mode": "full", "source_table": "visits"},
        visits=watermark,
        clicks={**watermark, "cursor": "id"},
        never={"mode": "full"},
    )
    for table in ("prices", "visits", "clicks"):
        sync_table(table=table)
    sync_table(table="orders", run_date=date(2023, 1, 4))

    state = run(end_date=date(2023, 1, 6))

    assert state.type is StateType.COMPLETED, state.message
    told = dict(line.split(": ", 1) for line in str(state.message).split("; "))
    assert told["orders"] == "1 day missing, 0 failed of 2"  # from the first with a receipt on
    assert told["visits"].startswith("that range is before its first day, 20")  # read today
    assert told["prices"].startswith("full: last loaded 20")
    assert told["clicks"].startswith("watermark without a time: last loaded 20")
    assert told["never"] == "full: never loaded as a whole"
    found = pages_of(state)
    overview = found.pop("selected-coverage")
    assert set(found) == {f"selected-coverage-{name}" for name in told}
    assert (
        f"| [{shop.schema}.orders](/artifacts/key/selected-coverage-orders) "
        "| 2023-01-04 to 2023-01-05 | 1 | 1 | 0 | 0 | 2023-01-05, missing |"
    ) in overview
    assert "full: last loaded" in found["selected-coverage-prices"]
    assert run(table=["visits"]).message == "visits: 1 day loaded"


@EMBEDDED
def test_of_more_tables_than_are_named_those_with_gaps_are(
    shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(show_coverage_module, "MAX_REASONS", 2)
    monkeypatch.setattr(coverage_pages, "MAX_TABLES", 2)
    names = ("alpha", "beta", "gamma")
    shop.write_specs(**{name: {**ORDERS, "source_table": "orders"} for name in names})
    for name, days in zip(names, ((4, 5), (4, 5), (4,)), strict=True):
        for day in days:
            sync_table(table=name, run_date=date(2023, 1, day))

    state = run(start_date=DAY, end_date=date(2023, 1, 6))

    assert state.message == (
        "1 of 3 tables have days that are missing or failed; gamma: 1 day missing, 0 failed of 2; "
        "alpha: 2 days loaded; and 1 more"
    )
    assert f"{shop.schema}.gamma" in pages_of(state)["selected-coverage"].splitlines()[2]


@EMBEDDED
def test_of_more_tables_than_are_named_those_that_failed_as_a_whole_are(
    shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(show_coverage_module, "MAX_REASONS", 1)
    shop.write_specs(orders=ORDERS, prices={"mode": "full"})
    sync_table(table="orders", run_date=DAY)
    with pytest.raises(FerryError):  # there is no such table
        sync_table(table="prices")

    state = run()

    assert state.message is not None
    total, first, _, *_ = state.message.split("; ")
    assert total.endswith(" tables have days that are missing or failed, and 1 without days is")
    assert first == "prices: full: never loaded as a whole"
    assert "prices" in pages_of(state)["coverage"].splitlines()[2]


@EMBEDDED
def test_of_no_table_the_days_are_kept_until_the_last_one_is_told(
    shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of thousands of tables they are millions: a page is there as soon as its table is told."""
    sync_table(table="orders", run_date=DAY)
    pages: list[str] = []
    monkeypatch.setattr(
        record_coverage_module,
        "create_markdown_artifact",
        lambda key, **_: pages.append(key),
    )

    def gathered(futures: Any) -> Any:
        results, errors = gather(futures)
        assert pages == ["selected-coverage-orders"]
        assert "Day(" not in repr(results)
        return results, errors

    monkeypatch.setattr(show_coverage_module, "gather", gathered)
    assert run(**JANUARY).message == "orders: 4 days missing, 0 failed of 5"


@EMBEDDED
@pytest.mark.parametrize("modes", [[None], ["full"], [None, None], ["full", None]])
def test_a_watermark_over_ids_has_no_days_however_it_was_carried(
    shop: Any, modes: list[str | None]
) -> None:
    shop.write_specs(orders={"mode": "watermark", "key": ["id"], "cursor": "id"})
    for mode in modes:
        sync_table(table="orders", mode=mode)
    state = run(start_date=date(2023, 1, 1))
    assert str(state.message).startswith("orders: watermark without a time: last loaded 20")
    assert "backfill" not in pages_of(state)["selected-coverage-orders"]
    assert in_warehouse(shop) == []


@EMBEDDED
def test_a_watermark_over_ids_that_became_one_over_a_time_has_days(shop: Any) -> None:
    watermark = {"mode": "watermark", "key": ["id"], "start_date": date(2023, 1, 1)}
    shop.write_specs(orders={**watermark, "cursor": "id"})
    for _ in range(2):
        sync_table(table="orders")
    shop.write_specs(orders={**watermark, "cursor": "modified"})
    assert run(**JANUARY).message == "orders: 5 days missing, 0 failed of 5"
    sync_table(table="orders")
    assert run(**JANUARY).message == "orders: 5 days loaded"
    assert in_warehouse(shop) == january(*["loaded"] * 5)


@EMBEDDED
def test_what_a_watermark_without_a_key_lacks_its_next_run_carries_beside_purged_rows(
    shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    today = datetime.now(UTC)
    shop.sql("DELETE FROM orders WHERE id > 2")
    shop.write_specs(orders={"mode": "watermark", "cursor": "modified", "key": []})
    with monkeypatch.context() as patch:
        real = type(shop.source).now
        patch.setattr(type(shop.source), "now", lambda self: real(self) - timedelta(days=2))
        sync_table(table="orders")
    shop.sql("DELETE FROM orders WHERE id = 1")  # as a source that keeps a while of its rows
    shop.sql(f"INSERT INTO orders VALUES (9, 'c9', 'n', '{today - timedelta(days=1):%F %T}')")
    pages = str(pages_of(run(table="orders")))
    assert "missing** of" in pages and "mode=full" not in pages
    sync_table(table="orders")
    assert shop.target("orders", "id") == [(1,), (2,), (9,)]
    assert "Nothing is missing" in str(pages_of(run(table="orders")))


@EMBEDDED
def test_a_day_that_was_backfilled_does_not_hide_that_a_watermark_over_dates_failed(
    shop: Any,
) -> None:
    shop.sql("CREATE TABLE visits (id INT NOT NULL PRIMARY KEY, day DATE)")
    shop.sql("INSERT INTO visits VALUES (?, ?)", [(1, "2020-01-01"), (2, None)])
    shop.write_specs(visits={"mode": "watermark", "key": ["id"], "cursor": "day"})
    with pytest.raises(DataError):
        sync_table(table="visits")
    shop.sql("DELETE FROM visits WHERE id = 2")
    backfill(table="visits", start_date=date(2020, 1, 1), end_date=date(2020, 1, 2))
    assert shop.target("visits", "id") == [(1,)]
    told = str(run(table="visits").message)
    assert told.startswith("visits: watermark without a time: never loaded as a whole; failed 20")
    sync_table(table="visits")
    told = str(run(table="visits").message)
    assert told.startswith("visits: watermark without a time: last loaded 20")
    assert "failed" not in told


@ONE_ROUTE
def test_a_day_of_a_table_carried_by_the_hour_is_loaded_when_all_its_hours_are(shop: Any) -> None:
    shop.write_specs(orders={**ORDERS, "every": "hour"})
    for day, hours in ((4, 24), (5, 23)):
        for first, after in ((0, 9), (9, hours)):
            start = datetime(2023, 1, day, first, tzinfo=UTC)
            end = datetime(2023, 1, day + after // 24, after % 24, tzinfo=UTC)
            sync_table(table="orders", window_start=start, window_end=end)
    assert run(end_date=date(2023, 1, 6)).message == "orders: 1 day missing, 0 failed of 2"
    assert in_warehouse(shop, "day, status, reason") == [
        (date(2023, 1, 4), "loaded", None),
        (date(2023, 1, 5), "missing", "a part of it is loaded"),
    ]


@EMBEDDED
@pytest.mark.parametrize("table", ["orders", ["orders"]])
def test_a_run_for_one_table_or_some_days_leaves_the_page_of_all_as_it_is(
    shop: Any, table: str | list[str]
) -> None:
    sync_table(table="orders", run_date=DAY)
    for of_all in (None, "all", ["all", "orders"]):
        assert set(pages_of(run(table=of_all))) == {"coverage-orders", "coverage"}
    assert set(pages_of(run(table=table))) == {"coverage-orders", "selected-coverage"}
    for days in ({"end_date": date(2023, 1, 6)}, {"start_date": DAY, "table": table}):
        keys = {"selected-coverage-orders", "selected-coverage"}
        assert set(pages_of(run(**days))) == keys


@EMBEDDED
def test_a_run_of_long_ago_that_is_retried_tells_of_the_days_up_to_now(shop: Any) -> None:
    sync_table(table="orders", run_date=DAY)
    at = datetime(2023, 1, 5, 11, tzinfo=UTC)
    run_at(show_coverage, at)
    ((newest,),) = shop.warehouse.fetch("SELECT MAX(day) FROM ferry.coverage")
    assert newest >= datetime.now(UTC).date() - timedelta(days=2)


def test_a_day_that_stands_as_it_did_keeps_its_row_and_any_other_is_written_anew(shop: Any) -> None:
    for day in (1, 2):
        sync_table(table="orders", run_date=date(2023, 1, day))
    run(table="orders")
    before = dict(in_warehouse(shop, "day, as_of"))
    name = f"{shop.schema}.orders"
    change = "UPDATE ferry.coverage SET status = 'failed' WHERE table_name = {} AND day = {}"
    shop.warehouse.execute(Statement(change.format(PARAM, PARAM), (name, date(2023, 1, 1))))
    with shop.warehouse.transaction() as tx:
        (again,) = tx.fetch(
            Statement(
                f"SELECT * FROM ferry.coverage WHERE table_name = {PARAM} AND day = {PARAM}",
                (name, date(2023, 1, 2)),
            )
        )
        early = (again[0], date(2022, 12, 31), *again[2:])
        tx.execute(insert_rows(COVERAGE, COVERAGE_COLUMNS, [again, early]))
    sync_table(table="orders", run_date=date(2023, 1, 5))

    run(table="orders")

    assert in_warehouse(shop) == january("loaded", "loaded", "missing", "missing", "loaded")
    after = dict(in_warehouse(shop, "day, as_of"))
    assert {day.day for day in after if after[day] == before[day]} == {3, 4}


@EMBEDDED
def test_days_before_the_first_that_are_asked_for_are_shown_and_not_kept(shop: Any) -> None:
    shop.write_specs(orders=ORDERS)
    sync_table(table="orders", run_date=DAY)
    state = run(**JANUARY)
    assert state.message == "orders: 4 days missing, 0 failed of 5"
    assert in_warehouse(shop) == [(DAY, "loaded"), (date(2023, 1, 5), "missing")]


@ONE_ROUTE
def test_a_table_that_cannot_be_told_stops_no_other_and_fails_the_run(shop: Any, api: Api) -> None:
    shop.write_specs(orders=ORDERS, nps={**ORDERS, "warehouse": "no-such-block"})
    sync_table(table="orders", run_date=date(2023, 1, 4))

    state = run()

    assert state.type is StateType.FAILED
    assert (state.message or "").startswith("1 of 2 tables cannot be told: ")
    assert "no-such-block" in (state.message or "")
    assert "; orders: " in (state.message or "")
    pages = api.artifacts(str(state.state_details.flow_run_id))
    (page,) = [str(page.data) for page in pages if page.key == "coverage"]
    assert f"| {shop.schema}.nps | **not told**: " in page


@EMBEDDED
def test_wrong_parameters_are_refused_before_anything_is_told(shop: Any) -> None:
    backwards = run(start_date=date(2023, 1, 5), end_date=date(2023, 1, 5))
    assert "an end_date after 2023-01-05" in (backwards.message or "")
    assert "there is no table 'oders'" in (run(table="oders").message or "")
    assert "no table is named" in (run(table=[]).message or "")
    assert "there is no time zone 'Mars'" in (run(zone="Mars").message or "")


@ONE_ROUTE
def test_an_explicit_range_is_shown_and_the_warehouse_keeps_all_days(shop: Any) -> None:
    sync_table(table="orders", run_date=date(2023, 1, 2))
    state = run(start_date=date(2023, 1, 4), end_date=date(2023, 1, 5))
    assert state.message == "orders: 1 day missing, 0 failed of 1"
    assert in_warehouse(shop) == january("missing", "loaded", "missing", "missing", "missing")


@pytest.mark.parametrize("route", ["mysql-folder-postgres", "mysql-s3-redshift"], indirect=True)
def test_several_runs_at_once_leave_each_day_once(shop: Any) -> None:
    sync_table(table="orders", run_date=date(2023, 1, 2))
    with ThreadPoolExecutor(3) as pool:
        # A copy for each: it holds the settings, and with them where the Prefect server is.
        runs = [pool.submit(copy_context().run, run, table="orders", **JANUARY) for _ in range(3)]
    assert [future.result().type for future in runs] == [StateType.COMPLETED] * 3
    assert in_warehouse(shop) == january("missing", "loaded", "missing", "missing", "missing")
