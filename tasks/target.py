"""The target and the receipts table: made where they are missing, altered where they have to be."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from prefect.logging import get_run_logger

from blocks.warehouse import Warehouse
from ferry import statements as sql
from ferry.batch import STAGING_NAME, STAGING_SCHEMA, Batch, Copied, Extract
from ferry.capabilities import Capabilities
from ferry.errors import FerryError
from ferry.receipts import RECEIPTS
from ferry.schema import Column, Kind, TableName
from ferry.target import TargetPlan, plan_target
from ferry.write import count_receipts

SECOND_TRY_SECONDS = 0.5
FORGOTTEN_DAYS = 7
INDEXED_ROWS = 1_000_000
"""A target whose first batch has more rows gets no index, which would take as long as the load."""


def prepare_target(batch: Batch, copied: Copied, warehouse: Warehouse) -> None:
    """Make the target and its new columns, where they are missing."""
    spec, native = batch.spec, warehouse.native_type
    columns = copied.staged.extract.columns
    existing = warehouse.describe(batch.target)
    plan = plan_target(batch.target, existing, columns, warehouse.capabilities, spec.target_only)
    if plan.create:
        keyed, extract = warehouse.capabilities.sort_and_dist_keys, copied.staged.extract
        make_schema(warehouse, batch.target.schema)
        make(
            warehouse,
            sql.create_table(
                batch.target,
                columns,
                native,
                primary_key=_declared_key(batch, extract, warehouse.capabilities),
                sort_key=[name.lower() for name in spec.sort_key] if keyed else (),
                dist_key=spec.dist_key.lower() if keyed and spec.dist_key else None,
            ),
            batch.target,
        )
        if copied.rows <= INDEXED_ROWS and _is_indexable(batch, extract, warehouse.capabilities):
            key = [name.lower() for name in spec.key]
            make(warehouse, sql.create_key_index(batch.target, key), batch.target)
    _alter(batch, plan, warehouse)


def _declared_key(batch: Batch, extract: Extract, capabilities: Capabilities) -> list[str]:
    """The key, if the source vouches for it and the engine tells its values apart as it does."""
    key = [name.lower() for name in batch.spec.key]
    texts = {c.name for c in extract.columns if c.type.kind is Kind.TEXT}
    sure = extract.unique_key and not (capabilities.pads_text and texts.intersection(key))
    return key if capabilities.declares_keys and sure else []


def _is_indexable(batch: Batch, extract: Extract, capabilities: Capabilities) -> bool:
    """Whether there is a key, and no value of it is too long for an index."""
    key = {name.lower() for name in batch.spec.key}
    long = (Kind.TEXT, Kind.BINARY, Kind.JSON)
    limit = capabilities.max_index_bytes
    sizes = [
        (c.type.max_bytes or limit + 1) if c.type.kind in long else 16
        for c in extract.columns
        if c.name in key
    ]
    return 0 < sum(sizes) <= limit


def _alter(batch: Batch, plan: TargetPlan, warehouse: Warehouse) -> None:
    native = warehouse.native_type
    for column in plan.add:
        _add(batch.target, column, warehouse)
        get_run_logger().warning("%s has a new column: %s", batch.target, column.name)
    for column in plan.widen:
        warehouse.execute(sql.widen_column(batch.target, column, native))
        get_run_logger().warning("%s has a longer column: %s", batch.target, column.name)


def _add(table: TableName, column: Column, warehouse: Warehouse) -> None:
    """Add a column, unless another run has added it meanwhile."""
    try:
        warehouse.execute(sql.add_column(table, column, warehouse.native_type))
    except FerryError:
        there = warehouse.describe(table)
        if there is None or there.column(column.name) is None:
            raise


def make_missing(table: TableName, columns: Sequence[Column], warehouse: Warehouse) -> None:
    """Make one of Ferry's own tables if it is missing, and the columns that an older one lacks."""
    existing = warehouse.describe(table)
    if existing is not None:
        for column in columns:
            if existing.column(column.name) is None:
                _add(table, column, warehouse)
        return
    make_schema(warehouse, table.schema)
    required = [column.name for column in columns if not column.nullable]
    statement = sql.create_table(table, columns, warehouse.native_type, required=required)
    make(warehouse, statement, table)


def make_schema(warehouse: Warehouse, schema: str) -> None:
    """Make the schema if it is missing; where it is there, no right to make one is needed."""
    if not warehouse.fetch(sql.find_schema(warehouse.capabilities.placeholder), (schema,)):
        make(warehouse, sql.create_schema(schema), schema)


def landed_batches(batch: Batch, warehouse: Warehouse) -> int:
    """How many batches of the table have landed."""
    if warehouse.describe(RECEIPTS) is None:
        return 0
    return count_receipts(warehouse, batch.target, warehouse.capabilities.placeholder)


def drop_quietly(warehouse: Warehouse, *tables: TableName) -> None:
    """Drop staging tables; a failure is only logged, `drop_forgotten` drops them later."""
    try:
        warehouse.execute(sql.drop_table(*tables))
    except FerryError as error:
        get_run_logger().warning("a staging table could not be dropped yet: %s", error)


def drop_forgotten(warehouse: Warehouse) -> int:
    """Drop staging tables that killed runs left behind a week ago; returns how many."""
    found = warehouse.fetch(sql.find_tables(warehouse.capabilities.placeholder), (STAGING_SCHEMA,))
    oldest = f"{datetime.now(UTC) - timedelta(days=FORGOTTEN_DAYS):%Y%m%d}"
    matches = [STAGING_NAME.match(name) for (name,) in found]
    forgotten = [match.string for match in matches if match and match[1] < oldest]
    for name in forgotten:
        warehouse.execute(sql.drop_table(TableName(STAGING_SCHEMA, name)))
    return len(forgotten)


def make(warehouse: Warehouse, statement: str, table: object) -> None:
    """Run a CREATE … IF NOT EXISTS, which two runs at once can make fail for one of them."""
    try:
        warehouse.execute(statement)
    except FerryError as error:
        get_run_logger().debug("making %s once more after: %s", table, error)
        time.sleep(SECOND_TRY_SECONDS)
        warehouse.execute(statement)
