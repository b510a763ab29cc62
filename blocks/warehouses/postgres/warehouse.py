"""PostgreSQL as a warehouse: rows stream from the stage through this process by COPY FROM STDIN."""

from __future__ import annotations

import io
import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, closing, suppress
from typing import Any, BinaryIO, ClassVar

import psycopg2
import zstandard
from psycopg2 import sql
from pydantic import Field

from blocks.postgres.errors import ferry_error, load_position, translated
from blocks.postgres.fingerprint import PostgresFingerprint
from blocks.postgres.session import (
    SYSTEM_COLUMNS,
    Connection,
    PostgresSession,
)
from blocks.stage import Stage
from blocks.warehouses.information_schema import StandardCatalog
from blocks.warehouses.postgres import types as postgres_types
from blocks.warehouses.postgres.held import held_columns
from blocks.warehouses.postgres.side_effects import side_effects
from blocks.warehouses.postgres.views import bound_views
from ferry.batch import Staged, StagedFile, StageFormat
from ferry.capabilities import Capabilities
from ferry.errors import DataError, FerryError, SchemaError
from ferry.fingerprints.dialect import SumDialect
from ferry.schema import Column, DataType, TableName, TableSchema
from ferry.statements import PARAM, Statement, Transaction
from ferry.target.retype import HeldColumns, View

_CHUNK_BYTES = 1 << 20
_GENERATED = f"""
SELECT column_name FROM information_schema.columns
WHERE table_schema = {PARAM} AND table_name = {PARAM}
  AND (is_generated = 'ALWAYS' OR is_identity = 'YES')
"""  # noqa: S608
_INDEXES = f"SELECT tablename, indexname FROM pg_catalog.pg_indexes WHERE schemaname = {PARAM}"  # noqa: S608

# An empty schema is the connection's own. conkey holds the primary key's column numbers, in order.
_DESCRIBE = f"""
SELECT a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attnum, k.conkey,
       CASE WHEN NOT o.collisdeterministic THEN o.collname END
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_attribute AS a
  ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_catalog.pg_collation AS o ON o.oid = a.attcollation
LEFT JOIN pg_catalog.pg_constraint AS k ON k.conrelid = c.oid AND k.contype = 'p'
WHERE c.relname = {PARAM} AND n.nspname = COALESCE(NULLIF({PARAM}, ''), current_schema())
  AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
ORDER BY a.attnum
"""  # noqa: S608
KEEPALIVES = {
    "tcp_keepalives_idle": 60,
    "tcp_keepalives_interval": 10,
    "tcp_keepalives_count": 6,
}
"""So that the server ends the session of a machine that has vanished, and gives its locks back.

Its own default is the operating system's: two hours, as a rule.
https://www.postgresql.org/docs/current/runtime-config-connection.html#RUNTIME-CONFIG-TCP-SETTINGS
"""


