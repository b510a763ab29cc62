"""What the server expects of a SELECT (EXPLAIN): how many rows; and how many to fetch at a time."""

from __future__ import annotations

import pymysql
from pymysql.cursors import Cursor

from blocks.sources.mysql.errors import is_the_server_s
from blocks.sources.mysql.select import Select
from ferry.batch import ExtractQuery
from ferry.schema import Kind

_LOOK_ROWS = 1000
"""A window is looked at whether it is empty if the server expects to touch at most so many rows."""

_FETCH_BYTES = 64 * 1024 * 1024
"""What is fetched at a time has no more bytes than this, by the declared types."""

_FETCH_LONG_ROWS = (16, 512)
"""Rows that are fetched at a time, at least and at most, where one may be longer than 64 KB."""

_LONG_BYTES = 1 << 16
_LENGTHY = (Kind.TEXT, Kind.BINARY, Kind.JSON)


def expected_rows(cursor: Cursor, select: Select) -> int | None:
    """About how many rows the server will touch; None if it does not tell this user."""
    try:
        return explained_rows(cursor, select)
    except pymysql.MySQLError as error:
        if is_the_server_s(error):  # such as a view whose plan this user may not see
            return None
        raise


def is_empty(cursor: Cursor, select: Select, expected: int | None) -> bool:
    """Whether a window has no rows, if an index tells that at once; else False.

    A row that comes after this look comes after the read, too.
    """
    if select.query.cursor is None or expected is None or expected > _LOOK_ROWS:
        return False
    cursor.execute(select.any_sql)
    return cursor.fetchone() is None


def explained_rows(cursor: Cursor, select: Select) -> int:
    """About how many rows the server will touch.

    Raises:
        pymysql.MySQLError: It does not tell; the caller knows what of.
    """
    return max(explained(cursor, select.sql), default=0)


def explained(cursor: Cursor, sql: str) -> list[int]:
    """About how many rows the server will touch in each table of a statement, in its order.

    Raises:
        pymysql.MySQLError: It does not tell; the caller knows what of.
    """
    # MySQL 9 answers by default as a tree, in which no column tells the rows.
    cursor.execute(f"EXPLAIN FORMAT=TRADITIONAL {sql}")
    names = [str(d[0]).lower() for d in cursor.description or ()]
    plans = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    return [int(plan["rows"] or 0) for plan in plans if plan["select_type"] != "UNION RESULT"]


def fetch_rows(query: ExtractQuery, batch_rows: int, expected: int | None) -> int:
    """How many rows to fetch at a time, whatever length the statistics say they have.

    They tell a mean, and of a new table nothing. Where a row may be very long, few are fetched: of
    many rows more, since each fetch costs 0.1 ms, and room for 1,024 rows in the reading process.
    """
    longest = longest_row(query)
    if longest is not None:
        return max(1, min(batch_rows, _FETCH_BYTES // longest))
    fewest, most = _FETCH_LONG_ROWS
    return min(batch_rows, max(fewest, min(most, (expected or 0) // 1000)))


def longest_row(query: ExtractQuery) -> int | None:
    """The most bytes that a row has by its declared types; None if a column may be long."""
    lengths = [c.type.max_bytes for c in query.schema.columns if c.type.kind in _LENGTHY]
    if any(length is None or length >= _LONG_BYTES for length in lengths):
        return None
    return sum(filter(None, lengths)) + 64 * len(query.schema.columns)
