"""Repairing a table that differs from its source: by the ordinary road, with receipts."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date

from prefect import Task
from prefect.runtime import flow_run

from ferry.audits.buckets import day_of
from ferry.audits.outcome import Audit, AuditedBucket, Difference, DifferentRow
from ferry.backfills.outcomes import Outcome, failed_lines, failures_of, receipts_of
from ferry.backfills.plan import check_table
from ferry.batch import Batch
from ferry.bounded import first_of
from ferry.coverage.days import ONE_DAY
from ferry.day_ranges import DayRange, split_days
from ferry.errors import RequestError
from ferry.reasons import reason_of
from ferry.receipts.receipt import Receipt
from ferry.specs.chosen import full_copy
from ferry.specs.tables import TableSpec
from ferry.windows import Window
from flows.pipeline.carry_batch import carry
from flows.pipeline.carry_many import carry_many, window_batches
from flows.pipeline.make_batch import Dates, Route, make_batch, scheduled_start
from flows.pipeline.tidy import tidied
from tasks.audits.compare_table import compare_again
from tasks.audits.prepare_repair import prepare_repair
from tasks.audits.remove import realign, remove_rows
from tasks.audits.sides import Sides
from tasks.landed.history import read_run
from tasks.pages.audit import command_line
from tasks.pages.progress import WindowsProgress
from tasks.step import known, with_retries

MAX_WINDOWS_AT_ONCE = 4
MAX_DAYS = 10
"""Of those that would be emptied, so many are named."""

EARLIEST_DAY, LATEST_DAY = date(2, 1, 1), date(9998, 12, 31)


@dataclass
class Repaired:
    """What a repair has done to a table.

    Attributes:
        table: The target, as the warehouse names it.
        windows: How many windows were carried again; a full copy is one.
        removed: How many rows were marked or deleted.
        aligned: How many rows were given the source's version, or lost a mark, to be carried again.
        marked: Whether they were marked.
        equal: Whether nothing differs any more; None where it could not be compared again.
        reasons: Why something could not be repaired.
    """

    table: str
    windows: int = 0
    removed: int = 0
    aligned: int = 0
    marked: bool = False
    equal: bool | None = None
    reasons: list[str] = field(default_factory=list)

    @property
    def changed(self) -> bool:
        """Whether anything was done."""
        return bool(self.windows or self.removed or self.aligned)

    def __str__(self) -> str:
        windows = "1 window" if self.windows == 1 else f"{self.windows:,} windows"
        line = f"{self.table}: {windows} carried again"
        if self.removed:
            rows = "deletion" if self.removed == 1 else "deletions"
            line += f", {self.removed:,} {rows} {'marked' if self.marked else 'applied'}"
        if self.equal is None:
            return f"{line}; not compared again"
        return f"{line}; compared again: {'equal' if self.equal else 'still different'}"


def repair_table(
    spec: TableSpec, audit: Audit, route: Route, zone: str, *, remove: bool, limit: int
) -> tuple[Repaired, Audit]:
    """Repair what an audit has found, and compare again what differed; call it inside a flow.

    Killed in its middle, it is the same as a repair that has not been: what differs is found again.

    Args:
        spec: The table's spec.
        audit: What was found.
        route: The table's blocks.
        zone: The zone in which its days are counted.
        remove: Whether rows that the source has no more are marked or deleted, as the spec says.
        limit: The most percent of the target's rows that may be.

    Returns:
        What was done, and what both sides are then.

    Raises:
        FerryError: A side cannot be asked, or the repair is refused. Nothing was changed. What
            fails later is one of the reasons, with what has been done by then; so are days that
            would be emptied, with a limit below 100.
    """
    done = Repaired(audit.table, marked=spec.hard_deletes == "mark")
    removes = remove and spec.hard_deletes != "report"
    kept = [] if spec.mode == "full" or limit >= 100 else _kept(audit)
    repairing = _without(audit, kept)
    to_carry = _windows(spec, repairing, zone)
    to_take_out, of_them_estimated = 0, 0
    if to_carry is None:  # a full copy also takes out what the source has no more
        _refuse_partial(spec, audit)
        of_them_estimated = audit.unclassified_extra
        to_take_out = len(audit.different_rows(Difference.EXTRA)) + of_them_estimated
    elif removes:
        to_take_out = len(repairing.different_rows(Difference.EXTRA))
    sides = with_retries(prepare_repair, spec)(
        spec,
        route.source,
        route.warehouse,
        carries=bool(to_carry),
        to_take_out=to_take_out,
        of_them_estimated=of_them_estimated,
        limit=limit,
        command=command_line(spec, repairing),
    )
    try:
        _apply(sides, repairing, to_carry, removes, route, done)
    except Exception as error:  # noqa: BLE001  # what has landed by then is followed, and told
        done.reasons.append(reason_of(known(error, table=audit.table)))
    if kept and (removes or any(row.ahead for bucket in kept for row in bucket.rows)):
        done.reasons.append(reason_of(_not_emptied(spec, audit, kept)))
    try:
        again = with_retries(compare_again, spec)(
            sides, audit, route.warehouse, flow_run_id=str(flow_run.id)
        )
    except Exception as error:  # noqa: BLE001  # what was repaired has landed, and is told
        done.reasons.append(reason_of(known(error, table=audit.table)))
        return done, audit
    done.equal = not again.different and not again.left
    return done, again


def _kept(audit: Audit) -> list[AuditedBucket]:
    """The days that are left as they are, unless all of a table's rows may be taken out."""
    return [bucket for bucket in audit.different if bucket.window and bucket.loses_all]


