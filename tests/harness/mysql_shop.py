"""A database on a MySQL or MariaDB server of the suite's, and the block that reads it."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
import pymysql
import pytest
from pymysql.cursors import Cursor

from blocks.sources import MySQLSource
from ferry.batch import ExtractQuery
from ferry.schema import TableName, arrow_schema

if TYPE_CHECKING:
    from deployments.local.servers import MariaDB

ServerName = Literal["mariadb", "mysql"]
SERVERS: tuple[ServerName, ...] = ("mariadb", "mysql")
"""The servers, by the fixtures that start them, on which the tests of the MySQL source run.

Those that look at Ferry's own processes alone, which no server can change, run on one of them.
"""


def only_on(server: ServerName) -> pytest.MarkDecorator:
    """Keeps a test, or a case of it, to one server: the one that knows its statements, or any."""
    return pytest.mark.only_on(server)


@contextlib.contextmanager
def root_on(server: MariaDB) -> Iterator[Cursor]:
    """A cursor of the server's own administrator."""
    socket_file = str(server._socket_folder / "server.sock")
    with pymysql.connect(unix_socket=socket_file, user="root", autocommit=True) as root:
        yield root.cursor()


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

    def as_root(self) -> contextlib.AbstractContextManager[Cursor]:
        """A cursor of the server's own administrator."""
        return root_on(self.server)

    def run(self, sql: str, parameters: Sequence[object] | None = None) -> list[tuple[Any, ...]]:
        with self.connection.cursor() as cursor:
            cursor.execute(sql, parameters)
            return list(cursor.fetchall())

    def read(self, table: str, **query: Any) -> pa.Table:
        schema = self.source.describe(TableName("", table))
        batches = list(self.source.read(ExtractQuery(schema, **query)))
        return pa.Table.from_batches(batches, schema=arrow_schema(schema.columns))

    @staticmethod
    def numbers(first: int, last: int) -> str:
        """A table of whole numbers, `seq`, for a FROM: every server has it."""
        digits = "(SELECT 0 AS n" + "".join(f" UNION ALL SELECT {n}" for n in range(1, 10)) + ")"
        places = range(len(str(last - first)))
        seq = " + ".join([str(first), *(f"d{place}.n * {10**place}" for place in places)])
        tables = " JOIN ".join(f"{digits} AS d{place}" for place in places)
        return f"(SELECT {seq} AS seq FROM {tables} HAVING seq <= {last}) AS n"

    def make_one(self, columns: str) -> None:
        self.run("DROP TABLE IF EXISTS one")
        self.run(f"CREATE TABLE one ({columns})")

    def read_one(self, definition: str, *literals: str, **query: Any) -> list[Any]:
        """The values of a table with one column of this definition, as they arrive."""
        self.make_one(f"id INT PRIMARY KEY, c {definition}")
        for n, literal in enumerate(literals):
            self.run(f"INSERT INTO one (id, c) VALUES ({n}, {literal})")
        rows = self.read("one", **query).to_pylist()
        return [row["c"] for row in sorted(rows, key=lambda row: row["id"])]

    def type_of(self, definition: str) -> str:
        self.make_one(f"c {definition}")
        return str(self.source.describe(TableName("", "one")).columns[0].type)


@contextlib.contextmanager
def opened_shop(server: MariaDB) -> Iterator[MySQLShop]:
    """An empty database of its own on this server."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    with pymysql.connect(
        host=server.host,
        port=server.port,
        user=server.user,
        password=server.password,
        charset="utf8mb4",
        autocommit=True,
        ssl_disabled=True,
    ) as connection:
        shop = MySQLShop(server, name, connection)
        shop.run(f"CREATE DATABASE `{name}`")
        connection.select_db(name)
        shop.run("SET SESSION time_zone = '+00:00', sql_mode = 'ALLOW_INVALID_DATES'")
        yield shop
        shop.run(f"DROP DATABASE `{name}`")


def read_in_part(source: MySQLSource, shop: MySQLShop) -> Iterator[pa.RecordBatch]:
    """The batches of the table `many`, read as they are asked for."""
    schema = shop.source.describe(TableName("", "many"))
    return iter(source.read(ExtractQuery(schema)))
