"""SQLite takes any value in any column; Ferry takes what the column's declaration says."""

from __future__ import annotations

import traceback
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pytest

from blocks.sources.sqlite import types
from blocks.sources.sqlite.fingerprint import SQLiteFingerprint
from blocks.sources.sqlite.names import quoted
from blocks.warehouses.duckdb.types import native_type as duckdb_type
from blocks.warehouses.redshift.types import native_type as redshift_type
from ferry.batch import ExtractQuery
from ferry.errors import DataError, SchemaError
from ferry.schema import TableName
from ferry.target.value_types import carried_as_text, check_types
from tests.blocks.sources.sqlite.shop import ONE, SQLiteShop

EXACT: list[tuple[str, str, list[Any], list[Any]]] = [
    ("INTEGER", "int64", [2**63 - 1, -(2**63), None], [2**63 - 1, -(2**63), None]),
    ("INT", "int64", [2**53 + 1], [2**53 + 1]),
    ("BIGINT", "int64", [1], [1]),
    ("SMALLINT", "int16", [-32768], [-32768]),
    ("TINYINT", "int16", [2], [2]),
    ("boolean", "boolean", [1, 0, None], [True, False, None]),
    ("DECIMAL(10,2)", "decimal(10,2)", [19.99, 20, "0.10"], [Decimal("19.99"), 20, Decimal("0.1")]),
    (
        "DECIMAL(2,2)",
        "decimal(2,2)",
        [0, 0.0, "0.00", 0.99, -0.01],
        [0, 0, 0, Decimal("0.99"), Decimal("-0.01")],
    ),
    ("NUMERIC(38, 0)", "decimal(38,0)", [2**63 - 1, None], [Decimal(2**63 - 1), None]),
    ("REAL", "float64", [0.1, 3], [0.1, 3.0]),
    ("DOUBLE PRECISION", "float64", [1e300], [1e300]),
    ("DATE", "date", ["2023-01-05", None], [date(2023, 1, 5), None]),
    (
        "DATETIME",
        "timestamp",
        ["2023-01-05 01:02:03.000001", "2023-01-05T01:02", "2023-01-05"],
        [datetime(2023, 1, 5, 1, 2, 3, 1), datetime(2023, 1, 5, 1, 2), datetime(2023, 1, 5)],
    ),
    ("TIMESTAMP", "timestamp", ["9999-12-31 23:59:59"], [datetime(9999, 12, 31, 23, 59, 59)]),
    ("TIME", "time", ["23:59:59.5"], [time(23, 59, 59, 500000)]),
    ("TEXT", "text", ["", "NULL", "🚢\n", None], ["", "NULL", "🚢\n", None]),
    ("VARCHAR(3)", "text(12 bytes)", ["🚢🚢🚢"], ["🚢🚢🚢"]),
    ("CLOB", "text", ["a"], ["a"]),
    ("BLOB", "binary", [b"\x00\xff", b""], [b"\x00\xff", b""]),
    ("bool", "boolean", [1, 0, None], [True, False, None]),
    ("integer unsigned", "int64", [0, 2**63 - 1, None], [0, 2**63 - 1, None]),
    ("SMALLINT  UNSIGNED", "int64", [65535], [65535]),
    ("int2", "int16", [-32768], [-32768]),
    ("int4", "int32", [-(2**31)], [-(2**31)]),
    ("INT8", "int64", [-(2**63)], [-(2**63)]),
    ("varchar", "text", ["🚢" * 99], ["🚢" * 99]),
    ("nvarchar(3)", "text(12 bytes)", ["🚢🚢🚢"], ["🚢🚢🚢"]),
    ("character varying(20)", "text(80 bytes)", ["a"], ["a"]),
    ("character varying", "text", ["a"], ["a"]),
    ("JSON", "json", ['{"b": 1.10}', "null", None], ['{"b": 1.10}', "null", None]),
    ("json", "json", ["5", "1.5", '"5"', 2**63 - 1], ["5", "1.5", '"5"', str(2**63 - 1)]),
]


