"""Receipts that do not count any more: the one that says so of all before it."""

from __future__ import annotations

from datetime import UTC, datetime

from prefect.logging import get_run_logger

from blocks.warehouse import Warehouse
from ferry.batch import Batch
from ferry.receipts.receipt import Receipt, void_receipt
from ferry.receipts.table import rows_held, void_moment


def make_void(batch: Batch, reason: str, warehouse: Warehouse, *, emptied: bool) -> Receipt:
    """What says that what has landed before does not count any more, for the caller's transaction.

    Args:
        batch: The batch whose run found it.
        reason: Why.
        warehouse: Where.
        emptied: Whether the target has no rows any more.

    Raises:
        SchemaError: The receipts table is gone, or lacks a column.
    """
    table, now = batch.target, datetime.now(UTC)
    # Asked on another connection: under SERIALIZABLE isolation, reading the receipts within the
    # transaction would make every other table's upsert conflict with it.
    at = void_moment(warehouse, table, now)
    lost = rows_held(warehouse, table) if emptied else 0
    void = void_receipt(
        table, reason, flow_run_id=batch.flow_run_id, started_at=now, at=at, rows_lost=lost
    )
    get_run_logger().warning(
        "%s: %s, so that what was carried before does not count as loaded any more; %s",
        table,
        reason,
        _what_carries_again(batch),
    )
    return void


def _what_carries_again(batch: Batch) -> str:
    """What brings back what has become void: a watermark is void with the receipts it is from."""
    if batch.mode != "window":
        return "this run reads the whole table"
    if batch.spec.mode != "window":
        return f"the next run in mode {batch.spec.mode} reads the whole table again"
    return "a backfill with reprocess=missing carries it again"
