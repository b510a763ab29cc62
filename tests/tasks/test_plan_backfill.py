"""plan windows: about how many rows a backfill is to carry, before one of them is."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, cast

import pytest

from blocks.sources import PriceAPISource
from ferry.backfills.plan import PlannedWindow, TablePlan
from ferry.day_ranges import DayRange, Granularity, split_days
from ferry.specs.tables import TableSpec
from tasks.plan_backfill import _with_rows

if TYPE_CHECKING:
    from blocks.source import Source
    from ferry.batch import ExtractQuery

SPEC = TableSpec.model_validate(
    {
        "name": "stock_prices",
        "source": "prices",
        "mode": "window",
        "key": ["symbol", "date"],
        "cursor": "date",
    }
)
MONDAY, TUESDAY = date(2024, 3, 4), date(2024, 3, 5)


def prices(symbols: list[str]) -> PriceAPISource:
    return PriceAPISource(base_url="https://example.com", symbols=symbols)


def planned(source: Source, days: DayRange, granularity: Granularity = "day") -> TablePlan:
    windows = tuple(map(PlannedWindow, split_days(days, granularity)))
    schema = PriceAPISource(base_url="https://example.com", symbols=["AAPL"]).describe(
        SPEC.source_name
    )
    return TablePlan(SPEC, _with_rows(windows, SPEC, schema, source))


@pytest.mark.parametrize("symbols", [["AAPL"], ["AAPL", "MSFT", "GOOG", "TSLA"]])
@pytest.mark.parametrize("granularity", ["day", "week"])
def test_of_prices_the_days_of_trading_are_planned_however_long_a_window_is(
    symbols: list[str], granularity: Granularity
) -> None:
    source = prices(symbols)
    for end, trading in (
        (TUESDAY, 1),
        (date(2024, 3, 11), 5),
        (date(2024, 4, 4), 23),
        (date(2025, 3, 4), 261),
    ):
        plan = planned(source, DayRange(MONDAY, end, "UTC"), granularity)
        assert plan.rows == trading * len(symbols)
    assert planned(source, DayRange(date(2024, 3, 9), date(2024, 3, 11), "UTC")).rows == 0


def test_few_rows_of_many_windows_are_not_rounded_away() -> None:
    class Few:
        def estimate_rows(self, query: ExtractQuery) -> int:  # as without an index
            return 100

    plan = planned(cast("Source", Few()), DayRange(MONDAY, date(2029, 3, 4), "UTC"))
    assert plan.rows == 100
    assert {each.rows for each in plan.windows} == {0, 1}
