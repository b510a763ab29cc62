"""Rows of the target that carrying again does not put right: taken out, marked or aligned."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from prefect import task
from prefect.logging import get_run_logger

import ferry
from blocks.warehouse import Warehouse
from ferry import statements as sql
from ferry.audits.changes import delete_rows, mark_rows, take_version_of_source, unmark_row
from ferry.audits.outcome import AuditedBucket, DifferentRow
from ferry.errors import CountMismatchError, StaleReadError
from ferry.receipts.read_as import read_as
from ferry.receipts.receipt import RECEIPT_COLUMNS, RECEIPTS, RECONCILE, Receipt
from ferry.receipts.table import (
    BEFORE_ALL,
    LandedBefore,
    find_landing,
    read_landed_before,
    write_receipts,
)
from ferry.statements import Statement
from tasks.audits.sides import Sides
from tasks.landed.receipts import asked
from tasks.own_tables import make_missing
from tasks.places.readers import place_among_readers
from tasks.step import STEP, error_context, explains, repeat_on_conflict

ROWS_AT_ONCE = 200
LOOKS = 3
"""How often the source is asked what is gone, as batches land meanwhile."""


@task(name="remove", task_run_name="remove {bucket.label} {sides.spec.target}", **STEP)
@explains
def remove(
    sides: Sides,
    bucket: AuditedBucket,
    rows: Sequence[DifferentRow],
    warehouse: Warehouse,
    *,
    flow_run_id: str,
) -> Receipt | None:
    """Take rows that the source has no more out of the target; mark them, where the spec says so.

    In one transaction with a receipt. Safe to repeat: what is gone, or marked, is left alone. The
    rows are looked up at the source once more just before: one that is back stays. If a batch of
    the table lands between that look and the lock, it may have brought one back: then they are
    looked up again.

    Args:
        sides: Both sides of the table.
        bucket: Where the rows are, for the receipt.
        rows: The rows.
        warehouse: Where.
        flow_run_id: The run, for the receipt.

    Returns:
        The receipt; None if there was nothing to do.

    Raises:
        CountMismatchError: More rows than these would have gone; nothing is changed.
        StaleReadError: Batches of the table landed at each look; nothing is changed.
        ConflictError, ConnectionLostError, BusyError, OutcomeUnknownError: A retry may help.
    """
    with error_context(str(sides.spec.target), bucket.label, "remove", warehouse):
        change = _Change(sides, bucket, flow_run_id, "updated" if sides.mark_by else "deleted")
        for _ in range(LOOKS - 1):
            with suppress(StaleReadError):
                return _look_and_remove(change, rows, warehouse)
        return _look_and_remove(change, rows, warehouse)


def _look_and_remove(
    change: _Change, rows: Sequence[DifferentRow], warehouse: Warehouse
) -> Receipt | None:
    """Take out those that the source has not, unless something lands meanwhile."""
    sides = change.sides
    with place_among_readers(sides.spec.source, backfill=True):
        before = _landed(change, warehouse)  # not while a place is waited for
        gone = _still_gone(sides, rows)
    if not gone:
        return None
    chunks = [gone[start : start + ROWS_AT_ONCE] for start in range(0, len(gone), ROWS_AT_ONCE)]
    statements = [(_removal(sides, some), len(some)) for some in chunks]
    return _apply(change, statements, warehouse, before)


@task(name="realign", task_run_name="realign {bucket.label} {sides.spec.target}", **STEP)
@explains
def realign(
    sides: Sides,
    bucket: AuditedBucket,
    rows: Sequence[DifferentRow],
    warehouse: Warehouse,
    *,
    flow_run_id: str,
) -> Receipt | None:
    """Give rows of the target, which are newer there than at the source, the source's version.

    An upsert never replaces a newer version: after this, carrying them again does. And take the
    mark of a deleted row from one that is at the source again. Arguments, result and errors are
    those of `remove`.
    """
    with error_context(str(sides.spec.target), bucket.label, "realign", warehouse):
        statements = [(_alignment(sides, row), 1) for row in rows if row.target_key is not None]
        change = _Change(sides, bucket, flow_run_id, "updated")
        return _apply(change, statements, warehouse)


@dataclass(frozen=True)
class _Change:
    """What is done to rows of one bucket, and for the receipt what that counts as."""

    sides: Sides
    bucket: AuditedBucket
    flow_run_id: str
    counts_as: str


def _landed(change: _Change, warehouse: Warehouse) -> LandedBefore:
    """What has landed in the table up to now."""
    target = change.sides.spec.target
    none = LandedBefore()
    return asked(lambda: read_landed_before(warehouse, target, None, None), none, warehouse)


def _apply(
    change: _Change,
    statements: Sequence[tuple[Statement, int]],
    warehouse: Warehouse,
    landed_before: LandedBefore | None = None,
) -> Receipt | None:
    """All of the statements and the receipt, or none; each with how many rows it may touch.

    Raises:
        StaleReadError: Something has landed since, if it matters what had landed before.
    """
    spec, started_at, batch_id = change.sides.spec, datetime.now(UTC), str(uuid.uuid4())
    make_missing(RECEIPTS, RECEIPT_COLUMNS, warehouse)
    attempts = 0

    def transact() -> Receipt | None:
        nonlocal attempts
        attempts += 1
        if attempts > 1 and (landed := find_landing(warehouse, batch_id, BEFORE_ALL)[1]):
            return landed  # the answer to its COMMIT was lost
        with warehouse.transaction() as tx:
            if warehouse.capabilities.lock_mode is not None:
                tx.execute(sql.lock(spec.target, warehouse.capabilities.lock_mode))
            if landed_before and (
                read_landed_before(warehouse, spec.target, None, None) != landed_before
            ):
                raise StaleReadError(
                    "batches of the table landed since its rows were looked up at the source",
                    todo="Run it again when fewer batches of the table land.",
                )
            done = 0
            for statement, rows in statements:
                touched = tx.execute(statement)
                if touched > rows:
                    raise CountMismatchError(
                        "more rows have these keys than were found",
                        expected=rows,
                        found=touched,
                        todo="Nothing was changed. Look at the key in the table's spec.",
                    )
                done += touched
            if not done:
                return None
            receipt = _receipt(change, batch_id, done, started_at)
            write_receipts(tx, [receipt])
            return receipt

    receipt = repeat_on_conflict(transact, f"{spec.target} {change.bucket.label}")
    if receipt:
        get_run_logger().info("%s %s: %s", spec.target, change.bucket.label, receipt.counts_line)
    return receipt


def _still_gone(sides: Sides, rows: Sequence[DifferentRow]) -> list[DifferentRow]:
    """Those that the source has not, by now."""
    found: list[DifferentRow] = []
    extra = [row for row in rows if row.target_key is not None]
    for start in range(0, len(extra), ROWS_AT_ONCE):
        some = extra[start : start + ROWS_AT_ONCE]
        keys = [row.target_key for row in some if row.target_key]
        back = {row.key for row in sides.ours.rows_of(keys)}
        found += [row for row in some if row.key not in back]
    return found


def _removal(sides: Sides, rows: Sequence[DifferentRow]) -> Statement:
    target = sides.theirs.side
    if sides.mark_by:
        return mark_rows(target, rows, sides.mark_by, datetime.now(UTC), sides.spec.wall_clock_zone)
    return delete_rows(target, rows)


def _alignment(sides: Sides, row: DifferentRow) -> Statement:
    target = sides.theirs.side
    if row.marked and sides.mark_by:
        return unmark_row(target, row, sides.mark_by)
    return take_version_of_source(target, row)


def _receipt(change: _Change, batch_id: str, rows: int, started_at: datetime) -> Receipt:
    """What proves it. It is part of its window: it loads nothing, and says nothing is loaded."""
    sides, bucket = change.sides, change.bucket
    spec, window, cursor = sides.spec, bucket.window, sides.theirs.side.ordering
    return Receipt(
        batch_id=batch_id,
        table_name=str(spec.target),
        mode=RECONCILE,
        window_start=window.start if window else None,
        window_end=window.end if window else None,
        window_label=bucket.label,
        status="partial",
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
        finished_at=datetime.now(UTC),
        cursor_name=cursor.name if cursor else None,
        read_as=read_as(spec, "window", cursor.type.kind) if cursor else None,
    )
