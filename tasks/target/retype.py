"""Columns of the target whose type has to change: looked at before a row is read, then changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from prefect.logging import get_run_logger

from blocks.warehouse import Warehouse
from ferry import statements as sql
from ferry.batch import Batch
from ferry.errors import FerryError
from ferry.schema import Column, TableSchema, fits
from ferry.specs.chosen import full_copy
from ferry.statements import Transaction
from ferry.target.changes import TargetChanges, plan_target
from ferry.target.retype import HeldColumns, change_type, make_anew
from ferry.target.retype_refused import refuse_bound
from tasks.target.lock import lock


def plan_columns(
    batch: Batch, existing: TableSchema | None, columns: Sequence[Column], warehouse: Warehouse
) -> TargetChanges:
    """What has to be done to the target so that the columns fit, if nothing stands in the way.

    Args:
        batch: What is carried.
        existing: The target as it is; None if there is none.
        columns: The columns to load.
        warehouse: Where.

    Raises:
        SchemaError: Columns that a person has to decide on, or that views or keys hold.
    """

    def held() -> HeldColumns:
        views = warehouse.bound_views(batch.target)
        return replace(warehouse.held_columns(batch.target), views=views)

    changes = _changes(batch, existing, columns, warehouse, held)
    names = [each.name for each in changes.widen]
    names += [each.there.name for each in (*changes.retype, *changes.remake)]
    views = {name: warehouse.bound_views(batch.target, name) for name in names}
    statements = _statements(batch, changes, warehouse)
    refuse_bound(batch.target, views, statements, warehouse.capabilities)
    return changes


def _changes(
    batch: Batch,
    existing: TableSchema | None,
    columns: Sequence[Column],
    warehouse: Warehouse,
    held: Callable[[], HeldColumns] = HeldColumns,
) -> TargetChanges:
    return plan_target(
        batch.target,
        existing,
        columns,
        warehouse.capabilities,
        batch.spec.target_only,
        batch.spec.exclude,
        key=batch.spec.key,
        full_copy=full_copy(batch.spec),
        native_type=warehouse.native_type,
        held=held,
        replaced=batch.mode == "full",
    )


def _statements(batch: Batch, changes: TargetChanges, warehouse: Warehouse) -> list[str]:
    native, capabilities = warehouse.native_type, warehouse.capabilities
    widened = [sql.widen_column(batch.target, column, native) for column in changes.widen]
    retyped = [change_type(batch.target, each, native, capabilities) for each in changes.retype]
    return [*widened, *(statement for each in retyped for statement in each)]


def widen(batch: Batch, column: Column, warehouse: Warehouse) -> None:
    """Make a text column longer, unless another run has done so meanwhile."""
    try:
        warehouse.execute(sql.widen_column(batch.target, column, warehouse.native_type))
    except FerryError:
        there = warehouse.describe(batch.target)
        now = there.column(column.name) if there else None
        if now is None or not fits(column.type, now.type):
            raise
    get_run_logger().warning("%s has a longer column: %s", batch.target, column.name)


def retype(
    batch: Batch, planned: TargetChanges, columns: Sequence[Column], warehouse: Warehouse
) -> None:
    """Give the columns their greater types, in one transaction: all rows keep their values.

    Behind the lock it is looked again what is to be done: another run may have done it meanwhile,
    or have made a column greater still.
    """
    if not planned.retype:
        return
    capabilities = warehouse.capabilities
    with warehouse.transaction() as tx:
        lock(tx, batch.target, warehouse)
        existing = warehouse.describe(batch.target, tx)
        changes = _changes(batch, existing, columns, warehouse).retype
        for change in changes:
            for statement in change_type(batch.target, change, warehouse.native_type, capabilities):
                tx.execute(statement)
    for change in changes:
        get_run_logger().warning(
            "%s has a column of another type: %s, %s before, %s now",
            batch.target,
            change.there.name,
            change.there.native or change.there.type,
            warehouse.native_type(change.wanted.type),
        )


def remake(
    batch: Batch, columns: Sequence[Column], tx: Transaction, warehouse: Warehouse
) -> list[str]:
    """What gives columns another type, in the transaction in which a full copy replaces every row.

    To be asked behind the target's lock, in that transaction, and run once the rows are gone.
    """
    existing = warehouse.describe(batch.target, tx)
    statements = []
    for change in _changes(batch, existing, columns, warehouse).remake:
        statements += make_anew(batch.target, change, warehouse.native_type, warehouse.capabilities)
        get_run_logger().warning(
            "%s is replaced with a column of another type: %s, %s before",
            batch.target,
            change.there.name,
            change.there.native or change.there.type,
        )
    return statements
