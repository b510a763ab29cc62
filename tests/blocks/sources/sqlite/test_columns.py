"""All values of a column at once: the batches, or the error, that each value by itself gives."""

from __future__ import annotations

import contextlib
import sqlite3
import tempfile
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blocks.sources import SQLiteSource
from blocks.sources.cursors import CURSOR_KINDS
from blocks.sources.sqlite import rows as rows_module
from blocks.sources.sqlite.columns import stored_array
from blocks.sources.sqlite.cursors import carried_value
from blocks.sources.sqlite.source import _place, _select
from blocks.sources.sqlite.types import from_storage, mapped
from ferry.batch import ExtractQuery
from ferry.errors import DataError, FerryError
from ferry.schema import Kind, TableName, arrow_schema, arrow_type
from tests.harness.embedded import examples

ONE = TableName("", "one")
DECLARED = (
    *("INTEGER", "MEDIUMINT", "SMALLINT", "BOOLEAN", "REAL", "DATE", "DATETIME", "TIME", "TEXT"),
    *(
        "VARCHAR(3)",
        "BLOB",
        "JSON",
        "DECIMAL(10,2)",
        "DECIMAL(4,0)",
        "DECIMAL(3,3)",
        "NUMERIC(38,9)",
    ),
)

integers = st.one_of(
    st.sampled_from([0, 1, 2, -32768, 32768, 2**31, 2**53, 2**53 + 1, 2**63 - 1, -(2**63)]),
    st.integers(-(2**63), 2**63 - 1),
    st.integers(-999, 999),
)
cents = st.integers(-(10**9), 10**9).map(lambda number: number / 100)
reals = st.one_of(
    st.sampled_from([0.0, -0.0, 1.5, 1e22, 1e300, 5e-324, float("inf"), 0.1 + 0.2, 2.0**53]),
    st.floats(allow_nan=False),
    cents,
)
moments = st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31))
times = st.one_of(
    moments.map(lambda at: at.isoformat(" ", "seconds")),
    moments.map(lambda at: at.isoformat("T")),
    moments.map(lambda at: at.isoformat(" ", "minutes")),
    moments.map(lambda at: at.isoformat(" ", "milliseconds") + "000000"),
)
days = st.dates().map(date.isoformat)
clocks = st.times().map(lambda at: at.isoformat())
odd_times = st.sampled_from(
    [
        *("0000-01-01", "0000-00-00 00:00:00", "2023-02-29", "2024-02-29", "2023-01-05 24:00:00"),
        *("2023-01-05 12", "2023-01-05 1230", "2023-01-05 12:30Z", "2023-01-05 12:30+01"),
        *("2023-01-05 12:30:59Z", "2023-01-05 12:30:00+01:00", "2023-01-05 23:59:60"),
        *("2023-01-05 12:30:00.", "2023-01-05 12:30:00.1234567", " 2023-01-05", "2023-01-05\n"),
        *("20230105", "2023-1-5", "12", "1230", "24:00", "23:59:60", "12:30:00Z", "12:30:00.1200"),
        *("\uff12023-01-05", "2023-01-05t12:30", "2023-01-05 12:30:0\0", "now"),
    ]
)
texts = st.one_of(
    st.text(max_size=4),
    st.sampled_from(["", "a\0b", "🚢🚢🚢", "🚢🚢🚢x", "0.10", "1e3", "{}", "null", "[1"]),
    odd_times,
)
blobs = st.one_of(st.binary(max_size=4), st.sampled_from([b"\0a\0", b"\xff"]))
NO_UTF_8 = object()
"""Stands for a text that is not UTF-8, which Python cannot bind."""
anything = st.one_of(
    st.none(), integers, reals, texts, times, days, clocks, blobs, st.just(NO_UTF_8)
)
AS_DECLARED = {
    Kind.INT64: integers,
    Kind.INT32: st.integers(-(2**31), 2**31 - 1),
    Kind.INT16: st.integers(-(2**15), 2**15 - 1),
    Kind.BOOLEAN: st.integers(0, 1),
    Kind.FLOAT64: st.one_of(reals, st.integers(-999, 999)),
    Kind.DECIMAL: st.one_of(cents, st.integers(-9999, 9999), cents.map(str)),
    Kind.DATE: days,
    Kind.TIMESTAMP: st.one_of(times, days),
    Kind.TIME: clocks,
    Kind.TEXT: texts,
    Kind.BINARY: blobs,
    Kind.JSON: st.sampled_from(["{}", "null", ' [1, "x"]', "1e5"]),
}
BOUNDS = {
    Kind.DATE: st.one_of(st.dates(), moments.map(lambda at: at.replace(tzinfo=UTC))),
    Kind.TIMESTAMP: st.one_of(st.dates(), moments, moments.map(lambda at: at.replace(tzinfo=UTC))),
    Kind.TEXT: st.text(max_size=2),
}
NUMBER_BOUNDS = st.one_of(st.integers(-999, 999), integers, st.decimals(-999, 999, places=1))


