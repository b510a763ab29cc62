"""Bounds of a cursor column, as the column's own type compares them."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

from ferry.batch import CursorValue, ExtractQuery
from ferry.errors import RequestError
from ferry.schema import NUMBERS, TIMES, Column, Kind
from ferry.windows import clamped, local_midnight, on_clock, wall_clock_bounds, zone_info

ONE_DAY = timedelta(days=1)
CURSOR_KINDS = (*NUMBERS, *TIMES, Kind.TEXT)
"""The kinds of column that can bound a read: those with an exact order."""


def cursor_bounds(
    query: ExtractQuery, cursor: Column
) -> tuple[CursorValue | None, CursorValue | None]:
    """The query's bounds as values of the cursor column; None where it has none.

    A window over a wall-clock column is widened to all of an hour that its zone repeats
    (`ferry.windows.wall_clock_bounds`), since the column cannot tell the two passes apart.

    Raises:
        RequestError: A bound that such a column cannot be compared with.
    """
    start, end = query.start, query.end
    if (
        cursor.type.kind is Kind.TIMESTAMP
        and (isinstance(start, datetime) and start.tzinfo)
        and (isinstance(end, datetime) and end.tzinfo)
    ):
        return wall_clock_bounds(start, end, query.zone)
    low, high = (
        None if bound is None else cursor_bound(bound, cursor, query.zone) for bound in (start, end)
    )
    return low, high


def leaves_zeros_out(query: ExtractQuery, low: CursorValue | None) -> bool:
    """Whether rows whose cursor is 0 are to be left out, and the lower bound does not do that.

    Args:
        query: The query.
        low: Its lower bound, as `cursor_bounds` gives it.
    """
    above = isinstance(low, int | Decimal) and low > 0
    return query.unix_time and query.null_cursors == "ignore" and not above


def cursor_bound(  # noqa: PLR0911  # one return for each kind
    value: CursorValue, column: Column, zone: str
) -> CursorValue:
    """The bound as a value of the column: moments become what the column holds.

    - A moment (`TIMESTAMPTZ`) column: the UTC wall clock, without a zone.
    - A wall-clock (`TIMESTAMP`) column: the wall clock in `zone`, without a zone; a bound that has
      no zone, as `bounds()` returns for such a column, is taken as it is.
    - A date column: the first day that does not begin before the bound. A day counts as its local
      midnight, so every day is in exactly one of the windows that follow each other.

    Args:
        value: The bound: an int or Decimal, a str, a date, or a datetime with a zone.
        column: The cursor column.
        zone: The zone in which the source writes its wall-clock columns.

    Raises:
        RequestError: The value cannot bound such a column. No retry helps.
    """
    kind = column.type.kind
    if kind in NUMBERS:
        if isinstance(value, Decimal) and value.is_finite():
            return value
        if isinstance(value, int) and not isinstance(value, bool):
            return value
    elif kind is Kind.TEXT and isinstance(value, str):
        return value
    elif kind is Kind.DATE and isinstance(value, date):
        return _first_day(value, zone)
    elif kind is Kind.TIMESTAMPTZ and isinstance(value, date):
        moment = value if isinstance(value, datetime) else local_midnight(value, zone)
        if moment.tzinfo is not None:
            return on_clock(moment, UTC).replace(tzinfo=None)
    elif kind is Kind.TIMESTAMP and isinstance(value, date):
        if not isinstance(value, datetime):
            return datetime(value.year, value.month, value.day)
        local = on_clock(value, zone_info(zone)) if value.tzinfo is not None else value
        return local.replace(tzinfo=None)
    raise RequestError(
        f"column {column.name!r} cannot be bounded by this value",
        expected=f"a value for {column.type}, a moment with its zone",
        found=type(value).__name__ + (" without a zone" if isinstance(value, datetime) else ""),
        todo="Choose another cursor column or another bound.",
    )


def _first_day(value: date, zone: str) -> date:
    if not isinstance(value, datetime):
        return value
    if value.tzinfo is None:
        value = value.replace(tzinfo=zone_info(zone))
    local = on_clock(value, zone_info(zone))
    day = local.date()
    if day == date.min:  # its midnight may be before the calendar's first moment in UTC
        return day if local.time() == time.min else day + ONE_DAY
    return day if local_midnight(day, zone) >= value else clamped(day, ONE_DAY)
