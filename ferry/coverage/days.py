"""The days of a table: how each of them stands, and which belong together.

A day is whole or it is not: the day of a table that is carried every hour is loaded when all its
hours are. Days that are not over, and days before the table's first, are not told.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from types import MappingProxyType

from ferry.coverage.standings import ALWAYS, Coverage, Event, Standing, Status, events_of
from ferry.coverage.whole import last_whole_failure, whole_loads
from ferry.errors import RequestError
from ferry.receipts.failures import Failure
from ferry.receipts.read_as import by_another_cursor
from ferry.receipts.receipt import TimeOfReceipt
from ferry.schema import NUMBERS, Kind
from ferry.specs.tables import TableSpec
from ferry.windows import Window, day_windows, on_clock, zone_info

ONE_DAY = timedelta(days=1)
EPOCH_DAY = date(1970, 1, 1)
"""No day before it is told of, unless the table's `start_date` says so."""


@dataclass(frozen=True)
class DayAudit:
    """What `reconcile` found when it compared a day last.

    Attributes:
        at: When that was.
        found: What differed, for people; empty if nothing did.
    """

    at: datetime
    found: str = ""


Audits = Mapping[tuple[datetime, datetime], DayAudit]
"""By the first moment of what was compared, a day or several, and the first after it."""


@dataclass(frozen=True)
class Day:
    """One day of a table, and how it stands.

    Attributes:
        day: The day.
        standing: How it stands; drifted, if it is loaded and differed when it was compared since.
        audited_at: When it was compared with the source last; None if it never was.
    """

    day: date
    standing: Standing
    audited_at: datetime | None = None


@dataclass(frozen=True)
class Stretch:
    """Days that follow on one another and stand alike.

    Attributes:
        first: The first of them.
        last: The last of them, which is in it.
        status: How they stand.
        reason: Why.
    """

    first: date
    last: date
    status: Status
    reason: str

    @property
    def days(self) -> int:
        """How many they are."""
        return (self.last - self.first).days + 1

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first} to {self.last}"


@dataclass(frozen=True)
class TableTotals:
    """How a table stands, without its days: of thousands of tables they are millions.

    Attributes:
        spec: The table's spec.
        counts: How many days are told of each status.
        first: The first of them; None where there are none.
        last: The last of them.
        newest_gap: The last of them that are missing or failed; None where none are.
        instead: What is told of a table that has no days.
        whole: How a table that has no days stands itself; None for others.
    """

    spec: TableSpec
    counts: Mapping[Status, int]
    first: date | None
    last: date | None
    newest_gap: Stretch | None
    instead: str
    whole: Status | None = None

    def count(self, status: Status) -> int:
        """How many of the days stand so."""
        return self.counts.get(status, 0)

    def __str__(self) -> str:
        name, days = self.spec.name, sum(self.counts.values())
        if self.instead:
            return f"{name}: {self.instead}"
        missing, failed = self.count(Status.MISSING), self.count(Status.FAILED)
        drifted = self.count(Status.DRIFTED)
        also = f", {drifted:,} drifted" if drifted else ""
        if missing or failed:
            return f"{name}: {_days(missing)} missing, {failed:,} failed{also} of {days:,}"
        return f"{name}: {_days(days)} loaded{also}" if days else f"{name}: no days yet"


