"""The one SELECT that reads a window of a table, and what its result has to be turned into."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc

from blocks.sources.batches import conform
from blocks.sources.cursors import cursor_bounds, leaves_zeros_out
from blocks.sources.mysql.characters import lossy_columns, masks, refuse_lost
from blocks.sources.mysql.types import (
    ZERO_DATE_TYPES,
    bare_type,
    lowest_time,
    quote,
    select_expression,
)
from ferry.batch import PIECE_NUMBER, CursorValue, ExtractQuery
from ferry.errors import DataError
from ferry.schema import Column, Kind, TableName

_MASK_BITS = 30
_IMPOSSIBLE_DATE_TYPES = {"date", "datetime"}
"""Those that have dates such as 2023-00-15, between two days that exist."""


def literal(value: CursorValue) -> str:
    """The value as SQL, for a session in sql_mode ''. ConnectorX takes no bound parameters.

    Only these types pass, and text goes as its bytes in hexadecimal, so that no value can be read
    as SQL. https://dev.mysql.com/doc/refman/8.4/en/hexadecimal-literals.html

    Raises:
        TypeError: Any other type, a bool, or a datetime with a zone.
    """
    match value:
        case bool():
            pass
        case int():
            return str(value)
        case Decimal() if value.is_finite():
            return format(value, "f")
        case datetime() if value.tzinfo is None:
            return f"TIMESTAMP'{value.isoformat(sep=' ', timespec='microseconds')}'"
        case date() if not isinstance(value, datetime):
            return f"DATE'{value.isoformat()}'"
        case str():
            return f"_utf8mb4 X'{value.encode().hex()}'"
    raise TypeError(f"no SQL literal for a {type(value).__name__}")


def table_name(table: TableName, database: str) -> str:
    """The table's full name, quoted."""
    return f"{quote(table.schema or database)}.{quote(table.name)}"


def uncarried_condition(cursor: Column, reach: ExtractQuery | None = None) -> str | None:
    """What is true of the rows that no bounds of this cursor would take; None if no row can be.

    Args:
        cursor: The cursor column.
        reach: A query beyond whose bounds none is taken; a TIMESTAMP cannot be there.
    """
    name = quote(cursor.name)
    low: CursorValue | None = lowest_time(cursor)
    high: CursorValue | None = None
    conditions = [f"{name} IS NULL"] if cursor.nullable or low is not None else []
    if reach is not None and cursor.type.kind is not Kind.TIMESTAMPTZ:
        low, high = cursor_bounds(reach, cursor)  # no zero date reaches the lower one
    conditions += [
        f"{name} {operator} {literal(bound)}"
        for operator, bound in (("<", low), (">=", high))
        if bound is not None
    ]
    return f"({' OR '.join(conditions)})" if conditions else None


def _bounded(query: ExtractQuery, cursor: Column) -> list[str]:
    """What is true of the query's rows: within its bounds, and never without a cursor.

    Without a bound, too: what the first run of a watermark took, no later one would ever see again.
    """
    name, lowest = quote(cursor.name), lowest_time(cursor)
    low, high = cursor_bounds(query, cursor)
    if lowest is not None:
        # A bound before the first TIMESTAMP counts as 0 in MySQL, as the zero date does.
        low = lowest if low is None else max(low, lowest)  # of one kind
    conditions = [
        f"{name} {operator} {literal(bound)}"
        for operator, bound in ((">=", low), ("<", high))
        if bound is not None
    ]
    if query.null_cursors == "ignore" and bare_type(cursor) in _IMPOSSIBLE_DATE_TYPES:
        conditions.append(f"{select_expression(cursor)} IS NOT NULL")
    if leaves_zeros_out(query, low):
        conditions.append(f"{name} <> 0")
    return conditions or ([f"{name} IS NOT NULL"] if cursor.nullable else [])


def _is_checked(column: Column, query: ExtractQuery, cursor: Column | None) -> bool:
    """Whether dates of the column that are none are refused.

    As NULL, the cursor's would be out of the order that rows are replaced by: a row would come once
    more with each run, or count as older than what it changes.
    """
    if query.zero_dates != "null":
        return bare_type(column) in ZERO_DATE_TYPES
    bounds = cursor is not None and column.name == cursor.name
    return bounds and bare_type(column) in _IMPOSSIBLE_DATE_TYPES


