"""upsert: the staging table into the target, with the receipt, in one transaction."""

from __future__ import annotations

import random
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from prefect import task
from prefect.logging import get_run_logger

import ferry
from blocks.warehouse import Warehouse
from ferry import statements as sql
from ferry.batch import Batch, Copied, CursorValue, Extract
from ferry.errors import (
    ConflictError,
    FatalError,
    OutcomeUnknownError,
    SchemaError,
    StaleReadError,
)
from ferry.plan import find_deleted, stored_bound
from ferry.receipts.read_as import read_as
from ferry.receipts.receipt import RECEIPT_COLUMNS, RECEIPTS, Receipt
from ferry.receipts.table import (
    BEFORE_ALL,
    find_landing,
    holds_rows,
    read_landed_now,
    rows_held,
    write_receipt,
)
from ferry.schema import Kind, TableSchema
from ferry.unix_time import UnixUnit, from_unix
from ferry.windows import clamped, on_clock
from ferry.write.algorithms import Landed, Load, Transaction, newest_table, write
from tasks.landed import write_void
from tasks.own_tables import make_missing
from tasks.step import STEP, explains, located
from tasks.target.prepare import drop_quietly, prepare_target
from tasks.target.retype import remake

_NEXT_MOMENT = timedelta(microseconds=1)
TARGET_LOST_ROWS = "the target had lost its rows"
CONFLICT_ATTEMPTS = 4
CONFLICT_PAUSE_SECONDS = 0.5


@task(name="upsert", task_run_name="upsert {batch}", **STEP)
@explains
def upsert(batch: Batch, copied: Copied, warehouse: Warehouse, started_at: datetime) -> Receipt:
    """Change the target and write the receipt, both or neither; a batch lands once.

    Safe to repeat: the batch's receipt is looked up first, behind the target's lock, on another
    connection. A serialization conflict repeats the transaction at once, a few times; an answer
    lost at COMMIT looks the receipt up.

    Args:
        batch: What is carried.
        copied: Its staging table.
        warehouse: Where.
        started_at: When the extraction began, for the receipt.

    Raises:
        SchemaError, DataError, CountMismatchError: The target is as it was. No retry helps.
        ConflictError, ConnectionLostError, BusyError, OutcomeUnknownError: A retry may help.
    """
    with located(batch, "upsert", warehouse):
        try:
            own_voids = prepare_target(batch, copied, warehouse)
        except FatalError:
            drop_staging(copied, warehouse)
            raise
        for attempt in range(1, CONFLICT_ATTEMPTS + 1):
            try:
                receipt = _land_receipted(batch, copied, warehouse, started_at, own_voids)
                break
            except (ConflictError, OutcomeUnknownError) as error:
                if attempt == CONFLICT_ATTEMPTS:
                    raise
                get_run_logger().warning("upsert %s: once more after: %s", batch, error)
                time.sleep(CONFLICT_PAUSE_SECONDS * 2**attempt * random.random())
            except FatalError:
                drop_staging(copied, warehouse)
                raise
        drop_staging(copied, warehouse)
        get_run_logger().info("upsert %s: %s", batch, receipt.counts_line)
        return receipt


def _land_receipted(
    batch: Batch, copied: Copied, warehouse: Warehouse, started_at: datetime, own_voids: int
) -> Receipt:
    """Land the batch; make the receipts table if that is what was missing, and land it again.

    Another run may have made it meanwhile; whatever else is missing is missing again.
    """
    try:
        return _land(batch, copied, warehouse, started_at, own_voids)
    except SchemaError:
        make_missing(RECEIPTS, RECEIPT_COLUMNS, warehouse)
        return _land(batch, copied, warehouse, started_at, own_voids)


def _land(
    batch: Batch, copied: Copied, warehouse: Warehouse, started_at: datetime, own_voids: int
) -> Receipt:
    capabilities, extracted = warehouse.capabilities, copied.staged.extract
    with warehouse.transaction() as tx:
        if capabilities.lock_mode is not None:
            tx.execute(sql.lock(batch.target, capabilities.lock_mode))
        # Looked up on a connection of its own: read within this transaction, the receipts would
        # make every other table's upsert conflict with it under SERIALIZABLE isolation.
        receipt_id = batch.receipt_id(extracted.left_out, extracted.checksum)
        now = read_landed_now(
            warehouse,
            batch.target,
            batch.stretch,
            extracted.cursor,
            receipt_id,
            capabilities.placeholder,
        )
        empty, last_void = not tx.fetch(sql.any_row(batch.target)), now.last_void
        if empty and (not now.this_one or _surely_lost(batch, extracted, warehouse)):
            last_void = _void_what_is_lost(batch, extracted, tx, warehouse) or last_void
        if now.this_one:
            void, mark = last_void or BEFORE_ALL, capabilities.placeholder
            receipt_id, landed_before = find_landing(warehouse, receipt_id, void, mark)
            if landed_before:
                return landed_before
        others_landed = now.batches != extracted.batches_before
        if others_landed and batch.overwrites_newer:
            raise _stale("another batch of the table landed since this one was read")
        if now.voids != extracted.voids_before + own_voids:
            raise _stale("the target was made anew, or gained a column, since this batch was read")
        load = replace(_load(batch, copied), others_landed=others_landed, into_empty=empty)
        start = _start(batch, load, copied)
        emptied = remake(batch, load.columns, warehouse) if batch.mode == "full" else []
        landed = write(tx, load, capabilities, batch.mode, start, emptied)
        receipt = _after(last_void, _receipt(receipt_id, batch, copied, landed, started_at))
        write_receipt(tx, receipt, capabilities.placeholder)
    if landed.undecided_keys:
        get_run_logger().warning(
            "upsert %s: %s keys had rows that differ and of which none is newer: one of each key "
            "won, as `on_repeated_key: newest` says",
            batch,
            f"{landed.undecided_keys:,}",
        )
    return receipt