class PostgresWarehouse(PostgresSession, StandardCatalog):
    """A PostgreSQL database that tables are loaded into.

    Example:
        ```python
        from blocks.warehouses import PostgresWarehouse

        warehouse = PostgresWarehouse(
            host="db.example.org", database="analytics", user="ferry", password="..."
        )
        warehouse.save("warehouse")
        print(warehouse.fetch("SELECT count(*) FROM raw_data.nps"))
        ```
    """

    _block_type_name = "PostgreSQL Warehouse"
    _block_type_slug = "postgres-warehouse"
    _description = "A PostgreSQL database that Ferry loads tables into."

    fingerprints: ClassVar[SumDialect] = PostgresFingerprint()
    capabilities: ClassVar[Capabilities] = Capabilities(
        stage_formats=(StageFormat.CSV,),
        max_identifier_bytes=63,
        max_text_bytes=None,
        max_columns=1600,
        dialect="postgres",
        alters_types=True,
        lock_mode="IN SHARE ROW EXCLUSIVE MODE",  # other writers wait, readers do not
        staging_table_kind="UNLOGGED",
        max_index_bytes=2000,  # a third of a page, less what a row of an index needs besides
        hex_prefix="\\x",
        json_digits=16_383,  # of a numeric, after its point; before it there can be more
        tells_case=True,
        reserved_columns=SYSTEM_COLUMNS,
        means_otherwise=frozenset(
            {
                "ADD_MONTHS",
                "CONCAT",
                "DATEDIFF",
                "EXTRACT of seconds",
                "EXTRACT of epoch or parts of a second",
                "LISTAGG",
                "NUMERIC without digits",
                "REGEXP_REPLACE",
            }
        ),
    )

    copy_threads: int = Field(
        default=2,
        ge=1,
        le=16,
        description="How many files are loaded at once, over a connection each.",
    )

    def _set_up(self, connection: Connection) -> None:
        """All settings in one statement, keepalives as well; without these where they are refused.

        Through a unix socket, keepalives are ignored.
        """
        settings: dict[str, object] = {
            "timezone": "UTC",
            "statement_timeout": self.statement_timeout_seconds * 1000,
            **KEEPALIVES,
        }
        pairs = [(name, str(value)) for name, value in settings.items()]
        marks = ", ".join(["pg_catalog.set_config(%s, %s, false)"] * len(pairs))
        try:
            with connection.cursor() as cursor:
                cursor.execute(f"SELECT {marks}", [each for pair in pairs for each in pair])
        except psycopg2.Error:
            if connection.closed:
                raise
            super()._set_up(connection)

    def native_type(self, data_type: DataType) -> str:
        """How PostgreSQL declares the type; see `postgres_types.native_type`."""
        return postgres_types.native_type(data_type)

    def describe(self, table: TableName, tx: Transaction | None = None) -> TableSchema | None:
        """The table's columns and types from the catalog, or None if there is no such table.

        A column of a type that Ferry does not load is there, as `Kind.OTHER`; so is one of a
        nondeterministic collation, in which texts that differ can be equal.
        """
        rows = (tx or self).fetch(Statement(_DESCRIBE, (table.name, table.schema)))
        if not rows:
            return None
        named = [row for row in rows if row[0] is not None]
        columns = tuple(
            Column(
                name,
                postgres_types.ferry_type(native, collation),
                not required,
                postgres_types.declared(native, collation),
            )
            for name, native, required, _, _, collation in named
        )
        by_number = {number: name for name, _, _, number, *_ in named}
        key = tuple(by_number[number] for number in rows[0][4] or ())
        return TableSchema(table, columns, key)

    def bound_views(self, table: TableName, column: str | None = None) -> tuple[View, ...]:
        """The views over a column, and over these, in the order in which to drop them."""
        return bound_views(self.fetch, table, column)

    def held_columns(self, table: TableName) -> HeldColumns:
        """Columns of a partition key, and those that triggers, policies and such are bound to."""
        return held_columns(self.fetch, table)

    def side_effects(self, table: TableName, tx: Transaction | None = None) -> tuple[str, ...]:
        """Foreign keys that delete, rules, triggers before a row, and row level security."""
        return side_effects((tx or self).fetch, table)

    def filled_columns(self, table: TableName) -> set[str]:
        """Columns with a default, and generated ones, which PostgreSQL tells apart."""
        generated = self.fetch(Statement(_GENERATED, (table.schema, table.name)))
        return super().filled_columns(table) | {name.lower() for (name,) in generated}

    def indexes_in(self, schema: str) -> list[tuple[str, str]]:
        """Table and name of every index in a schema."""
        return [(table, name) for table, name in self.fetch(Statement(_INDEXES, (schema,)))]

    def copy_in(self, staging_table: TableName, staged: Staged, stage: Stage) -> int:
        """Load the staged CSV files into an existing, empty table; returns the rows loaded.

        All or nothing: every connection loads in a transaction, and they commit when all have
        loaded. Should the connection go between two commits, the table is emptied.

        Raises:
            DataError: A value that does not fit, with file, line and column, without the value.
            SchemaError: No such table or column, or the files are not CSV.
            ConnectionLostError, BusyError: A retry may help (after the table is made again).
        """
        if staged.layout.format is not StageFormat.CSV:
            raise SchemaError(
                "PostgreSQL cannot load these files",
                table=str(staging_table),
                expected="csv",
                found=str(staged.layout.format),
                todo="Set stage_format to csv in the table's spec.",
            )
        with ExitStack() as stack:
            count = max(1, min(self.copy_threads, len(staged.files)))
            connections = [
                stack.enter_context(self._session(autocommit=False)) for _ in range(count)
            ]
            rows = _Load(staging_table, staged, stage).run(connections)
            try:
                for connection in connections:
                    with translated():  # lost at COMMIT is no riddle here: the table is made again
                        connection.commit()
            except FerryError:
                with suppress(FerryError):
                    self.execute(_text(connections[0], sql.SQL("TRUNCATE {}"), staging_table))
                raise
        return rows


