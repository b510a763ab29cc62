from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pymysql
import pytest

from blocks.sources import MySQLSource
from ferry.batch import ExtractQuery
from ferry.schema import TableName, arrow_schema

if TYPE_CHECKING:
    from deployments.local.servers import MariaDB


class MySQLShop:
    """A database of the test's own, and the block that reads it."""

    def __init__(self, server: MariaDB, database: str, connection: pymysql.Connection[Any]):
        self.server = server
        self.database = database
        self.connection = connection
        self.source = self.make_source()

    def make_source(self, **changes: Any) -> MySQLSource:
        fields: dict[str, Any] = {
            "host": self.server.host,
            "port": self.server.port,
            "database": self.database,
            "user": self.server.user,
            "password": self.server.password,
            "ca_path": str(self.server.ca_path),
        }
        return MySQLSource(**{**fields, **changes})

    def run(self, sql: str, parameters: Any = None) -> list[tuple[Any, ...]]:
        with self.connection.cursor() as cursor:
            cursor.execute(sql, parameters)
            return list(cursor.fetchall())

    def read(self, table: str, **query: Any) -> pa.Table:
        schema = self.source.describe(TableName("", table))
        batches = list(self.source.read(ExtractQuery(schema, **query)))
        return pa.Table.from_batches(batches, schema=arrow_schema(schema.columns))

    def read_one(self, definition: str, *literals: str, **query: Any) -> list[Any]:
        """The values of a table with one column of this definition, as they arrive."""
        self.run(f"CREATE OR REPLACE TABLE one (id INT PRIMARY KEY, c {definition})")
        for n, literal in enumerate(literals):
            self.run(f"INSERT INTO one (id, c) VALUES ({n}, {literal})")
        rows = self.read("one", **query).to_pylist()
        return [row["c"] for row in sorted(rows, key=lambda row: row["id"])]

    def type_of(self, definition: str) -> str:
        self.run(f"CREATE OR REPLACE TABLE one (c {definition})")
        return str(self.source.describe(TableName("", "one")).columns[0].type)


@pytest.fixture
def shop(mariadb: MariaDB, mysql_database: str) -> Iterator[MySQLShop]:
    with pymysql.connect(
        host=mariadb.host,
        port=mariadb.port,
        user=mariadb.user,
        password=mariadb.password,
        database=mysql_database,
        charset="utf8mb4",
        autocommit=True,
        ssl_disabled=True,
    ) as connection:
        shop = MySQLShop(mariadb, mysql_database, connection)
        shop.run("SET SESSION time_zone = '+00:00', sql_mode = 'ALLOW_INVALID_DATES'")
        yield shop


MakeSource = Callable[..., MySQLSource]