def _stale(problem: str) -> StaleReadError:
    """Nothing may come of a read that something has made stale."""
    return StaleReadError(problem, todo="Run it again: it has to be read again.")


def _after(void: datetime | None, receipt: Receipt) -> Receipt:
    """The receipt, dated after the last void: what told that may have a clock that is ahead."""
    if void is None:
        return receipt
    return replace(receipt, finished_at=max(receipt.finished_at, void + _NEXT_MOMENT))


def _void_what_is_lost(
    batch: Batch, extracted: Extract, tx: Transaction, warehouse: Warehouse
) -> datetime | None:
    """Say that what receipts tell of is not there, where the target has no rows any more.

    Returns:
        When that was said; None if the receipts tell of no rows.

    Raises:
        StaleReadError: The batch was read from where the target ended, which it does no more.
    """
    if extracted.start is not None:
        raise _stale("the target lost its rows since this batch was read")
    if not holds_rows(warehouse, batch.target, warehouse.capabilities.placeholder):
        return None
    return write_void(
        batch.target, TARGET_LOST_ROWS, batch.flow_run_id, tx, warehouse, emptied=True
    )


def _surely_lost(batch: Batch, extracted: Extract, warehouse: Warehouse) -> bool:
    """Whether the rows that this very batch has landed are gone, and it was read to bring them."""
    mark = warehouse.capabilities.placeholder
    return extracted.start is None and rows_held(warehouse, batch.target, mark) > 0


def drop_staging(copied: Copied, warehouse: Warehouse) -> None:
    """Drop the batch's staging tables; a failure is only logged."""
    if copied.staging_table:
        newest = [] if copied.staged.extract.unique_key else [newest_table(copied.staging_table)]
        drop_quietly(warehouse, copied.staging_table, *newest)


def _load(batch: Batch, copied: Copied) -> Load:
    extracted, spec = copied.staged.extract, batch.spec
    schema = TableSchema(batch.target, extracted.columns)
    return Load(
        target=batch.target,
        staging=copied.staging_table,
        columns=extracted.columns,
        rows=copied.rows,
        key=tuple(c for name in spec.key if (c := schema.column(name))),
        cursor=extracted.cursor,
        version=spec.version.lower() if spec.version else None,
        unique_key=extracted.unique_key,
        deleted=find_deleted(spec, schema.columns),
        allow_empty=spec.allow_empty,
        max_shrink_percent=spec.max_shrink_percent,
        any_may_win=spec.on_repeated_key == "newest",
    )


def _start(batch: Batch, load: Load, copied: Copied) -> CursorValue | None:
    """The watermark as the target's cursor column holds it."""
    start = copied.staged.extract.start
    cursor = next((c for c in load.columns if c.name == load.cursor), None)
    return stored_bound(start, cursor.type.kind, batch.spec.wall_clock_zone) if cursor else None


def _as_moment(start: CursorValue | None, unit: UnixUnit | None) -> CursorValue | None:
    """The watermark as people know it: of Unix time, the moment."""
    return from_unix(start, unit) if unit and isinstance(start, int | Decimal) else start


def _moment(start: CursorValue | None) -> datetime | None:
    moment = start if isinstance(start, datetime) and start.tzinfo else None
    return moment and on_clock(moment, UTC)


def _receipt(
    receipt_id: str, batch: Batch, copied: Copied, landed: Landed, started_at: datetime
) -> Receipt:
    staged, extracted, window = copied.staged, copied.staged.extract, batch.window
    start = _as_moment(extracted.start, batch.spec.cursor_unit)
    return Receipt(
        batch_id=receipt_id,
        table_name=str(batch.target),
        mode=batch.mode,
        window_start=window.start if window else _moment(start),
        window_end=window.end if window else None,
        window_label=f"from {start}" if start is not None else batch.label,
        status="partial" if batch.part or extracted.left_out else "loaded",
        rows_extracted=extracted.rows,
        rows_staged=staged.rows,
        rows_copied=copied.rows,
        rows_inserted=landed.inserted,
        rows_updated=landed.updated,
        rows_deleted=landed.deleted,
        rows_unchanged=landed.unchanged,
        rows_superseded=landed.superseded,
        checksum=extracted.checksum,
        manifest_uri=staged.manifest_uri,
        code_version=ferry.__version__,
        flow_run_id=batch.flow_run_id,
        started_at=started_at,
        finished_at=datetime.now(UTC),
        cursor_name=extracted.cursor,
        read_at=extracted.read_at,
        complete_until=_complete_until(batch, extracted, start),
        read_as=read_as(batch.spec, batch.mode, _kind(extracted)),
    )


def _kind(extracted: Extract) -> Kind | None:
    """The kind of the cursor, as the warehouse has it."""
    return next((c.type.kind for c in extracted.columns if c.name == extracted.cursor), None)


def _complete_until(batch: Batch, extracted: Extract, start: CursorValue | None) -> datetime | None:
    """Up to when the source's rows were certainly there to be read, by its own clock."""
    if extracted.read_at is None:
        return None
    # What a full copy has read counts as the windows, or the watermarks, that come after it.
    mode = batch.spec.mode if batch.mode == "full" else batch.mode
    late_seconds = 0
    if mode == "window":
        lag = batch.spec.lag if batch.spec.mode == "watermark" else 0  # of a backfill's window
        late_seconds = max(batch.spec.settle_seconds, lag)
    elif mode == "watermark" and not isinstance(start, int | Decimal):
        late_seconds = batch.spec.lag
    return clamped(extracted.read_at, -timedelta(seconds=late_seconds))
