"""An engine that needs only pip, for the write algorithms, and a batch that stands in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import duckdb

from ferry import statements as sql
from ferry.batch import StageFormat
from ferry.capabilities import Capabilities
from ferry.schema import Column, DataType, Kind, TableName
from ferry.write.load import Load, Written
from ferry.write.upsert import upsert

TARGET, STAGING = TableName("main", "target"), TableName("main", "staging")
INT = DataType(Kind.INT64)
COLUMNS = (
    Column("id", INT),
    Column("Part", INT),
    Column("modified", INT),
    Column("body", DataType(Kind.TEXT)),
    Column("gone", INT),
)
KEY = COLUMNS[:2]
CAPABILITIES = Capabilities((StageFormat.PARQUET,), 127, None, 1600, "duckdb")
REDSHIFTS_SQL = replace(CAPABILITIES, dialect="redshift")
_NATIVE = {Kind.INT64: "BIGINT", Kind.TIMESTAMP: "TIMESTAMP"}


def run(
    connection: duckdb.DuckDBPyConnection, statement: sql.Statement | str
) -> duckdb.DuckDBPyConnection:
    """Run a statement of ours in DuckDB."""
    whole = sql.Statement.of(statement)
    return connection.execute(whole.sql.replace(sql.PARAM, "?"), list(whole.values))


class Engine:
    """DuckDB in memory, as a Transaction, with a target and a staging table of these columns."""

    def __init__(self, columns: Sequence[Column] = COLUMNS) -> None:
        self.connection, self._columns = duckdb.connect(), columns
        for table in (TARGET, STAGING):
            self.execute(
                sql.create_table(table, columns, lambda type_: _NATIVE.get(type_.kind, "VARCHAR"))
            )

    def execute(self, statement: sql.Statement | str) -> int:
        result = run(self.connection, statement).fetchone()
        return int(result[0]) if result and isinstance(result[0], int) else 0

    def fetch(self, statement: sql.Statement | str) -> list[tuple[Any, ...]]:
        return run(self.connection, statement).fetchall()

    def put(self, table: TableName, rows: Sequence[tuple[Any, ...]]) -> None:
        self.execute(sql.delete_all(table))
        if rows:
            self.execute(sql.insert_rows(table, self._columns, rows))

    def rows(self) -> list[tuple[Any, ...]]:
        return sorted(self.fetch(f"SELECT * FROM {sql.table_sql(TARGET)}"), key=repr)


def load(rows: Sequence[tuple[Any, ...]], **changes: Any) -> Load:
    """A batch of these rows, which stand in the staging table."""
    values = {
        "target": TARGET,
        "staging": STAGING if rows else None,
        "columns": COLUMNS,
        "rows": len(rows),
        "into_empty": False,
        "key": KEY,
        "cursor": "modified",
        "any_may_win": True,
    }
    return Load(**{**values, **changes})


def upserted(engine: Engine, load: Load, capabilities: Capabilities) -> Written:
    """What became of a batch's rows, of all its windows together."""
    load = replace(load, into_empty=not engine.fetch(sql.any_row(load.target)))
    each = upsert(engine, load, capabilities)
    return Written(*(sum(getattr(one, field.name) for one in each) for field in fields(Written)))
