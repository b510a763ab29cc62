"""Locks: other writers wait; of a target, what its rows are replaced with does just that."""

from __future__ import annotations

from blocks.warehouse import Warehouse
from ferry import statements as sql
from ferry.schema import TableName
from ferry.statements import Transaction
from ferry.target.side_effects import refuse_side_effects


def lock(tx: Transaction, table: TableName, warehouse: Warehouse) -> None:
    """Make other writers of a table wait until the transaction ends, where the engine has locks."""
    if warehouse.capabilities.lock_mode is not None:
        tx.execute(sql.lock(table, warehouse.capabilities.lock_mode))


def lock_target(tx: Transaction, table: TableName, warehouse: Warehouse) -> None:
    """Make other writers of a table wait; refuse it if its rows cannot be replaced alone.

    To be called first in the transaction that writes. A foreign key onto the table, a rule or a
    trigger is made behind a lock that this one keeps out: none comes before the transaction ends.

    Raises:
        SchemaError: A DELETE there keeps or hides rows, or changes others; an INSERT may change
            rows or leave them out; or it is a view. No retry helps.
    """
    lock(tx, table, warehouse)
    refuse_side_effects(table, warehouse.side_effects(table, tx))
