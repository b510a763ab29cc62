"""upsert: the staging table into the target, with the receipt, in one transaction."""

from __future__ import annotations

import random
import time
from datetime import UTC, datetime, timedelta

from prefect import task
from prefect.logging import get_run_logger

import ferry
from blocks.warehouse import Warehouse
from ferry import statements as sql
from ferry.batch import Batch, Copied, CursorValue
from ferry.errors import (
    ConflictError,
    FatalError,
    OutcomeUnknownError,
    SchemaError,
    StaleReadError,
)
from ferry.plan import find_deleted, stored_bound
from ferry.receipts import RECEIPT_COLUMNS, RECEIPTS, Receipt
from ferry.schema import TableSchema
from ferry.write import (
    Landed,
    Load,
    find_receipt,
    newest_table,
    replace_all,
    replace_from,
    write_receipt,
)
from ferry.write import (
    upsert as upsert_by_key,
)
from tasks.step import STEP, located
from tasks.target import drop_quietly, landed_batches, make_missing, prepare_target

CONFLICT_ATTEMPTS = 4
CONFLICT_PAUSE_SECONDS = 0.5


@task(name="upsert", task_run_name="upsert {batch}", **STEP)
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
    with located(batch, "upsert"):
        prepare_target(batch, copied, warehouse)
        for attempt in range(1, CONFLICT_ATTEMPTS + 1):
            try:
                receipt = _land_receipted(batch, copied, warehouse, started_at)
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
        get_run_logger().info(
            "upsert %s: %s inserted, %s updated, %s deleted, %s unchanged",
            batch,
            *(
                f"{rows:,}"
                for rows in (
                    receipt.rows_inserted,
                    receipt.rows_updated,
                    receipt.rows_deleted,
                    receipt.rows_unchanged,
                )
            ),
        )
        return receipt


def _land_receipted(
    batch: Batch, copied: Copied, warehouse: Warehouse, started_at: datetime
) -> Receipt:
    """Land the batch; make the receipts table if that is what was missing, and land it again.

    Another run may have made it meanwhile; whatever else is missing is missing again.
    """
    try:
        return _land(batch, copied, warehouse, started_at)
    except SchemaError:
        make_missing(RECEIPTS, RECEIPT_COLUMNS, warehouse)
        return _land(batch, copied, warehouse, started_at)


def _land(batch: Batch, copied: Copied, warehouse: Warehouse, started_at: datetime) -> Receipt:
    capabilities = warehouse.capabilities
    load = _load(batch, copied)
    with warehouse.transaction() as tx:
        if capabilities.lock_mode is not None:
            tx.execute(sql.lock(batch.target, capabilities.lock_mode))
        # Looked up on a connection of its own: read within this transaction, the receipts would
        # make every other table's upsert conflict with it under SERIALIZABLE isolation.
        receipt_id = batch.receipt_id(
            copied.staged.extract.left_out, copied.staged.extract.checksum
        )
        landed_before = find_receipt(warehouse, receipt_id, capabilities.placeholder)
        if landed_before:
            return landed_before
        _refuse_stale_read(batch, copied, warehouse)
        if batch.mode == "full":
            landed = replace_all(tx, load)
        elif load.key:
            landed = upsert_by_key(tx, load, capabilities)
        else:
            landed = replace_from(tx, load, _start(batch, load, copied), capabilities.placeholder)
        receipt = _receipt(batch, copied, landed, started_at)
        write_receipt(tx, receipt, capabilities.placeholder)
    return receipt


def _refuse_stale_read(batch: Batch, copied: Copied, warehouse: Warehouse) -> None:
    """No older version over a newer one, where no cursor in the target can tell them apart."""
    if not batch.overwrites_newer:
        return
    known, found = copied.staged.extract.batches_before, landed_batches(batch, warehouse)
    if found != known:
        raise StaleReadError(
            "another batch of the table landed since this one was read",
            expected=f"{known} batches",
            found=f"{found} batches",
            todo="Run it again: it has to be read again.",
        )


def already_landed(batch: Batch, warehouse: Warehouse) -> Receipt | None:
    """The batch's receipt if an earlier attempt of this run has landed it."""
    if warehouse.describe(RECEIPTS) is None:
        return None
    return find_receipt(warehouse, batch.id, warehouse.capabilities.placeholder)


def drop_staging(copied: Copied, warehouse: Warehouse) -> None:
    """Drop the batch's staging tables; a failure is only logged, the rows have landed."""
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
    )


def _start(batch: Batch, load: Load, copied: Copied) -> CursorValue | None:
    """The watermark as the target's cursor column holds it."""
    start = copied.staged.extract.start
    cursor = next((c for c in load.columns if c.name == load.cursor), None)
    return stored_bound(start, cursor.type.kind, batch.spec.wall_clock_zone) if cursor else None


def _moment(start: CursorValue | None) -> datetime | None:
    return start if isinstance(start, datetime) and start.tzinfo else None


def _receipt(batch: Batch, copied: Copied, landed: Landed, started_at: datetime) -> Receipt:
    staged, extracted, window = copied.staged, copied.staged.extract, batch.window
    return Receipt(
        batch_id=batch.receipt_id(extracted.left_out, extracted.checksum),
        table_name=str(batch.target),
        mode=batch.mode,
        window_start=window.start if window else _moment(extracted.start),
        window_end=window.end if window else None,
        window_label=f"from {extracted.start}" if extracted.start is not None else batch.label,
        status="partial" if batch.part or extracted.left_out else "loaded",
        rows_extracted=extracted.rows,
        rows_staged=staged.rows,
        rows_copied=copied.rows,
        rows_inserted=landed.inserted,
        rows_updated=landed.updated,
        rows_deleted=landed.deleted,
        rows_unchanged=landed.unchanged,
        checksum=extracted.checksum,
        manifest_uri=staged.manifest_uri,
        code_version=ferry.__version__,
        flow_run_id=batch.flow_run_id,
        started_at=started_at,
        finished_at=datetime.now(UTC),
        read_at=extracted.read_at,
        complete_until=_complete_until(batch, extracted.read_at),
    )


def _complete_until(batch: Batch, read_at: datetime | None) -> datetime | None:
    """Up to when the source's rows were certainly there to be read, by its own clock."""
    if read_at is None or batch.mode == "watermark":
        return None
    settle = 0 if batch.spec.mode == "full" else batch.spec.settle_seconds
    return read_at - timedelta(seconds=settle)
