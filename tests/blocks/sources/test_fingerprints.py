"""Every source that takes SQL computes the fingerprints of what is read from it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pymysql
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from blocks.source import Source
from blocks.sources import SOURCES, SQLiteSource
from ferry.batch import ExtractQuery
from ferry.errors import DataError, RequestError
from ferry.fingerprints.canonical import Fingerprint, row_number
from ferry.fingerprints.columns import ComparedBy, pair_columns
from ferry.fingerprints.dialect import FingerprintDialect
from ferry.fingerprints.queries import Part, Side
from ferry.schema import Column, Kind, TableName, arrow_schema, target_columns
from ferry.schema import TableSchema as Schema
from ferry.statements import Statement
from tests.harness.embedded import examples
from tests.harness.journey import RunSource
from tests.harness.mysql_shop import MySQLShop, only_on

MYSQL_TYPES: dict[str, list[str]] = {
    "TINYINT": ["-128", "127"],
    "SMALLINT UNSIGNED": ["0", "65535"],
    "INT(8) UNSIGNED ZEROFILL": ["0", "42", "4294967295"],
    "BIGINT": ["-9223372036854775808", "9223372036854775807"],
    "BIGINT UNSIGNED": ["0", "18446744073709551615"],
    "BIGINT(20) UNSIGNED ZEROFILL": ["7"],
    "BIT(1)": ["b'0'", "b'1'"],
    "BIT(10)": ["b'1000000001'"],
    "BIT(64)": ["b'" + "1" * 64 + "'"],
    "YEAR": ["1901", "2155", "0"],
    "DECIMAL(10,0)": ["-0", "1000", "9999999999"],
    "DECIMAL(10,2)": ["-0.00", "-0.5", "100", "12345678.90"],
    "DECIMAL(12,4) UNSIGNED ZEROFILL": ["1.5"],
    "DECIMAL(6,6)": ["0", "-0.5", "0.000001"],
    "DECIMAL(65,30)": ["-" + "9" * 35 + "." + "9" * 30, "0.000000000000000000000000000001"],
    "DATE": ["'1000-01-01'", "'9999-12-31'"],
    "DATETIME": ["'1000-01-01 00:00:00'", "'9999-12-31 23:59:59'"],
    "DATETIME(6)": ["'2023-03-26 02:30:00.000001'"],
    "TIMESTAMP(3) NULL": ["'1970-01-01 00:00:01'", "'2038-01-19 03:14:07.999'"],
    "TIME(6)": ["'-838:59:59'", "'00:00:00.000001'", "'838:59:59'"],
    "CHAR(10)": ["'a'", "'a  '", "''"],
    "VARCHAR(50) CHARACTER SET latin1": ["'a '", "'é|1:'", "''"],
    "VARCHAR(50) CHARACTER SET utf8mb4": ["'a '", "'😀'", r"'%s\\ \''"],
    "VARCHAR(20) CHARACTER SET utf16": ["'é😀'"],
    "TEXT": ["''", "REPEAT('é', 30000)"],
    "LONGTEXT": ["REPEAT('x', 70000)"],
    "ENUM('a','é')": ["'a'", "'é'"],
    "SET('a','b')": ["''", "'a,b'"],
    "BINARY(4)": ["''", r"'\0\0'", "X'FF'"],
    "VARBINARY(20)": ["''", "X'00FF7C'"],
    "BLOB": ["X'00'", "REPEAT('x', 5000)"],
}


def dialect_of(source: Source) -> FingerprintDialect:
    dialect = source.fingerprints
    assert dialect is not None
    return replace(dialect, algorithm=source.digests()[0])


def numbers(source: Source, schema: Schema, **query: Any) -> tuple[Side, dict[str, int]]:
    """The side that the source is, and the numbers of its rows by what is read of them, by `id`."""
    there = Schema(schema.name, target_columns(schema.columns, schema.name))
    pairs = pair_columns(schema, there, key=["id"])
    dialect = dialect_of(source)
    side = Side.of(pairs, ["id"], None, None, dialect, schema.name, is_target=False)
    batches = list(source.read(ExtractQuery(schema, **query)))
    table = pa.Table.from_batches(batches, schema=arrow_schema(schema.columns))
    exact = [pair for pair in pairs if pair.how is ComparedBy.EXACTLY]
    found = {}
    for row in table.to_pylist():
        values = [as_value(row[pair.source.name], pair.source) for pair in exact]
        hashed = [pair.hashed for pair in exact]
        found[str(row["id"])] = row_number(values, hashed, dialect.algorithm)
    return side, found


def as_value(value: Any, column: Column) -> Any:
    """What has more digits than Arrow's decimals travels as text."""
    is_text = column.type.kind is Kind.DECIMAL and isinstance(value, str)
    return Decimal(value) if is_text else value