def _without(audit: Audit, kept: Sequence[AuditedBucket]) -> Audit:
    """What was found, without some buckets; their rows stand in an older day's, too.

    Of a bucket that was not looked at row by row nobody knows which these are: where the source has
    older versions of some, no row of another day is set back.
    """
    keys = {row.key for bucket in kept for row in bucket.rows}
    unknown = any(each.unclassified and any(row.ahead for row in each.rows) for each in kept)

    def rows(bucket: AuditedBucket) -> tuple[DifferentRow, ...]:
        return tuple(
            row
            for row in bucket.rows
            if row.key not in keys and not (unknown and (row.ahead or row.marked))
        )

    buckets = [replace(each, rows=rows(each)) for each in audit.buckets if each not in kept]
    return replace(audit, buckets=tuple(buckets))


def _refuse_partial(spec: TableSpec, audit: Audit) -> None:
    """Refuse to copy a table as a whole of which only a part was compared.

    Raises:
        RequestError: Nobody knows what the copy would take out. Nothing was changed.
    """
    if audit.left or any(bucket.window for bucket in audit.buckets):
        raise RequestError(
            "a table in mode full is repaired as a whole, and only a part of it was compared",
            table=str(spec.target),
            todo="Nothing was changed. Leave the dates out.",
        )


def _not_emptied(spec: TableSpec, audit: Audit, kept: Sequence[AuditedBucket]) -> RequestError:
    """That days are left as they are of which the source shows no row.

    It may be passing, as of a replica that lags or a partition that is being filled again; and
    nobody would carry them again.
    """
    rows = sum(bucket.target.rows for bucket in kept)
    # The source has some of a day of which too much differs to be looked at row by row.
    partly = any(bucket.unclassified and bucket.source.rows for bucket in kept)
    nothing = "none of the rows that were looked at" if partly else "nothing"
    labels = ", ".join(first_of([bucket.label for bucket in kept], MAX_DAYS))
    again = command_line(spec, replace(audit, buckets=tuple(kept)))
    return RequestError(
        "days of the target would lose all their rows unasked, or get older versions, and are left",
        expected="some rows of each day at the source, or `max_delete_percent` of 100",
        found=f"{nothing} at the source of {labels}, of which the target has {rows:,} rows",
        todo="Look whether the source is what it should be: its replica may lag, a partition be "
        "about to be filled again. If these rows are deleted for good: "
        f"{again} --param max_delete_percent=100",
    )


