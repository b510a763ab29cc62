"""SQLite files: the source of the demo, and of small applications."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
from pydantic import Field

from blocks.source import Source
from blocks.sources.batches import conform
from blocks.sources.cursors import CURSOR_KINDS, cursor_bounds, leaves_zeros_out
from blocks.sources.names import carried, no_such_column, no_such_table
from blocks.sources.sqlite.cursors import add_carries, carried_condition
from blocks.sources.sqlite.errors import ferry_error
from blocks.sources.sqlite.fingerprint import SQLiteFingerprint, add_functions
from blocks.sources.sqlite.names import execute, quoted
from blocks.sources.sqlite.rows import arrays, checked, fetched, inside
from blocks.sources.sqlite.types import as_parameter, mapped
from ferry.batch import CursorValue, ExtractQuery
from ferry.errors import AccessError, ConfigurationError, DataError, FerryError, RequestError
from ferry.fingerprints.dialect import FingerprintDialect
from ferry.schema import Column, Kind, TableName, TableSchema
from ferry.statements import Statement

_TIMES = (Kind.DATE, Kind.TIMESTAMP)


class SQLiteSource(Source):
    """A SQLite file that tables are read from, never written to.

    SQLite takes any value in any column, so each value is checked against its column's declared
    type. Which types are known, and how values are to be written, stands in
    `docs/engines/sqlite.md`.

    Example:
        ```python
        from blocks.sources import SQLiteSource
        from ferry.batch import ExtractQuery
        from ferry.schema import TableName

        shop = SQLiteSource(path="shop.sqlite")
        schema = shop.describe(TableName("", "nps"))
        rows = sum(batch.num_rows for batch in shop.read(ExtractQuery(schema)))
        ```
    """

    _block_type_name = "SQLite Source"
    _block_type_slug = "sqlite-source"
    _description = "A SQLite file that Ferry reads tables from."

    fingerprints: ClassVar[FingerprintDialect | None] = SQLiteFingerprint()

    path: str = Field(description="The file; relative to the folder that the flow runs in.")
    busy_timeout_seconds: float = Field(
        default=10, gt=0, description="How long to wait for another program's lock on the file."
    )
    batch_rows: int = Field(
        default=16_384, ge=1, description="Rows in a batch, at most; of long rows, fewer."
    )

    def describe(self, table: TableName, exclude: Collection[str] = ()) -> TableSchema:
        """The table's or view's columns, types and primary key, from the declarations.

        Args:
            table: The table; its schema is empty or `main`.
            exclude: Columns to leave out, whatever their type; upper and lower case are one.

        Raises:
            SchemaError: No such table, or a column whose declared type is missing or unknown.
            AccessError: The file cannot be read.
            ConfigurationError: There is no such file, or it is no SQLite database.
            BusyError: Another program locks it; a retry may help.
        """
        with self._connection() as connection:
            declared = self._declared(connection, table)
        kept = carried([name for name, *_ in declared], exclude, table)
        columns = [
            mapped(name, type_, not_null, table)
            for name, type_, not_null, _ in declared
            if name in kept
        ]
        key = sorted((place, name) for name, _, _, place in declared if place)
        names = tuple(name for _, name in key)
        spelled = any(
            c.name in names and c.type.kind in (Kind.TIMESTAMP, Kind.TIME) for c in columns
        )
        return TableSchema(table, tuple(columns), names, unique=not spelled)

    def read(self, query: ExtractQuery) -> Iterator[pa.RecordBatch]:
        """The rows as batches of `arrow_schema(query.schema.columns)`, from one snapshot.

        Raises:
            DataError: A value that its column's declared type cannot hold, by column and row
                count, without the value. No retry helps.
            RequestError: A bound that the cursor column cannot be compared with.
            SchemaError, AccessError, ConfigurationError, BusyError: As for `describe`.
        """
        table, columns = query.schema.name, query.schema.columns
        rows = 0
        with self._connection() as connection:
            cursor = self._cursor_column(connection, query)
            sql, parameters, bounds = _select(query, cursor)
            place = _place(query, cursor)
            for values in fetched(execute(connection, sql, parameters), self.batch_rows):
                kept = inside(values, place, cursor.type, bounds) if cursor else values
                if kept[0]:
                    yield conform(arrays(kept, columns, table, rows), columns, table, rows)
                    rows += len(kept[0])

    def bounds(self, table: TableName, column: str) -> tuple[CursorValue, CursorValue] | None:
        """The lowest and highest value of a column; None when it has none. Times have no zone.

        Of those that have a place in the column's order: others are left out, as NULL is.

        Raises:
            SchemaError: No such table or column.
            RequestError: The column's type has no exact order.
            DataError: One of them is not what the column's declared type says.
            AccessError, ConfigurationError, BusyError: As for `describe`.
        """
        with self._connection() as connection:
            found = self._column(connection, table, column)
            add_carries(connection)
            name = quoted(found.name)
            where = f"FROM {quoted(table.name)} WHERE {carried_condition(name, found.type)}"
            sql = f"SELECT MIN({name}), MAX({name}) {where}"
            low, high = execute(connection, sql).fetchone()
        if low is None or high is None:
            return None
        return checked(low, found, table, 0), checked(high, found, table, 0)

    def count_uncarried(
        self, table: TableName, column: str, reach: ExtractQuery | None = None
    ) -> int:
        """As `Source.count_uncarried`: also what the column's declared type does not say.

        Such as a time that is stored as a number, or as text of another form. Looks at every row.

        Raises:
            SchemaError: No such table or column.
            RequestError: The column's type has no exact order.
            AccessError, ConfigurationError, BusyError: As for `describe`.
        """
        with self._connection() as connection:
            found = self._column(connection, table, column)
            bounds = cursor_bounds(reach, found) if reach else (None, None)
            add_carries(connection, bounds)
            condition = carried_condition(quoted(found.name), found.type, bounds)
            sql = f"SELECT COUNT(*) FROM {quoted(table.name)} WHERE NOT ({condition})"  # noqa: S608
            return int(execute(connection, sql).fetchone()[0])

    def now(self) -> datetime:
        """This machine's clock: the file has none of its own."""
        return datetime.now(UTC)

    def estimate_rows(self, query: ExtractQuery) -> int | None:
        """How many rows `query` will read, by counting; of times, those of the days it touches.

        Cheap with an index on the cursor column, else a scan of the table.
        """
        try:
            with self._connection() as connection:
                sql, parameters, _ = _select(query, self._cursor_column(connection, query))
                counted = f"SELECT COUNT(*) FROM ({sql})"  # noqa: S608  # our own statement
                return int(connection.execute(counted, parameters).fetchone()[0])
        except FerryError:
            return None

    def fetch(self, statement: Statement | str) -> list[tuple[Any, ...]]:
        """The rows of one query in SQLite's SQL, which may call the functions of fingerprints.

        Raises:
            DataError: A value that its column's declared type cannot hold. No retry helps.
            SchemaError, AccessError, ConfigurationError, BusyError: As for `describe`.
        """
        whole = Statement.of(statement)
        with self._connection() as connection:
            add_functions(connection)
            try:
                return execute(connection, whole.rendered("?"), whole.values).fetchall()
            except sqlite3.OperationalError as error:
                if "user-defined function raised" not in str(error):
                    raise
                raise DataError(
                    f"{self.path} holds a value that its column's declared type does not",
                    todo="Carry the table: then the message names the column. Correct the value.",
                ) from None

    def _cursor_column(self, connection: sqlite3.Connection, query: ExtractQuery) -> Column | None:
        if query.cursor is None:
            return None
        return self._column(connection, query.schema.name, query.cursor)

    def _column(self, connection: sqlite3.Connection, table: TableName, name: str) -> Column:
        declared = self._declared(connection, table)
        for found, type_, not_null, _ in declared:
            if found.lower() == name.lower():
                column = mapped(found, type_, not_null, table)
                if column.type.kind in CURSOR_KINDS:
                    return column
                raise RequestError(
                    f"column {name!r} has no exact order",
                    table=str(table),
                    expected="a whole or decimal number, a date, a time or text",
                    found=column.native,
                    todo="Choose another cursor column.",
                )
        raise no_such_column(name, table, [found for found, *_ in declared])

    def _declared(
        self, connection: sqlite3.Connection, table: TableName
    ) -> list[tuple[str, str, bool, int]]:
        """Name, declared type, NOT NULL and place in the primary key of every column."""
        rows = []
        if table.schema in ("", "main"):
            # hidden: 0 a usual column, 2 and 3 generated ones, 1 an inner one of a virtual table
            # https://sqlite.org/pragma.html#pragma_table_xinfo
            rows = connection.execute(
                'SELECT name, type, "notnull", pk FROM pragma_table_xinfo(?) WHERE hidden <> 1',
                (table.name,),
            ).fetchall()
        if rows:
            return [(str(n), str(t), bool(not_null), int(pk)) for n, t, not_null, pk in rows]
        names = connection.execute("SELECT name FROM sqlite_schema WHERE type IN ('table', 'view')")
        there = [str(name) for (name,) in names.fetchall()]
        raise no_such_table(
            table, self.path, there, lambda name: there if name in ("", "main") else ()
        )

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        """A connection that cannot write, with SQLite's errors turned into Ferry's."""
        file = Path(self.path).resolve()
        try:
            is_there = file.is_file()
        except OSError as error:
            raise AccessError(
                "the source block's `path` cannot be looked up",
                found=f"{file}: {error.strerror}",
                todo="Let the user that runs the flow into its folders, or correct it.",
            ) from error
        if not is_there:
            raise ConfigurationError(
                "there is no file at the source block's `path`", found=str(file)
            )
        try:
            with contextlib.closing(
                sqlite3.connect(
                    f"{file.as_uri()}?mode=ro",
                    uri=True,
                    timeout=self.busy_timeout_seconds,
                    isolation_level=None,
                    check_same_thread=False,
                )
            ) as connection:
                yield connection
        except sqlite3.Error as error:
            raise ferry_error(error, str(file)) from RuntimeError(
                getattr(error, "sqlite_errorname", type(error).__name__)
            )