@pytest.mark.parametrize(
    ("declaration", "kind", "values", "expected"), EXACT, ids=[case[0] for case in EXACT]
)
def test_values_arrive_exactly(
    shop: SQLiteShop, declaration: str, kind: str, values: list[Any], expected: list[Any]
) -> None:
    shop.fill(declaration, *values)

    assert shop.read() == expected
    assert str(shop.source.describe(ONE).columns[1].type) == kind


def test_json_that_is_carried_as_text_may_be_a_number(shop: SQLiteShop) -> None:
    shop.fill("JSON", "5", "-1.25", "{}", "no JSON", None)
    schema = carried_as_text(shop.source.describe(ONE), ["c"])
    (batch,) = shop.source.read(ExtractQuery(schema))
    expected = ["5", "-1.25", "{}", "no JSON", None]
    assert batch["c"].to_pylist() == expected
    text = SQLiteFingerprint().text(schema.columns[1])
    assert shop.source.fetch(f"SELECT {text} FROM one ORDER BY id") == [(v,) for v in expected]
    shop.fill("JSON", 0.1 + 0.2)
    with pytest.raises(DataError, match="'c'"):
        list(shop.source.read(ExtractQuery(schema)))


@pytest.mark.parametrize("declared", ["DECIMAL", "numeric"])
def test_a_decimal_without_digits_is_carried_as_wide_as_any_or_as_text(
    shop: SQLiteShop, declared: str
) -> None:
    shop.fill(declared, 2**63 - 1, 1.5, "-0.10", 1e-15, 0, None)
    described = shop.source.describe(ONE)
    assert described.columns[1].type.precision == 76
    expected = ["9223372036854775807", "1.5", "-0.1", "0.000000000000001", "0", None]
    for schema in (described, carried_as_text(described, ["c"])):
        (batch,) = shop.source.read(ExtractQuery(schema))
        assert batch["c"].to_pylist() == expected
        text = SQLiteFingerprint().text(schema.columns[1])
        assert shop.source.fetch(f"SELECT {text} FROM one ORDER BY id") == [(v,) for v in expected]
    for warehouse_type in (duckdb_type, redshift_type):
        with pytest.raises(SchemaError, match=r"as_text: \[c\]"):
            check_types(ONE, described.columns, warehouse_type)
    for value in ("x", 0.1 + 0.2, 1e300, b"1"):
        shop.fill(declared, value)
        for schema in (described, carried_as_text(described, ["c"])):
            with pytest.raises(DataError, match="'c'"):
                list(shop.source.read(ExtractQuery(schema)))


def test_bounds_beyond_all_integers_leave_out_none_and_all(shop: SQLiteShop) -> None:
    lowest, highest = -(2**63), 2**63 - 1
    shop.fill("INTEGER", lowest, 0, highest)
    for start, end, found in (
        (-(10**20), 10**20, [lowest, 0, highest]),
        (lowest, highest + 1, [lowest, 0, highest]),
        (Decimal(lowest), highest, [lowest, 0]),
        (highest + 1, 10**20, []),
        (-(10**20), lowest, []),
    ):
        assert shop.read(cursor="c", start=start, end=end) == found


def test_whole_decimals_beyond_what_a_float_tells_apart_are_compared_exactly(
    shop: SQLiteShop,
) -> None:
    numbers = [1_700_000_000_000_000_200 + number for number in range(60)]
    shop.fill("DECIMAL(20,0)", *numbers)
    for place in (0, 1, 30, 59):
        start = Decimal(numbers[place])
        assert shop.read(cursor="c", start=start, end=None) == numbers[place:]
        assert shop.read(cursor="c", start=None, end=start) == numbers[:place]


@pytest.mark.parametrize(
    ("declared", "unique"),
    [("DATETIME", False), ("TIMESTAMP", False), ("TIME", False), ("DATE", True), ("INT", True)],
)
def test_a_key_of_times_as_text_is_not_vouched_for_as_unique(
    shop: SQLiteShop, declared: str, unique: bool
) -> None:
    """`10:00:00` and `10:00:00.0` are two texts, so two keys, and one moment."""
    shop.connection.execute(
        f"CREATE TABLE readings (sensor INT NOT NULL, at {declared} NOT NULL, v INT, "
        "PRIMARY KEY (sensor, at))"
    )
    schema = shop.source.describe(TableName("", "readings"))
    assert (schema.key, schema.unique) == (("sensor", "at"), unique)