def column_of(declared: str) -> Any:
    return mapped("c", declared, False, ONE)


@st.composite
def stored(draw: st.DrawFn, declared: str, size: int) -> list[Any]:
    """A column's values: what is declared; or also NULL; or one of them anything; or all."""
    usual = AS_DECLARED[column_of(declared).type.kind]
    values = draw(st.lists(usual, min_size=size, max_size=size))
    how = draw(st.sampled_from(["usual", "nulls", "nulls", "one", "any"]))
    for at in range(size):
        if how == "any" or (how == "nulls" and draw(st.booleans())):
            values[at] = draw(anything) if how == "any" else None
    if how == "one" and values:
        values[draw(st.integers(0, size - 1))] = draw(anything)
    return values


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[str], list[list[Any]], dict[str, Any]]:
    """Declared types, rows, and what a query asks for."""
    size = draw(st.integers(0, 40))
    declared = draw(st.lists(st.sampled_from(DECLARED), min_size=1, max_size=3))
    columns = [draw(stored(each, size)) for each in declared]
    query: dict[str, Any] = {}
    kind = column_of(declared[0]).type.kind
    if kind in CURSOR_KINDS and draw(st.booleans()):
        bounds = BOUNDS.get(kind, NUMBER_BOUNDS)
        query = {"cursor": "c0", "start": draw(st.none() | bounds), "end": draw(st.none() | bounds)}
        if kind is Kind.TIMESTAMP and query["start"] and draw(st.booleans()):
            day = query["start"]
            day = datetime(day.year, min(day.month, 11), min(day.day, 28), tzinfo=UTC)
            query |= {"start": day, "end": day + timedelta(days=draw(st.integers(1, 30)))}
    return declared, [list(row) for row in zip(*columns, strict=True)], query


def fill(path: Path, declared: list[str], rows: list[list[Any]]) -> None:
    """Store the values as they are: SQLite's affinities do not change what was there before."""
    names = [f"c{place}" for place in range(len(declared))]
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"CREATE TABLE one ({', '.join(names)})")
        connection.execute("BEGIN")
        for row in rows:
            marks = ["CAST(x'4142ff' AS TEXT)" if v is NO_UTF_8 else "?" for v in row]
            values = [value for value in row if value is not NO_UTF_8]
            connection.execute(f"INSERT INTO one VALUES ({', '.join(marks)})", values)
        connection.execute("COMMIT")
        connection.execute("PRAGMA writable_schema=ON")
        typed = ", ".join(f"{n} {type_}" for n, type_ in zip(names, declared, strict=True))
        connection.execute("UPDATE sqlite_schema SET sql = ?", (f"CREATE TABLE one ({typed})",))


def by_each_value(source: SQLiteSource, query: ExtractQuery, size: int) -> Iterator[pa.RecordBatch]:
    """The rows as the cursor gives them, and every value looked at by itself."""
    table, columns, carried = query.schema.name, query.schema.columns, 0
    with source._connection() as connection:
        cursor = source._cursor_column(connection, query)
        sql, parameters, bounds = _select(query, cursor)
        for fetched in one_by_one(connection.execute(sql, parameters), source.batch_rows, size):
            kept = fetched
            if cursor is not None:
                place, kind = _place(query, cursor), cursor.type
                kept = [row for row in fetched if between(carried_value(row[place], kind), *bounds)]
            if not kept:
                continue
            arrays = []
            for place, column in enumerate(columns):
                values = []
                for row in kept:
                    try:
                        values.append(from_storage(row[place], column.type))
                    except (ValueError, ArithmeticError):
                        raise DataError(
                            f"column {column.name!r} holds a value that its declared type does not",
                            table=str(table),
                            step="extract",
                            expected=f"{column.type} ({column.native})",
                            found=f"another {type(row[place]).__name__} after the first "
                            f"{carried} rows",
                            todo="Correct it in the source, or declare the column as what it "
                            "holds.",
                        ) from None
                arrays.append(pa.array(values, arrow_type(column.type)))
            yield pa.RecordBatch.from_arrays(arrays, schema=arrow_schema(columns))
            carried += len(kept)


