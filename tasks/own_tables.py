"""Ferry's own tables in the warehouse: made where they are missing, and the columns they lack."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from prefect.logging import get_run_logger

from blocks.warehouse import Warehouse
from ferry import statements as sql
from ferry.errors import FerryError
from ferry.schema import Column, TableName
from ferry.target.key_index import create_index

SECOND_TRY_SECONDS = 0.5
INDEXED: Mapping[str, Sequence[tuple[str, ...]]] = {
    "receipts": [("table_name", "finished_at"), ("batch_id",)],
    "failures": [("table_name",)],
    "audits": [("table_name",)],
    "coverage": [("table_name",)],
    "summarized": [("summary", "batch_id")],
    "publications": [("summary", "published_at")],
}
"""What each question names, where there are indexes: else it reads all that ever was written.

By the tables' names: who carries rows need not load what builds summaries.
"""


def make_missing(table: TableName, columns: Sequence[Column], warehouse: Warehouse) -> None:
    """Make one of Ferry's own tables if it is missing, and the columns that an older one lacks."""
    if is_made(table, columns, warehouse):
        return
    make_schema(warehouse, table.schema)
    required = [column.name for column in columns if not column.nullable]
    create = sql.create_table(table, columns, warehouse.native_type, required=required)
    if indexes := _indexes(table, warehouse):
        _twice(partial(_execute_all, warehouse, [create, *indexes]), table)
    else:
        make(warehouse, create, table)


def _indexes(table: TableName, warehouse: Warehouse) -> list[str]:
    """What makes the indexes of one of Ferry's own tables: none where the engine has none."""
    indexed = INDEXED.get(table.name, ()) if warehouse.capabilities.max_index_bytes else ()
    return [create_index(f"{table.name}_by_{names[0]}", table, names) for names in indexed]


def _execute_all(warehouse: Warehouse, statements: Sequence[str]) -> None:
    """All or none: a table that is there is not given its indexes later."""
    with warehouse.transaction() as tx:
        for statement in statements:
            tx.execute(statement)


def is_made(table: TableName, columns: Sequence[Column], warehouse: Warehouse) -> bool:
    """Whether there is one of Ferry's own tables, then with the columns that an older one lacks."""
    existing = warehouse.describe(table)
    if existing is None:
        return False
    for column in columns:
        if existing.column(column.name) is None:
            _add(table, column, warehouse)
    return True


def _add(table: TableName, column: Column, warehouse: Warehouse) -> None:
    """Add a column, unless another run has added it meanwhile."""
    try:
        warehouse.execute(sql.add_column(table, column, warehouse.native_type))
    except FerryError:
        there = warehouse.describe(table)
        if there is None or there.column(column.name) is None:
            raise


def make_schema(warehouse: Warehouse, schema: str) -> None:
    """Make the schema if it is missing; where it is there, no right to make one is needed."""
    if not warehouse.has_schema(schema):
        _twice(partial(warehouse.create_schema, schema), schema)


def make(warehouse: Warehouse, statement: str, table: object) -> None:
    """Run a CREATE … IF NOT EXISTS, which two runs at once can make fail for one of them."""
    _twice(partial(warehouse.execute, statement), table)


def _twice(make: Callable[[], object], what: object) -> None:
    try:
        make()
    except FerryError as error:
        get_run_logger().debug("making %s once more after: %s", what, error)
        time.sleep(SECOND_TRY_SECONDS)
        make()
