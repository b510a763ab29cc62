"""Windows of time, and the business date of a run.

A window is half-open, `[start, end)`, and carries its zone. It is fixed when the run is made, from
the run's *scheduled* start, so that a retry tomorrow reads the same rows.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import cache, lru_cache
from typing import Any, Literal, TypeVar
from zoneinfo import ZoneInfo

from ferry.errors import RequestError

Every = Literal["day", "hour"]
Moment = TypeVar("Moment", date, datetime)

RepeatedTimes = tuple[datetime, datetime]
"""Wall-clock times that a zone has twice: from the first up to, but not including, the second."""

_FIRST_LOOKED_AT = datetime(1970, 1, 2, tzinfo=UTC)

EARLIEST, LATEST = datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC)
"""A window lies within these: a day from where Python's calendar ends, whatever the zone."""


def zone_info(name: str) -> ZoneInfo:
    """The zone of that IANA name, such as `Europe/Berlin`.

    Raises:
        RequestError: There is no such zone.
    """
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise RequestError(
            f"there is no time zone {name!r}", todo="Use an IANA name such as Europe/Berlin or UTC."
        ) from error


@cache
def same_clock(one: str, other: str) -> bool:
    """Whether two zones are one by two names, such as UTC and Etc/UTC: alike from 1970 on."""
    try:
        zones = ZoneInfo(one), ZoneInfo(other)
    except (KeyError, ValueError, OSError):
        return False
    moments = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=n) for n in range(0, 25_000, 7))
    return all(len({at.astimezone(zone).utcoffset() for zone in zones}) == 1 for at in moments)


def clamped(moment: Moment, delta: timedelta) -> Moment:
    """The moment or day so much later; where the calendar ends, the first or last that there is."""
    try:
        return moment + delta
    except OverflowError:
        edge = type(moment).min if delta < timedelta() else type(moment).max
        if isinstance(moment, datetime) and isinstance(edge, datetime):
            return edge.replace(tzinfo=moment.tzinfo)
        return edge


def on_clock(moment: datetime, zone: tzinfo) -> datetime:
    """The moment on the zone's clock; its first or last time, where the calendar ends."""
    try:
        return moment.astimezone(zone)
    except OverflowError:
        edge = datetime.min if moment.year == 1 else datetime.max
        return edge.replace(tzinfo=zone)


@dataclass(frozen=True)
class Window:
    """A half-open range of time, `[start, end)`, in a zone.

    Raises:
        RequestError: A bound without a zone, an end that is not after the start, or a bound where
            the calendar ends.
    """

    start: datetime
    end: datetime
    zone: str = "UTC"

    def __post_init__(self) -> None:
        zone = zone_info(self.zone)
        if self.start.tzinfo is None or self.end.tzinfo is None:
            raise RequestError("a window's bounds need a zone", found="a bound without one")
        for bound in (self.start, self.end):
            if not EARLIEST <= bound <= LATEST:
                raise _no_window(bound.isoformat())
        object.__setattr__(self, "start", self.start.astimezone(zone))
        object.__setattr__(self, "end", self.end.astimezone(zone))
        if self.end.astimezone(UTC) <= self.start.astimezone(UTC):
            raise RequestError(
                "the window's end is not after its start",
                expected=f"an end after {self.start.isoformat()}",
                found=self.end.isoformat(),
                todo="A window is half-open: the first moment is in it, the last is not.",
            )

    def is_before(self, other: Window) -> bool:
        """Whether the other one begins at the moment at which this one ends.

        In UTC: Python compares two times of one zone by the clock, which has some of them twice.
        """
        return self.end.astimezone(UTC) == other.start.astimezone(UTC)

    @property
    def label(self) -> str:
        """`2023-01-05` for a whole local day, else `2023-01-05T03:00+01:00/…`."""
        day = self.start.date()
        if (self.start, self.end) == (
            local_midnight(day, self.zone),
            local_midnight(day + timedelta(days=1), self.zone),
        ):
            return day.isoformat()
        return f"{_moment(self.start)}/{_moment(self.end)}"

    @property
    def slug(self) -> str:
        """The label in letters that a file name can have."""
        return self.label.replace(":", "").replace("/", "--").replace("+", "p")

    def __str__(self) -> str:
        return self.label


def _moment(moment: datetime) -> str:
    spec = "minutes" if moment.second == moment.microsecond == 0 else "auto"
    return moment.isoformat(timespec=spec)


def _no_window(found: str) -> RequestError:
    return RequestError(
        "a date where the calendar ends cannot be in a window",
        expected=f"dates from {EARLIEST.date()} to {LATEST.date()} at most",
        found=found,
        todo="Correct the dates.",
    )


