"""DuckDB as a warehouse: one file, no server; for the demo, a laptop, a first look."""

from __future__ import annotations

import re
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, nullcontext, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import duckdb
from pydantic import Field, field_validator

from blocks.private_files import OTHERS, make_folders, private_umask
from blocks.stage import Stage
from blocks.warehouses.duckdb import files as duckdb_files
from blocks.warehouses.duckdb import types as duckdb_types
from blocks.warehouses.duckdb.errors import translated
from blocks.warehouses.duckdb.fingerprint import DuckDBFingerprint
from blocks.warehouses.information_schema import StandardCatalog
from blocks.work_folder import work_folder
from ferry.batch import FileLayout, Staged, StagedFile, StageFormat
from ferry.capabilities import Capabilities
from ferry.errors import AccessError, BusyError, ConfigurationError
from ferry.fingerprints.dialect import SumDialect
from ferry.schema import OWN_SCHEMA, Column, DataType, Kind, TableName, TableSchema
from ferry.statements import PARAM, Statement, Transaction, column_list, quoted, table_sql
from ferry.target.retype import HeldColumns

_MAX_LINE_BYTES = 1 << 28  # the most a row can have in a CSV file; read_csv's default is 2 MB

_writers: dict[Path, threading.RLock] = {}
_writers_guard = threading.Lock()

_DESCRIBE = f"""
SELECT column_name, data_type, is_nullable
FROM duckdb_columns()
WHERE database_name = current_database() AND lower(table_name) = lower({PARAM})
  AND lower(schema_name) = lower(COALESCE(NULLIF({PARAM}, ''), current_schema()))
ORDER BY column_index
"""  # noqa: S608
_DESCRIBE_KEY = f"""
SELECT constraint_column_names
FROM duckdb_constraints()
WHERE database_name = current_database() AND lower(table_name) = lower({PARAM})
  AND lower(schema_name) = lower(COALESCE(NULLIF({PARAM}, ''), current_schema()))
  AND constraint_type = 'PRIMARY KEY'
"""  # noqa: S608
_CONSTRAINED = _DESCRIBE_KEY.replace(
    "SELECT constraint_column_names", "SELECT DISTINCT unnest(constraint_column_names)"
).replace("constraint_type = 'PRIMARY KEY'", "constraint_type <> 'NOT NULL'")
_INDEXED = f"""
SELECT schema_name, index_name FROM duckdb_indexes()
WHERE database_name = current_database() AND lower(table_name) = lower({PARAM})
  AND lower(schema_name) = lower(COALESCE(NULLIF({PARAM}, ''), current_schema()))
ORDER BY index_name
"""  # noqa: S608
# Nothing is guessed: https://duckdb.org/docs/stable/data/csv/overview#parameters
# `allow_quoted_nulls` off: a quoted value is a value, even if it looks like the marker.
# `new_line`: guessed from the first CR it sees, also from one within quotes.
_READ_CSV = r"""read_csv(?, columns = ?, nullstr = ?, max_line_size = ?, auto_detect = false,
    header = false, delim = ',', new_line = '\n', quote = '"', escape = '"', compression = 'zstd',
    allow_quoted_nulls = false, null_padding = false, strict_mode = true,
    hive_partitioning = false, filename = false)"""
# A folder `env=prod` on a file's way is no column: DuckDB would put `prod` in the place of the
# column's values. https://duckdb.org/docs/stable/data/partitioning/hive_partitioning
_READ_PARQUET = """read_parquet(?, hive_partitioning = false, filename = false,
    file_row_number = false, union_by_name = false)"""