@pytest.mark.parametrize(
    ("declaration", "value"),
    [
        ("INTEGER", "4711x"),
        ("INTEGER", 4711.5),
        ("SMALLINT", 47110),
        ("bigint unsigned", -4711),
        ("int\tUNSIGNED ", -4711),
        ("bool", "4711"),
        ("int2", 47110),
        ("nvarchar(1)", "4711x"),
        ("BOOLEAN", 4711),
        ("DECIMAL(10,2)", 47.111),
        ("DECIMAL(4,2)", 4711),
        ("DECIMAL(2,2)", 4711),
        ("DECIMAL(30,10)", 4711.123456789012),
        ("DECIMAL(10,2)", "4_711"),
        ("REAL", "4711x"),
        ("DATE", "4711"),
        ("DATE", "2023-02-31"),
        ("DATE", "0000-00-00"),
        ("DATETIME", 4711),
        ("DATETIME", "2023-01-05 04:71:10"),
        ("DATETIME", "2023-01-05 04:47:11+02:00"),
        ("DATETIME", "2023-01-05 04:47:11.0000001"),
        ("TIME", "25:47:11"),
        ("TEXT", b"4711"),
        ("VARCHAR(1)", "4711x"),
        ("BLOB", "4711"),
        ("JSON", "{4711"),
        ("JSON", "471123456789012345678"),
        ("JSON", float("inf")),
        ("JSON", b"4711"),
        ("JSON", "[" * 100_000),
    ],
)
def test_values_that_are_not_what_is_declared_are_refused_without_being_told(
    shop: SQLiteShop, declaration: str, value: Any
) -> None:
    shop.fill(declaration, None, value)

    with pytest.raises(DataError, match=r"column 'c'.*after the first 0 rows") as caught:
        shop.read()
    told = "".join(traceback.format_exception(caught.value))
    assert str(value) not in told


def test_text_that_is_not_utf_8_is_refused_without_being_told(shop: SQLiteShop) -> None:
    shop.fill("TEXT")
    shop.connection.execute("INSERT INTO one (c) VALUES (CAST(x'4142ff' AS TEXT))")

    with pytest.raises(DataError, match=r"UTF-8; found some in column .c.\. ") as caught:
        shop.read()
    assert "AB" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "declaration", ["", "MONEY", "VARCHAR(0)", "TEXT UNSIGNED", "DECIMAL(39,2)", "INT[]"]
)
def test_an_unknown_or_missing_type_is_refused_by_name(shop: SQLiteShop, declaration: str) -> None:
    shop.fill(f'"{declaration}"' if declaration == "INT[]" else declaration)

    with pytest.raises(SchemaError, match="'c'"):
        shop.source.describe(ONE)
    assert shop.source.describe(ONE, exclude=["c"]).column_names == ("id",)


def test_of_two_columns_that_fold_to_one_name_exclude_leaves_one_out(shop: SQLiteShop) -> None:
    shop.connection.execute("CREATE TABLE one (id INTEGER PRIMARY KEY, `Ä` TEXT, `ä` TEXT)")
    shop.connection.execute("INSERT INTO one VALUES (1, 'upper', 'lower')")
    described = shop.source.describe(ONE, exclude=["Ä", "ID"])
    assert described.column_names == ("ä",)
    (batch,) = shop.source.read(ExtractQuery(described))
    assert batch.to_pylist() == [{"ä": "lower"}]
    assert shop.source.describe(ONE, exclude=["Ä", "ä"]).column_names == ("id",)


