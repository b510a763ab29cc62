"""update-symbols: one row a day and symbol, the corrected one, and no symbol stops another."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from prefect.client.schemas.objects import State, StateType
from prefect.exceptions import ParameterTypeError
from prefect.flow_engine import run_flow
from prefect.states import Scheduled

from blocks.sources import PriceAPISource
from deployments.local.price_api import Fault, PriceAPI
from ferry.coverage.standings import Status, coverage_of
from ferry.errors import ConfigurationError, IncompleteReadError, RequestError
from ferry.schema import TableName
from ferry.windows import day_window
from flows.pipeline.summaries import follow as follow_summaries
from flows.pipeline.summaries.published import Published
from flows.pipeline.table_specs import load_table_specs
from flows.sync_all import due_tables, sync_all
from flows.sync_table import sync_table
from flows.update_symbols import update_symbols
from tests.harness.api import Api

pytestmark = pytest.mark.usefixtures("plain_runs")

if TYPE_CHECKING:
    from tests.harness.journey import Journey

SPEC = {
    "mode": "window",
    "key": ["symbol", "date"],
    "cursor": "date",
    "version": "created_date",
    "every": "never",
}
FRIDAY = date(2024, 3, 8)
WEEK = [FRIDAY - timedelta(days=n) for n in (4, 3, 2, 1, 0)]
BOTH = pytest.mark.parametrize(
    "route", ["prices-folder-duckdb", "prices-s3-redshift"], indirect=True
)
ONE = pytest.mark.parametrize("route", ["prices-folder-duckdb"], indirect=True)


@pytest.fixture
def price_api() -> Iterator[PriceAPI]:
    with PriceAPI() as api:
        yield api


@pytest.fixture
def prices_source(price_api: PriceAPI) -> tuple[PriceAPISource, Callable[..., None]]:
    """The route's source: the block over the API, which no statement changes."""
    block = PriceAPISource(
        base_url=price_api.url, symbols=["AAPL", "SAP.DE"], pause_seconds=0, backoff_seconds=0.01
    )
    return block, lambda *_: None


@pytest.fixture
def market(journey: Journey) -> Journey:
    journey.write_specs(stock_prices=SPEC)
    return journey


def rows(market: Journey) -> list[tuple[Any, ...]]:
    return market.target(
        "stock_prices", 'symbol, "date", "open", high, low, "close", volume', 'symbol, "date"'
    )


def in_api(price_api: PriceAPI, *symbols: str) -> list[tuple[Any, ...]]:
    return [
        (symbol, day, *price_api.bar(symbol, day).values()) for symbol in symbols for day in WEEK
    ]


def carried(market: Journey) -> list[tuple[str, str, int]]:
    found = market.receipts("stock_prices")
    return [(r.window_label, r.status, r.rows_extracted) for r in found]


@BOTH
def test_two_runs_with_a_correction_between_leave_one_row_a_day_the_corrected_one(
    market: Journey, price_api: PriceAPI
) -> None:
    first = update_symbols(run_date=FRIDAY)
    assert rows(market) == in_api(price_api, "AAPL", "SAP.DE")
    created = market.target("stock_prices", "created_date", 'symbol, "date"')

    price_api.correct("AAPL", WEEK[1], close=123.0625, volume=7)
    second = update_symbols(run_date=FRIDAY)
    third = update_symbols(run_date=FRIDAY)

    assert rows(market) == in_api(price_api, "AAPL", "SAP.DE")
    assert rows(market)[1][5:] == (123.0625, 7)
    assert (first.rows_inserted, second.rows_updated, second.rows_unchanged) == (10, 1, 9)
    assert (third.changed, third.rows_unchanged) == (0, 10)
    # A row that was only fetched again is not written again; the corrected one was.
    changed = market.target("stock_prices", "created_date", 'symbol, "date"')
    assert [n for n in range(10) if created[n] != changed[n]] == [1]
    assert changed[1][0] > created[1][0]
    assert market.leftovers() == set()


