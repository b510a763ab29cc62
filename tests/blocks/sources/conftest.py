from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pymysql
import pytest

from blocks.sources import MySQLSource
from blocks.sources.mysql_process import IDLE_READERS
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


@dataclass
class Proxy:
    """Passes bytes on to a server, until it stalls or is cut."""

    target: tuple[str, int]
    host: str
    port: int
    stalled: threading.Event = field(default_factory=threading.Event)
    _sockets: list[socket.socket] = field(default_factory=list)

    _threads: list[threading.Thread] = field(default_factory=list)

    def serve(self, listener: socket.socket) -> None:
        self._go(self._accept, listener)

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                self._sockets.append(client)
                self._sockets.append(server := socket.create_connection(self.target))
                for one, other in ((client, server), (server, client)):
                    self._go(self._pass, one, other)

    def _go(self, what: Callable[..., None], *arguments: object) -> None:
        self._threads.append(thread := threading.Thread(target=what, args=arguments, daemon=True))
        thread.start()

    def _pass(self, one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(65536):
                while self.stalled.is_set():
                    time.sleep(0.05)
                other.sendall(data)

    def cut(self) -> None:
        for one in self._sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.stalled.clear()
        self.cut()
        for thread in self._threads:
            thread.join(10)
        for one in self._sockets:
            one.close()


@pytest.fixture
def proxy(mariadb: MariaDB) -> Iterator[Callable[..., Proxy]]:
    """Makes proxies to the server, each on a port of its own."""
    with contextlib.ExitStack() as stack:

        def make(host: str = "127.0.0.1") -> Proxy:
            listener = stack.enter_context(socket.create_server((host, 0)))
            made = Proxy((mariadb.host, mariadb.port), *listener.getsockname())
            stack.callback(made.close)
            stack.callback(listener.shutdown, socket.SHUT_RDWR)  # ends the waiting accept
            made.serve(listener)
            return made

        yield make


@pytest.fixture
def reading_processes() -> Callable[[], list[Path]]:
    """The folders in /proc of the reading processes that this one has; none to begin with."""
    IDLE_READERS.close_all()

    def find() -> list[Path]:
        found = []
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit():
                with contextlib.suppress(OSError):  # it ended meanwhile
                    parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
                    if (
                        int(parent) == os.getpid()
                        and b"mysql_reader" in (folder / "cmdline").read_bytes()
                    ):
                        found.append(folder)
        return found

    return find
