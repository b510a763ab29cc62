"""How MySQL's types travel: exactly, or not at all."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from blocks.sources.mysql.types import CatalogColumn
from ferry.batch import ExtractQuery
from ferry.errors import SchemaError
from ferry.schema import DataType, Kind, TableName

if TYPE_CHECKING:
    from tests.harness.mysql_shop import MySQLShop

LARGE = "12345678901234567890123456789012345.123456789012345678901234567891"
BYTES = "x'00ff0a0d5c27225c4e2c'"

EXACT: list[tuple[str, str, list[str], list[Any]]] = [
    ("TINYINT(1)", "int16", ["2", "-1", "0", "NULL"], [2, -1, 0, None]),
    ("BOOLEAN", "int16", ["TRUE"], [1]),
    ("TINYINT UNSIGNED", "int16", ["255"], [255]),
    ("SMALLINT", "int16", ["-32768"], [-32768]),
    ("SMALLINT UNSIGNED", "int32", ["65535"], [65535]),
    ("MEDIUMINT", "int32", ["-8388608"], [-8388608]),
    ("MEDIUMINT UNSIGNED", "int32", ["16777215"], [16777215]),
    ("INT", "int32", ["-2147483648", "NULL"], [-2147483648, None]),
    ("INT UNSIGNED", "int64", ["4294967295"], [4294967295]),
    ("INT(5) ZEROFILL", "int64", ["7"], [7]),
    ("BIGINT", "int64", ["9007199254740993", "NULL"], [2**53 + 1, None]),
    (
        "BIGINT UNSIGNED",
        "decimal(20,0)",
        ["18446744073709551615", "NULL"],
        [Decimal(2**64 - 1), None],
    ),
    ("BIT(1)", "boolean", ["b'1'", "b'0'", "NULL"], [True, False, None]),
    ("BIT(9)", "int64", ["b'100000001'"], [257]),
    ("BIT(63)", "int64", [str(2**63 - 1)], [2**63 - 1]),
    ("BIT(64)", "decimal(20,0)", [str(2**64 - 1)], [Decimal(2**64 - 1)]),
    ("DECIMAL(5,2)", "decimal(5,2)", ["-1.25", "0", "NULL"], [Decimal("-1.25"), Decimal(0), None]),
    ("DECIMAL(38,12)", "decimal(38,12)", ["1.123456789012"], [Decimal("1.123456789012")]),
    ("DECIMAL(10,3) ZEROFILL", "decimal(10,3)", ["1.5"], [Decimal("1.5")]),
    ("DECIMAL(65,30)", "decimal(65,30)", [LARGE, "NULL"], [LARGE, None]),
    ("DECIMAL(65,30) ZEROFILL", "decimal(65,30)", ["1.5"], ["1.5" + "0" * 29]),
    ("FLOAT", "float32", ["1.5", "0.1"], [1.5, 0.10000000149011612]),
    ("DOUBLE", "float64", ["0.1", "1.7976931348623157e308"], [0.1, 1.7976931348623157e308]),
    ("YEAR", "int16", ["2023", "0"], [2023, 0]),
    (
        "TIME(6)",
        "text(17 bytes)",
        ["'25:00'", "'-838:59:59'", "'838:59:58.000001'", "NULL"],
        ["25:00:00.000000", "-838:59:59.000000", "838:59:58.000001", None],
    ),
    ("TIME", "text(17 bytes)", ["'12:34:56'"], ["12:34:56"]),
    (
        "DATETIME(6)",
        "timestamp",
        ["'2023-01-05 01:02:03.000001'", "NULL"],
        [datetime(2023, 1, 5, 1, 2, 3, 1), None],
    ),
    ("DATETIME", "timestamp", ["'1000-01-01'"], [datetime(1000, 1, 1)]),
    ("CHAR(5)", "text(20 bytes)", ["'a '", "''", "NULL"], ["a", "", None]),
    ("VARCHAR(9)", "text(36 bytes)", ["'🚢 '", "''", "NULL"], ["🚢 ", "", None]),
    ("VARCHAR(9) CHARACTER SET latin1", "text(27 bytes)", ["'é€'"], ["é€"]),
    ("VARCHAR(9) CHARACTER SET ascii", "text(9 bytes)", ["'a'"], ["a"]),
    ("VARCHAR(9) CHARACTER SET utf8mb3", "text(27 bytes)", ["'é'"], ["é"]),
    ("VARCHAR(9) CHARACTER SET utf16", "text(36 bytes)", ["'🚢'"], ["🚢"]),
    ("TINYTEXT", "text(255 bytes)", ["'a'"], ["a"]),
    ("TEXT", "text(65535 bytes)", ["REPEAT('é', 32767)"], ["é" * 32767]),
    ("MEDIUMTEXT", "text(16777215 bytes)", ["'a'"], ["a"]),
    ("LONGTEXT", "text", ["'{}'"], ["{}"]),
    ("TEXT CHARACTER SET latin1", "text(196605 bytes)", ["'é'"], ["é"]),
    ("ENUM('a','it''s','')", "text(16 bytes)", ["'it''s'", "''", "NULL"], ["it's", "", None]),
    ("SET('x','y')", "text(12 bytes)", ["'y,x'", "''"], ["x,y", ""]),
    ("BINARY(3)", "binary(3 bytes)", ["x'00ff'"], [b"\x00\xff\x00"]),
    (
        "VARBINARY(20)",
        "binary(20 bytes)",
        [BYTES, "x''", "NULL"],
        [b"\0\xff\n\r\\'\"\\N,", b"", None],
    ),
    ("BLOB", "binary(65535 bytes)", ["x'ff00'"], [b"\xff\x00"]),
    ("LONGBLOB", "binary", ["x'ff00'"], [b"\xff\x00"]),
]

ON_MARIADB: list[tuple[str, str, list[str], list[Any]]] = [
    ("DECIMAL(38,38)", "decimal(38,38)", ["1e-38"], [Decimal("1e-38")]),
    (
        "JSON",
        "json",
        ['\'{"b": 1.10, "a": 12345678901234567890}\'', "'null'", "NULL"],
        ['{"b": 1.10, "a": 12345678901234567890}', "null", None],
    ),
    ("INET6", "text(45 bytes)", ["'::ffff:192.0.2.1'"], ["::ffff:192.0.2.1"]),
    (
        "UUID",
        "text(36 bytes)",
        ["'123e4567-e89b-12d3-a456-426655440000'"],
        ["123e4567-e89b-12d3-a456-426655440000"],
    ),
]

ON_MYSQL: list[tuple[str, str, list[str], list[Any]]] = [
    ("DECIMAL(38,30)", "decimal(38,30)", ["1e-30"], [Decimal("1e-30")]),
    (  # a type of its own, which sorts the keys and forgets how numbers were written
        "JSON",
        "json",
        ['\'{"b": 1.10, "a": 12345678901234567890}\'', "'null'", "NULL"],
        ['{"a": 12345678901234567890, "b": 1.1}', "null", None],
    ),
]


def test_values_arrive_exactly(shop: MySQLShop) -> None:
    cases = [*EXACT, *(ON_MYSQL if shop.server.name == "mysql" else ON_MARIADB)]
    definitions = (f", c{n} {definition}" for n, (definition, *_) in enumerate(cases))
    shop.make_one(f"id INT PRIMARY KEY{''.join(definitions)}")
    for row in range(max(len(literals) for _, _, literals, _ in cases)):
        values = [(*literals, *["NULL"] * 9)[row] for _, _, literals, _ in cases]
        shop.run(f"INSERT INTO one VALUES ({row}, {', '.join(values)})")

    _, *columns = shop.source.describe(TableName("", "one")).columns
    arrived = shop.read("one").sort_by("id")

    wrong = [
        (definition, found, str(column.type))
        for column, (definition, kind, _, expected) in zip(columns, cases, strict=True)
        if (found := arrived[column.name].to_pylist()[: len(expected)]) != expected
        or str(column.type) != kind
    ]
    assert wrong == []


def test_text_with_every_awkward_character_arrives_unchanged(shop: MySQLShop) -> None:
    texts = ["\0", "\n", "\r\n", '"', "'", "\\", "\\N", ",", "\t", "NULL", "🚢", "\ufeff", " a "]
    shop.run("CREATE TABLE awkward (id INT PRIMARY KEY, c TEXT)")
    for n, text in enumerate(texts):
        shop.run("INSERT INTO awkward VALUES (%s, %s)", (n, text))

    assert shop.read("awkward")["c"].to_pylist() == texts


def test_moments_are_utc_whatever_the_session_s_zone(shop: MySQLShop) -> None:
    shop.run("SET SESSION time_zone = '+05:30'")

    assert shop.read_one("TIMESTAMP(6) NULL", "'2023-01-05 05:30:00.000001'") == [
        datetime(2023, 1, 5, 0, 0, 0, 1, tzinfo=UTC)
    ]


def test_moments_are_bounded_in_utc(shop: MySQLShop) -> None:
    shop.run("CREATE TABLE moments (id INT, at TIMESTAMP(6) NULL)")
    shop.run("INSERT INTO moments VALUES (1, '2023-01-04 22:59:59.999999')")
    shop.run("INSERT INTO moments VALUES (2, '2023-01-04 23:00:00')")

    start = datetime.fromisoformat("2023-01-05T00:00:00+01:00")
    rows = shop.read("moments", cursor="at", start=start, zone="America/New_York")

    assert rows["id"].to_pylist() == [2]
    low, high = shop.source.bounds(TableName("", "moments"), "at") or (None, None)
    assert (low, high) == (
        datetime(2023, 1, 4, 22, 59, 59, 999999, tzinfo=UTC),
        datetime(2023, 1, 4, 23, tzinfo=UTC),
    )


@pytest.mark.parametrize("definition", ["POINT", "GEOMETRY", "POLYGON"])
def test_spatial_columns_are_refused_by_name_and_can_be_excluded(
    shop: MySQLShop, definition: str
) -> None:
    shop.run(f"CREATE TABLE places (id INT, `where` {definition})")

    with pytest.raises(SchemaError, match=r"'where'.*exclude"):
        shop.source.describe(TableName("", "places"))
    assert shop.source.describe(TableName("", "places"), ["where"]).column_names == ("id",)


def test_spatial_columns_do_not_keep_others_from_being_bounds(shop: MySQLShop) -> None:
    shop.run("CREATE TABLE places (id INT, `where` POINT)")
    shop.run("INSERT INTO places VALUES (4, NULL)")

    assert shop.source.bounds(TableName("", "places"), "id") == (4, 4)


def test_generated_and_invisible_columns_are_read_like_others(shop: MySQLShop) -> None:
    shop.run("CREATE TABLE g (a INT, b INT AS (a * 2) STORED, c INT AS (a * 3), d INT INVISIBLE)")
    shop.run("INSERT INTO g (a, d) VALUES (1, 9)")

    assert shop.read("g").to_pylist() == [{"a": 1, "b": 2, "c": 3, "d": 9}]


def test_only_the_exact_name_counts_where_case_tells_tables_apart(shop: MySQLShop) -> None:
    if shop.run("SELECT @@lower_case_table_names") != [(0,)]:
        return  # this server cannot have both
    shop.run("CREATE TABLE Nps (a INT PRIMARY KEY)")
    shop.run("CREATE TABLE nps (b INT PRIMARY KEY, c JSON)")

    assert shop.source.describe(TableName("", "Nps")).column_names == ("a",)
    assert shop.source.describe(TableName("", "nps")).key == ("b",)


def test_tables_of_another_database_are_read_by_its_name(shop: MySQLShop) -> None:
    shop.run("CREATE TABLE t (a INT)")
    shop.run("INSERT INTO t VALUES (1)")
    elsewhere = shop.make_source(database=shop.server.database)
    schema = elsewhere.describe(TableName(shop.database, "t"))

    assert sum(batch.num_rows for batch in elsewhere.read(ExtractQuery(schema))) == 1


def test_long_rows_come_in_short_batches(shop: MySQLShop) -> None:
    shop.run("CREATE TABLE long_rows (id INT PRIMARY KEY, c LONGTEXT)")
    for n in range(24):
        shop.run(f"INSERT INTO long_rows VALUES ({n}, REPEAT('x', 5000000))")
    shop.run("ANALYZE TABLE long_rows")
    schema = shop.source.describe(TableName("", "long_rows"))

    sizes = [b.nbytes for b in shop.source.read(ExtractQuery(schema))]

    assert sum(sizes) > 24 * 5_000_000
    assert max(sizes) < 64_000_000


def test_the_length_of_rows_is_that_of_now(shop: MySQLShop) -> None:
    shop.run("CREATE TABLE grows (id INT PRIMARY KEY, c LONGTEXT)")
    table = TableName("", "grows")
    assert not shop.source.row_bytes(table)  # from now on, MySQL itself would tell this for a day
    shop.run(f"INSERT INTO grows SELECT seq, REPEAT('x', 4000) FROM {shop.numbers(1, 500)}")

    deadline = time.monotonic() + 60  # InnoDB counts again in the background
    while (length := shop.source.row_bytes(table) or 0) < 3000 and time.monotonic() < deadline:
        time.sleep(0.2)

    assert 3000 <= length < 40_000  # a guess: of 4,000


def test_two_hundred_thousand_rows_arrive(shop: MySQLShop) -> None:
    shop.run("CREATE TABLE many (id INT PRIMARY KEY, at DATETIME, amount DECIMAL(12,2))")
    shop.run(
        "INSERT INTO many SELECT seq, '2023-01-01' + INTERVAL seq SECOND, seq / 100 "
        f"FROM {shop.numbers(1, 200000)}"
    )

    table = shop.read("many")

    assert table.num_rows == 200_000
    ((ids, amounts),) = shop.run("SELECT SUM(id), SUM(amount) FROM many")
    assert sum(table["id"].to_pylist()) == ids
    assert sum(table["amount"].to_pylist()) == amounts


MYSQL_8 = [
    (CatalogColumn("c", "json", "json", True), DataType(Kind.JSON)),
    (CatalogColumn("c", "int", "int unsigned", True), DataType(Kind.INT64)),
    (CatalogColumn("c", "tinyint", "tinyint(1)", True), DataType(Kind.INT16)),
    (CatalogColumn("c", "bit", "bit(1)", True, precision=1), DataType(Kind.BOOLEAN)),
]


@pytest.mark.parametrize(("column", "expected"), MYSQL_8)
def test_types_as_mysql_8_spells_them(column: CatalogColumn, expected: DataType) -> None:
    assert column.mapped(TableName("", "t")).type == expected


@pytest.mark.parametrize("kind", ["vector", "geomcollection", "something_new"])
def test_types_without_a_mapping_are_never_text_by_accident(kind: str) -> None:
    with pytest.raises(SchemaError, match=kind):
        CatalogColumn("c", kind, kind, True).mapped(TableName("", "t"))
