"""The target and the receipts table: made where they are missing, altered where they have to be."""

from __future__ import annotations

import time

from prefect.logging import get_run_logger

from blocks.warehouse import Warehouse
from ferry import statements as sql
from ferry.batch import Batch, Copied
from ferry.errors import FerryError
from ferry.receipts import RECEIPT_COLUMNS, RECEIPTS
from ferry.target import TargetPlan, plan_target
from ferry.write import named_columns

SECOND_TRY_SECONDS = 0.5


def prepare_target(batch: Batch, copied: Copied, warehouse: Warehouse) -> None:
    """Make the target, its new columns and the receipts table, where they are missing."""
    spec, native = batch.spec, warehouse.native_type
    columns = copied.staged.extract.columns
    if warehouse.describe(RECEIPTS) is None:
        _make(warehouse, sql.create_schema(RECEIPTS.schema), RECEIPTS)
        required = [column.name for column in RECEIPT_COLUMNS if not column.nullable]
        _make(
            warehouse,
            sql.create_table(RECEIPTS, RECEIPT_COLUMNS, native, required=required),
            RECEIPTS,
        )
    plan = plan_target(
        batch.target, warehouse.describe(batch.target), columns, warehouse.capabilities
    )
    if plan.create:
        keyed = warehouse.capabilities.sort_and_dist_keys
        sort_key = named_columns(spec.sort_key, columns, batch.target, "sort key")
        dist_key = named_columns(
            (spec.dist_key,) if spec.dist_key else (), columns, batch.target, "dist key"
        )
        _make(warehouse, sql.create_schema(batch.target.schema), batch.target)
        _make(
            warehouse,
            sql.create_table(
                batch.target,
                columns,
                native,
                sort_key=sort_key if keyed else (),
                dist_key=dist_key[0] if keyed and dist_key else None,
            ),
            batch.target,
        )
    _alter(batch, plan, warehouse)


def _alter(batch: Batch, plan: TargetPlan, warehouse: Warehouse) -> None:
    native = warehouse.native_type
    for column in plan.add:
        warehouse.execute(sql.add_column(batch.target, column, native))
        get_run_logger().warning("%s has a new column: %s", batch.target, column.name)
    for column in plan.widen:
        warehouse.execute(sql.widen_column(batch.target, column, native))
        get_run_logger().warning("%s has a longer column: %s", batch.target, column.name)


def _make(warehouse: Warehouse, statement: str, table: object) -> None:
    """Run a CREATE … IF NOT EXISTS, which two runs at once can make fail for one of them."""
    try:
        warehouse.execute(statement)
    except FerryError as error:
        get_run_logger().debug("making %s once more after: %s", table, error)
        time.sleep(SECOND_TRY_SECONDS)
        warehouse.execute(statement)