class _Load:
    """The files of one batch on their way into one table."""

    def __init__(self, table: TableName, staged: Staged, stage: Stage) -> None:
        self._table = table
        self._columns = [column.name for column in staged.layout.columns]
        self._null_marker = staged.layout.null_marker
        self._stage = stage
        # Large ones first, so that the connections end at about the same time.
        self._waiting = deque(sorted(staged.files, key=lambda file: -file.size_bytes))
        self._stop = threading.Event()

    def run(self, connections: Sequence[Connection]) -> int:
        """Load all files over these connections without committing; returns the rows."""
        if len(connections) == 1:
            return self._load_waiting(connections[0])
        with ThreadPoolExecutor(len(connections), "copy") as pool:
            loads = [pool.submit(self._load_waiting, each) for each in connections]
            try:
                wait(loads)
            except BaseException:
                self._stop.set()
                raise
        errors = [error for load in loads if (error := load.exception())]
        for error in sorted(errors, key=lambda each: isinstance(each, InterruptedError)):
            raise error  # the one that stopped the others
        return sum(load.result() for load in loads)

    def _load_waiting(self, connection: Connection) -> int:
        rows = 0
        try:
            while not self._stop.is_set() and (file := self._next()):
                rows += self._load_file(connection, file)
        except BaseException:
            self._stop.set()
            raise
        return rows

    def _next(self) -> StagedFile | None:
        try:
            return self._waiting.popleft()
        except IndexError:
            return None

    def _load_file(self, connection: Connection, file: StagedFile) -> int:
        statement = _text(
            connection,
            sql.SQL("COPY {} ({}) FROM STDIN WITH (FORMAT csv, NULL {})"),
            self._table,
            sql.SQL(", ").join(map(sql.Identifier, self._columns)),
            sql.Literal(self._null_marker),
        )
        with closing(self._stage.open(file)) as compressed:
            content = _Content(compressed, self._stop)
            with connection.cursor() as cursor:
                try:
                    cursor.copy_expert(statement, content, _CHUNK_BYTES)
                except psycopg2.Error as error:
                    raise self._explained(error, content, file) from error
                return cursor.rowcount

    def _explained(self, error: psycopg2.Error, content: _Content, file: StagedFile) -> Exception:
        """Why this file did not load: our own failure to read it, or what the server says."""
        name = file.key.rpartition("/")[2]
        position = load_position(error, self._columns)
        explained = ferry_error(error)
        if content.error is not None:
            return content.error
        if isinstance(explained, DataError | SchemaError):
            explained.found = ", ".join(
                part for part in (f"file {name}", position, str(explained.found)) if part
            )
        return explained


class _Content(io.RawIOBase):
    """A staged file's decompressed bytes, as `copy_expert` reads them."""

    def __init__(self, compressed: BinaryIO, stop: threading.Event) -> None:
        self._reader = zstandard.ZstdDecompressor().stream_reader(
            compressed, read_size=_CHUNK_BYTES, read_across_frames=True
        )
        self._stop = stop
        self.error: Exception | None = None  # the driver would replace it by one of its own

    def read(self, size: int = -1) -> bytes:
        """The next bytes; what goes wrong here is kept in `error`."""
        try:
            if self._stop.is_set():
                raise InterruptedError("another file did not load")
            return self._reader.read(size)
        except zstandard.ZstdError as error:
            self.error = DataError("a staged file is damaged: it cannot be decompressed")
            self.error.__cause__ = error
            raise
        except Exception as error:
            self.error = error
            raise


def _text(connection: Connection, template: sql.SQL, table: TableName, *values: Any) -> str:
    """The statement's text, with names and literals quoted by the driver."""
    names = (table.schema, table.name) if table.schema else (table.name,)
    with translated():
        return template.format(sql.Identifier(*names), *values).as_string(connection)