@dataclass(frozen=True)
class TableDays:
    """How a table stands, day by day.

    Attributes:
        spec: The table's spec.
        zone: The zone in which its days are counted.
        today: The first day that is not over.
        days: The days that are told, in order of time, without a gap: all that the zone has.
        instead: What is told of a table that has no days: one that is carried in full, or by a
            watermark over ids; or of one that has none in the range asked for. Empty for others.
        whole: How a table stands itself that is carried in full, or by a watermark over ids: failed
            if that happened last, missing if it is void or never was loaded. None for others.
    """

    spec: TableSpec
    zone: str
    today: date
    days: tuple[Day, ...] = ()
    instead: str = ""
    whole: Status | None = None

    def count(self, status: Status) -> int:
        """How many of the days stand so."""
        return Counter(each.standing.status for each in self.days)[status]

    def within(self, start: date | None, end: date | None) -> TableDays:
        """The same with just the days in `[start, end)`; None leaves that side open."""
        chosen = tuple(
            each
            for each in self.days
            if (start is None or start <= each.day) and (end is None or each.day < end)
        )
        why = self.instead or ("" if chosen else self._why_none(start, end))
        return replace(self, days=chosen, instead=why)

    def _why_none(self, start: date | None, end: date | None) -> str:
        """Why there is no day in `[start, end)`; empty where there is none at all, yet."""
        first = self.days[0].day if self.days else self.spec.start_date
        if end and first and end <= first:
            return f"that range is before its first day, {first}"
        return "no day of that range is over" if start and (start >= self.today or first) else ""

    def to_repair(self) -> list[Stretch]:
        """The days that are missing or failed, joined where they follow on one another."""
        return self._joined(Status.MISSING, Status.FAILED)

    def drifted(self) -> list[Stretch]:
        """The days that have drifted, joined where they follow on one another."""
        return self._joined(Status.DRIFTED)

    def _joined(self, *wanted: Status) -> list[Stretch]:
        found: list[Stretch] = []
        for each in self.days:
            status, reason = each.standing.status, each.standing.reason
            if status not in wanted:
                continue
            before = found[-1] if found else None
            if before and (before.last + ONE_DAY, before.status, before.reason) == (
                each.day,
                status,
                reason,
            ):
                found[-1] = Stretch(before.first, each.day, status, reason)
            else:
                found.append(Stretch(each.day, each.day, status, reason))
        return found

    @property
    def totals(self) -> TableTotals:
        """What is kept of it while other tables are told."""
        gaps, days = self.to_repair(), self.days
        return TableTotals(
            self.spec,
            Counter(each.standing.status for each in days),
            first=days[0].day if days else None,
            last=days[-1].day if days else None,
            newest_gap=gaps[-1] if gaps else None,
            instead=self.instead,
            whole=self.whole,
        )

    def __str__(self) -> str:
        return str(self.totals)


def gaps_first(table: TableTotals) -> list[tuple[bool, int]]:
    """Sorts tables: with failed days first, then with missing ones, then with drifted.

    Before those with such days are those that stand so as a whole.
    """
    worst_first = (Status.FAILED, Status.MISSING, Status.DRIFTED)
    return [(table.whole is not each, -table.count(each)) for each in worst_first]


def _days(count: int) -> str:
    return "1 day" if count == 1 else f"{count:,} days"


def table_days(
    spec: TableSpec,
    receipts: Sequence[TimeOfReceipt],
    failures: Sequence[Failure],
    *,
    zone: str,
    now: datetime,
    cursor: str | None = None,
    cursor_kind: Kind | None = None,
    start: date | None = None,
    audits: Audits = MappingProxyType({}),
) -> TableDays:
    """How each day of the table stands, up to the last one that is over.

    Args:
        spec: The table's spec. Its `start_date` is its first day, else the first that has a
            receipt or a failure.
        receipts: All its receipts.
        failures: Its failures, at least the last of each window.
        zone: The zone in which days are counted.
        now: What tells which days are over: a run's scheduled start.
        cursor: The cursor that the table has now, if that is known.
        cursor_kind: Of which kind it is, if the target has it.
        start: Tell of the days from here on, too, if that is not before the spec's `start_date`.
        audits: What was found when days were compared with the source.

    Raises:
        RequestError: `start` is before 1970, and the spec names no first day; or a day is where
            the calendar ends. No retry helps.
    """
    today = now.astimezone(zone_info(zone)).date()
    if spec.mode == "full" or _has_no_days(spec, receipts, cursor, cursor_kind):
        whole, line = _instead(spec, receipts, failures, cursor)
        return TableDays(spec, zone, today, instead=line, whole=whole)
    if start and start < EPOCH_DAY and not spec.start_date:  # a typo would be very many days
        raise RequestError(
            "coverage tells no day so long ago",
            table=str(spec.target),
            expected=f"a start_date from {EPOCH_DAY} on",
            found=start,
            todo="Correct the dates, or say in the table's spec from which day on it has rows.",
        )
    events = events_of(receipts, failures, cursor, spec)
    firsts = [spec.start_date] if spec.start_date else [start, _first_day(events, zone)]
    first = min((day for day in firsts if day), default=today)
    coverage = Coverage(events)
    windows = day_windows(first, today, zone)
    compared = _by_day(audits, windows)
    return TableDays(
        spec, zone, today, tuple(_day(window, coverage, compared) for window in windows)
    )