def check(source: Source, side: Side, expected: dict[str, int]) -> None:
    found = [side.row(row) for row in source.fetch(side.rows(Part()))]
    assert {row.key: row.number for row in found} == expected
    ((_, bucket),) = [side.bucket(row) for row in source.fetch(side.by_key(Part(), 1))]
    assert bucket.fingerprint == Fingerprint(len(expected), sum(expected.values()))


def test_mysql_computes_the_numbers_of_what_is_read(shop: MySQLShop) -> None:
    wrong = []
    for number, (definition, literals) in enumerate(MYSQL_TYPES.items()):
        shop.run(f"CREATE TABLE t{number} (id INT PRIMARY KEY, c {definition})")
        rows = ", ".join(f"({n}, {value})" for n, value in enumerate([*literals, "NULL"]))
        shop.run(f"INSERT INTO t{number} VALUES {rows}")
        schema = shop.source.describe(TableName("", f"t{number}"))
        side, expected = numbers(shop.source, schema)
        found = [side.row(row) for row in shop.source.fetch(side.rows(Part()))]
        if {row.key: row.number for row in found} != expected:
            wrong.append(definition)
    assert wrong == []


@pytest.mark.parametrize(
    "definition",
    [pytest.param(each, marks=only_on("mariadb")) for each in ("UUID", "INET6", "INET4")],
)
def test_so_does_mariadb_of_types_of_its_own(shop: MySQLShop, definition: str) -> None:
    literals = {
        "UUID": "'123E4567-e89b-12d3-a456-426655440000'",
        "INET6": "'2001:DB8::1'",
        "INET4": "'192.0.2.1'",
    }
    shop.run(f"CREATE TABLE t (id INT PRIMARY KEY, c {definition})")
    shop.run(f"INSERT INTO t VALUES (1, {literals[definition]}), (2, NULL)")
    schema = shop.source.describe(TableName("", "t"))
    check(shop.source, *numbers(shop.source, schema))


def test_a_row_of_all_types_at_once(shop: MySQLShop) -> None:
    names = [f"`c|{number}%s`" for number in range(len(MYSQL_TYPES))]
    columns = ", ".join(map(" ".join, zip(names, MYSQL_TYPES, strict=True)))
    shop.run(f"CREATE TABLE t (id INT PRIMARY KEY, {columns})")
    for number in (0, 1):
        values = (literals[min(number, len(literals) - 1)] for literals in MYSQL_TYPES.values())
        shop.run(f"INSERT INTO t VALUES ({number}, {', '.join(values)})")
    schema = shop.source.describe(TableName("", "t"))
    check(shop.source, *numbers(shop.source, schema))


def test_a_zero_date_is_what_it_is_read_as(shop: MySQLShop) -> None:
    shop.run("CREATE TABLE t (id INT PRIMARY KEY, d DATE, t DATETIME)")
    shop.run("INSERT INTO t VALUES (1, '0000-00-00', '0000-00-00'), (2, '2023-02-31', NULL)")
    schema = shop.source.describe(TableName("", "t"))
    check(shop.source, *numbers(shop.source, schema, zero_dates="null"))


ROWS = st.lists(
    st.tuples(
        st.none() | st.integers(-(1 << 63), (1 << 63) - 1),
        st.none() | st.decimals(places=6, min_value=-(10**12), max_value=10**12),
        st.none() | st.datetimes(datetime(1000, 1, 1)),
        st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
        st.none() | st.binary(max_size=40),
    ),
    max_size=30,
)


