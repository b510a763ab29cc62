"""What has landed in a table before a batch of it is read, and what follows for the reading."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TypeVar

from prefect.logging import get_run_logger

from blocks.source import Source
from blocks.warehouse import Warehouse
from ferry import statements as sql
from ferry.batch import Batch, CursorValue, ExtractQuery
from ferry.cursors import find_cursor
from ferry.errors import SchemaError
from ferry.plan import stored_bound
from ferry.receipts.read_as import Reading, by_another_cursor, read_as, read_otherwise
from ferry.receipts.receipt import RECEIPT_COLUMNS, RECEIPTS, Receipt, void_receipt
from ferry.receipts.table import (
    Landings,
    ReadAlike,
    find_landing,
    has_receipts,
    holds_rows,
    last_void,
    read_by_others,
    read_landings,
    read_readings,
    read_to,
    rows_held,
    void_moment,
    write_receipts,
)
from ferry.schema import NUMBERS, Column, TableName, TableSchema
from ferry.unix_time import to_unix
from ferry.watermark import Watermark
from ferry.write.load import Transaction
from tasks.own_tables import make_missing

R = TypeVar("R")


def asked(question: Callable[[], R], none: R, warehouse: Warehouse) -> R:
    """The answer of the receipts table; `none` where there is no such table.

    One that an older Ferry made gets the columns that it lacks.
    """
    try:
        return question()
    except SchemaError:
        if warehouse.describe(RECEIPTS) is None:
            return none
        make_missing(RECEIPTS, RECEIPT_COLUMNS, warehouse)
        return question()


def landings(batch: Batch, cursor: Column | None, warehouse: Warehouse) -> Landings:
    """What has landed in the batch's table, which is going to be read by this cursor."""
    name = cursor.name.lower() if cursor else None
    return asked(
        lambda: read_landings(warehouse, batch.target, batch.stretch, name), Landings(), warehouse
    )


def has_landed(table: TableName, warehouse: Warehouse) -> bool:
    """Whether any batch of the table has landed."""
    return asked(lambda: has_receipts(warehouse, table), False, warehouse)


def already_landed(batch: Batch, warehouse: Warehouse) -> Receipt | None:
    """The batch's receipt if an earlier attempt of this run has landed it, and it is not void.

    None as well if the target is gone since, or has lost its rows.
    """

    def landing() -> Receipt | None:
        void = last_void(warehouse, batch.target)
        return find_landing(warehouse, batch.id, void)[1]

    receipt = asked(landing, None, warehouse)
    if receipt is None or warehouse.describe(batch.target) is None:
        return None
    empty = not warehouse.fetch(sql.any_row(batch.target))
    return None if empty and rows_held(warehouse, batch.target) > 0 else receipt


def why_gone(table: TableName, target: TableSchema | None, warehouse: Warehouse) -> str:
    """Why the rows that the table's receipts tell of are not there any more; empty if they are.

    Args:
        table: The target.
        target: What it is now; None if there is none.
        warehouse: Where.
    """
    if target is None:
        return "the target is gone"
    if not warehouse.fetch(sql.any_row(table)) and holds_rows(warehouse, table):
        return "the target has lost its rows"
    return ""


def watermark(
    batch: Batch, schema: TableSchema, existing: TableSchema | None, warehouse: Warehouse
) -> Watermark | None:
    """From where on the batch is read; None to read all: nothing is known to have been read.

    Args:
        batch: The batch, in any mode; only one of mode watermark has a watermark.
        schema: The source table.
        existing: The target; None if there is none.
        warehouse: Where.
    """
    if batch.mode != "watermark" or existing is None:
        return None
    cursor, unit = find_cursor(batch.spec, schema.columns, batch.mode), batch.spec.cursor_unit
    there = existing.column(cursor.name) if cursor else None
    if cursor is None or there is None:
        return None
    name = there.name
    # A watermark's read, or a full copy, has read all that was there when it began; a window's has
    # not. What was read last decides: if that was read otherwise, all is read once more.
    whole = [
        each
        for each in readings(batch.target, warehouse)
        if each.status == "loaded" and each.mode != "window" and each.cursor in (None, name)
    ]
    last = max(whole, key=lambda each: each.read_at, default=None)
    if last is None or read_otherwise(last.read_as, batch.spec):
        return None
    until = last.read_at
    if counts_no_time(batch, cursor):
        lowest, highest = warehouse.fetch(sql.lowest_and_highest(batch.target, name))[0]
        return None if highest is None else Watermark(highest, lowest)
    bound: CursorValue | None = (
        to_unix(until, unit)
        if unit
        else stored_bound(until, there.type.kind, batch.spec.wall_clock_zone)
    )
    (highest,) = warehouse.fetch(sql.highest_up_to(batch.target, name, bound))[0]
    return None if highest is None else Watermark(highest)


def readings(table: TableName, warehouse: Warehouse) -> list[Reading]:
    """What has landed in what the table's target is now, once for each way in which it was read."""
    return asked(lambda: read_readings(warehouse, table), list[Reading](), warehouse)


def counts_no_time(batch: Batch, cursor: Column) -> bool:
    """Whether the cursor is a number that counts something else than time."""
    return cursor.type.kind in NUMBERS and batch.spec.cursor_unit is None


def in_older_rows(
    batch: Batch,
    columns: Sequence[Column],
    query: ExtractQuery,
    source: Source,
    warehouse: Warehouse,
) -> tuple[str, ...]:
    """Those of the columns that rows have a value in which were carried without it.

    Args:
        batch: The batch with which the target gains them.
        columns: Columns that the target is going to gain, as the source names them.
        query: What the batch reads: its rows get the value.
        source: Where the rows are.
        warehouse: Where the receipts are.
    """
    if not columns or query.cursor is None or query.start is None:
        return ()  # all rows are read, and get it
    stretches = [replace(query, start=None, end=query.start, zero_dates="null")]
    unit = batch.spec.cursor_unit
    before = asked(lambda: read_to(warehouse, batch.target), None, warehouse)
    last = to_unix(before, unit) if before and unit else before
    if query.end is not None and last and last > query.end:  # type: ignore[operator]  # of a window
        stretches.append(replace(query, start=query.end, end=last, zero_dates="null"))
    return tuple(
        column.name.lower()
        for column in columns
        if any(_has_value(each, column, source) for each in stretches)
    )


def _has_value(query: ExtractQuery, column: Column, source: Source) -> bool:
    narrow = replace(query, schema=replace(query.schema, columns=(column,)))
    return any(batch.num_rows > batch.column(0).null_count for batch in source.read(narrow))


def warn_of_other_readings(batch: Batch, cursor: Column, warehouse: Warehouse) -> None:
    """Say which days were carried as the table's spec does not say any more.

    Args:
        batch: The batch that is going to be read.
        cursor: The cursor that bounds it.
        warehouse: Where the receipts are.
    """
    none = list[ReadAlike]()
    name, now = cursor.name.lower(), read_as(batch.spec, "window", cursor.type.kind)
    for each in asked(lambda: read_by_others(warehouse, batch.target, name, now), none, warehouse):
        otherwise = by_another_cursor(each.cursor, name) or read_otherwise(each.read_as, batch.spec)
        if otherwise:
            get_run_logger().warning(
                "%s: %s windows from %s up to %s do not count as loaded any more (%s); a backfill "
                "with reprocess=missing carries them again",
                batch.target,
                f"{each.windows:,}",
                each.first.date(),
                each.last.date(),
                otherwise.replace("it was", "they were", 1),
            )


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
        table, reason, flow_run_id=batch.flow_run_id, started_at=now, at=at, rows_lost=max(0, lost)
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