def test_times_in_any_spelling_fall_into_the_right_window(shop: SQLiteShop) -> None:
    shop.fill(
        "DATETIME",
        "2023-01-05T11:59:59.999999",
        "2023-01-05 12:00",
        "2023-01-05T12:00:00.000000",
        "2023-01-05 12:59:59.9",
        "2023-01-05T13:00:00",
        "2023-01-06",
    )
    start, end = (datetime(2023, 1, 5, hour, tzinfo=UTC) for hour in (12, 13))

    assert shop.read(cursor="c", start=start, end=end) == [
        datetime(2023, 1, 5, 12),
        datetime(2023, 1, 5, 12),
        datetime(2023, 1, 5, 12, 59, 59, 900000),
    ]
    end_of_time = datetime(9999, 12, 31, 23, tzinfo=UTC)
    assert len(shop.read(cursor="c", start=start, end=end_of_time)) == 5


def test_generated_columns_are_read_like_others(shop: SQLiteShop) -> None:
    shop.connection.execute("CREATE TABLE one (a INTEGER, c INTEGER AS (a * 2))")
    shop.connection.execute("INSERT INTO one (a) VALUES (2)")

    assert shop.read() == [4]


def test_a_read_sees_one_snapshot(shop: SQLiteShop) -> None:
    shop.connection.execute("PRAGMA journal_mode=WAL")
    shop.fill("INTEGER", *range(100))
    source = shop.source.model_copy(update={"batch_rows": 10})
    batches = source.read(ExtractQuery(source.describe(ONE)))
    rows = next(batches).num_rows
    shop.connection.execute("INSERT INTO one (c) SELECT c FROM one")

    assert rows + sum(batch.num_rows for batch in batches) == 100


@pytest.mark.parametrize("name", ["c", "rowid", "OID", "_rowid_"])
def test_a_column_that_is_dropped_after_it_was_described_is_no_text_or_row_number(
    shop: SQLiteShop, name: str
) -> None:
    shop.fill("INTEGER", 11, 12)
    dialect = SQLiteFingerprint()
    shop.connection.execute(f"ALTER TABLE one RENAME COLUMN c TO {name}")
    described = shop.source.describe(ONE)
    (column,) = (each for each in described.columns if each.name == name)
    read = [ExtractQuery(described), ExtractQuery(described, cursor=name, start=12, end=13)]
    values = [
        f"SELECT {each} FROM {dialect.table(table)}"
        for each in (dialect.value(column), dialect.text(column))
        for table in (ONE, TableName("main", "one"))
    ]
    assert [len(list(shop.source.read(query))) for query in read] == [1, 1]
    assert [len(shop.source.fetch(value)) for value in values] == [2, 2, 2, 2]
    shop.connection.execute(f"ALTER TABLE one DROP COLUMN {name}")

    with pytest.raises(SchemaError, match=rf"no column '{name}', which was there. Run again"):
        list(shop.source.read(read[0]))
    for value in values:
        with pytest.raises(SchemaError, match=f"no column '{name}'"):
            shop.source.fetch(value)
    with pytest.raises(SchemaError, match=f"no column '{name}'"):
        shop.source.bounds(ONE, name)


def test_a_table_may_have_the_name_of_a_rows_number(shop: SQLiteShop) -> None:
    shop.fill("INTEGER", 7)
    shop.connection.execute("ALTER TABLE one RENAME TO rowid")
    described = shop.source.describe(TableName("", "rowid"))

    assert [batch.to_pylist() for batch in shop.source.read(ExtractQuery(described))] == [
        [{"id": 1, "c": 7}]
    ]


def test_a_name_may_have_any_quote_in_it(shop: SQLiteShop) -> None:
    name = "a`b\"c]d'e"
    shop.fill("INTEGER", 1)
    shop.connection.execute(f"ALTER TABLE one RENAME COLUMN c TO {quoted(name)}")
    described = shop.source.describe(ONE)
    (batch,) = shop.source.read(ExtractQuery(described, cursor=name))
    assert batch.to_pydict() == {"id": [1], name: [1]}
    assert shop.source.bounds(ONE, name) == (1, 1)


def test_another_schema_has_no_tables(shop: SQLiteShop) -> None:
    shop.fill("INTEGER")

    assert shop.source.describe(TableName("main", "one")).column_names == ("id", "c")
    with pytest.raises(SchemaError):
        shop.source.describe(TableName("elsewhere", "one"))


