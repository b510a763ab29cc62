"""Buckets are days of the table's zone, or months where there are very many."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from ferry.audits.buckets import day_of, stored, unit_of
from ferry.day_ranges import DayRange
from ferry.schema import Kind
from ferry.specs.tables import TableSpec

BERLIN = "Europe/Berlin"


def spec(**more: Any) -> TableSpec:
    return TableSpec.model_validate(
        {"name": "t", "source": "s", "mode": "window", "key": ["id"], **more}
    )


def test_of_very_many_days_there_are_months() -> None:
    assert unit_of(DayRange(date(2021, 1, 1), date(2023, 1, 3), BERLIN)) == "day"
    assert unit_of(DayRange(date(2021, 1, 1), date(2023, 1, 4), BERLIN)) == "month"


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
        (datetime(2023, 1, 1, 23, tzinfo=UTC), {"source_zone": "Asia/Seoul"}, date(2023, 1, 2)),
        (datetime(2023, 1, 1, 23), {"source_zone": BERLIN}, date(2023, 1, 1)),
        (date(2023, 1, 1), {}, date(2023, 1, 1)),
        (Decimal(1_672_614_000), {"cursor": "at", "cursor_unit": "s"}, date(2023, 1, 2)),
    ],
)
def test_the_day_of_a_value(value: Any, more: dict[str, Any], day: date) -> None:
    assert day_of(value, spec(**more), BERLIN) == day
