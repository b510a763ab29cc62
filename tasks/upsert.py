"""upsert: the staging table into the target, with the receipt, in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from prefect import task
from prefect.logging import get_run_logger

from blocks.warehouse import Warehouse
from ferry import statements as sql
from ferry.batch import Batch, Copied, CursorValue, Extract, Staged
from ferry.errors import ApartError, SchemaError, StaleReadError
from ferry.plan import BatchPlan, stored_bound
from ferry.receipts.columns_carried import columns_text, landed_otherwise
from ferry.receipts.of_batch import Arrived, dated_after, receipt_of
from ferry.receipts.receipt import RECEIPT_COLUMNS, RECEIPTS, TARGET_LOST_ROWS, Receipt
from ferry.receipts.table import (
    BEFORE_ALL,
    LandedNow,
    find_landing,
    has_receipts,
    holds_rows,
    read_columns_carried,
    read_landed_now,
    rows_held,
    write_receipts,
)
from ferry.statements import Transaction
from ferry.windows import RepeatedTimes, clamped
from ferry.write.algorithms import write
from ferry.write.load import Load
from ferry.write.upsert import newest_table
from ferry.write.wall_clock import VersionClock
from tasks.landed.voids import make_void
from tasks.own_tables import make_missing
from tasks.staging_tables import drop_quietly, emptied_is_told
from tasks.step import STEP, explains, located, repeat_on_conflict
from tasks.target.lock import lock_target
from tasks.target.prepare import prepare_target
from tasks.target.retype import remake


@task(name="upsert", task_run_name="upsert {batch}", **STEP)
@explains
def upsert(
    batch: Batch,
    plan: BatchPlan,
    extracted: Extract,
    staged: Staged,
    copied: Copied,
    warehouse: Warehouse,
    started_at: datetime,
) -> tuple[Receipt, ...]:
    """Change the target and write the receipt, both or neither; a batch lands once.

    Where several windows travel together, each has a receipt, in their order: all land, or none.

    Safe to repeat: the batch's receipt is looked up first, behind the target's lock, on another
    connection. A serialization conflict repeats the transaction at once, a few times; an answer
    lost at COMMIT looks the receipt up.

    Args:
        batch: What is carried.
        plan: What was asked before a row moved.
        extracted: What was read.
        staged: What was staged.
        copied: Its staging table.
        warehouse: Where.
        started_at: When the batch was begun, for the receipt.

    Raises:
        SchemaError, DataError, CountMismatchError: The target is as it was. No retry helps.
        StaleReadError: The batch has to be read again.
        ApartError: Windows that travel together cannot land together.
        ConflictError, ConnectionLostError, BusyError, OutcomeUnknownError: A retry may help.
    """
    arrived = Arrived(batch, plan, extracted, staged, copied, started_at)
    with located(batch, "upsert", warehouse):
        with emptied_is_told(copied.staging_table, copied.rows, warehouse, StaleReadError):
            own_voids = prepare_target(batch, plan, copied.rows, warehouse)
            receipts = repeat_on_conflict(
                lambda: _land_receipted(arrived, warehouse, own_voids), f"upsert {batch}"
            )
        drop_staging(plan, copied, warehouse)
        get_run_logger().info("upsert %s: %s", batch, _counts_line(receipts))
        return receipts


def _counts_line(receipts: Sequence[Receipt]) -> str:
    if len(receipts) == 1:
        return receipts[0].counts_line
    total = replace(
        receipts[0],
        rows_inserted=sum(each.rows_inserted for each in receipts),
        rows_updated=sum(each.rows_updated for each in receipts),
        rows_deleted=sum(each.rows_deleted for each in receipts),
        rows_unchanged=sum(each.rows_unchanged for each in receipts),
    )
    return f"{len(receipts)} windows, {total.counts_line}"


def _land_receipted(arrived: Arrived, warehouse: Warehouse, own_voids: int) -> tuple[Receipt, ...]:
    """Land the batch; make the receipts table if that is what was missing, and land it again.

    Another run may have made it meanwhile; whatever else is missing is missing again.
    """
    try:
        return _land(arrived, warehouse, own_voids)
    except SchemaError:
        make_missing(RECEIPTS, RECEIPT_COLUMNS, warehouse)
        return _land(arrived, warehouse, own_voids)


def _land(arrived: Arrived, warehouse: Warehouse, own_voids: int) -> tuple[Receipt, ...]:
    batch, plan, extracted = arrived.batch, arrived.plan, arrived.extracted
    capabilities, cursor = warehouse.capabilities, plan.cursor
    with warehouse.transaction() as tx:
        lock_target(tx, batch.target, warehouse)
        # Looked up on a connection of its own: read within this transaction, the receipts would
        # make every other table's upsert conflict with it under SERIALIZABLE isolation.
        ids = [each.receipt_id(extracted.left_out, extracted.checksum) for each in batch.each]
        name = cursor.name if cursor else None
        brought = columns_text(plan.columns)
        now = read_landed_now(warehouse, batch.target, batch.time_bounds, name, ids, brought)
        empty, void = not tx.fetch(sql.any_row(batch.target)), None
        if empty and (not now.this_one or _surely_lost(batch, plan, warehouse)):
            void = _void_of_what_is_lost(batch, plan, warehouse)
        if now.this_one:
            void_until = void.finished_at if void else now.last_void or BEFORE_ALL
            ids, receipts_found = _landed_already(ids, void_until, warehouse)
            if receipts_found:
                return receipts_found
        others_landed = now.batches != plan.landed_before.batches
        _refuse_stale_read(batch, plan, now, own_voids, others_landed=others_landed)
        if now.otherwise != plan.landed_before.otherwise:
            _refuse_other_columns(batch, plan, warehouse)
        if void is None and not own_voids:
            void = _void_of_what_lacks_columns(batch, plan, warehouse)
        last = void.finished_at if void else now.last  # a void is dated after all before it
        repeated = (
            ()
            if empty and plan.unique_key
            else _repeated_times(arrived, tx, others_landed=others_landed)
        )
        load = _load(arrived, repeated, others_landed=others_landed, into_empty=empty)
        emptied = remake(batch, load.columns, tx, warehouse) if batch.mode == "full" else []
        landed = write(tx, load, capabilities, batch.mode, _start(batch, plan), emptied)
        receipts = tuple(
            dated_after(last, receipt_of(own, arrived, each, position, counts))
            for position, (own, each, counts) in enumerate(
                zip(ids, batch.each, landed, strict=True)
            )
        )
        # All at the end: others that insert into this table wait for whoever has.
        write_receipts(tx, (void, *receipts) if void else receipts)
    undecided_keys = sum(each.undecided_keys for each in landed)
    if undecided_keys:
        get_run_logger().warning(
            "upsert %s: %s keys had rows that differ and of which none is newer: one of each key "
            "won, as `on_repeated_key: newest` says",
            batch,
            f"{undecided_keys:,}",
        )
    return receipts


def _landed_already(
    ids: list[str], void_until: datetime, warehouse: Warehouse
) -> tuple[list[str], tuple[Receipt, ...]]:
    """The ids under which the batch's windows land, and their receipts if all have landed.

    Raises:
        ApartError: Some have, and others have not.
    """
    found = [find_landing(warehouse, each, void_until) for each in ids]
    landed = tuple(receipt for _, receipt in found if receipt)
    if landed and len(landed) < len(ids):
        raise ApartError("some of these windows have landed meanwhile, and others have not")
    return [own for own, _ in found], landed


def _refuse_stale_read(
    batch: Batch, plan: BatchPlan, now: LandedNow, own_voids: int, *, others_landed: bool
) -> None:
    """Refuse what was read before something changed that it would undo, or that it lacks."""
    if others_landed and batch.overwrites_newer:
        raise _stale("another batch of the table landed since this one was read")
    if now.removals != plan.landed_before.removals:  # it would bring back what they took out
        raise _stale("the table was copied as a whole, or repaired, since this batch was read")
    if now.voids != plan.landed_before.voids + own_voids:
        raise _stale("what had landed was declared void since this batch was read")


def _refuse_other_columns(batch: Batch, plan: BatchPlan, warehouse: Warehouse) -> None:
    """Refuse what was planned before something landed with other columns, wherever its rows are.

    A full copy replaces it, and is refused if anything has landed since.
    """
    if batch.mode == "full":
        return
    names = [column.name for column in plan.columns]
    now = read_columns_carried(warehouse, batch.target)
    if found := landed_otherwise(names, plan.columns_before, plan.columns_landed, now):
        raise StaleReadError(
            f"another batch has landed {found}",
            todo="Run it again: it has to be read again. If it comes back, let a run end that "
            "carries the table by another spec, or cancel it.",
        )


def _stale(problem: str) -> StaleReadError:
    """Nothing may come of a read that something has made stale."""
    return StaleReadError(problem, todo="Run it again: it has to be read again.")


def _void_of_what_is_lost(batch: Batch, plan: BatchPlan, warehouse: Warehouse) -> Receipt | None:
    """What says that what receipts tell of is not there: the target has no rows any more.

    Returns:
        The void; None if the receipts tell of no rows.

    Raises:
        StaleReadError: The batch was read from where the target ended, which it does no more.
    """
    if plan.start is not None:
        raise _stale("the target lost its rows since this batch was read")
    if not holds_rows(warehouse, batch.target):
        return None
    return make_void(batch, TARGET_LOST_ROWS, warehouse, emptied=True)


def _void_of_what_lacks_columns(
    batch: Batch, plan: BatchPlan, warehouse: Warehouse
) -> Receipt | None:
    """What says that older rows lack values in columns that the batch begins to carry.

    None if all is read, or if nothing has landed. A column that the target gains is not told here:
    it is added in a transaction of its own, with its void.
    """
    if not plan.in_older_rows or plan.query.start is None:
        return None
    if not has_receipts(warehouse, batch.target):
        return None
    name, *more = plan.in_older_rows
    column = f"column {name}" + (f", and in {len(more)} more" if more else "")
    reason = f"older rows have no value in the {column}"
    return make_void(batch, reason, warehouse, emptied=False)


def _surely_lost(batch: Batch, plan: BatchPlan, warehouse: Warehouse) -> bool:
    """Whether the rows that this very batch has landed are gone, and it was read to bring them."""
    return plan.start is None and rows_held(warehouse, batch.target) > 0


def drop_staging(plan: BatchPlan, copied: Copied, warehouse: Warehouse) -> None:
    """Drop the batch's staging tables; a failure is only logged."""
    if copied.staging_table:
        newest = [] if plan.unique_key else [newest_table(copied.staging_table)]
        drop_quietly(warehouse, copied.staging_table, *newest)


