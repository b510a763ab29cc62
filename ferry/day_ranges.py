"""Ranges of whole days, and the windows into which they are cut.

The windows follow from the range alone, so that a retry tomorrow has the same ones. They are cut
where the calendar is: days at midnight in the zone, weeks before Monday, months before the first.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Literal

from ferry.errors import RequestError
from ferry.windows import Window, local_midnight, zone_info

Granularity = Literal["hour", "day", "week", "month"]

MAX_WINDOWS = 20_000
_NEXT_LONGER: dict[Granularity, Granularity] = {
    "hour": "day",
    "day": "week",
    "week": "month",
    "month": "month",
}
_HOURS: dict[Granularity, int] = {"hour": 1, "day": 24, "week": 168, "month": 672}


@dataclass(frozen=True)
class DayRange:
    """Whole days in a zone, `[start, end)`."""

    start: date
    end: date
    zone: str

    @classmethod
    def of(cls, window: Window) -> DayRange:
        """The days of a window that is whole days of its zone."""
        local = zone_info(window.zone)
        start, end = (bound.astimezone(local).date() for bound in (window.start, window.end))
        return cls(start, end, window.zone)

    def __str__(self) -> str:
        return f"{self.start} to {self.end}"


def check_ends(start: date | None, end: date | None, table: str | None = None) -> None:
    """Refuse a range without any day; None leaves that side open.

    Raises:
        RequestError: The end is not after the start. No retry helps.
    """
    if start and end and end <= start:
        raise RequestError(
            "the range's end is not after its start",
            table=table,
            expected=f"an end_date after {start}",
            found=end,
            todo="A range is half-open: start_date is in it, end_date is not.",
        )


def check_start_date(what: str, day: date, first: date | None, table: str) -> None:
    """Refuse days that a person asks for and that are before the table's own first one.

    Args:
        what: `range` or `window`, for the message.
        day: The first day that was asked for, in the zone of the run.
        first: The `start_date` of the table's spec; None where it says none.
        table: The table, for the message.

    Raises:
        RequestError: It is earlier. No retry helps.
    """
    if first and day < first:
        raise RequestError(
            f"the {what} begins before the table does",
            table=table,
            expected=f"a start on {first} or later: `start_date` in the table's spec",
            found=day,
            todo="Begin later, or correct `start_date` in the table's spec.",
        )


def check_first_day(days: DayRange, now: datetime, table: str) -> None:
    """Refuse a range of which no day is over: without rows on either side, all would be equal.

    Args:
        days: The range.
        now: The run's scheduled start: a retry tomorrow judges the same.
        table: The table, for the message.

    Raises:
        RequestError: It begins today or later. No retry helps.
    """
    today = now.astimezone(zone_info(days.zone)).date()
    if days.start >= today:
        raise RequestError(
            "no day of the range is over",
            table=table,
            expected=f"a start_date before {today} ({days.zone})",
            found=days.start,
            todo="Correct the dates, or wait until the first day is over.",
        )


def split_days(days: DayRange, granularity: Granularity) -> tuple[Window, ...]:
    """The windows of the range, in order of time, without a gap.

    A day that the zone left out, and so has no moments, is no window.

    Raises:
        RequestError: There would be too many; the message says which granularity would do. Or the
            range is no more than a day that the zone left out.
    """
    _refuse_too_many(days, granularity)
    if granularity == "hour":
        start, end = (
            local_midnight(day, days.zone).astimezone(UTC) for day in (days.start, days.end)
        )
        hours = math.ceil((end - start) / timedelta(hours=1))  # half an hour more on Lord Howe
        cuts = [*(start + timedelta(hours=hour) for hour in range(hours)), end]
    else:
        cuts = [local_midnight(day, days.zone) for day in _cuts(days, granularity)]
    windows = tuple(Window(start, end, days.zone) for start, end in pairwise(cuts) if start != end)
    if not windows:
        check_ends(days.start, days.end)
        raise RequestError(
            f"{days.zone} has no {days.start}: its clocks left that day out",
            found=str(days),
            todo="Correct the dates, or the zone.",
        )
    return windows


def _cuts(days: DayRange, granularity: Granularity) -> list[date]:
    begins: Callable[[date], bool] = {
        "week": lambda day: day.weekday() == 0,
        "month": lambda day: day.day == 1,
    }.get(granularity, lambda _: True)
    count = (days.end - days.start).days
    inner = (days.start + timedelta(days=number) for number in range(1, count))
    return [days.start, *filter(begins, inner), days.end]


def _refuse_too_many(days: DayRange, granularity: Granularity) -> None:
    hours = (days.end - days.start).days * 24
    windows = hours // _HOURS[granularity]
    if windows <= MAX_WINDOWS:
        return
    longer = granularity
    while longer != "month" and hours // _HOURS[longer] > MAX_WINDOWS:
        longer = _NEXT_LONGER[longer]
    raise RequestError(
        f"{days} by the {granularity} makes about {windows:,} windows",
        expected=f"{MAX_WINDOWS:,} at most",
        found=f"{windows:,}",
        todo=f"Use granularity={longer}, or a shorter range."
        if longer != granularity
        else "Use a shorter range.",
    )
