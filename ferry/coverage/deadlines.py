"""Deadlines: whether a table is loaded by the time that its spec says, `due: "09:30"`.

It is judged from receipts and from nothing else, so that it catches whatever went wrong: a run that
failed, one that was never made, a worker that takes none. A day that is there stays so when a later
run of it fails, which has a message of its own; of one that is not, the failure is the reason.

At 09:30 in the table's zone, a table in mode `window` has to have loaded the whole day before,
every hour of it where it is carried hourly; one in mode `full` or `watermark` has to have a receipt
of the day that has begun that counts for all of it (`ferry.coverage.whole`). A
receipt is dated by its worker's clock, which may be days ahead: so what it landed has to have been
read, by the source's clock, in that day or not long before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum

from ferry.coverage.standings import Status, coverage_of
from ferry.coverage.whole import whole_loads
from ferry.receipts.failures import Failure
from ferry.receipts.receipt import VOID, TimeOfReceipt
from ferry.specs.due_time import due_moment
from ferry.specs.tables import TableSpec
from ferry.windows import day_window, local_midnight, zone_info

ONE_DAY = timedelta(days=1)
BEGUN_BEFORE = timedelta(hours=12)
"""A copy that lands in a day may have been begun so long before it."""

KEPT_DAYS = 14
"""A table that is late is waited for so long, to be told that it has arrived after all."""


class DeadlineState(StrEnum):
    """What is known, and was told, of one deadline."""

    KEPT = "kept"
    LATE = "late"
    ARRIVED = "arrived"


@dataclass(frozen=True)
class Deadline:
    """A table, and what has to be there by when.

    Attributes:
        spec: The table's spec.
        day: The day on which it is due, in the table's zone.
        due_at: The moment, in UTC.
    """

    spec: TableSpec
    day: date
    due_at: datetime

    @property
    def key(self) -> str:
        """What tells it from all others, in the letters that the name of a claim can have."""
        schema, name = self.spec.target_schema, self.spec.name
        table = f"{len(schema)}_{schema}_{name}".replace("$", "_dollar_")
        return f"due_{table}_{self.day:%Y_%m_%d}"

    @property
    def business_day(self) -> date:
        """The day whose rows a window carries."""
        return self.day - ONE_DAY


@dataclass(frozen=True)
class Arrival:
    """Whether what a deadline asks for is there.

    Attributes:
        there: Whether it is.
        last_receipt: When the table's last receipt was written; None if it has none.
        reason: Why it is not there, if that is known.
    """

    there: bool
    last_receipt: datetime | None
    reason: str = ""


def last_deadline(spec: TableSpec, now: datetime) -> Deadline | None:
    """The table's last deadline that has passed; None if nothing is due by then.

    Args:
        spec: The table's spec.
        now: What tells which has passed.
    """
    if spec.due is None:
        return None
    day = now.astimezone(zone_info(spec.zone)).date()
    due_at = due_moment(day, spec.due, spec.zone)
    if due_at > now:
        day -= ONE_DAY
        due_at = due_moment(day, spec.due, spec.zone)
    deadline = Deadline(spec, day, due_at)
    return None if spec.start_date and deadline.business_day < spec.start_date else deadline


def deadlines_to_judge(
    spec: TableSpec, now: datetime, told: Mapping[str, DeadlineState]
) -> list[Deadline]:
    """The deadlines of a table of which something may have to be told, the oldest first.

    What was there in time is not asked for again, so that the warehouse is left in peace. Of
    windows, which have a day each, those that passed while nobody could judge are judged as well.

    Args:
        spec: The table's spec.
        now: What tells which have passed.
        told: What was told before, by the deadlines' keys.
    """
    last = last_deadline(spec, now)
    if last is None or spec.due is None:
        return []
    days = (last.day - number * ONE_DAY for number in range(KEPT_DAYS, -1, -1))
    found = [Deadline(spec, day, due_moment(day, spec.due, spec.zone)) for day in days]
    judged = [each.day for each in found if each.key in told]
    unjudged_from = last.day if spec.mode != "window" or not judged else max(judged) + ONE_DAY
    return [
        each
        for each in found
        if told.get(each.key) is DeadlineState.LATE
        or (each.key not in told and each.day >= unjudged_from)
    ]


def arrival(
    deadline: Deadline,
    receipts: Sequence[TimeOfReceipt],
    failures: Sequence[Failure] = (),
    cursor: str | None = None,
) -> Arrival:
    """Whether what the deadline asks for is there by now.

    Args:
        deadline: The table and its day.
        receipts: All receipts of the table.
        failures: What did not arrive: it tells why, and takes back nothing that did.
        cursor: The cursor that the table has now, if that is known.
    """
    spec = deadline.spec
    last = max((each.finished_at for each in receipts if each.status != VOID), default=None)
    if spec.mode == "window":
        day = day_window(deadline.business_day, spec.zone)
        if coverage_of(receipts, (), cursor, spec).of(day).status is Status.LOADED:
            return Arrival(True, last)
        return Arrival(False, last, coverage_of(receipts, failures, cursor, spec).of(day).reason)
    midnight = local_midnight(deadline.day, spec.zone)
    read_since = midnight - BEGUN_BEFORE
    loads = whole_loads(receipts, spec, cursor)
    there = any(
        each.finished_at >= midnight and (each.read_at is None or each.read_at >= read_since)
        for each in loads.counting
    )
    return Arrival(there, last, "" if loads.counting else loads.void)


def next_state(before: DeadlineState | None, arrived: Arrival) -> DeadlineState | None:
    """What is to be noted of a deadline that has passed, and told unless it was kept.

    Args:
        before: What was noted of it before.
        arrived: Whether what it asks for is there.

    Returns:
        None if nothing has changed.
    """
    if arrived.there:
        if before is None:
            return DeadlineState.KEPT
        return DeadlineState.ARRIVED if before is DeadlineState.LATE else None
    return DeadlineState.LATE if before is None else None
