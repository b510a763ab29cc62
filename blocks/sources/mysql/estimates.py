"""What the server expects of a SELECT (EXPLAIN): how many rows; and what follows from that.

That is how many rows to fetch at a time, and between which integers there are about as many.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pymysql
from pymysql.cursors import Cursor

from blocks.sources.mysql.catalog import IndexColumn
from blocks.sources.mysql.errors import is_the_server_s
from blocks.sources.mysql.select import Select
from blocks.sources.mysql.types import quote
from ferry.batch import ExtractQuery
from ferry.resume.cuts import CutValue
from ferry.schema import Kind

_LOOK_ROWS = 1000
"""A window is looked at whether it is empty if the server expects to touch at most so many rows."""

_FETCH_BYTES = 64 * 1024 * 1024
"""What is fetched at a time has no more bytes than this, by the declared types."""

_FETCH_LONG_ROWS = (16, 512)
"""Rows that are fetched at a time, at least and at most, where one may be longer than 64 KB."""

_LONG_BYTES = 1 << 16
_BRANCHES = 16
_MOST_ROUNDS = 24
_FINENESS = 8
"""Where integers are cut, rows are counted in pieces of at most this fraction of a part."""

_LENGTHY = (Kind.TEXT, Kind.BINARY, Kind.JSON)


def expected_rows(cursor: Cursor, select: Select) -> int | None:
    """About how many rows the server will touch; None if it does not tell this user."""
    try:
        return explained_rows(cursor, select)
    except pymysql.MySQLError as error:
        if is_the_server_s(error):  # such as a view whose plan this user may not see
            return None
        raise


def rows_to_fetch_by(cursor: Cursor, select: Select) -> int | None:
    """About how many rows the server will touch; None, too, where `fetch_rows` does without."""
    asks = select.query.cursor is not None or longest_row(select.query) is None
    return expected_rows(cursor, select) if asks else None


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
    return max(explain_rows(cursor, select.sql), default=0)


def explain_rows(cursor: Cursor, sql: str) -> list[int]:
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


def cut_integers(
    cursor: Cursor, table: str, column: IndexColumn, count: int
) -> list[CutValue] | None:
    """Cut integers where about even numbers of rows lie between; None if one alone has too many.

    The server's estimates of short ranges are good, those of long ones it halves and cuts off. So
    what it expects many rows in is split, again and again, until all that is counted is short.

    Args:
        cursor: A cursor on the server.
        table: The table's full name, quoted.
        column: The first column of its primary key.
        count: Into how many parts.

    Raises:
        pymysql.MySQLError: The caller turns it into Ferry's.
    """
    name = quote(column.name)
    cursor.execute(f"SELECT MIN({name}), MAX({name}) FROM {table}")  # noqa: S608  # quoted
    low, high = cursor.fetchone() or (None, None)
    if low is None or high is None:
        return []
    pieces = [(int(low), int(high) + 1, 1)]
    for _ in range(_MOST_ROUNDS):
        most = sum(rows for *_, rows in pieces) / (count * _FINENESS)
        heavy = [(start, end) for start, end, rows in pieces if rows > most and end - start > 1]
        if not heavy:
            break
        split = {each: _split(*each) for each in heavy}
        asked = [part for parts in split.values() for part in parts]
        found = dict(zip(asked, _between(cursor, table, name, asked), strict=True))
        pieces = [
            (*part, found[part]) if part in found else piece
            for piece in pieces
            for part in split.get(piece[:2], [piece[:2]])
        ]
    total = sum(rows for *_, rows in pieces)
    if not total or max(rows for *_, rows in pieces) > total / count / 2:
        return None
    cuts: list[CutValue] = []
    before = 0
    for start, _, rows in pieces:
        if before + rows / 2 >= total * (len(cuts) + 1) / count and len(cuts) < count - 1:
            cuts.append((str(start),))
        before += rows
    return [each for each in cuts if each != (str(low),)]


def _split(start: int, end: int) -> list[tuple[int, int]]:
    parts = min(_BRANCHES, end - start)
    bounds = [start + (end - start) * n // parts for n in range(parts + 1)]
    return list(pairwise(bounds))


def _between(cursor: Cursor, table: str, name: str, asked: Sequence[tuple[int, int]]) -> list[int]:
    """About how many rows are in each of these ranges; of an empty one the server says 1."""
    estimates: list[int] = []
    for first in range(0, len(asked), _BRANCHES * 4):
        union = " UNION ALL ".join(
            f"SELECT 1 FROM {table} FORCE INDEX (PRIMARY) "  # noqa: S608  # quoted, numbers
            f"WHERE {name} >= {start} AND {name} < {end}"
            for start, end in asked[first : first + _BRANCHES * 4]
        )
        estimates += explain_rows(cursor, union)
    return [rows if rows > 1 else 0 for rows in estimates]