@dataclass(frozen=True)
class Select:
    """A SELECT over one table, and how to read its result.

    The result's columns are the query's in their order (under names of our own, as those of the
    table may be anything), then bit masks that tell which dates were not NULL in the table,
    and in which columns characters were lost.

    Attributes:
        query: What to read.
        sql: The statement.
        any_sql: A statement that gives one row if the other gives any.
        dates: Places of the columns whose dates are checked; empty if they may become NULL.
        tag: A word in the statement, by which it is found in the server's process list.
        lossy: Places of the columns whose characters the server may lose; masks tell of them, too.
        from_where: What is read, without its columns.
        bounded: Whether there is a WHERE in that.
        items: Its columns.
        numbered: Whether the number of a row's piece is the last column.
    """

    query: ExtractQuery
    sql: str
    any_sql: str
    dates: tuple[int, ...]
    tag: str
    lossy: tuple[int, ...] = ()
    from_where: str = ""
    bounded: bool = False
    items: str = ""
    numbered: bool = False

    @classmethod
    def build(
        cls,
        query: ExtractQuery,
        cursor: Column | None,
        database: str,
        tag: str,
        within: str = "",
    ) -> Select:
        """The statement for this query.

        Args:
            query: What to read.
            cursor: The cursor column, if the query has one.
            database: Where tables without a schema are.
            tag: A word for the statement.
            within: What else is true of the rows: the condition of a range of them.

        Raises:
            RequestError: A bound that the cursor column cannot be compared with.
        """
        columns = query.schema.columns
        items = [f"{select_expression(column)} AS c{n}" for n, column in enumerate(columns)]
        dates = tuple(n for n, c in enumerate(columns) if _is_checked(c, query, cursor))
        for first in range(0, len(dates), _MASK_BITS):
            bits = [
                f"({quote(columns[n].name)} IS NOT NULL) << {bit}"
                for bit, n in enumerate(dates[first : first + _MASK_BITS])
            ]
            items.append(f"({' | '.join(bits)}) AS z{first // _MASK_BITS}")
        lossy = lossy_columns(columns)
        items += masks(columns, lossy)
        # Names are quoted, and values pass through `literal`.
        source = table_name(query.schema.name, database)
        conditions = [] if cursor is None else _bounded(query, cursor)
        conditions += [within] if within else []
        rows = f"FROM {source}" + (f" WHERE {' AND '.join(conditions)}" if conditions else "")
        return cls(
            query,
            f"SELECT /* {tag} */ {', '.join(items)} {rows}",
            f"SELECT /* {tag} */ 1 {rows} LIMIT 1",
            dates,
            tag,
            lossy,
            rows,
            bool(conditions),
            ", ".join(items),
        )

    def in_pieces(self, number: str, within: str, order: str) -> Select:
        """Some pieces of a whole table, in their order, with the number of each row's.

        Args:
            number: The expression of the number.
            within: What is true of the rows of these pieces; empty if it is of all.
            order: The columns of the primary key that they are in order by. It is the order in
                which InnoDB has them, so that nothing is sorted.
        """
        rows = f"{self.from_where} FORCE INDEX (PRIMARY)" + (f" WHERE {within}" if within else "")
        sql = f"SELECT /* {self.tag} */ {self.items}, {number} AS p {rows} ORDER BY {order}"
        return replace(self, sql=sql, numbered=True)

    def and_where(self, condition: str) -> str:
        """What is read, without its columns, as far as this is true of it, too."""
        return f"{self.from_where} {'AND' if self.bounded else 'WHERE'} {condition}"

    def batch(self, result: pa.RecordBatch, rows_before: int) -> pa.RecordBatch:
        """The result's batch as the query wants it; with `PIECE_NUMBER` if it has one.

        Raises:
            DataError: Dates that are none, characters that were lost, or a value that its column's
                type cannot hold.
        """
        columns = self.query.schema.columns
        self._refuse_zero_dates(result, rows_before)
        masked = len(columns) + -(-len(self.dates) // _MASK_BITS)
        lost = result.columns[masked : result.num_columns - self.numbered]
        rows = rows_before + result.num_rows
        refuse_lost(lost, columns, self.lossy, self.query.schema.name, rows)
        arrays = result.columns[: len(columns)]
        batch = conform(arrays, columns, self.query.schema.name, rows_before)
        if not self.numbered:
            return batch
        pieces = result.columns[-1].cast(pa.int32())
        names = [*batch.schema.names, PIECE_NUMBER.name]
        return pa.RecordBatch.from_arrays([*batch.columns, pieces], names=names)

    def _refuse_zero_dates(self, result: pa.RecordBatch, rows_before: int) -> None:
        columns = self.query.schema.columns
        counts: dict[str, int] = {}
        for position, n in enumerate(self.dates):
            values = result.column(n)
            if values.null_count:
                mask = result.column(len(columns) + position // _MASK_BITS).cast(pa.int64())
                bit = pa.scalar(1 << position % _MASK_BITS, pa.int64())
                there = pc.not_equal(pc.bit_wise_and(mask, bit), pa.scalar(0, pa.int64()))
                count = pc.sum(pc.and_(there, values.is_null())).as_py()
                if count:
                    counts[columns[n].name] = count
        if counts:
            found = ", ".join(f"{count} in {name!r}" for name, count in counts.items())
            raise DataError(
                "there are zero or impossible dates, such as 0000-00-00",
                table=str(self.query.schema.name),
                step="extract",
                expected="dates that exist",
                found=f"{found}, within the first {rows_before + result.num_rows} rows",
                todo=_todo(self.query, counts),
            )


def _todo(query: ExtractQuery, found: Collection[str]) -> str:
    if query.cursor in found:
        return (
            "Correct them in the source, or leave these rows behind with `null_cursors: ignore` in "
            "the table's spec: a cursor has to tell when. Mode full takes them, with `zero_dates: "
            "null`."
        )
    return (
        "Correct them in the source, or say `zero_dates: null` in the table's spec to load them as "
        "NULL."
    )
