"""Every warehouse computes the fingerprints that `ferry.fingerprints.canonical` defines."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from blocks.stages.parts.batch_sums import BatchSums
from ferry import statements as sql
from ferry.fingerprints.canonical import DIGESTS, Digest, Fingerprint, row_number
from ferry.fingerprints.columns import ComparedBy, Pair, pair_columns
from ferry.fingerprints.queries import Part, Side
from ferry.fingerprints.sums import read_sums, select_sums, summed
from ferry.schema import Column, DataType, Kind, TableName, TableSchema, arrow_schema
from tests.blocks.warehouses.engine import Engine
from tests.harness.embedded import examples

COLUMNS = (
    Column("id", DataType(Kind.INT64), nullable=False),
    Column("a_boolean", DataType(Kind.BOOLEAN)),
    Column("an_int16", DataType(Kind.INT16)),
    Column("an_int32", DataType(Kind.INT32)),
    Column("a_whole", DataType(Kind.DECIMAL, 38, 0)),
    Column("a_decimal", DataType(Kind.DECIMAL, 38, 10)),
    Column("a_share", DataType(Kind.DECIMAL, 6, 6)),
    Column("a_small_share", DataType(Kind.DECIMAL, 30, 30)),
    Column("a_date", DataType(Kind.DATE)),
    Column("a_time", DataType(Kind.TIME)),
    Column("a_timestamp", DataType(Kind.TIMESTAMP)),
    Column("a_moment", DataType(Kind.TIMESTAMPTZ)),
    Column("a_text", DataType(Kind.TEXT, max_bytes=400)),
    Column("a_word", DataType(Kind.TEXT, max_bytes=400)),
    Column("a_long_text", DataType(Kind.TEXT)),
    Column("a_binary", DataType(Kind.BINARY, max_bytes=40)),
    Column("a_long_binary", DataType(Kind.BINARY)),
    Column("a_float32", DataType(Kind.FLOAT32)),
    Column("a_float64", DataType(Kind.FLOAT64)),
)


def decimals(scale: int) -> st.SearchStrategy[Any]:
    return st.decimals(
        min_value=-(10**20), max_value=10**20, places=scale, allow_nan=False, allow_infinity=False
    )


# No NUL, which PostgreSQL's text cannot hold, and no surrogate, which UTF-8 cannot.
TEXT = st.text(st.characters(min_codepoint=1, exclude_categories=["Cs"]), max_size=60)
MOMENTS = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC))
FLOATS = st.floats(allow_nan=False, allow_infinity=False, width=32).filter(
    lambda value: value == 0 or abs(value) > 1e-30
)
SHARES = st.integers(-999_999, 999_999).map(lambda number: Decimal(number).scaleb(-6))
VALUES = (
    st.booleans(),
    st.integers(-(1 << 15), (1 << 15) - 1),
    st.integers(-(1 << 31), (1 << 31) - 1),
    decimals(0),
    decimals(10),
    SHARES,
    SHARES,
    st.dates(),
    st.times(),
    st.datetimes(),
    MOMENTS,
    TEXT,
    TEXT,
    TEXT,
    st.binary(max_size=40),
    st.binary(max_size=80),
    FLOATS,
    FLOATS,
)
ROW = st.tuples(*(st.none() | value for value in VALUES))
NULLS: tuple[Any, ...] = (None,) * len(VALUES)
EMPTY = (
    *(False, 0, 0, 0, 0, 0, 0, date(1, 1, 1), datetime(1, 1, 1).time(), datetime(1, 1, 1)),
    *(datetime(1970, 1, 1, tzinfo=UTC), "", "", "", b"", b"", 0.0, 0.0),
)


def numbered(rows: list[tuple[Any, ...]], warehouse: Any) -> list[tuple[Any, ...]]:
    """The rows with their numbers, without values that the warehouse takes from no CSV file."""
    if not warehouse.capabilities.empty_binary_in_csv:
        rows = [tuple(b"\0" if value == b"" else value for value in row) for row in rows]
    return [(number, *row) for number, row in enumerate(rows)]


@pytest.fixture
def table(engine: Engine) -> TableName:
    return engine.create(COLUMNS)


def sided(
    engine: Engine, table: TableName, algorithm: Digest = "md5"
) -> tuple[Side, tuple[Pair, ...]]:
    there = engine.warehouse.describe(table)
    assert there is not None
    digests = engine.warehouse.capabilities.digests_bytes
    pairs = pair_columns(TableSchema(table, COLUMNS), there, key=["id"], digests_bytes=digests)
    dialect = replace(engine.warehouse.fingerprints, algorithm=algorithm)
    side = Side.of(pairs, ["id"], "a_timestamp", None, dialect, table, is_target=True)
    return side, pairs


@settings(max_examples=examples(25), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(ROW, min_size=1, max_size=12), algorithm=st.sampled_from(DIGESTS))
@example(rows=[NULLS, EMPTY, NULLS], algorithm="md5")
def test_rows_have_the_numbers_of_the_definition(
    engine: Engine, table: TableName, rows: list[tuple[Any, ...]], algorithm: Digest
) -> None:
    warehouse = engine.warehouse
    warehouse.execute(sql.delete_all(table))
    full = numbered(rows, warehouse)
    warehouse.copy_in(table, engine.stage_rows(COLUMNS, full), engine.stage)
    side, pairs = sided(engine, table, algorithm)
    assert {p.source.name for p in pairs if p.how is ComparedBy.NEARLY} == {
        "a_float32",
        "a_float64",
    }
    long_binary = {"a_long_binary"} if engine.warehouse.capabilities.digests_bytes else set()
    assert {p.source.name for p in pairs if p.hashed} == {"a_long_text", *long_binary}
    exact = [n for n, pair in enumerate(pairs) if pair.how is ComparedBy.EXACTLY]
    hashed = [pairs[n].hashed for n in exact]
    expected = {row[0]: row_number([row[n] for n in exact], hashed, algorithm) for row in full}

    found = [side.row(row) for row in warehouse.fetch(side.rows(Part()))]
    assert {row.keys[0]: row.number for row in found} == expected
    assert {row.key for row in found} == {str(row[0]) for row in full}

    ((place, bucket),) = (side.bucket(r) for r in warehouse.fetch(side.by_key(Part(), 1)))
    assert place == 0
    assert bucket.fingerprint == Fingerprint(len(full), sum(expected.values()))
    for n, (count, total, size) in zip((17, 18), bucket.nearly, strict=True):
        values = [row[n] for row in full if row[n] is not None]
        assert count == len(values)
        assert math.isclose(size, math.fsum(map(abs, values)), rel_tol=1e-9)
        assert abs(total - math.fsum(values)) <= 1e-9 * size
    for row in found:
        exactly = full[row.keys[0]][17:19]
        assert row.nearly == tuple(pytest.approx(v, rel=1e-6) if v else v for v in exactly)

    sums_are_those_of_what_was_read(engine, table, full)


def test_buckets_part_the_rows_of_a_range(engine: Engine, table: TableName) -> None:
    warehouse = engine.warehouse
    days = [datetime(2023, 1, day, 12) for day in (1, 1, 2, 4, 5)]
    rows = [(number, *NULLS[:9], day, *NULLS[10:]) for number, day in enumerate([*days, None])]
    warehouse.copy_in(table, engine.stage_rows(COLUMNS, rows), engine.stage)
    side, _ = sided(engine, table)
    bounds = [datetime(2023, 1, day) for day in (1, 2, 3, 4, 5)]
    found = dict(side.bucket(row) for row in warehouse.fetch(side.by_range(bounds)))
    assert {place: bucket.fingerprint.rows for place, bucket in found.items()} == {0: 2, 1: 1, 3: 1}

    january = Part(bounds[0], bounds[-1])
    by_key = dict(side.bucket(row) for row in warehouse.fetch(side.by_key(january, 3)))
    assert sum(bucket.fingerprint.rows for bucket in by_key.values()) == 4
    some = Part(bounds[0], bounds[-1], 3, (min(by_key),))
    rows_there = [side.row(row) for row in warehouse.fetch(side.rows(some))]
    assert len(rows_there) == by_key[min(by_key)].fingerprint.rows
    assert sum(r.number for r in rows_there) == by_key[min(by_key)].fingerprint.total

    (one,) = [side.row(row) for row in warehouse.fetch(side.rows_of([(4,)]))]
    assert (one.key, one.ordering) == ("4", days[4])


def sums_are_those_of_what_was_read(
    engine: Engine, table: TableName, full: list[tuple[Any, ...]]
) -> None:
    warehouse = engine.warehouse
    schema = arrow_schema(COLUMNS)
    arrays = [
        pa.array(values, schema.field(n).type) for n, values in enumerate(zip(*full, strict=True))
    ]
    what = summed(COLUMNS, digests_bytes=warehouse.capabilities.digests_bytes)
    read = BatchSums(COLUMNS, what)
    read.add(pa.RecordBatch.from_arrays(arrays, schema=schema))
    (row,) = warehouse.fetch(select_sums(warehouse.fingerprints, table, what))
    staged = read_sums(what, row)
    assert read.sums.differing(staged) == []
    assert read.sums.salted_text("x") == staged.salted_text("x")


@pytest.mark.parametrize("document", ["null", " null", "null\n", "\tnull\r\n", '"null"', "[null]"])
def test_null_of_json_s_own_is_no_value_on_any_side(engine: Engine, document: str) -> None:
    columns = (Column("id", DataType(Kind.INT32)), Column("j", DataType(Kind.JSON)))
    table = engine.create(columns)
    rows = [(1, document), (2, None), (3, "{}")]
    engine.warehouse.copy_in(table, engine.stage_rows(columns, rows), engine.stage)
    what = summed(columns)
    read = BatchSums(columns, what)
    schema = arrow_schema(columns)
    arrays = [pa.array([row[n] for row in rows], schema.field(n).type) for n in (0, 1)]
    read.add(pa.RecordBatch.from_arrays(arrays, schema=schema))
    question = select_sums(engine.warehouse.fingerprints, table, what)
    (row,) = engine.warehouse.fetch(question)
    assert read.sums.differing(read_sums(what, row)) == []
    assert read.sums.sums[1].count == (1 if document.strip() == "null" else 2)


def test_binary_and_text_as_long_as_the_warehouse_holds(engine: Engine) -> None:
    capabilities = engine.warehouse.capabilities
    binary = b"\xff" * min(capabilities.max_binary_bytes or 3_000_000, 3_000_000)
    text = "é" * (min(capabilities.max_text_bytes or 3_000_000, 3_000_000) // 2)
    columns = (
        Column("id", DataType(Kind.INT32)),
        Column("b", DataType(Kind.BINARY)),
        Column("t", DataType(Kind.TEXT)),
    )
    table = engine.create(columns)
    engine.warehouse.copy_in(table, engine.stage_rows(columns, [(1, binary, text)]), engine.stage)
    digests = capabilities.digests_bytes
    there = TableSchema(table, columns)
    pairs = pair_columns(there, there, key=["id"], digests_bytes=digests)
    dialect = engine.warehouse.fingerprints
    side = Side.of(pairs, ["id"], None, None, dialect, table, is_target=True)
    (row,) = [side.row(each) for each in engine.warehouse.fetch(side.rows(Part()))]
    values = [(1, binary, text), (1, text)][not digests]
    assert row.number == row_number(values, [False, *[True] * (len(values) - 1)])
    assert row.present == (() if digests else (len(binary) + 1,))
    what = summed(columns, digests_bytes=digests)
    ((*_, count, _),) = engine.warehouse.fetch(select_sums(dialect, table, what))
    assert count == 1


KEYS: dict[str, tuple[DataType, list[Any]]] = {
    "text": (DataType(Kind.TEXT, max_bytes=40), ["a", "A", "a ", "", "1:a|", "é%s"]),
    "long text": (DataType(Kind.TEXT), ["a", "A", "x" * 3000]),
    "binary": (DataType(Kind.BINARY, max_bytes=16), [b"", b"\0", b"\0\0", b"\xff\\"]),
    "decimal": (DataType(Kind.DECIMAL, 20, 4), [Decimal("0.0001"), Decimal("1"), Decimal("-1")]),
    "date": (DataType(Kind.DATE), [date(1, 1, 1), date(9999, 12, 31)]),
    "moment": (DataType(Kind.TIMESTAMPTZ), [datetime(2023, 1, 1, tzinfo=UTC)]),
}


@pytest.mark.parametrize("kind", KEYS)
def test_rows_are_found_by_keys_of_every_kind(engine: Engine, kind: str) -> None:
    type_, values = KEYS[kind]
    columns = (Column("k", type_, nullable=False), Column("n", DataType(Kind.INT32)))
    table = engine.create(columns)
    if not engine.warehouse.capabilities.empty_binary_in_csv:
        values = [value for value in values if value != b""]
    rows = [(value, number) for number, value in enumerate(values)]
    engine.warehouse.copy_in(table, engine.stage_rows(columns, rows), engine.stage)
    pairs = pair_columns(TableSchema(table, columns), TableSchema(table, columns))
    dialect = engine.warehouse.fingerprints
    side = Side.of(pairs, ["k"], None, None, dialect, table, is_target=True)
    everything = [side.row(row) for row in engine.warehouse.fetch(side.rows(Part()))]
    assert len({row.key for row in everything}) == len(values)
    for row in everything:
        found = [side.row(r) for r in engine.warehouse.fetch(side.rows_of([row.keys]))]
        assert row in found
        assert [each for each in found if each.key == row.key] == [row]
