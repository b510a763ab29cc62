"""What has landed in a table before a batch of it is read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from blocks.warehouse import Warehouse
from ferry import statements as sql
from ferry.batch import Batch
from ferry.errors import SchemaError
from ferry.receipts.columns_carried import ColumnsCarried, columns_text
from ferry.receipts.read_as import PastReading
from ferry.receipts.receipt import RECEIPT_COLUMNS, RECEIPTS, Receipt
from ferry.receipts.table import (
    LandedBefore,
    find_landing,
    holds_rows,
    last_void,
    read_columns_carried,
    read_landed_before,
    read_readings,
    rows_held,
)
from ferry.schema import Column, TableName
from tasks.own_tables import make_missing

R = TypeVar("R")


def from_receipts(question: Callable[[], R], none: R, warehouse: Warehouse) -> R:
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


def landed_before(
    batch: Batch, cursor: Column | None, columns: Sequence[Column], warehouse: Warehouse
) -> LandedBefore:
    """What has landed in the batch's table, before it is read.

    Args:
        batch: The batch.
        cursor: The cursor by which it is going to be read.
        columns: The columns that it brings.
        warehouse: Where.
    """
    name = cursor.name.lower() if cursor else None
    brought = columns_text(columns)
    return from_receipts(
        lambda: read_landed_before(warehouse, batch.target, batch.time_bounds, name, brought),
        LandedBefore(),
        warehouse,
    )


def already_landed(batch: Batch, warehouse: Warehouse) -> Receipt | None:
    """The batch's receipt if an earlier attempt of this run has landed it, and it is not void.

    None as well if the target is gone since, or has lost its rows.
    """

    def landing() -> Receipt | None:
        void = last_void(warehouse, batch.target)
        return find_landing(warehouse, batch.id, void)[1]

    receipt = from_receipts(landing, None, warehouse)
    if receipt is None or warehouse.describe(batch.target) is None:
        return None
    empty = not warehouse.fetch(sql.any_row(batch.target))
    return None if empty and rows_held(warehouse, batch.target) > 0 else receipt


def why_gone(table: TableName, warehouse: Warehouse) -> str:
    """Why the rows that the table's receipts tell of are not there any more; empty if they are.

    The catalog is asked only where there seems to be no target.

    Args:
        table: The target.
        warehouse: Where.

    Raises:
        ConnectionLostError, BusyError: The warehouse cannot be asked; a retry may help.
    """
    try:
        some = warehouse.fetch(sql.any_row(table))
    except SchemaError:
        if warehouse.describe(table) is None:
            return "the target is gone"
        raise
    return "" if some or not holds_rows(warehouse, table) else "the target has lost its rows"


def readings(table: TableName, warehouse: Warehouse) -> list[PastReading]:
    """What has landed in what the table's target is now, once for each way in which it was read."""
    return from_receipts(lambda: read_readings(warehouse, table), list[PastReading](), warehouse)


def whose_rows(table: TableName, warehouse: Warehouse) -> list[PastReading]:
    """The same, also of what is void, as far as its rows are still there."""
    none = list[PastReading]()
    return from_receipts(lambda: read_readings(warehouse, table, also_void=True), none, warehouse)


def columns_carried(
    batch: Batch, before: LandedBefore, warehouse: Warehouse
) -> tuple[ColumnsCarried, ...]:
    """With which columns all of the batch's table has landed.

    Empty if it replaces every row, or if nothing had landed with others than it brings.
    """
    if batch.mode == "full" or not before.otherwise:
        return ()
    none = list[ColumnsCarried]()
    return tuple(
        from_receipts(lambda: read_columns_carried(warehouse, batch.target), none, warehouse)
    )