@pytest.mark.parametrize(
    ("declaration", "good", "bad"),
    [
        ("INTEGER", [0, -(2**63), 2**63 - 1], [None, "x", 1.5, b"1"]),
        ("SMALLINT", [-32768, 32767], [32768, -32769, "x"]),
        ("DECIMAL(10,2)", [1, 1.25, "0.10"], [None, "x", "1e3x", b"1", 1.234, b"\xff"]),
        ("DATE", ["2023-01-05", "0001-01-01", "9999-12-31"], [None, "", "0000-01-01", 20230105]),
        ("DATE", ["2024-02-29"], ["2023-02-29", "2023-1-5", "now", "2023-01-05 00:00:00", "1"]),
        (
            "DATETIME",
            ["2023-01-05", "2023-01-05T10:00", "2023-01-05 10:00:00.123456", "9999-12-31 23:59:59"],
            [None, "", 1672912800, 1.5, b"2023-01-05", "now", "2023-01-05 24:00:00", "0000-00-00"],
        ),
        ("DATE", ["0001-01-01"], ["-0044-03-15", "-4713-11-24"]),
        ("DATETIME", ["0001-01-01T00:00:00"], ["-0044-03-15 00:00:00"]),
        ("DATETIME", ["2023-01-05 10:00:00"], ["2023-01-05 10:00:00Z", "5.1.2023", "2023-13-01"]),
        ("TEXT", ["", "x"], [None]),
    ],
)
def test_what_has_no_place_in_a_cursors_order_is_counted_and_in_no_query_over_it(
    shop: SQLiteShop, declaration: str, good: list[Any], bad: list[Any]
) -> None:
    shop.fill(declaration, *bad, *good)

    assert shop.source.count_uncarried(ONE, "c") == len(bad)
    read = shop.read(cursor="c")
    assert len(read) == len(good)
    assert set(shop.source.bounds(ONE, "c") or ()) <= set(read)


@pytest.mark.parametrize("encoding", ["UTF-16le", "UTF-16be"])
def test_dates_of_a_file_in_utf_16_have_their_place(shop: SQLiteShop, encoding: str) -> None:
    shop.connection.execute(f"PRAGMA encoding = '{encoding}'")
    dated = ["2023-01-05", "2023-01-05T10:00", "2023-01-05 10:00:00.5"]
    shop.fill("DATETIME", *dated, "", "5.1.2023", "2023年", None)

    assert len(shop.read(cursor="c")) == len(dated)
    assert shop.source.count_uncarried(ONE, "c") == 4
    shop.connection.execute("INSERT INTO one (c) VALUES (CAST(x'd8d8' AS TEXT))")  # no letter
    assert shop.source.count_uncarried(ONE, "c") == 5


@pytest.mark.parametrize("moment", ["2023-01-05 24:00:00", "2023-01-05T24:00"])
def test_midnight_as_24_hours_is_refused_also_where_python_reads_it(
    shop: SQLiteShop, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its text stands in another day's stretch of the column than the moment that it would be."""

    class Later(datetime):
        @classmethod
        def fromisoformat(cls, text: str) -> Later:
            """As Python has it from 3.14 on."""
            later = timedelta(days=1 if text[11:13] == "24" else 0)
            return super().fromisoformat(text.replace("24:00", "00:00")) + later

    monkeypatch.setattr(types, "datetime", Later)
    shop.fill("DATETIME", "2023-01-05 10:00:00.5", moment)

    assert shop.source.count_uncarried(ONE, "c") == 1
    with pytest.raises(DataError, match=r"column 'c'"):
        shop.read()


def test_a_cursor_that_is_no_utf_8_is_counted(shop: SQLiteShop) -> None:
    shop.fill("DATETIME", "2023-01-05")
    shop.connection.execute("INSERT INTO one (c) VALUES (CAST(x'4142ff' AS TEXT))")

    assert shop.source.count_uncarried(ONE, "c") == 1