@ONE
def test_the_days_before_the_last_one_end_at_the_table_s_first(market: Journey) -> None:
    market.write_specs(stock_prices={**SPEC, "start_date": WEEK[3]})
    update_symbols(run_date=FRIDAY)
    assert [row[1] for row in rows(market)] == [*WEEK[3:], *WEEK[3:]]
    days = {"window_start": WEEK[2], "window_end": FRIDAY}
    for given in ({"run_date": WEEK[2]}, days):
        with pytest.raises(RequestError, match="window begins before the table does"):
            update_symbols(**given)


@BOTH
def test_what_a_killed_run_left_long_ago_is_taken_away_also_after_a_failure(
    market: Journey, prices_source: Any
) -> None:
    def leave() -> None:
        market.warehouse.execute('CREATE SCHEMA IF NOT EXISTS "ferry"')
        left = '"ferry"."stg_20230105_0b9d0b9d0b9d_0b9d0b_stock_prices"'
        market.warehouse.execute(f"CREATE TABLE {left} (id INT)")
        assert len(market.leftovers()) == 1

    leave()
    update_symbols(run_date=FRIDAY)
    assert market.leftovers() == set()
    prices_source[0].model_copy(update={"symbols": ["NOPE"]}).save(market.name, overwrite=True)
    leave()
    assert update_symbols(run_date=FRIDAY, return_state=True).type is StateType.FAILED
    assert market.leftovers() == set()


@ONE
def test_a_day_fetched_earlier_never_replaces_one_fetched_later(
    market: Journey, price_api: PriceAPI
) -> None:
    update_symbols(run_date=FRIDAY)
    market.warehouse.execute(
        f'UPDATE "{market.schema}"."stock_prices" '
        """SET "close" = 1, created_date = TIMESTAMPTZ '2099-01-01 00:00:00+00' """
        f"WHERE symbol = 'AAPL'"
    )
    again = update_symbols(run_date=FRIDAY)
    assert again.changed == 0
    assert {row[5] for row in rows(market) if row[0] == "AAPL"} == {1}


@ONE
def test_a_symbol_that_there_is_not_fails_the_run_by_name_after_the_others_have_landed(
    market: Journey, price_api: PriceAPI, prices_source: Any
) -> None:
    with_typo = prices_source[0].model_copy(update={"symbols": ["NOPE", "AAPL", "SAP.DE"]})
    with_typo.save(market.name, overwrite=True)

    state: State[Any] = update_symbols(run_date=FRIDAY, return_state=True)

    assert state.type is StateType.FAILED
    assert "NOPE: the API knows no such symbol" in (state.message or "")
    assert "which has landed" in (state.message or "")
    assert rows(market) == in_api(price_api, "AAPL", "SAP.DE")
    (receipt,) = market.receipts("stock_prices")
    assert (receipt.status, receipt.rows_inserted) == ("partial", 10)
    # A window with a symbol missing is not loaded; once it is whole, it is.
    day = day_window(FRIDAY)
    assert coverage_of([receipt], []).of(day).status is Status.MISSING
    prices_source[0].save(market.name, overwrite=True)
    whole = update_symbols(run_date=FRIDAY)
    assert (whole.status, whole.rows_unchanged) == ("loaded", 10)
    assert coverage_of([receipt, whole], []).of(day).status is Status.LOADED


