"""What `information_schema` says of a table, in MySQL's spelling of it and in MariaDB's.

Rows are taken by position, not by name: MySQL 8 spells the catalog's column names in upper case.
https://dev.mysql.com/doc/refman/8.4/en/information-schema.html
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pymysql
from pymysql.cursors import Cursor

from blocks.sources.mysql.errors import MAKE_VIEW_ANEW, no_right_to_read, number_of
from blocks.sources.mysql.types import CatalogColumn, quote
from blocks.sources.names import no_such_column, no_such_table
from ferry.errors import SchemaError, StaleReadError
from ferry.schema import Column, TableName

_BROKEN_VIEW, _NO_RIGHT = 1356, (1142, 1143)
"""https://dev.mysql.com/doc/mysql-errors/8.4/en/server-error-reference.html"""

_COLUMNS = """
SELECT TABLE_NAME, COLUMN_NAME, DATA_TYPE, COLUMN_TYPE, IS_NULLABLE, CHARACTER_MAXIMUM_LENGTH,
       CHARACTER_SET_NAME, NUMERIC_PRECISION, NUMERIC_SCALE
FROM information_schema.COLUMNS
WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s
ORDER BY ORDINAL_POSITION
"""

PRIMARY = "PRIMARY"
"""What the primary key's index is called."""

_KEY = """
SELECT TABLE_NAME, COLUMN_NAME
FROM information_schema.STATISTICS
WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s AND INDEX_NAME = 'PRIMARY'
ORDER BY SEQ_IN_INDEX
"""

# Only MariaDB has TABLE_NAME here: https://mariadb.com/kb/en/information-schema-check_constraints-table/
_CHECKS = """
SELECT TABLE_NAME, CHECK_CLAUSE
FROM information_schema.CHECK_CONSTRAINTS
WHERE CONSTRAINT_SCHEMA = %s AND TABLE_NAME = %s
"""

_TABLES = "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s"

_ENGINE = """
SELECT TABLE_NAME, ENGINE
FROM information_schema.TABLES
WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s
"""

_IDENTITY = """
SELECT TABLE_NAME, CONCAT_WS(' ', @@hostname, @@port, @@server_id, TABLE_SCHEMA, CREATE_TIME)
FROM information_schema.TABLES
WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s AND ENGINE = 'InnoDB'
"""

_INDEXES = """
SELECT s.TABLE_NAME, s.INDEX_NAME, c.COLUMN_NAME, c.DATA_TYPE, c.CHARACTER_SET_NAME,
       s.SUB_PART IS NULL AND s.COLLATION = 'A' AND s.INDEX_TYPE = 'BTREE', c.IS_NULLABLE,
       c.COLLATION_NAME
FROM information_schema.STATISTICS s
LEFT JOIN information_schema.COLUMNS c
  ON c.TABLE_SCHEMA = s.TABLE_SCHEMA AND c.TABLE_NAME = s.TABLE_NAME
  AND c.COLUMN_NAME = s.COLUMN_NAME
WHERE s.TABLE_SCHEMA = %s AND s.TABLE_NAME = %s
ORDER BY s.INDEX_NAME = 'PRIMARY' DESC, s.NON_UNIQUE, s.INDEX_NAME, s.SEQ_IN_INDEX
"""

_ROW_BYTES = """
SELECT TABLE_NAME, AVG_ROW_LENGTH
FROM information_schema.TABLES
WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s
"""


@dataclass(frozen=True)
class IndexColumn:
    """A column of an index.

    Attributes:
        name: Its name; empty for an expression.
        data_type: Its type's bare name: `decimal`.
        character_set: The character set of text.
        whole: Whether all of it is in the index, growing, in a tree.
        nullable: Whether it takes NULL.
        collation: The collation of text.
    """

    name: str
    data_type: str
    character_set: str | None
    whole: bool
    nullable: bool
    collation: str | None = None


@dataclass(frozen=True)
class CatalogTable:
    """A table in the catalog: its columns in their order, and its primary key."""

    columns: tuple[CatalogColumn, ...]
    key: tuple[str, ...]

    def column(self, name: str, table: TableName) -> Column:
        """The column of that name, upper and lower case being one, with its type.

        Raises:
            SchemaError: No such column, or its type has no mapping.
        """
        for column in self.columns:
            if column.name.lower() == name.lower():
                return column.mapped(table)
        raise no_such_column(name, table, [column.name for column in self.columns])


