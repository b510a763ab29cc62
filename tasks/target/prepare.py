"""The target: made where it is missing, altered where it has to be."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial

from prefect.logging import get_run_logger

from blocks.warehouse import Warehouse
from ferry import statements as sql
from ferry.batch import Batch
from ferry.capabilities import Capabilities
from ferry.errors import FerryError, StaleReadError
from ferry.plan import BatchPlan
from ferry.receipts.receipt import RECEIPT_COLUMNS, RECEIPTS, TARGET_MADE_ANEW
from ferry.receipts.table import has_receipts, write_receipts
from ferry.schema import Kind, TableName, TableSchema
from ferry.target import key_index
from ferry.target.changes import TargetChanges
from tasks.landed.voids import make_void
from tasks.own_tables import SECOND_TRY_SECONDS, make_missing, make_schema
from tasks.target.retype import plan_columns, retype, widen
from tasks.target.target_only import refuse_emptying_columns

INDEXED_ROWS = 2_000_000
"""A target whose first batch has more rows gets no index, which would take as long as the load.

As many as windows that travel together have (`batch_rows`): batches follow the first one.
"""


def prepare_target(batch: Batch, plan: BatchPlan, rows: int, warehouse: Warehouse) -> int:
    """Make the target and its new columns, where they are missing.

    Where there are receipts of batches that a new target has not, or that a new column was not in,
    the same transaction writes that they are void. The target is looked at again: it may have
    changed since the batch was planned.

    Args:
        batch: What is going to land.
        plan: Its plan.
        rows: How many rows it has.
        warehouse: Where.

    Returns:
        How often it wrote that.

    Raises:
        SchemaError: The columns do not fit, or a column of the target alone would be emptied.
        StaleReadError: The target has gained a column since the batch was planned.
    """
    existing = warehouse.describe(batch.target)
    _refuse_gained(plan, existing)
    changes = plan_columns(batch, existing, plan.columns, warehouse)
    refuse_emptying_columns(batch, existing, plan.columns, plan.start, warehouse)
    voids = 0
    if changes.create:
        voids += _create(batch, plan, rows, warehouse)
    voids += _alter(batch, plan, changes, warehouse)
    retype(batch, changes, plan.columns, warehouse)
    return voids


def _refuse_gained(plan: BatchPlan, existing: TableSchema | None) -> None:
    """Refuse a batch that was read without a column that another one has brought since."""
    now = {column.name for column in existing.columns} if existing else set()
    gained = now - plan.columns_before - {column.name for column in plan.columns}
    if gained:
        raise StaleReadError(
            "the target has gained columns since this batch was planned: "
            + ", ".join(sorted(gained)),
            todo="Run it again: it has to be planned and read again.",
        )


def _create(batch: Batch, plan: BatchPlan, rows: int, warehouse: Warehouse) -> bool:
    spec = batch.spec
    keyed = warehouse.capabilities.sort_and_dist_keys
    statement = sql.create_table(
        batch.target,
        plan.columns,
        warehouse.native_type,
        if_missing=False,
        primary_key=_declared_key(plan, warehouse.capabilities),
        sort_key=[name.lower() for name in spec.sort_key] if keyed else (),
        dist_key=spec.dist_key.lower() if keyed and spec.dist_key else None,
    )
    make_schema(warehouse, batch.target.schema)
    statements = [statement]
    if rows <= INDEXED_ROWS and _is_indexable(plan, warehouse.capabilities):
        statements += _index(batch.target, [column.name for column in plan.key], warehouse)
    # Together, so that no run that is killed between them leaves a target without its index.
    return _change(batch, statements, lambda there: there is not None, TARGET_MADE_ANEW, warehouse)


def _change(
    batch: Batch,
    statements: Sequence[str],
    is_done: Callable[[TableSchema | None], bool],
    void: str,
    warehouse: Warehouse,
) -> bool:
    """Change the target, and say in the same transaction that its receipts are void, if they are.

    Another run may do both at the same moment: then a statement fails, and what it was to make is
    there already, or after a second try.

    Args:
        batch: The batch that the target is made ready for.
        statements: What changes the target.
        is_done: Whether the target is as the statements make it.
        void: Why what has landed before does not count any more; empty if it does.
        warehouse: Where.

    Returns:
        Whether this very call has said that the receipts are void.
    """
    if void:  # the transaction holds a lock, behind which no other session is to ask the catalog
        make_missing(RECEIPTS, RECEIPT_COLUMNS, warehouse)
    for attempt in (1, 2):
        try:
            with warehouse.transaction() as tx:
                for statement in statements:
                    tx.execute(statement)
                says_so = bool(void) and has_receipts(warehouse, batch.target)
                if says_so:
                    emptied = void == TARGET_MADE_ANEW
                    write_receipts(tx, [make_void(batch, void, warehouse, emptied=emptied)])
        except FerryError as error:
            if is_done(warehouse.describe(batch.target)):
                return False
            if attempt == 2:
                raise
            get_run_logger().debug("%s is changed once more after: %s", batch.target, error)
            time.sleep(SECOND_TRY_SECONDS)
        else:
            return says_so
    return False


def _declared_key(plan: BatchPlan, capabilities: Capabilities) -> list[str]:
    """The key, if the source vouches for it and the engine tells its values apart as it does."""
    of_text = any(column.type.kind is Kind.TEXT for column in plan.key)
    sure = plan.unique_key and not (capabilities.pads_text and of_text)
    return [column.name for column in plan.key] if capabilities.declares_keys and sure else []


def _is_indexable(plan: BatchPlan, capabilities: Capabilities) -> bool:
    """Whether there is a key, and no value of it is too long for an index."""
    long = (Kind.TEXT, Kind.BINARY, Kind.JSON)
    limit = capabilities.max_index_bytes
    sizes = [(c.type.max_bytes or limit + 1) if c.type.kind in long else 16 for c in plan.key]
    return 0 < sum(sizes) <= limit


def _index(table: TableName, key: Sequence[str], warehouse: Warehouse) -> list[str]:
    """What makes an index on the key of a new target."""
    name = key_index.key_index_name(table, warehouse.indexes_in(table.schema))
    return [key_index.create_index(name, table, key)] if name else []


def _alter(batch: Batch, plan: BatchPlan, changes: TargetChanges, warehouse: Warehouse) -> int:
    native, voids = warehouse.native_type, 0
    for column in changes.add:
        statement = sql.add_column(batch.target, column, native)
        void = ""
        if column.name in plan.in_older_rows:
            void = f"older rows have no value in the new column {column.name}"
        voids += _change(batch, [statement], partial(_has_column, column.name), void, warehouse)
        get_run_logger().warning("%s has a new column: %s", batch.target, column.name)
    for column in changes.widen:
        widen(batch, column, warehouse)
    return voids


def _has_column(name: str, there: TableSchema | None) -> bool:
    return there is not None and there.column(name) is not None
