"""Rows from a cursor of SQLite's: fetched, held against a cursor's bounds, made into arrays."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from itertools import compress, islice
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from blocks.sources.sqlite.columns import stored_array, within
from blocks.sources.sqlite.cursors import Bounds, carried_value, is_within
from blocks.sources.sqlite.types import column_value, is_unsigned, made_text_of
from ferry.errors import DataError
from ferry.fingerprints.canonical import value_text
from ferry.schema import Column, DataType, Kind, TableName, arrow_type

_BATCH_BYTES = 4 * 1024 * 1024
_AT_ONCE = 32
"""Rows asked for in one call: of fewer each costs more, of more too many long ones are held."""
_LONG_BYTES = 64 * 1024
"""After rows that come to so much, one is asked for at a time."""
_SIZED = frozenset((str, bytes))
_SIZED_OR_NULL = _SIZED | {type(None)}

Values = list[list[Any]]
"""The values of some rows, as SQLite has them stored: a list for each column."""


def fetched(cursor: sqlite3.Cursor, batch_rows: int) -> Iterator[Values]:
    """The rows in batches of so many; of fewer, where their text and blobs come to 4 MB.

    A batch ends with the row that reaches the one or the other. Some rows are taken at once and
    turned into columns, since what is done for each row by itself takes longer than to read it.
    Were they turned only when the batch is complete, many thousand tuples would be held
    meanwhile, which keeps Python's garbage collector busy.
    """
    width = len(cursor.description)
    values: Values = [[] for _ in range(width)]
    size = 0
    at_once = _AT_ONCE
    failure: sqlite3.Error | None = None
    while failure is None:
        rows: list[tuple[Any, ...]] = []
        try:
            rows.extend(islice(cursor, min(at_once, batch_rows - len(values[0]))))
        except sqlite3.Error as error:  # such as for text that is not UTF-8
            failure = error  # what came before it is in `rows`, and may have errors of its own
        if not rows:
            break
        columns = list(zip(*rows, strict=True))
        more = sum(map(_bytes, columns))
        at_once = 1 if more >= _LONG_BYTES else _AT_ONCE
        pieces = [(columns, more)]
        if size + more >= _BATCH_BYTES and len(rows) > 1:
            pieces = [([(value,) for value in row], _bytes(row)) for row in rows]
        for piece, more in pieces:
            for column, some in zip(values, piece, strict=True):
                column.extend(some)
            size += more
            if size >= _BATCH_BYTES or len(values[0]) >= batch_rows:
                yield values
                values, size = [[] for _ in range(width)], 0
    if failure is not None:
        raise failure
    if values[0]:
        yield values


def inside(values: Values, place: int, data_type: DataType, bounds: Bounds) -> Values:
    """The rows whose cursor, of that place, has a place in its order, and within the bounds."""
    cursors = values[place]
    stored = stored_array(cursors, data_type)
    found = None if stored is None else within(stored, bounds)
    if found is None:
        kept = [is_within(carried_value(raw, data_type), bounds) for raw in cursors]
    elif pc.all(found).as_py():
        return values
    else:
        kept = found.to_pylist()
    return [list(compress(column, kept)) for column in values]


def arrays(
    values: Values, columns: tuple[Column, ...], table: TableName, rows_before: int
) -> list[pa.Array]:
    """An array for each column; what the rows have behind these is left.

    Raises:
        DataError: A value that its column's declared type cannot hold.
    """
    found = []
    for column, stored in zip(columns, values, strict=False):
        declared = made_text_of(column)
        is_decimal = declared is not None and declared.kind is Kind.DECIMAL
        array = None if is_decimal else stored_array(stored, column.type)
        if array is None or (is_unsigned(column) and (pc.min(array).as_py() or 0) < 0):
            one_by_one = [checked(raw, column, table, rows_before) for raw in stored]
            kind = arrow_type(column.type)
            if column.type.kind is Kind.DECIMAL and pa.types.is_large_string(kind):
                one_by_one = [None if value is None else value_text(value) for value in one_by_one]
            array = pa.array(one_by_one, kind)
        found.append(array)
    return found


def checked(raw: Any, column: Column, table: TableName, rows_before: int) -> Any:
    """The stored value as one of the column's declared type.

    Raises:
        DataError: It is not one; the message tells the column and the rows before, not the value.
    """
    try:
        return column_value(raw, column)
    except (ValueError, ArithmeticError):
        # Python's text tells the value, so it does not go on.
        raise DataError(
            f"column {column.name!r} holds a value that its declared type does not",
            table=str(table),
            step="extract",
            expected=f"{column.type} ({column.native})",
            found=f"another {type(raw).__name__} after the first {rows_before} rows",
            todo="Correct it in the source, or declare the column as what it holds.",
        ) from None


def _bytes(values: Sequence[Any]) -> int:
    """How long the text and blobs among the values are."""
    kinds = set(map(type, values))
    if kinds.isdisjoint(_SIZED):
        return 0
    if kinds <= _SIZED_OR_NULL:
        return sum(map(len, filter(None, values)))
    return sum(len(value) for value in values if isinstance(value, str | bytes))
