"""Coverage: which stretches of a table's time are loaded, failed or missing.

It is worked out from what happened, the receipts and the failures, and from nothing else. The last
thing that happened to a moment tells its status: a window that failed after it had been loaded is
failed until it is loaded again.

A receipt tells of what the source held when it was read, and no more: a window that was read
before it was over, or before what commits late had settled, is loaded up to the receipt's
`complete_until`. A full copy has loaded everything up to then, a watermark everything from its
lower bound on. What a receipt of status `void` comes after is not there any more.
"""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from itertools import pairwise

from ferry.receipts.failures import Failure
from ferry.receipts.read_as import by_another_cursor, read_otherwise, replaced_others
from ferry.receipts.receipt import LOADED, VOID, TimeOfReceipt
from ferry.specs.tables import TableSpec
from ferry.windows import Window

ALWAYS = datetime.min.replace(tzinfo=UTC)
"""The start of what has none: a full copy."""


class Status(StrEnum):
    """What is known of a stretch of time of a table."""

    LOADED = "loaded"
    FAILED = "failed"
    MISSING = "missing"
    DRIFTED = "drifted"  # loaded, and not as the source has it when it was compared since


@dataclass(frozen=True)
class Event:
    """Something that happened to a stretch of a table's time.

    Attributes:
        start: First moment, in UTC.
        end: First moment after it.
        at: When it happened.
        loaded: Whether the rows arrived.
        void: Whether it takes back what was loaded before it.
        reason: Why they did not arrive, or are not there any more.
        read_until: Up to when all that the source had written of it was read; None if none was.
    """

    start: datetime
    end: datetime
    at: datetime
    loaded: bool
    void: bool = False
    reason: str = ""
    read_until: datetime | None = None


@dataclass(frozen=True)
class Standing:
    """How one window stands.

    Attributes:
        status: Loaded as a whole; failed, if any of it is; else missing.
        at: When that happened; None if nothing did.
        reason: Why it failed, or how much of it is missing; empty for loaded.
    """

    status: Status
    at: datetime | None = None
    reason: str = ""


class Coverage:
    """The last event for each moment of a table's time."""

    def __init__(self, events: Iterable[Event]) -> None:
        self._segments = _last_wins(list(events))
        self._starts = [start for start, _, _ in self._segments]

    @property
    def loaded(self) -> list[tuple[datetime, datetime]]:
        """The stretches of time that are loaded, in order; what has no start begins at `ALWAYS`."""
        return [(start, end) for start, end, event in self._segments if event.loaded]

    @property
    def read_until(self) -> datetime | None:
        """Up to when what is loaded was read, the last of it; None if nothing is."""
        read = (event.read_until for _, _, event in self._segments if event.loaded)
        return max((until for until in read if until), default=None)

    def of(self, window: Window) -> Standing:
        """How the window stands."""
        start, end = window.start.astimezone(UTC), window.end.astimezone(UTC)
        covered = start
        last: Event | None = None
        failed: Event | None = None
        void: Event | None = None
        for index in range(max(0, bisect_right(self._starts, start) - 1), len(self._segments)):
            begins, ends, event = self._segments[index]
            if begins >= end:
                break
            if ends <= start:
                continue
            if event.void:
                void = event
                continue
            last = event if last is None or event.at > last.at else last
            if not event.loaded and (failed is None or event.at > failed.at):
                failed = event
            if begins <= covered:
                covered = max(covered, ends)
        if failed:
            return Standing(Status.FAILED, failed.at, failed.reason)
        if last and covered >= end:
            return Standing(Status.LOADED, last.at)
        if void:
            return Standing(Status.MISSING, void.at, void.reason)
        return Standing(Status.MISSING, reason="a part of it is loaded" if last else "")


