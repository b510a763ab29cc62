"""What a table has in its cursor column, asked of the server."""

from __future__ import annotations

from datetime import UTC, date

from pymysql.cursors import Cursor

from blocks.sources.mysql.select import uncarried_condition
from blocks.sources.mysql.types import quote, select_expression
from ferry.batch import CursorValue, ExtractQuery
from ferry.schema import TIMES, Column, Kind


def bounds(cursor: Cursor, table: str, column: Column) -> tuple[CursorValue, CursorValue] | None:
    """The lowest and highest value of a column, without NULLs and zero dates.

    Args:
        cursor: A cursor on the server.
        table: The table's full name, quoted.
        column: The column.

    Raises:
        pymysql.MySQLError: The caller turns it into Ferry's.
    """
    name, kind = quote(column.name), column.type.kind
    cursor.execute(f"SELECT MIN({name}), MAX({name}) FROM {table}")  # noqa: S608  # quoted
    low, high = cursor.fetchone() or (None, None)
    if kind in TIMES and not (isinstance(low, date) and isinstance(high, date)):
        # A zero date, which has no Python value: look at the others, without the index.
        expression = select_expression(column)
        cursor.execute(f"SELECT MIN({expression}), MAX({expression}) FROM {table}")  # noqa: S608
        low, high = cursor.fetchone() or (None, None)
    if low is None or high is None:
        return None
    if kind is Kind.TIMESTAMPTZ:
        return low.replace(tzinfo=UTC), high.replace(tzinfo=UTC)
    return low, high


def count_uncarried(
    cursor: Cursor, table: str, column: Column, reach: ExtractQuery | None = None
) -> int:
    """How many rows have NULL or a zero date in the column, by its index, if it has one.

    Args:
        cursor: A cursor on the server.
        table: The table's full name, quoted.
        column: The column.
        reach: A query beyond whose bounds rows are counted, too.

    Raises:
        pymysql.MySQLError: The caller turns it into Ferry's.
    """
    uncarried = uncarried_condition(column, reach)
    if uncarried is None:
        return 0
    rows = f"FROM {table} WHERE {uncarried}"
    cursor.execute(f"SELECT 1 {rows} LIMIT 1")
    if cursor.fetchone() is None:
        return 0
    cursor.execute(f"SELECT COUNT(*) {rows}")
    ((count,),) = cursor.fetchall()
    return int(count)