def _by_day(audits: Audits, days: Sequence[Window]) -> dict[date, DayAudit]:
    """What was found of each day last: of several days that were equal together, each was."""
    found: dict[date, DayAudit] = {}
    if not audits:
        return found
    # In UTC: two clocks never agree on a midnight that a zone has twice.
    starts = [day.start.astimezone(UTC) for day in days]
    ends = [day.end.astimezone(UTC) for day in days]
    for (start, end), audit in audits.items():
        first, after = bisect_left(starts, start), bisect_right(ends, end)
        if audit.found and (starts[first:after], ends[first:after]) != ([start], [end]):
            continue  # its days tell which of them differ
        for day in (window.start.date() for window in days[first:after]):
            if day not in found or found[day].at < audit.at:
                found[day] = audit
    return found


def _day(window: Window, coverage: Coverage, compared: Mapping[date, DayAudit]) -> Day:
    day, standing = window.start.date(), coverage.of(window)
    audit = compared.get(day)
    if audit is None:
        return Day(day, standing)
    since = standing.at is None or audit.at > standing.at
    if audit.found and since and standing.status is Status.LOADED:
        standing = Standing(Status.DRIFTED, standing.at, audit.found)
    return Day(day, standing, audit.at)


def goes_by_no_time(spec: TableSpec, cursor: Kind) -> bool:
    """Whether its watermark is no moment, as over ids or dates: its receipts tell no days."""
    no_moment = cursor is Kind.DATE or cursor in NUMBERS
    return spec.mode == "watermark" and not spec.cursor_unit and no_moment


def _has_no_days(
    spec: TableSpec, receipts: Iterable[TimeOfReceipt], cursor: str | None, kind: Kind | None
) -> bool:
    """The same, also where no target tells of which kind the cursor is: then by what it carried."""
    if kind is not None:
        return goes_by_no_time(spec, kind)
    return spec.mode == "watermark" and any(
        receipt.mode == "watermark"
        and receipt.window_start is None
        and receipt.window_label != receipt.mode
        and not by_another_cursor(receipt.cursor_name, cursor)
        for receipt in receipts
    )


def _instead(
    spec: TableSpec,
    receipts: Sequence[TimeOfReceipt],
    failures: Sequence[Failure],
    cursor: str | None,
) -> tuple[Status, str]:
    """How a table without days stands, and the line that is told of it."""
    what = "full" if spec.mode == "full" else "watermark without a time"
    loads = whole_loads(receipts, spec, cursor)
    failed = last_whole_failure(failures, spec)
    if loads.last is None:
        status, line = Status.MISSING, f"{what}: never loaded as a whole"
    else:
        line = f"{what}: last loaded {_moment(loads.last.finished_at)}"
        status = Status.LOADED if loads.counting else Status.MISSING
        line += "" if loads.counting else f"; {loads.void}"
    if failed and (loads.last is None or failed.failed_at > loads.last.finished_at):
        status = Status.FAILED
        line += f"; failed {_moment(failed.failed_at)}: {failed.text}"
    return status, line


def _moment(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _first_day(events: Iterable[Event], zone: str) -> date | None:
    """The first day that anything tells of; for a full copy, the last that it holds as a whole.

    A lowest date of an application's own, such as 0001-01-01, makes no two thousand years of days.
    """
    local = zone_info(zone)
    days = (
        event.end.astimezone(local).date() - ONE_DAY
        if event.start is ALWAYS
        else on_clock(event.start, local).date()
        for event in events
        if not (event.void and event.start is ALWAYS)
    )
    first = min(days, default=None)
    return first and max(first, EPOCH_DAY)