def _last_wins(events: list[Event]) -> list[tuple[datetime, datetime, Event]]:
    """The events cut so that none overlap, in order of time; the later event hides the earlier."""
    by_start = sorted(events, key=lambda event: event.start)
    bounds = sorted({event.start for event in events} | {event.end for event in events})
    open_events: list[tuple[float, bool, int, Event]] = []
    segments: list[tuple[datetime, datetime, Event]] = []
    begun = 0
    for start, end in pairwise(bounds):
        while begun < len(by_start) and by_start[begun].start <= start:
            event = by_start[begun]
            heapq.heappush(open_events, (-event.at.timestamp(), not event.void, begun, event))
            begun += 1
        while open_events and open_events[0][3].end <= start:
            heapq.heappop(open_events)
        if open_events:
            event = open_events[0][3]
            if segments and segments[-1][2] is event:
                segments[-1] = (segments[-1][0], end, event)
            else:
                segments.append((start, end, event))
    return segments


def loaded_event(
    receipt: TimeOfReceipt, cursor: str | None = None, spec: TableSpec | None = None
) -> Event | None:
    """What a receipt tells; None if it tells of no time, as a watermark over ids does.

    A part of a window is none of it loaded: nothing tells which part.

    Args:
        receipt: The receipt.
        cursor: The cursor that the table has now. Windows that were read by another one do not
            count: what is in them by the one may be in others by the other. None if it is not
            known.
        spec: The table's spec. Neither do windows that were read as it does not say any more
            (`ferry.receipts.read_as`); by another key or of another table, they may have replaced
            rows of all that was carried before, too. None to count them.
    """
    if receipt.status == VOID:
        until = receipt.finished_at.astimezone(UTC)
        return Event(ALWAYS, until, until, loaded=False, void=True, reason=receipt.window_label)
    if receipt.status != LOADED:
        return None
    until = receipt.complete_until or receipt.started_at
    if receipt.mode == "window":
        assert receipt.window_start is not None and receipt.window_end is not None
        start, end = receipt.window_start, min(receipt.window_end, until)
    elif receipt.window_start is not None:  # a watermark of times
        start, end = receipt.window_start, until
    elif receipt.window_label == receipt.mode:  # all of it
        start, end = ALWAYS, until
    else:
        return None
    otherwise = read_as_not_now(receipt, cursor, spec)
    if spec and replaced_others(receipt.read_as, spec):
        start, end = ALWAYS, receipt.finished_at
    return Event(
        start.astimezone(UTC) if start is not ALWAYS else start,
        end.astimezone(UTC),
        receipt.finished_at,
        loaded=not otherwise,
        void=bool(otherwise),
        reason=otherwise,
        read_until=until,
    )


def read_as_not_now(receipt: TimeOfReceipt, cursor: str | None, spec: TableSpec | None) -> str:
    """In what a receipt's rows were read otherwise than its table is now; empty if in nothing.

    Args:
        receipt: The receipt.
        cursor: The cursor that the table has now; None if it is not known.
        spec: The table's spec; None to compare the cursor alone.
    """
    return by_another_cursor(receipt.cursor_name, cursor) or (
        read_otherwise(receipt.read_as, spec, cursor=receipt.cursor_name) if spec else ""
    )


def failed_event(failure: Failure) -> Event | None:
    """What a failure tells; None if it tells of no window."""
    if failure.window_start is None or failure.window_end is None:
        return None
    return Event(
        failure.window_start.astimezone(UTC),
        failure.window_end.astimezone(UTC),
        failure.failed_at,
        loaded=False,
        reason=failure.text,
    )


def events_of(
    receipts: Iterable[TimeOfReceipt],
    failures: Iterable[Failure],
    cursor: str | None,
    spec: TableSpec | None,
) -> list[Event]:
    """What the receipts and the failures of one table tell of times, as `loaded_event` does."""
    loads = [loaded_event(receipt, cursor, spec) for receipt in receipts]
    events = [event for event in (*loads, *map(failed_event, failures)) if event]
    # A void is of all that was told before, also where the source's clock is ahead of the worker's.
    latest = max((event.end for event in events), default=None)
    return [
        replace(event, end=max(event.end, latest))
        if latest and event.void and event.start is ALWAYS
        else event
        for event in events
    ]


def coverage_of(
    receipts: Iterable[TimeOfReceipt],
    failures: Iterable[Failure],
    cursor: str | None = None,
    spec: TableSpec | None = None,
) -> Coverage:
    """The coverage of one table, from all of its receipts and failures, as `loaded_event` says."""
    return Coverage(events_of(receipts, failures, cursor, spec))