def _select(
    query: ExtractQuery, cursor: Column | None
) -> tuple[str, list[Any], tuple[CursorValue | None, CursorValue | None]]:
    """The statement, its parameters, and the bounds that its rows are still to be held against.

    Times are text and may be written in several ways (`T` or a blank, with or without fractions),
    which text order does not follow within a day. So the statement takes whole days, by an index if
    there is one, and the exact bounds are applied to the values.
    """
    names = [quoted(column.name) for column in query.schema.columns]
    low, high = cursor_bounds(query, cursor) if cursor else (None, None)
    bounds: tuple[CursorValue | None, CursorValue | None] = (low, high)
    conditions, parameters = [], []
    if cursor is not None:
        if _place(query, cursor) == len(names):
            names.append(quoted(cursor.name))
        if low is not None:
            conditions.append(f"{quoted(cursor.name)} >= ?")
            parameters.append(_day(low) if cursor.type.kind in _TIMES else _stored(low))
        if high is not None:
            conditions.append(f"{quoted(cursor.name)} < ?")
            parameters.append(_day(high, 1) if cursor.type.kind in _TIMES else _stored(high))
        if leaves_zeros_out(query, low):
            conditions.append(f"{quoted(cursor.name)} <> 0")
    if cursor is None or cursor.type.kind is Kind.TEXT:
        bounds = (None, None)  # text in the column's own order, which only SQLite knows
    sql = f"SELECT {', '.join(names)} FROM {quoted(query.schema.name.name)}"  # noqa: S608  # quoted
    if conditions:
        sql += f" WHERE {' AND '.join(conditions)}"
    return sql, parameters, bounds


def _place(query: ExtractQuery, cursor: Column | None) -> int:
    """Where the cursor is among the statement's values: if it is no column of them, behind them."""
    names = query.schema.column_names
    return names.index(cursor.name) if cursor and cursor.name in names else len(names)


def _day(bound: CursorValue, later: int = 0) -> str:
    assert isinstance(bound, date)
    day = bound.date() if isinstance(bound, datetime) else bound
    if later and day == date.max:
        return "A"  # after every digit
    return (day + timedelta(days=later)).isoformat()


def _stored(bound: CursorValue) -> CursorValue | float:
    return as_parameter(bound) if isinstance(bound, int | Decimal) else bound