def _repeated_times(
    arrived: Arrived, tx: Transaction, *, others_landed: bool
) -> tuple[RepeatedTimes, ...]:
    """The times that the clock of the versions has shown twice, of those that the batch may hold.

    Where the version is no cursor, nothing but the rows tells how old they are. What others have
    landed since may be read later than the batch: up to now, by a clock that is ahead of this one.
    """
    staging = arrived.copied.staging_table
    until = arrived.extracted.read_at or arrived.started_at
    if others_landed:
        until = clamped(max(until, datetime.now(UTC)), timedelta(days=1))
    clock = VersionClock.of(arrived.batch, arrived.plan, until)
    if clock is None or staging is None:
        return ()
    if clock.between:
        return clock.repeated()
    return clock.repeated(*tx.fetch(sql.lowest_and_highest(staging, clock.column))[0])


def _load(
    arrived: Arrived,
    repeated: tuple[RepeatedTimes, ...],
    *,
    others_landed: bool,
    into_empty: bool,
) -> Load:
    plan, spec = arrived.plan, arrived.batch.spec
    return Load(
        target=arrived.batch.target,
        staging=arrived.copied.staging_table,
        columns=plan.columns,
        rows=arrived.copied.rows,
        key=plan.key,
        cursor=plan.cursor.name if plan.cursor else None,
        version=plan.version,
        repeated=repeated,
        unique_key=plan.unique_key,
        deleted=plan.deleted,
        others_landed=others_landed,
        into_empty=into_empty,
        allow_empty=spec.allow_empty,
        max_shrink_percent=spec.max_shrink_percent,
        any_may_win=spec.on_repeated_key == "newest",
        rows_by_window=_rows_by_window(arrived),
    )


def _rows_by_window(arrived: Arrived) -> tuple[int, ...]:
    """How many rows of each window came, where several travel together."""
    none = (0,) * len(arrived.batch.windows)
    return tuple(each.rows for each in arrived.copied.by_window) or none


def _start(batch: Batch, plan: BatchPlan) -> CursorValue | None:
    """The watermark as the target's cursor column holds it."""
    if plan.cursor is None:
        return None
    return stored_bound(plan.start, plan.cursor.type.kind, batch.spec.wall_clock_zone)