@settings(max_examples=examples(20), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS)
def test_any_rows(shop: MySQLShop, rows: list[tuple[Any, ...]]) -> None:
    shop.run("DROP TABLE IF EXISTS t")
    shop.run(
        "CREATE TABLE t (id INT PRIMARY KEY, a BIGINT, b DECIMAL(30,6), c DATETIME(6), "
        "d VARCHAR(40) CHARACTER SET utf8mb4, e VARBINARY(40))"
    )
    for number, row in enumerate(rows):
        shop.run("INSERT INTO t VALUES (%s, %s, %s, %s, %s, %s)", (number, *row))
    schema = shop.source.describe(TableName("", "t"))
    side, expected = numbers(shop.source, schema)
    if rows:
        check(shop.source, side, expected)
    assert len(expected) == len(rows)


def test_floats_and_json_are_compared_in_other_ways(shop: MySQLShop) -> None:
    shop.run("CREATE TABLE t (id INT PRIMARY KEY, f FLOAT, d DOUBLE, j JSON)")
    shop.run("INSERT INTO t VALUES (1, 0.1, 1e300, '{}'), (2, NULL, -0.5, NULL)")
    schema = shop.source.describe(TableName("", "t"))
    side, _ = numbers(shop.source, schema)
    ((_, bucket),) = [side.bucket(row) for row in shop.source.fetch(side.by_key(Part(), 1))]
    (one, two) = bucket.nearly
    assert one == (1, pytest.approx(0.1, rel=1e-6), pytest.approx(0.1, rel=1e-6))
    assert two == (2, pytest.approx(1e100), pytest.approx(1e100))
    assert bucket.present == (1,)


def test_null_of_json_s_own_is_no_value(shop: MySQLShop) -> None:
    shop.run("CREATE TABLE t (id INT PRIMARY KEY, j JSON)")
    shop.run("INSERT INTO t VALUES (1, 'null'), (2, ' null\n'), (3, NULL), (4, '\"null\"')")
    schema = shop.source.describe(TableName("", "t"))
    side, _ = numbers(shop.source, schema)
    rows = [side.row(row) for row in shop.source.fetch(side.rows(Part()))]
    assert {row.key: row.present for row in rows} == {
        "1": (0,),
        "2": (0,),
        "3": (0,),
        "4": (1,),
    }


def test_a_table_is_parted_by_moments_of_its_cursor(shop: MySQLShop) -> None:
    shop.run("CREATE TABLE t (id INT PRIMARY KEY, at TIMESTAMP(6) NULL)")
    shop.run(
        "INSERT INTO t VALUES (1, '2023-01-01 00:00:00'), (2, '2023-01-01 23:59:59.999999'), "
        "(3, '2023-01-02'), (4, NULL)"
    )
    schema = shop.source.describe(TableName("", "t"))
    there = Schema(schema.name, target_columns(schema.columns, schema.name))
    dialect = dialect_of(shop.source)
    pairs = pair_columns(schema, there)
    side = Side.of(pairs, ["id"], "at", None, dialect, schema.name, is_target=False)
    zone = datetime.fromisoformat
    bounds = [zone("2023-01-01T01:00+01:00"), zone("2023-01-02T00:00Z"), zone("2023-01-03T00:00Z")]
    found = dict(side.bucket(row) for row in shop.source.fetch(side.by_range(bounds)))
    assert {place: bucket.fingerprint.rows for place, bucket in found.items()} == {0: 2, 1: 1}


@pytest.mark.parametrize("encoding", ["UTF-8", "UTF-16le", "UTF-16be"])
def test_sqlite_computes_the_numbers_of_what_is_read(
    sqlite_source: tuple[SQLiteSource, RunSource], encoding: str
) -> None:
    source, run = sqlite_source
    with closing(sqlite3.connect(source.path)) as connection:
        connection.execute(f"PRAGMA encoding = '{encoding}'")
        connection.execute("CREATE TABLE first (s TEXT)")  # from here on it is the file's
    run(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, b BOOLEAN, n DECIMAL(12,4), d DATE, h TIME, "
        "t DATETIME, s TEXT, v VARCHAR(2000), w VARCHAR(9), x BLOB, f REAL, j JSON)",
        ((),),
    )
    run(
        "INSERT INTO t VALUES (1, 1, 1.5, '2023-01-01', '12:00', '2023-01-01T12:00', 'é|', '', "
        "'é|', x'00ff', 1, '{}'), (2, 0, '100.0000', '0001-01-01', '12:00:00.000001', "
        "'2023-01-01 12:00:00.5', '', 'a', '🚢', x'', 0.1, NULL), (3, NULL, NULL, NULL, NULL, "
        "NULL, NULL, NULL, NULL, NULL, NULL, NULL)",
        ((),),
    )
    schema = source.describe(TableName("", "t"))
    check(source, *numbers(source, schema))