def one_by_one(cursor: sqlite3.Cursor, batch_rows: int, size: int) -> Iterator[list[Any]]:
    rows, held = [], 0
    for row in cursor:
        rows.append(row)
        held += sum(len(value) for value in row if isinstance(value, str | bytes))
        if len(rows) >= batch_rows or held >= size:
            yield rows
            rows, held = [], 0
    if rows:
        yield rows


def between(value: Any, low: Any, high: Any) -> bool:
    return value is not None and (low is None or value >= low) and (high is None or value < high)


def outcome(batches: Iterator[pa.RecordBatch]) -> tuple[str, Any]:
    try:
        return "read", list(batches)
    except FerryError as error:
        return type(error).__name__, str(error)


@settings(max_examples=examples(200))
@given(
    table=tables(),
    batch_rows=st.sampled_from([1, 2, 15, 16, 17, 16_384]),
    size=st.sampled_from([1, 60, 300, 4 << 20]),
    leave_cursor_out=st.booleans(),
)
def test_the_batches_or_the_error_are_those_that_each_value_by_itself_gives(
    table: tuple[list[str], list[list[Any]], dict[str, Any]],
    batch_rows: int,
    size: int,
    leave_cursor_out: bool,
) -> None:
    declared, rows, asked = table
    exclude = ["c0"] if leave_cursor_out and len(declared) > 1 else []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "shop.sqlite")
        fill(path, declared, rows)
        source = SQLiteSource(path=str(path), batch_rows=batch_rows)
        query = ExtractQuery(source.describe(ONE, exclude), **asked)
        expected = outcome(by_each_value(source, query, size))
        with mock.patch.multiple(rows_module, _BATCH_BYTES=size, _LONG_BYTES=size // 4):
            found = outcome(source.read(query))

    assert found == expected
    if found[0] == "read":
        for batch in found[1]:
            batch.validate(full=True)


@pytest.mark.parametrize(
    ("declared", "values"),
    [
        ("bigint unsigned", [2**63 - 1, 0, None]),
        ("int2", [-32768, None]),
        ("bool", [0, 1, None]),
        ("varchar", ["🚢" * 99, "", None]),
        ("INTEGER", [2**63 - 1, -(2**63), None]),
        ("MEDIUMINT", [2**31 - 1, None]),
        ("TINYINT", [-1, None]),
        ("BOOLEAN", [0, 1, None]),
        ("BOOLEAN", [None]),
        ("REAL", [0.1, 3, float("inf"), None]),
        ("DECIMAL(12,2)", [19.99, -0.01, 20, None]),
        ("DECIMAL(15,0)", [10**15 - 1]),
        ("DECIMAL(3,3)", [0, 0.0, 0.999, -0.001, None]),
        ("DATE", ["0001-01-01", "9999-12-31", None]),
        ("DATETIME", ["2023-01-05", "2023-01-05T01:02", "2023-01-05 01:02:03.000001", None]),
        ("TIME", ["01:02", "01:02:03", "23:59:59.999999", None]),
        ("VARCHAR(3)", ["🚢🚢🚢", "a\0b", None]),
        ("BLOB", [b"\0\xff", b"", None]),
    ],
)
def test_what_is_stored_as_declared_is_converted_at_once(declared: str, values: list[Any]) -> None:
    column = column_of(declared)
    array = stored_array(values, column.type)

    assert array is not None
    assert array.type == arrow_type(column.type)
    assert array.to_pylist() == [from_storage(value, column.type) for value in values]


def test_a_float_of_more_digits_than_it_can_tell_is_no_decimal() -> None:
    ten_two = column_of("DECIMAL(38,2)").type

    assert stored_array([0.1 + 0.2], ten_two) is None
    assert stored_array([2.0**53 + 2], ten_two) is None
    assert stored_array([0.3], ten_two).to_pylist() == [Decimal("0.30")]
