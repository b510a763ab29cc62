"""Rows of the target that carrying again does not put right: taken out, marked or aligned."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from prefect import task
from prefect.logging import get_run_logger

import ferry
from blocks.warehouse import Warehouse
from ferry import statements as sql
from ferry.audits.changes import align_row, delete_rows, mark_rows
from ferry.audits.classify import by_key
from ferry.audits.outcome import AuditedBucket, DifferentRow
from ferry.errors import CountMismatchError, StaleReadError
from ferry.fingerprints.queries import Row
from ferry.receipts.read_as import read_as
from ferry.receipts.receipt import (
    EMPTIED,
    PARTIAL,
    RECEIPT_COLUMNS,
    RECEIPTS,
    RECONCILE,
    Receipt,
)
from ferry.receipts.table import (
    BEFORE_ALL,
    LandedBefore,
    find_landing,
    read_landed_before,
    void_moment,
    write_receipts,
)
from ferry.statements import Statement
from tasks.audits.compare import chunks
from tasks.audits.sides import End, Sides
from tasks.own_tables import make_missing
from tasks.places.readers import place_among_readers
from tasks.step import STEP, error_context, explains, repeat_on_conflict
from tasks.target.lock import lock_target

ROWS_AT_ONCE = 200
LOOKS = 3
"""How often the source is asked for the rows once more, as batches land meanwhile."""


@task(name="remove", task_run_name="remove {bucket.label} {sides.spec.target}", **STEP)
@explains
def remove_rows(
    sides: Sides,
    bucket: AuditedBucket,
    rows: Sequence[DifferentRow],
    warehouse: Warehouse,
    *,
    flow_run_id: str,
    batch_id: str,
) -> Receipt | None:
    """Take rows that the source has no more out of the target; mark them, where the spec says so.

    In one transaction with a receipt. Safe to repeat: what has landed by the receipt is not done
    again, and what is gone, or marked, is left alone. The rows are looked up at the source once
    more just before: one that is back stays. If a batch of the table lands between that look and
    the lock, it may have brought one back, or another version of it: then they are looked up again.

    Args:
        sides: Both sides of the table.
        bucket: Where the rows are, for the receipt.
        rows: The rows.
        warehouse: Where.
        flow_run_id: The run, for the receipt.
        batch_id: The receipt's, the same in all attempts at this change.

    Returns:
        The receipt; None if there was nothing to do.

    Raises:
        CountMismatchError: More rows than these would have gone; nothing is changed.
        StaleReadError: Batches of the table landed at each look; nothing is changed.
        ConflictError, ConnectionLostError, BusyError, OutcomeUnknownError: A retry may help.
    """
    with error_context(str(sides.spec.target), bucket.label, "remove", warehouse):
        counts_as = "updated" if sides.mark_by else "deleted"
        change = _Change(sides, bucket, flow_run_id, batch_id, counts_as, _still_gone, _removals)
        return _look_and_apply(change, rows, warehouse)


@task(name="realign", task_run_name="realign {bucket.label} {sides.spec.target}", **STEP)
@explains
def realign(
    sides: Sides,
    bucket: AuditedBucket,
    rows: Sequence[DifferentRow],
    warehouse: Warehouse,
    *,
    flow_run_id: str,
    batch_id: str,
) -> Receipt | None:
    """Give rows of the target, which are newer there than at the source, the source's version.

    An upsert never replaces a newer version: after this, carrying them again does. And take the
    mark of a deleted row from one that is at the source again. The rows are looked up once more,
    as by `remove_rows`: the target was asked for them after the source, perhaps, and has what
    landed in between. Arguments, result and errors are those of `remove_rows`.
    """
    with error_context(str(sides.spec.target), bucket.label, "realign", warehouse):
        change = _Change(sides, bucket, flow_run_id, batch_id, "updated", _still_other, _alignments)
        return _look_and_apply(change, rows, warehouse)


@dataclass(frozen=True)
class _Change:
    """What is done to rows of one bucket.

    Attributes:
        sides: Both sides of the table.
        bucket: Where the rows are.
        flow_run_id: The run.
        batch_id: The receipt's.
        counts_as: What it counts as in the receipt.
        still: Of rows that were found to differ, those that do, by what the source has now.
        statements: What changes them; each with how many rows it may touch.
    """

    sides: Sides
    bucket: AuditedBucket
    flow_run_id: str
    batch_id: str
    counts_as: str
    still: Callable[[Sides, Sequence[DifferentRow]], list[DifferentRow]]
    statements: Callable[[Sides, Sequence[DifferentRow]], list[tuple[Statement, int]]]


def _look_and_apply(
    change: _Change, rows: Sequence[DifferentRow], warehouse: Warehouse
) -> Receipt | None:
    """Change what is still to be changed; looked up again when a batch has landed since the look.

    Raises:
        SchemaError: The target's rows cannot be replaced alone. No retry helps.
        StaleReadError: Batches of the table landed at each look; nothing is changed.
    """
    make_missing(RECEIPTS, RECEIPT_COLUMNS, warehouse)
    if landed := find_landing(warehouse, change.batch_id, BEFORE_ALL)[1]:
        return landed  # in an earlier attempt, which did not hear of it

    def look_and_apply() -> Receipt | None:
        with place_among_readers(change.sides.spec.source, backfill=True):
            # Not while a place is waited for.
            before = read_landed_before(warehouse, change.sides.spec.target, None, None)
            left = change.still(change.sides, rows)
        return _apply(change, left, warehouse, before) if left else None

    for _ in range(LOOKS - 1):
        with suppress(StaleReadError):
            return look_and_apply()
    return look_and_apply()


def _apply(
    change: _Change,
    rows: Sequence[DifferentRow],
    warehouse: Warehouse,
    landed_before: LandedBefore,
) -> Receipt | None:
    """All of the rows changed and the receipt, or none.

    Raises:
        StaleReadError: Something has landed since they were looked up.
    """
    statements = change.statements(change.sides, rows)
    spec, started_at = change.sides.spec, datetime.now(UTC)

    def transact() -> Receipt | None:
        with warehouse.transaction() as tx:
            lock_target(tx, spec.target, warehouse)
            # If the answer to its COMMIT was lost, that may have gone on until the lock was given.
            if landed := find_landing(warehouse, change.batch_id, BEFORE_ALL)[1]:
                return landed
            if read_landed_before(warehouse, spec.target, None, None) != landed_before:
                raise StaleReadError(
                    "batches of the table landed since its rows were looked up at the source",
                    todo="Run it again when fewer batches of the table land.",
                )
            done = 0
            for statement, at_most in statements:
                touched = tx.execute(statement)
                if touched > at_most:
                    raise CountMismatchError(
                        "more rows have these keys than were found",
                        expected=at_most,
                        found=touched,
                        todo="Nothing was changed. Look at the key in the table's spec.",
                    )
                done += touched
            if not done:
                return None
            # Dated after what it took out, by whatever clock that was: else it would not count.
            at = void_moment(warehouse, spec.target, datetime.now(UTC))
            receipt = _receipt(change, done, started_at, at)
            if receipt.rows_deleted and not tx.fetch(sql.any_row(spec.target)):
                # So that nobody takes the target for one that has lost its rows.
                receipt = replace(receipt, status=EMPTIED)
            write_receipts(tx, [receipt])
            return receipt

    receipt = repeat_on_conflict(transact, f"{spec.target} {change.bucket.label}")
    if receipt:
        get_run_logger().info("%s %s: %s", spec.target, change.bucket.label, receipt.counts_line)
    return receipt


def _still_gone(sides: Sides, rows: Sequence[DifferentRow]) -> list[DifferentRow]:
    """Those that the source has not, by now."""
    extra = [row for row in rows if row.target_key is not None]
    back = _rows_of(sides.source, extra)
    return [row for row in extra if row.key not in back]


def _still_other(sides: Sides, rows: Sequence[DifferentRow]) -> list[DifferentRow]:
    """Those that the source has in the version that it had, or at all, where they are marked."""
    there = [row for row in rows if row.target_key is not None]
    now = _rows_of(sides.source, there)
    if sides.deleted:  # carrying one of these again takes it out
        now |= _rows_of(sides.deleted, there)
    return [
        row
        for row in there
        if row.key in now and (row.marked or now[row.key].version == row.versions[0])
    ]


def _rows_of(end: End, rows: Sequence[DifferentRow]) -> dict[str, Row]:
    """What the source has of the rows by now, by their keys."""
    found: dict[str, Row] = {}
    for some in chunks(rows, ROWS_AT_ONCE):
        keys = [row.target_key for row in some if row.target_key]
        found |= by_key(end.rows_of(keys))
    return found


def _removals(sides: Sides, rows: Sequence[DifferentRow]) -> list[tuple[Statement, int]]:
    return [(_removal(sides, some), len(some)) for some in chunks(rows, ROWS_AT_ONCE)]


def _removal(sides: Sides, rows: Sequence[DifferentRow]) -> Statement:
    target = sides.target.side
    if sides.mark_by:
        return mark_rows(target, rows, sides.mark_by, datetime.now(UTC), sides.spec.wall_clock_zone)
    return delete_rows(target, rows)


def _alignments(sides: Sides, rows: Sequence[DifferentRow]) -> list[tuple[Statement, int]]:
    return [(align_row(sides.target.side, row, sides.mark_by), 1) for row in rows]


def _receipt(change: _Change, rows: int, started_at: datetime, finished_at: datetime) -> Receipt:
    """What proves it. It is part of its window: it loads nothing, and says nothing is loaded."""
    sides, bucket = change.sides, change.bucket
    spec, window, cursor = sides.spec, bucket.window, sides.target.side.ordering
    return Receipt(
        batch_id=change.batch_id,
        table_name=str(spec.target),
        mode=RECONCILE,
        window_start=window.start if window else None,
        window_end=window.end if window else None,
        window_label=bucket.label,
        status=PARTIAL,
        rows_extracted=0,
        rows_staged=0,
        rows_copied=0,
        rows_inserted=0,
        rows_updated=rows if change.counts_as == "updated" else 0,
        rows_deleted=rows if change.counts_as == "deleted" else 0,
        rows_unchanged=0,
        checksum="",
        manifest_uri=None,
        code_version=ferry.__version__,
        flow_run_id=change.flow_run_id,
        started_at=started_at,
        finished_at=finished_at,
        cursor_name=cursor.name if cursor else None,
        read_as=read_as(spec, "window", cursor.type.kind) if cursor else None,
    )
