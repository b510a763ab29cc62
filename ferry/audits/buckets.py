"""The buckets in which a table is compared: days or months of its cursor, counted in its zone."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any, Literal

from ferry.batch import CursorValue
from ferry.day_ranges import DayRange
from ferry.plan import stored_bound
from ferry.schema import TIMES, Kind
from ferry.specs.tables import TableSpec
from ferry.unix_time import from_unix, to_unix
from ferry.windows import on_clock, zone_info

MOST_DAYS = 732
"""Of more days, months are compared; a month that differs then day by day."""

AT_ONCE = {"day": 64, "month": 12}
"""So many buckets are asked for in one question."""

MOST_YEARS = 200
"""Of more, as where a date stands for none, a table is compared as a whole."""


def unit_of(days: DayRange) -> Literal["day", "month"]:
    """What the buckets of these days are."""
    return "day" if (days.end - days.start).days <= MOST_DAYS else "month"


def stored(moment: datetime, kind: Kind, spec: TableSpec) -> CursorValue:
    """A moment as a column of this kind holds it."""
    if spec.cursor_unit and kind not in TIMES:
        return to_unix(moment, spec.cursor_unit)
    value = stored_bound(moment, kind, spec.wall_clock_zone)
    assert value is not None
    return value


def day_of(value: Any, spec: TableSpec, zone: str) -> date:
    """The day, in a zone, of a value that the cursor holds."""
    if spec.cursor_unit and isinstance(value, int | Decimal):
        value = from_unix(value, spec.cursor_unit)
    if isinstance(value, datetime):
        moment = value if value.tzinfo else value.replace(tzinfo=zone_info(spec.wall_clock_zone))
        return on_clock(moment, zone_info(zone)).date()
    assert isinstance(value, date)
    return value