def local_midnight(day: date, zone: str) -> datetime:
    """The first moment of a local day (where a clock change skips midnight, the moment after).

    Raises:
        RequestError: The day is the calendar's first, and begins before it does in UTC.
    """
    midnight = datetime.combine(day, time.min, tzinfo=zone_info(zone))
    # Through UTC and back: a midnight that does not exist becomes the first moment that does.
    try:
        return midnight.astimezone(UTC).astimezone(zone_info(zone))
    except OverflowError as error:
        raise _no_window(day.isoformat()) from error


def day_window(day: date, zone: str = "UTC") -> Window:
    """The whole local day: 23 or 25 hours long when the clocks change.

    Raises:
        RequestError: The day is where the calendar ends.
    """
    if day == date.max:
        raise _no_window(day.isoformat())
    return Window(local_midnight(day, zone), local_midnight(day + timedelta(days=1), zone), zone)


def day_windows(first: date, end: date, zone: str) -> list[Window]:
    """The whole local days `[first, end)`, without one that the zone left out, as Samoa did once.

    Raises:
        RequestError: A day is where the calendar ends.
    """
    days = (first + timedelta(days=number) for number in range((end - first).days))
    return [window for day in days if (window := _whole_day(day, zone))]


@lru_cache(maxsize=65_536)  # 18 zones' ten years: a run tells many tables' days, mostly the same
def _whole_day(day: date, zone: str) -> Window | None:
    start, after = local_midnight(day, zone), local_midnight(day + timedelta(days=1), zone)
    return Window(start, after, zone) if start != after else None


def business_date(scheduled_start: datetime, zone: str = "UTC") -> date:
    """The day before the scheduled start, in the zone.

    The 09:00 run on 6 February carries 5 February, however late it really starts and however often
    it is retried.

    Args:
        scheduled_start: When the run was to start, as Prefect gives it (aware, in UTC).
        zone: The zone in which the day is counted.

    Raises:
        RequestError: The start has no zone. No retry helps.
    """
    if scheduled_start.tzinfo is None:
        raise RequestError("the scheduled start needs a zone", found="a time without one")
    return scheduled_start.astimezone(zone_info(zone)).date() - timedelta(days=1)


def days_until(
    run_date: date | None, days: int, scheduled_start: datetime, zone: str
) -> tuple[date, date]:
    """The days up to a day and that one, `[first, end)`: by default up to the business date."""
    last = run_date or business_date(scheduled_start, zone)
    return clamped(last, -timedelta(days=days - 1)), last + timedelta(days=1)


def scheduled_window(scheduled_start: datetime, zone: str = "UTC", every: Every = "day") -> Window:
    """The window that a scheduled run carries: the day, or the full hour, before its start."""
    if every == "day":
        return day_window(business_date(scheduled_start, zone), zone)
    hour = scheduled_start.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    return Window(hour - timedelta(hours=1), hour, zone)


def run_window(
    *,
    scheduled_start: datetime,
    zone: str = "UTC",
    every: Every = "day",
    run_date: date | None = None,
    window_start: datetime | None = None,
    window_end: datetime | None = None,
) -> Window:
    """The window of a run: an explicit date or range always wins over the schedule.

    Args:
        scheduled_start: The run's scheduled start, aware.
        zone: The zone in which days are counted, and in which a bound without a zone is meant.
        every: What a run without dates carries: the day or the hour before its scheduled start.
        run_date: Carry this whole day.
        window_start: Carry from this moment on; needs `window_end`.
        window_end: Carry up to, but not including, this moment.

    Raises:
        RequestError: A date together with a range, half a range, or an end not after its start.
    """
    if window_start is None and window_end is None:
        return (
            day_window(run_date, zone)
            if run_date
            else scheduled_window(scheduled_start, zone, every)
        )
    if run_date is not None:
        raise RequestError(
            "a run takes a run_date or a window, not both",
            found=f"run_date={run_date} and window_start={window_start}, window_end={window_end}",
            todo="Leave one of them empty.",
        )
    if window_start is None or window_end is None:
        raise RequestError(
            "a window needs both its ends",
            found=f"window_start={window_start}, window_end={window_end}",
            todo="Give both, or a run_date.",
        )
    return Window(_in_zone(window_start, zone), _in_zone(window_end, zone), zone)


def check_begun(window: Window, now: datetime) -> None:
    """Refuse a window in the future: nothing can be in it yet, and it would seem to be loaded.

    A window that has begun and is not over can be carried: its receipt says up to when.

    Args:
        window: The window.
        now: The run's scheduled start, so that a retry judges the same, or the clock.

    Raises:
        RequestError: The window begins now or later. No retry helps.
    """
    if window.start >= now:
        raise RequestError(
            "the window is in the future",
            window=window.label,
            expected=f"a start before {on_clock(now, zone_info(window.zone)):%Y-%m-%dT%H:%M%z}",
            found=window.start.isoformat(),
            todo="Correct the dates, or wait until it has begun.",
        )


