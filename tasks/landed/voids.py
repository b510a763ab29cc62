"""Receipts that do not count any more: the one that says so of all before it."""

from __future__ import annotations

from datetime import UTC, datetime

from prefect.logging import get_run_logger

from blocks.warehouse import Warehouse
from ferry.batch import Batch
from ferry.receipts.receipt import void_receipt
from ferry.receipts.table import (
    rows_held,
    void_moment,
    write_receipts,
)
from ferry.statements import Transaction
from tasks.landed.receipts import asked


def write_void(
    batch: Batch,
    reason: str,
    tx: Transaction,
    warehouse: Warehouse,
    *,
    emptied: bool,
) -> datetime:
    """Say, in this transaction, that what has landed before does not count any more; returns when.

    Args:
        batch: The batch whose run found it.
        reason: Why.
        tx: The transaction.
        warehouse: Where.
        emptied: Whether the target has no rows any more.
    """
    table, now = batch.target, datetime.now(UTC)
    # Asked on another connection: under SERIALIZABLE isolation, reading the receipts within the
    # transaction would make every other table's upsert conflict with it.
    at = asked(lambda: void_moment(warehouse, table, now), now, warehouse)
    lost = asked(lambda: rows_held(warehouse, table), 0, warehouse) if emptied else 0
    void = void_receipt(
        table, reason, flow_run_id=batch.flow_run_id, started_at=now, at=at, rows_lost=lost
    )
    write_receipts(tx, [void])
    get_run_logger().warning(
        "%s: %s, so that what was carried before does not count as loaded any more; %s",
        table,
        reason,
        _what_carries_again(batch),
    )
    return at


def _what_carries_again(batch: Batch) -> str:
    """What brings back what has become void: a watermark is void with the receipts it is from."""
    if batch.mode != "window":
        return "this run reads the whole table"
    if batch.spec.mode != "window":
        return f"the next run in mode {batch.spec.mode} reads the whole table again"
    return "a backfill with reprocess=missing carries it again"
