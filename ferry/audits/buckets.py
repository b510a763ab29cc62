"""The buckets in which a table is compared: days or months of its cursor, counted in its zone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any, Literal

from ferry.batch import CursorValue
from ferry.errors import RequestError
from ferry.plan import stored_bound
from ferry.schema import Kind
from ferry.specs.tables import TableSpec
from ferry.unix_time import from_unix, to_unix
from ferry.windows import Window, local_midnight, on_clock, zone_info

MOST_DAYS = 732
"""Of more days, months are compared; a month that differs then day by day."""

AT_ONCE = {"day": 64, "month": 12}
"""So many buckets are asked for in one question."""

MOST_YEARS = 200
"""Of more, as where a date stands for none, a table is compared as a whole."""

_TIMES = (Kind.DATE, Kind.TIMESTAMP, Kind.TIMESTAMPTZ)

_ONE_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Days:
    """The days to compare.

    Attributes:
        start: The first.
        end: The day after the last.
        zone: The zone in which they are counted.
    """

    start: date
    end: date
    zone: str


def check_days(days: Days, table: str) -> None:
    """Refuse a range without any day.

    Raises:
        RequestError: The end is not after the start. A retry does not help.
    """
    if days.end <= days.start:
        raise RequestError(
            "the range's end is not after its start",
            table=table,
            expected=f"an end_date after {days.start}",
            found=days.end,
            todo="A range is half-open: start_date is in it, end_date is not.",
        )


def windows(days: Days) -> tuple[Literal["day", "month"], list[Window]]:
    """The windows of the buckets, and what each is."""
    if (days.end - days.start).days <= MOST_DAYS:
        return "day", day_windows(days)
    edges = [days.start]
    while edges[-1] < days.end:
        first = edges[-1].replace(day=1)
        edges.append(min((first + timedelta(days=31)).replace(day=1), days.end))
    return "month", _windows(edges, days.zone)


def day_windows(days: Days) -> list[Window]:
    """A window for each of the days."""
    count = (days.end - days.start).days
    return _windows([days.start + _ONE_DAY * number for number in range(count + 1)], days.zone)


def days_of(window: Window) -> Days:
    """The days of a window that is whole days of its zone."""
    local = zone_info(window.zone)
    start, end = (bound.astimezone(local).date() for bound in (window.start, window.end))
    return Days(start, end, window.zone)


def _windows(edges: Sequence[date], zone: str) -> list[Window]:
    bounds = [local_midnight(day, zone) for day in edges]
    return [Window(start, end, zone) for start, end in pairwise(bounds)]


def stored(moment: datetime, kind: Kind, spec: TableSpec) -> CursorValue:
    """A moment as a column of this kind holds it."""
    if spec.cursor_unit and kind not in _TIMES:
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
