"""Partitions of a summary, and spans of them: days or months.

A partition is counted on the wall clock of the column that it is made of, so its bounds have no
zone. A span of them is half-open, like a window.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Literal

from ferry.errors import RequestError
from ferry.windows import on_clock, union, zone_info

PartitionBy = Literal["day", "month"]

FIRST = datetime(1, 1, 1)
LAST = datetime(9999, 12, 31)
MAX_SPANS = 100
"""More spans than these are built as one that covers them all: each costs a statement."""


@dataclass(frozen=True, order=True)
class Span:
    """Whole partitions, from the first moment to the first one after them.

    Raises:
        RequestError: The end is not after the start.
    """

    start: datetime = FIRST
    end: datetime = LAST

    def __post_init__(self) -> None:
        if self.end <= self.start:
            raise RequestError(
                "the end is not after the start",
                expected=f"an end after {self.start.date()}",
                found=self.end.date(),
                todo="The first day is in it, the end is not.",
            )

    @property
    def label(self) -> str:
        """`2023-01-05` for a day, `2023-01-05/2023-01-08` for more, `all` for everything."""
        if self == EVERYTHING:
            return "all"
        first = self.start.date().isoformat()
        one_day = self.end - self.start == timedelta(days=1)
        return first if one_day else f"{first}/{self.end.date().isoformat()}"

    def covers(self, other: Span) -> bool:
        """Whether all of the other lies within."""
        return self.start <= other.start and other.end <= self.end


EVERYTHING = Span()


def whole_partitions(start: datetime, end: datetime, by: PartitionBy) -> Span:
    """The partitions that a range of wall-clock time touches, whole."""
    first = floor(start, by)
    last = floor(end, by)
    return Span(first, last if last == end and last > first else following(last, by))


def floor(moment: datetime, by: PartitionBy) -> datetime:
    """The first moment of its partition."""
    day = datetime(moment.year, moment.month, moment.day)
    return day.replace(day=1) if by == "month" else day


def following(start: datetime, by: PartitionBy) -> datetime:
    """The first moment of the next partition."""
    if start >= floor(LAST, by):
        return LAST
    return floor(start + timedelta(days=32 if by == "month" else 1), by)


def merged(spans: Iterable[Span]) -> tuple[Span, ...]:
    """The same time in as few spans as it takes, in order; at most `MAX_SPANS`."""
    joined = [Span(start, end) for start, end in union((each.start, each.end) for each in spans)]
    if len(joined) > MAX_SPANS:
        return (Span(joined[0].start, joined[-1].end),)
    return tuple(joined)


def covered(span: Span, by: Iterable[Span]) -> bool:
    """Whether all of the span lies within one of these."""
    return any(each.covers(span) for each in by)


def spans_label(spans: Iterable[Span]) -> str:
    """The spans as people say them; of many, the first ones and how many more."""
    labels = [span.label for span in spans]
    more = f" and {len(labels) - 3} more" if len(labels) > 3 else ""
    return ", ".join(labels[:3]) + more


def to_text(spans: Iterable[Span]) -> str:
    """The spans as the publications keep them."""
    return ",".join(f"{span.start.date()}/{span.end.date()}" for span in spans)


def from_text(text: str) -> tuple[Span, ...]:
    """The spans that `to_text` wrote."""
    bounds = [part.split("/") for part in text.split(",") if part]
    return tuple(Span(*(_midnight(date.fromisoformat(day)) for day in pair)) for pair in bounds)


def window_values(span: Span) -> dict[str, datetime]:
    """The values of `:window_start` and `:window_end`."""
    return {"window_start": span.start, "window_end": span.end}


def asked_span(start: date | None, end: date | None, by: PartitionBy | None) -> Span:
    """The span that a person asked for: whole partitions, everything without dates.

    Args:
        start: The first day.
        end: The day after the last one.
        by: How the summary is partitioned; None if it is not.

    Raises:
        RequestError: Half a range, an end not after the start, or dates for a summary without
            partitions.
    """
    if start is None and end is None:
        return EVERYTHING
    if by is None:
        raise RequestError(
            "a summary that is replaced as a whole takes no dates",
            todo="Leave the dates empty, or let it publish by_window.",
        )
    if start is None or end is None:
        raise RequestError(
            "a span of days needs both its ends",
            found=f"start_date={start}, end_date={end}",
            todo="Give both, or none; the end is the day after the last one.",
        )
    asked = Span(_midnight(start), _midnight(end))
    return whole_partitions(asked.start, asked.end, by)


def check_begun(span: Span, zones: Iterable[str], now: datetime) -> None:
    """Refuse partitions in the future: nothing can be in them yet.

    Args:
        span: What a person asked for.
        zones: The zones on whose wall clocks its partitions are counted; begun on one will do.
        now: The run's scheduled start, so that a retry judges the same, or the clock.

    Raises:
        RequestError: It begins later. No retry helps.
    """
    latest = max(on_clock(now, zone_info(zone)).replace(tzinfo=None) for zone in zones)
    if span.start > latest:
        raise RequestError(
            "the window is in the future",
            window=span.label,
            expected=f"a start_date of {latest.date()} at the latest",
            found=span.start.date(),
            todo="Correct the dates, or wait until it has begun.",
        )


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day)
