"""Buckets are days of the table's zone, or months where there are very many."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest

from ferry.audits.buckets import Days, check_days, day_of, days_of, stored, windows
from ferry.errors import RequestError
from ferry.schema import Kind
from ferry.specs.tables import TableSpec

BERLIN = "Europe/Berlin"


def spec(**more: Any) -> TableSpec:
    return TableSpec.model_validate(
        {"name": "t", "source": "s", "mode": "window", "key": ["id"], **more}
    )


def test_days_follow_on_one_another_also_where_the_clock_changes() -> None:
    unit, found = windows(Days(date(2023, 3, 25), date(2023, 3, 28), BERLIN))
    assert unit == "day"
    assert [window.label for window in found] == ["2023-03-25", "2023-03-26", "2023-03-27"]
    assert found[0].end == found[1].start == datetime(2023, 3, 25, 23, tzinfo=UTC)
    assert found[1].end == datetime(2023, 3, 26, 22, tzinfo=UTC)


def test_of_very_many_days_there_are_months_and_a_month_is_days_again() -> None:
    unit, found = windows(Days(date(2020, 1, 15), date(2023, 2, 2), BERLIN))
    assert unit == "month"
    assert (days_of(found[0]), days_of(found[-1])) == (
        Days(date(2020, 1, 15), date(2020, 2, 1), BERLIN),
        Days(date(2023, 2, 1), date(2023, 2, 2), BERLIN),
    )
    assert all(one.end == other.start for one, other in pairwise(found))


def test_a_range_without_days_is_refused() -> None:
    with pytest.raises(RequestError, match="not after its start"):
        check_days(Days(date(2023, 1, 2), date(2023, 1, 2), "UTC"), "raw_data.t")


def test_a_moment_is_stored_as_each_column_holds_it() -> None:
    moment = datetime(2023, 1, 1, 23, tzinfo=UTC)
    local = spec(zone="UTC", source_zone=BERLIN)
    assert stored(moment, Kind.TIMESTAMP, local) == datetime(2023, 1, 2)
    assert stored(moment, Kind.DATE, local) == date(2023, 1, 2)
    assert stored(moment, Kind.TIMESTAMPTZ, local) == moment
    unix = spec(cursor="at", cursor_unit="ms")
    assert stored(moment, Kind.INT64, unix) == 1_672_614_000_000


@pytest.mark.parametrize(
    ("value", "more", "day"),
    [
        (datetime(2023, 1, 1, 23, tzinfo=UTC), {}, date(2023, 1, 2)),
        (datetime(2023, 1, 1, 23), {"source_zone": BERLIN}, date(2023, 1, 1)),
        (date(2023, 1, 1), {}, date(2023, 1, 1)),
        (Decimal(1_672_614_000), {"cursor": "at", "cursor_unit": "s"}, date(2023, 1, 2)),
    ],
)
def test_the_day_of_a_value(value: Any, more: dict[str, Any], day: date) -> None:
    assert day_of(value, spec(**more), BERLIN) == day