def _apply(
    sides: Sides,
    audit: Audit,
    to_carry: list[Window] | None,
    removes: bool,
    route: Route,
    done: Repaired,
) -> None:
    """Change what differs, and note in `done` what was, one after the other."""
    for bucket in audit.different:
        # Carrying them again would not replace them: their versions are newer than the source's.
        changed = [row for row in bucket.rows if row.how is Difference.CHANGED]
        if ahead := [row for row in changed if row.ahead or row.marked]:
            done.aligned += _change(realign, sides, bucket, ahead, route)
    outcomes = _carry(sides.spec, audit, to_carry, route)
    done.windows = len(receipts_of(outcomes))
    done.reasons += failed_lines(failures_of(outcomes))
    for bucket in audit.different if removes else ():
        if rows := [row for row in bucket.rows if row.how is Difference.EXTRA]:
            done.removed += _change(remove_rows, sides, bucket, rows, route)


def _change(
    step: Task[..., Receipt | None],
    sides: Sides,
    bucket: AuditedBucket,
    rows: Sequence[DifferentRow],
    route: Route,
) -> int:
    """How many rows of the bucket a step has changed."""
    receipt = with_retries(step, sides.spec)(
        sides,
        bucket,
        rows,
        route.warehouse,
        flow_run_id=str(flow_run.id),
        batch_id=str(uuid.uuid4()),
    )
    return receipt.changed if receipt else 0


def _carry(
    spec: TableSpec, audit: Audit, to_carry: list[Window] | None, route: Route
) -> list[Outcome]:
    """Carry again what has rows that are missing or changed."""
    if to_carry is None:
        with tidied(spec, route.stage, route.warehouse):
            return [Outcome(audit.table, None, carry(_full_copy(spec, route), route))]
    if not to_carry:
        return []
    batches = [
        replace(batch, again=flow_run.run_count, compared=True)
        for batch in window_batches(spec, to_carry, str(flow_run.id), scheduled_start())
    ]
    one_by_one = batches[0].overwrites_newer
    with (
        tidied(spec, route.stage, route.warehouse),
        WindowsProgress(f"repair {spec.target}", "repair-progress", len(batches)) as progress,
    ):
        return carry_many(
            batches,
            route,
            at_once=1 if one_by_one else MAX_WINDOWS_AT_ONCE,
            report=progress.report,
        )


def _full_copy(spec: TableSpec, route: Route) -> Batch:
    """The copy of the whole table: of all attempts of the run the same one, until it has landed.

    So it goes on from what an earlier attempt has staged (`tasks.staged_pieces`).
    """
    batch, landed = make_batch(spec, Dates(), "full"), 0
    if batch.attempt > 1:
        read = with_retries(read_run, spec)
        history = read(batch.flow_run_id, spec.target, route.warehouse)
        copies = (*history.receipts.values(), *history.void.values())
        landed = sum(copy.mode == "full" for copy in copies)
    return replace(batch, again=1 + landed, compared=True)


def _windows(spec: TableSpec, audit: Audit, zone: str) -> list[Window] | None:
    """The windows to carry again; None for a table in mode full, which is copied as a whole.

    Raises:
        RequestError: It has no windows, and a full copy would take out rows unasked.
    """
    if spec.mode == "full":
        return None if audit.different else []
    rows = audit.different_rows(Difference.MISSING, Difference.CHANGED)
    whole = [bucket for bucket in audit.different if bucket.unclassified]
    if not rows and not whole:
        return []
    no_days = any(bucket.window is None for bucket in whole) or any(row.at is None for row in rows)
    times = isinstance(next((row.at for row in rows), date.min), date) or spec.cursor_unit
    if no_days or not times:
        raise RequestError(
            "rows that differ are in no window that could be carried again",
            table=audit.table,
            todo=f"Carry the whole table: {full_copy(spec)}",
        )
    check_table(spec)
    days = {day_of(row.at, spec, zone) for row in rows}
    if not all(EARLIEST_DAY <= day <= LATEST_DAY for day in days):
        raise RequestError(
            "a row that differs has a date that stands for none, and is in no window",
            table=audit.table,
            todo="Repair the days beside it, with start_date and end_date. For the row itself, "
            f"carry the whole table: {full_copy(spec)}",
        )
    found = {
        window.start: window
        for day in days
        for window in split_days(DayRange(day, day + ONE_DAY, zone), "day")
    }
    for bucket in whole:
        assert bucket.window is not None
        found |= {window.start: window for window in split_days(DayRange.of(bucket.window), "day")}
    return [found[start] for start in sorted(found)]
