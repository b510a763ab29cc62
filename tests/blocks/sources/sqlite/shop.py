"""A SQLite file as an application has it, and the source over it."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pyarrow as pa

from blocks.sources import SQLiteSource
from ferry.batch import ExtractQuery
from ferry.schema import TableName, arrow_schema

ONE = TableName("", "one")


class SQLiteShop:
    def __init__(self, path: Path):
        self.connection = sqlite3.connect(path, isolation_level=None)
        self.source = SQLiteSource(path=str(path), busy_timeout_seconds=0.1)

    def fill(self, declaration: str, *values: Any) -> None:
        self.connection.execute("DROP TABLE IF EXISTS one")
        self.connection.execute(f"CREATE TABLE one (id INTEGER PRIMARY KEY, c {declaration})")
        self.connection.executemany("INSERT INTO one (c) VALUES (?)", [(v,) for v in values])

    def read(self, **query: Any) -> list[Any]:
        schema = self.source.describe(ONE)
        batches = list(self.source.read(ExtractQuery(schema, **query)))
        table = pa.Table.from_batches(batches, schema=arrow_schema(schema.columns))
        return table["c"].to_pylist()