@ONE
@pytest.mark.usefixtures("api")
def test_summaries_follow_what_has_landed_though_a_symbol_failed(
    market: Journey, prices_source: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    prices_source[0].model_copy(update={"symbols": ["NOPE", "AAPL"]}).save(
        market.name, overwrite=True
    )
    followed: list[str] = []

    def follow(names: Iterable[str]) -> Published:
        followed.extend(names)
        return Published()

    for module in (follow_summaries, sys.modules[sync_all.fn.__module__]):
        monkeypatch.setattr(module, "follow_tables", follow)
    with pytest.raises(IncompleteReadError, match="NOPE"):
        update_symbols(run_date=FRIDAY)
    with pytest.raises(IncompleteReadError, match="NOPE"):
        sync_table(table="stock_prices", run_date=FRIDAY)
    state = sync_all(tables=["stock_prices"], run_date=FRIDAY, return_state=True)
    assert "NOPE" in (state.message or "")
    assert followed == [f"{market.schema}.stock_prices"] * 3


@ONE
def test_a_summary_that_fails_is_told_beside_a_symbol_that_cannot_be_read(
    market: Journey, prices_source: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    prices_source[0].model_copy(update={"symbols": ["NOPE", "AAPL"]}).save(
        market.name, overwrite=True
    )
    behind = Published(failures={"analytics.closing": "analytics.closing: a check failed"})
    monkeypatch.setattr(follow_summaries, "follow_tables", lambda _names: behind)
    for run in (update_symbols, partial(sync_table, table="stock_prices")):
        state = run(run_date=FRIDAY, return_state=True)
        assert state.type is StateType.FAILED
        assert "NOPE" in state.message
        told = "And 1 summary is not up to date: analytics.closing: a check failed"
        assert told in state.message


@ONE
def test_an_installation_without_prices_has_nothing_to_carry_every_morning(
    market: Journey,
) -> None:
    market.write_specs(orders={"mode": "full"}, stock_items={"mode": "full"})
    state = update_symbols(return_state=True)
    assert state.type is StateType.COMPLETED
    assert state.message == "the table specs have no stock_prices: there are no prices to carry"
    with pytest.raises(RequestError, match="there is no table 'stock_prices'"):
        update_symbols(run_date=FRIDAY)
    market.write_specs(stock_price=SPEC)
    with pytest.raises(RequestError, match=r"Did you mean stock_price\?"):
        update_symbols()


@ONE
def test_no_symbol_at_all_is_not_every_symbol(market: Journey) -> None:
    with pytest.raises(RequestError, match=r"no symbol is named.*the parameter `symbols`"):
        update_symbols(symbols=[], run_date=FRIDAY)
    assert market.warehouse.describe(TableName(market.schema, "stock_prices")) is None


@ONE
def test_a_retry_after_a_symbol_failed_reads_it_and_ends_as_loaded(
    market: Journey, price_api: PriceAPI
) -> None:
    price_api.faults["SAP.DE"] = [Fault(404)]
    again = update_symbols.with_options(retries=1, retry_delay_seconds=0)
    receipt = again(run_date=FRIDAY)
    assert (receipt.status, receipt.rows_extracted, receipt.rows_inserted) == ("loaded", 10, 5)
    assert [status for _, status, _ in carried(market)] == ["partial", "loaded"]
    assert rows(market) == in_api(price_api, "AAPL", "SAP.DE")


@ONE
def test_a_full_copy_with_a_symbol_missing_deletes_nothing(
    market: Journey, prices_source: Any
) -> None:
    update_symbols(run_date=FRIDAY)
    before = rows(market)
    prices_source[0].model_copy(update={"symbols": ["NOPE", "AAPL"]}).save(
        market.name, overwrite=True
    )
    with pytest.raises(IncompleteReadError, match="NOPE"):
        sync_table(table="stock_prices", mode="full")
    assert rows(market) == before


@ONE
def test_some_symbols_alone_do_not_make_a_window_loaded(
    market: Journey, price_api: PriceAPI
) -> None:
    update_symbols(symbols=["sap.de"], run_date=FRIDAY)
    update_symbols(symbols=["MSFT", "SAP.DE", "AAPL"], run_date=FRIDAY)
    assert [status for _, status, _ in carried(market)] == ["partial", "loaded"]
    assert {row[0] for row in rows(market)} == {"AAPL", "MSFT", "SAP.DE"}
    with pytest.raises(RequestError, match="no symbols"):
        update_symbols(symbols=["no symbol"], run_date=FRIDAY)


@ONE
def test_the_dates_are_whole_days_in_any_zone(market: Journey) -> None:
    update_symbols(run_date=FRIDAY, days=1, zone="America/New_York")
    update_symbols(window_start=WEEK[0], window_end=WEEK[2], zone="Asia/Tokyo")
    assert carried(market) == [
        ("2024-03-08", "loaded", 2),
        ("2024-03-04T00:00+00:00/2024-03-06T00:00+00:00", "loaded", 4),
    ]
    misspelled = {"window_start": WEEK[0], "window_end": WEEK[2], "zone": "Asia/Tokio"}
    with pytest.raises(RequestError, match="no time zone 'Asia/Tokio'"):
        update_symbols(**misspelled)
    for wrong in ({"window_start": FRIDAY}, {"run_date": FRIDAY, "window_end": FRIDAY}):
        with pytest.raises(RequestError):
            update_symbols(**wrong)
    with pytest.raises(ParameterTypeError):
        update_symbols(days=0)


@ONE
def test_any_window_is_carried_like_any_table_s_and_sync_all_leaves_it_out(
    market: Journey,
) -> None:
    window = {"window_start": datetime(2024, 3, 4), "window_end": datetime(2024, 3, 9)}
    assert sync_table(table="stock_prices", **window).rows_inserted == 10
    specs = load_table_specs()
    assert due_tables(specs, "day") == due_tables(specs, "hour") == []


@ONE
def test_an_api_that_stays_busy_lands_nothing(market: Journey, price_api: PriceAPI) -> None:
    market.write_specs(stock_prices={**SPEC, "retries": 0})
    price_api.faults["SAP.DE"] = [Fault(429, b"", {"Retry-After": "0"})] * 4
    state: State[Any] = update_symbols(run_date=FRIDAY, return_state=True)
    assert state.type is StateType.FAILED
    assert "HTTP 429, 4 times" in (state.message or "")
    assert market.warehouse.describe(TableName(market.schema, "stock_prices")) is None


@ONE
def test_what_killed_runs_left_is_removed_also_when_a_symbol_failed(market: Journey) -> None:
    forgotten = "stg_20230105_0b9d0b9d0b9d_0b9d0b_stock_prices"
    market.warehouse.execute("CREATE SCHEMA IF NOT EXISTS ferry")
    market.warehouse.execute(f"CREATE TABLE ferry.{forgotten} (id INTEGER)")
    with pytest.raises(IncompleteReadError, match="NOPE"):
        update_symbols(symbols=["AAPL", "NOPE"], run_date=FRIDAY)
    assert market.leftovers() == set()


@ONE
@pytest.mark.usefixtures("api")  # its blocks are on the server
def test_another_kind_of_source_is_refused(market: Journey, sqlite_source: Any) -> None:
    PriceAPISource.delete(market.name)
    sqlite_source[0].save(market.name, overwrite=True)
    with pytest.raises(ConfigurationError, match="is no price API"):
        update_symbols(run_date=FRIDAY)


@ONE
def test_a_scheduled_run_carries_the_seven_days_before_it_however_late(
    market: Journey, api: Api
) -> None:
    # 10:00 in New York on 9 March; in Tokyo, 10 March has begun.
    start = Scheduled(scheduled_time=datetime(2024, 3, 9, 15, tzinfo=UTC))
    for zone in (None, "Asia/Tokyo"):
        run = api.client.create_flow_run(update_symbols, parameters={}, state=start)
        run_flow(update_symbols, flow_run=run, parameters={"zone": zone})
    assert carried(market) == [
        ("2024-03-02T00:00+00:00/2024-03-09T00:00+00:00", "loaded", 10),
        ("2024-03-03T00:00+00:00/2024-03-10T00:00+00:00", "loaded", 10),
    ]


@ONE
def test_days_in_the_future_or_where_the_calendar_ends_are_refused(market: Journey) -> None:
    tomorrow = datetime.now(UTC).date() + timedelta(days=1)
    for given in (
        {"run_date": tomorrow + timedelta(days=1)},
        {"window_start": tomorrow + timedelta(days=1), "window_end": tomorrow + timedelta(days=9)},
        {"run_date": date.max},
        {"run_date": date(1, 1, 3)},
        {"window_start": date.min, "window_end": FRIDAY},
    ):
        with pytest.raises(RequestError, match=r"in the future|where the calendar ends") as caught:
            update_symbols(**given)
        assert caught.value.table == f"{market.schema}.stock_prices"
    assert market.warehouse.describe(TableName(market.schema, "stock_prices")) is None