KEYS: dict[str, list[Any]] = {
    "INTEGER": [1, -(1 << 62)],
    "DECIMAL(12,4)": [1.5, 100, 0.0001],
    "TEXT": ["a", "A", "é|"],
    "BLOB": [b"", b"\\x00"],
    "DATE": ["2023-01-01"],
    "TIME": ["12:00", "12:00:00.5"],
    "DATETIME": ["2023-01-01T12:00", "2023-01-01 12:00:00.000001"],
}


@pytest.mark.parametrize("declared", KEYS)
def test_rows_of_sqlite_are_found_by_keys_of_every_kind(
    sqlite_source: tuple[SQLiteSource, RunSource], declared: str
) -> None:
    source, run = sqlite_source
    run(f"CREATE TABLE t (k {declared} PRIMARY KEY)", ((),))
    run("INSERT INTO t VALUES (?)", [(value,) for value in KEYS[declared]])
    schema = source.describe(TableName("", "t"))
    dialect = dialect_of(source)
    pairs = pair_columns(schema, schema)
    side = Side.of(pairs, ["k"], None, None, dialect, schema.name, is_target=False)
    rows = [side.row(row) for row in source.fetch(side.rows(Part()))]
    assert len({row.key for row in rows}) == len(KEYS[declared])
    for row in rows:
        found = [side.row(each) for each in source.fetch(side.rows_of([row.keys]))]
        assert [each for each in found if each.key == row.key] == [row]


def test_times_are_parted_however_sqlite_stores_them(
    sqlite_source: tuple[SQLiteSource, RunSource],
) -> None:
    source, run = sqlite_source
    run("CREATE TABLE t (id INTEGER PRIMARY KEY, t DATETIME)", ((),))
    run(
        "INSERT INTO t VALUES (1, '2023-01-01T00:00'), (2, '2023-01-01'), (3, '2023-01-02 00:00')",
        ((),),
    )
    schema = source.describe(TableName("", "t"))
    dialect = source.fingerprints
    assert dialect is not None
    side = Side.of(
        pair_columns(schema, schema), ["id"], "t", None, dialect, schema.name, is_target=False
    )
    bounds = [datetime(2023, 1, 1), datetime(2023, 1, 2), datetime(2023, 1, 3)]
    found = dict(side.bucket(row) for row in source.fetch(side.by_range(bounds)))
    assert {place: bucket.fingerprint.rows for place, bucket in found.items()} == {0: 2, 1: 1}


def test_a_value_that_sqlite_should_not_hold_is_refused_without_it(
    sqlite_source: tuple[SQLiteSource, RunSource],
) -> None:
    source, run = sqlite_source
    run("CREATE TABLE t (id INTEGER PRIMARY KEY, d DATE)", ((),))
    run("INSERT INTO t VALUES (1, 'secret')", ((),))
    schema = source.describe(TableName("", "t"))
    dialect = dialect_of(source)
    pairs = pair_columns(schema, schema)
    side = Side.of(pairs, ["id"], None, None, dialect, schema.name, is_target=False)
    with pytest.raises(DataError, match="declared type") as caught:
        source.fetch(side.rows(Part()))
    assert "secret" not in str(caught.value)


def test_a_source_without_sql_says_so() -> None:
    without = [each for each in SOURCES if each.fingerprints is None]
    assert [each.__name__ for each in without] == ["PriceAPISource"]
    for each in without:
        with pytest.raises(RequestError, match="takes no SQL"):
            each.model_construct().fetch(Statement("SELECT 1"))


def test_mysql_says_which_digests_it_can_make(shop: MySQLShop) -> None:
    try:
        shop.run("SELECT MD5('')")
    except pymysql.OperationalError:
        assert shop.source.digests() == ("sha256",)
    else:
        assert shop.source.digests() == ("md5", "sha256")