class DuckDBTransaction:
    """Statements on one connection; who opened it ends it."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def execute(self, statement: Statement | str) -> int:
        """Run one statement; returns the rows it touched, 0 where that has no meaning."""
        with translated():
            result = self._run(statement)
            rows = result.fetchall()
            # INSERT, UPDATE, DELETE and CREATE TABLE AS answer one row `Count`.
            counts = bool(result.description) and result.description[0][0] == "Count"
            return int(rows[0][0]) if counts and rows else 0

    def fetch(self, statement: Statement | str) -> list[tuple[Any, ...]]:
        """The rows of one query. JSON comes as text, moments in UTC."""
        with translated():
            rows = self._run(statement).fetchall()
        return [tuple(map(_plain, row)) for row in rows]

    def _run(self, statement: Statement | str) -> duckdb.DuckDBPyConnection:
        """DuckDB marks a value by `?`, and takes none within quotes for one."""
        whole = Statement.of(statement)
        return self._connection.execute(whole.rendered("?"), list(whole.values))


class DuckDBWarehouse(StandardCatalog):
    """A DuckDB database file that tables are loaded into.

    One process at a time has the file open for writing. Within a process, writers take turns.

    Example:
        ```python
        from blocks.warehouses import DuckDBWarehouse

        warehouse = DuckDBWarehouse(path="warehouse.duckdb")
        warehouse.save("warehouse")
        print(warehouse.fetch("SELECT 42"))
        ```
    """

    _block_type_name = "DuckDB Warehouse"
    _block_type_slug = "duckdb-warehouse"
    _description = "A DuckDB file that Ferry loads tables into: no server, for one machine."

    fingerprints: ClassVar[SumDialect] = DuckDBFingerprint()
    capabilities: ClassVar[Capabilities] = Capabilities(
        stage_formats=(StageFormat.PARQUET, StageFormat.CSV),
        max_identifier_bytes=255,  # DuckDB has no limit; longer ones help nobody
        max_text_bytes=None,
        max_columns=10_000,  # DuckDB documents no limit
        dialect="duckdb",
        alters_types=True,
        nul_in_text=True,
        means_otherwise=frozenset(
            {
                "ADD_MONTHS",
                "CONCAT",
                "DATEDIFF in weeks",
                "DATE_PART of seconds",
                "EXTRACT of epoch or parts of a second",
                "LIKE with a backslash",
                "LISTAGG",
                "NUMERIC without digits",
                "REGEXP_REPLACE",
                "REGEXP_SUBSTR of an occurrence",
                "SIMILAR TO",
                "SUBSTRING from below 0",
                "TO_CHAR",
                "VARCHAR(n) or CHAR",
            }
        ),
    )

    path: Path = Field(
        description="The database file; made, with its folders, when missing, and then for the "
        "user that runs Ferry alone. One that is there keeps its rights."
    )
    busy_timeout_seconds: float = Field(
        default=60.0,
        ge=0,
        description="How long to wait for another writer, or for another process that has the "
        "file open, in seconds.",
    )

    @field_validator("path")
    @classmethod
    def _is_file(cls, path: Path) -> Path:
        if not path.name or str(path) == ":memory:":
            raise ValueError("the database has to be a file: every call opens it anew")
        # DuckDB names the database by the file, up to the first dot within it.
        if path.name.lstrip(".").partition(".")[0].lower() == OWN_SCHEMA:
            raise ConfigurationError(
                "the database would have the name of Ferry's own schema, and `ferry.receipts` two "
                "meanings",
                found=path,
                todo="Give the file another name, warehouse.duckdb say, in the block's `path`.",
            )
        return path

    def native_type(self, data_type: DataType) -> str:
        """How DuckDB declares the type; see `duckdb_types.native_type`."""
        return duckdb_types.native_type(data_type)

    def describe(self, table: TableName, tx: Transaction | None = None) -> TableSchema | None:
        """The table's columns and types from the catalog, or None if there is no such table.

        A column of a type that Ferry does not load is there, as `Kind.OTHER`.
        """
        with ExitStack() as stack:
            catalog = tx or DuckDBTransaction(stack.enter_context(self._connection()))
            rows = catalog.fetch(Statement(_DESCRIBE, (table.name, table.schema)))
            keys = catalog.fetch(Statement(_DESCRIBE_KEY, (table.name, table.schema)))
        columns = tuple(
            Column(name, duckdb_types.ferry_type(native), bool(nullable), native)
            for name, native, nullable in rows
        )
        return TableSchema(table, columns, tuple(keys[0][0]) if keys else ()) if rows else None

    def held_columns(self, table: TableName) -> HeldColumns:
        """Columns of keys, other constraints and indexes: DuckDB alters the type of none of them.

        As long as a table has an index, DuckDB alters nothing of it, and only adds columns. Views
        are looked up anew whenever they are read; none is bound to a column.
        """
        names = (table.name, table.schema)
        constrained = self.fetch(Statement(_CONSTRAINED, names))
        held = {name: "a key or constraint" for (name,) in constrained}
        drops = [
            f"DROP INDEX {table_sql(TableName(*index))}"
            for index in self.fetch(Statement(_INDEXED, names))
        ]
        columns = self.fetch(Statement(_DESCRIBE, names)) if drops else []
        freed_by = {name: drops for name, *_ in columns if name not in held}
        held |= dict.fromkeys(freed_by, "a table with an index")
        return HeldColumns(
            held,
            freed_by=freed_by,
            copied_whole=False,
            shown_by="FROM duckdb_indexes(); FROM duckdb_constraints();",
            dropped_first=drops,
        )

    def copy_in(self, staging_table: TableName, staged: Staged, stage: Stage) -> int:
        """Load the staged files into an existing, empty table; returns the rows loaded.

        Files on this machine are read where they are; others pass through a temporary file, one
        at a time. All in one transaction.

        Raises:
            DataError: A value that does not fit, with file, line (CSV) and column, without it.
            SchemaError: No such table or column.
            BusyError: Another process has the database open; a retry may help.
        """
        layout = staged.layout
        statement = _insert(staging_table, layout)
        names = [column.name for column in layout.columns]
        rows = 0
        with self._begun() as connection:
            for file in staged.files:
                name = file.key.rpartition("/")[2]
                with _on_disk(file, stage) as path, translated(names, name):
                    loaded = connection.execute(statement, _parameters(path, layout)).fetchall()
                    rows += int(loaded[0][0])
        return rows

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """A transaction: committed at the end of the block, rolled back when it raises.

        Raises:
            ConflictError: Another connection changed the same rows; repeat the whole transaction.
            BusyError: Other writers did not end in time; a retry may help.
        """
        with self._begun() as connection:
            yield DuckDBTransaction(connection)

    def execute(self, statement: Statement | str) -> int:
        """Run one statement outside any transaction; returns the rows it touched."""
        with self._writing(), self._connection() as connection:
            return DuckDBTransaction(connection).execute(statement)

    def fetch(self, statement: Statement | str) -> list[tuple[Any, ...]]:
        """The rows of one query: JSON as text, moments in UTC."""
        with self._connection() as connection:
            return DuckDBTransaction(connection).fetch(statement)

    @contextmanager
    def _begun(self) -> Iterator[duckdb.DuckDBPyConnection]:
        with self._writing(), self._connection() as connection:
            with translated():
                connection.execute("BEGIN")
            try:
                yield connection
                with translated():
                    connection.execute("COMMIT")
            except BaseException:
                with suppress(duckdb.Error):
                    connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Whoever writes to this file in this process does so alone.

        DuckDB would let them write at once and fail one of them at the end.
        """
        with _writers_guard:
            lock = _writers.setdefault(self._file(), threading.RLock())
        if not lock.acquire(timeout=self.busy_timeout_seconds):
            raise BusyError(
                "other writers of this database did not end in time",
                expected=f"a turn within {self.busy_timeout_seconds:g} s",
                todo="Try again later, or raise busy_timeout_seconds.",
            )
        try:
            yield
        finally:
            lock.release()

    def _file(self) -> Path:
        return self.path.expanduser().resolve()

    @contextmanager
    def _connection(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection of its own, closed at the end; see `_connect`."""
        path = self._file()
        with private_umask() if _is_private(path) else nullcontext(), ExitStack() as stack:
            yield self._connect(path, stack)

    def _connect(self, path: Path, stack: ExitStack) -> duckdb.DuckDBPyConnection:
        """A connection of its own to the database that this process shares.

        Raises:
            BusyError: Another process has had the file open all the time.
            AccessError: The file or its folder cannot be written.
        """
        deadline = time.monotonic() + self.busy_timeout_seconds
        try:
            make_folders(path.parent)
        except OSError as error:
            raise AccessError(f"the folder {path.parent} cannot be made") from error
        while True:
            try:
                with translated():
                    return stack.enter_context(duckdb_files.opened(path))
            except BusyError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)


def _is_private(path: Path) -> bool:
    """Whether the file is its user's alone, or not made yet: so is what DuckDB puts beside it.

    The log of changes and the folder for what does not fit in memory hold rows, too, and DuckDB
    makes them anew whenever it needs them.
    """
    try:
        return not path.stat().st_mode & OTHERS
    except OSError:
        return True


def _plain(value: Any) -> Any:
    """Moments in the standard library's UTC, whatever zone library DuckDB found."""
    return value.astimezone(UTC) if isinstance(value, datetime) and value.tzinfo else value


def _insert(table: TableName, layout: FileLayout) -> str:
    """INSERT … SELECT from one staged file; its values are parameters."""
    target, names = table_sql(table), column_list(column.name for column in layout.columns)
    if layout.format is StageFormat.PARQUET:
        return f"INSERT INTO {target} ({names}) SELECT {names} FROM {_READ_PARQUET}"  # noqa: S608
    values = ", ".join(
        f"unhex({quoted(column.name)})" if column.type.kind is Kind.BINARY else quoted(column.name)
        for column in layout.columns
    )
    return f"INSERT INTO {target} ({names}) SELECT {values} FROM {_READ_CSV}"  # noqa: S608


def _one_file(path: Path) -> str:
    """The path as DuckDB reads it, so that no letter of it stands for others.

    `a[b]` would read the file in a folder `ab`. With a backslash in it, it is taken as it is.
    https://duckdb.org/docs/stable/data/multiple_files/overview#glob-syntax
    """
    text = str(path)
    return text if "\\" in text else re.sub(r"([*?[])", r"[\1]", text)


def _parameters(path: Path, layout: FileLayout) -> list[Any]:
    if layout.format is StageFormat.PARQUET:
        return [_one_file(path)]
    as_text = {Kind.BINARY, Kind.JSON}  # become what they are in the SELECT and the INSERT
    types = {
        column.name: "VARCHAR"
        if column.type.kind in as_text
        else duckdb_types.native_type(column.type)
        for column in layout.columns
    }
    return [_one_file(path), types, layout.null_marker, _MAX_LINE_BYTES]


@contextmanager
def _on_disk(file: StagedFile, stage: Stage) -> Iterator[Path]:
    """The file's path on this machine: its own, or that of a copy for as long as it is needed."""
    own = Path(file.uri.removeprefix("file://"))
    if own.is_absolute() and own.is_file():
        yield own
        return
    with tempfile.TemporaryDirectory(dir=work_folder()) as folder:
        copy = Path(folder) / "part"
        with closing(stage.open(file)) as content, copy.open("wb") as spool:
            shutil.copyfileobj(content, spool, 1 << 20)
        yield copy