def read(cursor: Cursor, table: TableName, database: str, address: str) -> CatalogTable:
    """The table or view as the catalog has it.

    Args:
        cursor: A cursor on the server.
        table: The table; without a schema, in `database`.
        database: The connection's own.
        address: Server and database, for messages.

    Raises:
        SchemaError: The catalog shows no such table to this user.
        AccessError: It shows the table, which the user may not read.
        pymysql.MySQLError: The caller turns it into Ferry's.
    """
    rows = _rows(cursor, _COLUMNS, table, database)
    if not rows:
        schema = table.schema or database
        shown = f"database {schema!r} of {address.partition('/')[0]}"

        def names_in(name: str) -> list[str]:
            cursor.execute(_TABLES, (name or database,))
            return [str(there) for (there,) in cursor.fetchall()]

        names = names_in(schema)
        if table.name in names:  # some right shows the table, and none its columns
            quoted = f"{quote(schema)}.{quote(table.name)}"
            _refuse_broken_view(cursor, quoted, table)
            raise no_right_to_read(quoted, address)
        raise no_such_table(table, shown, names, names_in)
    key = tuple(str(row[1]) for row in _rows(cursor, _KEY, table, database))
    checks: set[str] = set()
    cursor.execute("SELECT VERSION()")
    ((version,),) = cursor.fetchall()
    if "mariadb" in str(version).lower():
        checks = {str(row[1]).lower() for row in _rows(cursor, _CHECKS, table, database)}
    columns = tuple(
        CatalogColumn(
            name=str(name),
            data_type=str(data_type),
            column_type=str(column_type),
            nullable=nullable == "YES",
            max_length=None if length is None else int(length),
            character_set=character_set,
            precision=None if precision is None else int(precision),
            scale=None if scale is None else int(scale),
            is_json=f"json_valid({quote(str(name))})".lower() in checks,
        )
        for (
            _,
            name,
            data_type,
            column_type,
            nullable,
            length,
            character_set,
            precision,
            scale,
        ) in rows
    )
    return CatalogTable(columns, key)


def _refuse_broken_view(cursor: Cursor, quoted: str, table: TableName) -> None:
    """A view of which something is gone has no columns in the catalog, whoever asks.

    Raises:
        SchemaError: It is one.
        pymysql.MySQLError: The server could not be asked; the caller turns it into Ferry's.
    """
    try:
        cursor.execute(f"SELECT 1 FROM {quoted} LIMIT 0")  # noqa: S608  # quoted names
    except pymysql.MySQLError as error:
        number = number_of(error)
        if number == _BROKEN_VIEW:
            raise SchemaError(
                f"the view {quoted} is broken",
                table=str(table),
                found=f"error {number}",
                todo=MAKE_VIEW_ANEW,
            ) from error
        if number not in _NO_RIGHT:
            raise


def row_bytes(cursor: Cursor, table: TableName, database: str) -> int | None:
    """The mean length of the table's rows by the server's statistics; None if it has none."""
    rows = _rows(cursor, _ROW_BYTES, table, database)
    return int(rows[0][1]) if rows and rows[0][1] else None


def engine(cursor: Cursor, table: TableName, database: str) -> str | None:
    """The table's storage engine; None for a view."""
    rows = _rows(cursor, _ENGINE, table, database)
    return str(rows[0][1]) if rows and rows[0][1] else None


def identity(cursor: Cursor, table: TableName, database: str) -> str:
    """Which table of which server it is: another one once it was rebuilt, or swapped by RENAME.

    TRUNCATE leaves it the same. Nothing (an empty text) of a view, and of engines but InnoDB.
    """
    rows = _rows(cursor, _IDENTITY, table, database)
    return str(rows[0][1]) if rows else ""


def refuse_swapped(cursor: Cursor, table: TableName, database: str, of: str) -> None:
    """See that the table is still that of which this was the `identity`, as far as it has one.

    Another server, behind the same address, tells nothing of the one that was asked before.

    Raises:
        StaleReadError: It was rebuilt, or another table has its name.
        pymysql.MySQLError: The caller turns it into Ferry's.
    """
    now = identity(cursor, table, database)
    server, server_now = of.split(" ")[:3], now.split(" ")[:3]  # host, port, number
    if of and now != of and (server_now == server or not now):
        raise StaleReadError(
            "the table was altered while it began to be read, or another table has taken its place",
            table=str(table),
            step="extract",
            todo="Run it again: it is read from the beginning.",
        )


def indexes(cursor: Cursor, table: TableName, database: str) -> dict[str, tuple[IndexColumn, ...]]:
    """The table's indexes by their names: first the primary key, then those of unique keys."""
    found: dict[str, list[IndexColumn]] = {}
    for _, index, name, data_type, character_set, whole, nullable, collation in _rows(
        cursor, _INDEXES, table, database
    ):
        found.setdefault(str(index), []).append(
            IndexColumn(
                str(name or ""),
                str(data_type).lower(),
                character_set,
                bool(whole),
                nullable != "NO",
                collation,
            )
        )
    return {name: tuple(columns) for name, columns in found.items()}


def _rows(cursor: Cursor, sql: str, table: TableName, database: str) -> list[tuple[Any, ...]]:
    """The rows of one table, where the catalog compares names without regard to case.

    A server with `lower_case_table_names=0` can have `nps` and `NPS`: then only the exact one.
    """
    cursor.execute(sql, (table.schema or database, table.name))
    rows = list(cursor.fetchall())
    exact = [row for row in rows if row[0] == table.name]
    return exact or rows
