"""compare_table: one table compared with its source, and what was found kept in `ferry.audits`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

from prefect import task

from blocks.source import Source
from blocks.warehouse import Warehouse
from ferry.audits.outcome import Audit, AuditedBucket
from ferry.audits.table import (
    AUDIT_COLUMNS,
    AUDITS,
    any_record,
    delete_records,
    insert_records,
    record_of,
)
from ferry.day_ranges import DayRange, check_ends
from ferry.errors import RequestError
from ferry.specs.tables import TableSpec
from tasks.audits.compare import compare
from tasks.audits.sides import Sides, all_days, both_sides, has_days
from tasks.landed.history import times_of_receipts
from tasks.own_tables import make_missing
from tasks.places.readers import place_among_readers
from tasks.step import STEP, error_context, explains, repeat_on_conflict
from tasks.target.lock import lock


@task(name="reconcile", task_run_name="reconcile {spec.target}", **STEP)
@explains
def compare_table(
    spec: TableSpec,
    days: DayRange | None,
    source: Source,
    warehouse: Warehouse,
    *,
    zone: str,
    flow_run_id: str,
    begun_at: datetime,
    whole_without_days: bool = False,
    may_be_new: bool = False,
) -> Audit | None:
    """The table compared with its source, where their rows are; nothing is changed.

    Safe to repeat: it reads, and what it keeps in `ferry.audits` takes the place of what an earlier
    attempt has kept there.

    Args:
        spec: The table's spec.
        days: The days to compare; None for everything.
        source: Where it is read from.
        warehouse: Where the target is.
        zone: The zone in which days are counted.
        flow_run_id: The run, for the record.
        begun_at: When the run came to this step, the same in all attempts at it.
        whole_without_days: Whether a table that takes no days is compared as a whole instead.
        may_be_new: Whether a table that no run has carried yet is passed over.

    Returns:
        What was found; None for a table that is passed over.

    Raises:
        RequestError: The table has no key or takes no days, or the source no SQL. No retry helps.
        SchemaError: There is no target, or the two have other columns. No retry helps.
        DataError: The key is not unique on a side. No retry helps.
        ConnectionLostError, BusyError: A retry may help.
    """
    with (
        error_context(str(spec.target), None, "reconcile"),
        place_among_readers(spec.source, backfill=True),
    ):
        if may_be_new and _never_carried(spec, warehouse):
            return None
        sides = both_sides(spec, source, warehouse)
        if days is not None:
            check_ends(days.start, days.end)
            if not has_days(sides) and whole_without_days:
                days = None
            elif not has_days(sides):
                raise RequestError(
                    "the table has no column that tells when its rows came, so it takes no days",
                    todo="Leave the dates out: it is compared as a whole, by its key.",
                )
        audit = compare(sides, days or all_days(sides, zone), datetime.now(UTC))
        record_audit(audit, warehouse, flow_run_id, after=begun_at)
        return audit


def _never_carried(spec: TableSpec, warehouse: Warehouse) -> bool:
    """Whether there is no target, and no receipt that there was one."""
    return warehouse.describe(spec.target) is None and not times_of_receipts(spec.target, warehouse)


@task(name="compare again", task_run_name="compare {audit.table} again", **STEP)
@explains
def compare_again(sides: Sides, audit: Audit, warehouse: Warehouse, *, flow_run_id: str) -> Audit:
    """What differed, compared once more; with what was alike, which is as it was.

    Safe to repeat, as `compare_table`.

    Args:
        sides: Both sides of the table.
        audit: What was found before.
        warehouse: Where that is kept.
        flow_run_id: The run, for the record.

    Raises:
        ConnectionLostError, BusyError: A retry may help.
    """
    spec, at = sides.spec, datetime.now(UTC)
    again: dict[str, AuditedBucket] = {}
    left = audit.left
    with (
        error_context(audit.table, None, "reconcile"),
        place_among_readers(spec.source, backfill=True),
    ):
        for bucket in audit.different:
            one = compare(sides, DayRange.of(bucket.window) if bucket.window else None, at)
            left = left or one.left
            again |= {found.label: found for found in one.buckets}
        differed = {bucket.label: bucket.differing for bucket in audit.different}
        now = replace(audit, at=at, buckets=tuple(again.values()), left=left)
        record_audit(
            now,
            warehouse,
            flow_run_id,
            {label: max(0, differed[label] - found.differing) for label, found in again.items()},
            after=audit.at,
        )
    every = tuple(again.get(bucket.label, bucket) for bucket in audit.buckets)
    return replace(now, buckets=every)


def record_audit(
    audit: Audit,
    warehouse: Warehouse,
    flow_run_id: str,
    repaired: Mapping[str, int] | None = None,
    *,
    after: datetime,
) -> None:
    """Keep what was found, once, also if the answer to a COMMIT is lost or the step is repeated.

    Args:
        audit: What was found.
        warehouse: Where.
        flow_run_id: The run.
        repaired: How many rows a repair has made equal, by the buckets' labels.
        after: What the run has kept of the table after this moment is of an earlier attempt, and
            goes.
    """
    make_missing(AUDITS, AUDIT_COLUMNS, warehouse)
    rows = [
        record_of(audit, bucket, flow_run_id, repaired.get(bucket.label, 0) if repaired else None)
        for bucket in audit.buckets
    ]
    perhaps_kept = bool(warehouse.fetch(any_record(audit, flow_run_id, after)))

    def transact() -> None:
        nonlocal perhaps_kept
        with warehouse.transaction() as tx:
            if perhaps_kept:
                # One whose answer was lost may go on: it is waited for, and then seen.
                lock(tx, AUDITS, warehouse)
                tx.execute(delete_records(audit, flow_run_id, after))
            perhaps_kept = True
            for statement in insert_records(rows):
                tx.execute(statement)

    repeat_on_conflict(transact, f"the audit of {audit.table}")
