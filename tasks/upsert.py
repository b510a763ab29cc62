"""upsert: the staging table into the target, with the receipt, in one transaction."""

from __future__ import annotations

import random
import time
from datetime import UTC, datetime

from prefect import task
from prefect.logging import get_run_logger

import ferry
from blocks.warehouse import Warehouse
from ferry import statements as sql
from ferry.batch import Batch, Copied, CursorValue
from ferry.errors import ConflictError, FerryError, OutcomeUnknownError
from ferry.plan import find_deleted, stored_bound
from ferry.receipts import RECEIPTS, Receipt
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
from tasks.target import prepare_target

CONFLICT_ATTEMPTS = 4
CONFLICT_PAUSE_SECONDS = 0.5


@task(name="upsert", task_run_name="upsert {batch}", **STEP)
def upsert(batch: Batch, copied: Copied, warehouse: Warehouse, started_at: datetime) -> Receipt:
    """Change the target and write the receipt, both or neither; a batch lands once.

    Safe to repeat: the batch's receipt is looked up first, in the same transaction, behind the
    lock. A serialization conflict repeats the transaction at once, a few times; an answer lost at
    COMMIT looks the receipt up.

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
                receipt = _land(batch, copied, warehouse, started_at)
                break
            except (ConflictError, OutcomeUnknownError) as error:
                if attempt == CONFLICT_ATTEMPTS:
                    raise
                get_run_logger().warning("upsert %s: once more after: %s", batch, error)
                time.sleep(CONFLICT_PAUSE_SECONDS * 2**attempt * random.random())
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


def _land(batch: Batch, copied: Copied, warehouse: Warehouse, started_at: datetime) -> Receipt:
    capabilities = warehouse.capabilities
    load = _load(batch, copied)
    with warehouse.transaction() as tx:
        if capabilities.lock_mode is not None:
            tx.execute(sql.lock(batch.target, capabilities.lock_mode))
        landed_before = find_receipt(tx, batch.id, capabilities.placeholder)
        if landed_before:
            return landed_before
        if batch.mode == "full":
            landed = replace_all(tx, load)
        elif load.key:
            landed = upsert_by_key(tx, load, capabilities)
        else:
            landed = replace_from(tx, load, _start(batch, load, copied), capabilities.placeholder)
        receipt = _receipt(batch, copied, landed, started_at)
        write_receipt(tx, receipt, capabilities.placeholder)
    return receipt


def already_landed(batch: Batch, warehouse: Warehouse) -> Receipt | None:
    """The batch's receipt if an earlier attempt of this run has landed it."""
    if warehouse.describe(RECEIPTS) is None:
        return None
    return find_receipt(warehouse, batch.id, warehouse.capabilities.placeholder)


def drop_staging(copied: Copied, warehouse: Warehouse) -> None:
    """Drop the batch's staging tables; a failure is only logged, the rows have landed."""
    if copied.staging_table is None:
        return
    try:
        for table in (copied.staging_table, newest_table(copied.staging_table)):
            warehouse.execute(sql.drop_table(table))
    except FerryError as error:
        get_run_logger().warning("staging table could not be dropped yet: %s", error)


def _load(batch: Batch, copied: Copied) -> Load:
    extracted, spec = copied.staged.extract, batch.spec
    schema = TableSchema(batch.target, extracted.columns)
    return Load(
        target=batch.target,
        staging=copied.staging_table,
        columns=extracted.columns,
        rows=copied.rows,
        key=tuple(name.lower() for name in spec.key),
        cursor=extracted.cursor,
        unique_key=extracted.unique_key,
        deleted=find_deleted(spec, schema.columns),
    )


def _start(batch: Batch, load: Load, copied: Copied) -> CursorValue | None:
    """The watermark as the target's cursor column holds it."""
    start = copied.staged.extract.start
    cursor = next((c for c in load.columns if c.name == load.cursor), None)
    return stored_bound(start, cursor.type.kind, batch.spec.wall_clock_zone) if cursor else None


def _receipt(batch: Batch, copied: Copied, landed: Landed, started_at: datetime) -> Receipt:
    staged, window = copied.staged, batch.window
    return Receipt(
        batch_id=batch.id,
        table_name=str(batch.target),
        mode=batch.mode,
        window_start=window.start if window else None,
        window_end=window.end if window else None,
        window_label=batch.label,
        status="loaded",
        rows_extracted=staged.extract.rows,
        rows_staged=staged.rows,
        rows_copied=copied.rows,
        rows_inserted=landed.inserted,
        rows_updated=landed.updated,
        rows_deleted=landed.deleted,
        rows_unchanged=landed.unchanged,
        checksum=staged.extract.checksum,
        manifest_uri=staged.manifest_uri,
        code_version=ferry.__version__,
        flow_run_id=batch.flow_run_id,
        started_at=started_at,
        finished_at=datetime.now(UTC),
    )