def _in_zone(moment: datetime, zone: str) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=zone_info(zone))


def wall_clock_bounds(start: datetime, end: datetime, zone: str) -> tuple[datetime, datetime]:
    """The bounds of a window as wall-clock times of a zone, without a zone.

    An hour that the clocks repeat has the same wall-clock times twice, so a bound within it cannot
    tell the first from the second. Such a bound is moved outward, to where the repeated times
    begin or end: a few rows may be read twice, which an upsert forgives, and none is missed.
    """
    local_start, local_end = (on_clock(bound, zone_info(zone)) for bound in (start, end))
    return (
        first_pass(local_start).replace(tzinfo=None, fold=0),
        _after_repetition(local_end).replace(tzinfo=None, fold=0),
    )


def read_stretch(window: Window, zone: str) -> tuple[datetime, datetime]:
    """The moments between which a window's rows are read, with all of an hour that a zone repeats.

    Args:
        window: The window.
        zone: The zone in which the source writes its wall-clock columns.
    """
    start, end = (bound.astimezone(zone_info(zone)) for bound in (window.start, window.end))
    first, after = first_pass(start), _after_repetition(end)
    return first.astimezone(UTC), after.astimezone(UTC)


def _repetition(local: datetime) -> timedelta:
    """How long the clocks go back around this time; zero where it occurs once."""
    earlier, later = (local.replace(fold=fold).utcoffset() for fold in (0, 1))
    assert earlier is not None and later is not None
    return max(earlier - later, timedelta())


def first_pass(local: datetime) -> datetime:
    """Where the repeated times begin, if this is one of them; else the time itself."""
    if not _repetition(local):
        return local
    change = _change(local)
    return (change - _repetition(local)).replace(fold=0)


def _after_repetition(local: datetime) -> datetime:
    """The first time after the repeated ones, if this is one of them but not their very first."""
    repeated = _repetition(local)
    if not repeated or (local.fold == 0 and local == first_pass(local)):
        return local
    return _change(local)


def _change(local: datetime) -> datetime:
    """The wall-clock time at which the clocks go back, for a time that occurs twice."""
    zone, repeated = local.tzinfo, _repetition(local)
    assert zone is not None
    first = local.replace(fold=0, microsecond=0).astimezone(UTC)
    # The change is within the repetition.
    change = _offset_change(first, first + repeated + timedelta(seconds=1), zone)
    return change.astimezone(zone).replace(fold=0) + repeated


def _offset_change(start: datetime, end: datetime, zone: tzinfo) -> datetime:
    """The first whole second, of two moments' between, whose offset is not the start's."""
    before = start.astimezone(zone).utcoffset()
    low, high = 0, int((end - start).total_seconds())
    while high - low > 1:
        middle = (low + high) // 2
        same = (start + timedelta(seconds=middle)).astimezone(zone).utcoffset() == before
        low, high = (middle, high) if same else (low, middle)
    return start + timedelta(seconds=high)


def repeated_times(start: datetime, end: datetime, zone: str) -> tuple[RepeatedTimes, ...]:
    """The wall-clock times that a zone has twice, where its clocks go back between two moments.

    Args:
        start: The first moment, aware; before 1970 nothing is looked for.
        end: The last moment, aware.
        zone: The zone.

    Returns:
        The stretches, without a zone, in order of time: mostly one of an hour for each year.
    """
    clock, one_second = zone_info(zone), timedelta(seconds=1)
    last = on_clock(end, UTC)
    # A second early, so that a change at the very start is one.
    one = max(on_clock(start, UTC), _FIRST_LOOKED_AT).replace(microsecond=0) - one_second
    found = []
    while one < last:
        other = min(clamped(one, timedelta(days=1)), last)
        before, after = (on_clock(each, clock).utcoffset() for each in (one, other))
        assert before is not None and after is not None
        if after < before:
            until = other.replace(microsecond=0)
            begin = _offset_change(one, until, clock).astimezone(clock).replace(tzinfo=None, fold=0)
            found.append((begin, begin + (before - after)))
        one = other
    return tuple(found)


def union(stretches: Iterable[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """Stretches `[start, end)` in order, those that touch or overlap as one.

    None begins before all, and ends after all.
    """
    joined: list[tuple[Any, Any]] = []
    for start, end in sorted(stretches, key=lambda each: (each[0] is not None, each[0])):
        if joined and (start is None or joined[-1][1] is None or start <= joined[-1][1]):
            first, last = joined[-1]
            joined[-1] = first, None if last is None or end is None else max(last, end)
        else:
            joined.append((start, end))
    return joined
