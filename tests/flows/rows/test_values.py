"""Value for value: what the warehouse holds is what an independent client reads in the source."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pymysql
import pytest

from ferry.errors import DataError
from ferry.schema import TableName
from flows.reconcile_tables import reconcile
from flows.sync_table import sync_table

pytestmark = pytest.mark.usefixtures("plain_runs")

ON_REDSHIFT = pytest.mark.parametrize("route", ["mysql-s3-redshift"], indirect=True)
ON_BOTH = pytest.mark.parametrize(
    "route", ["mysql-s3-redshift", "mysql-folder-postgres"], indirect=True
)


def same(value: Any) -> Any:
    return value


def number(bits: bytes) -> int:
    return int.from_bytes(bits, "big")


def moment(wall_clock: datetime) -> datetime:
    return wall_clock.replace(tzinfo=UTC)


def document(text: str) -> tuple[Any]:
    """What the JSON says; in a tuple, so that its null is not SQL's NULL."""
    return (json.loads(text, parse_float=Decimal),)


@dataclass
class Nasty:
    """A column: how it is declared, what is put in, and how both sides' values are compared.

    Attributes:
        stored: Turns what pymysql reads into what the warehouse is to hold.
        fetched: Turns what the warehouse holds, where that has several spellings.
        select: How the independent client reads it.
    """

    declared: str
    values: list[Any]
    stored: Callable[[Any], Any] = same
    fetched: Callable[[Any], Any] = same
    select: str = "{}"


LARGE = "9" * 28 + "." + "9" * 10
TEXTS = [
    "",
    None,
    "NULL",
    "null",
    "\\N",
    'say "hi"',
    "it's",
    '""',
    "a,b;c\td",
    "line\nbreak\r\nand more\r",
    "back\\slash\\",
    "\\n",
    "🚢 ünï 漢字",
    "\ufeffbom",
    " pad ",
    "%s {} $1 :x",
    "\x01\x1a\x7f",
]
COLUMNS = {
    "tiny": Nasty("TINYINT(1)", [2, -1, 0, 1, None, 127, -128]),
    "nullable_int": Nasty("INT", [None, 1, 2147483647, -2147483648]),
    "beyond": Nasty("BIGINT", [2**53 + 1, -(2**53) - 1, 2**63 - 1, -(2**63), None]),
    "unsigned_big": Nasty("BIGINT UNSIGNED", [2**64 - 1, 2**63, 0, None]),
    "unsigned_int": Nasty("INT UNSIGNED", [2**32 - 1, None]),
    "exact": Nasty("DECIMAL(38,10)", [LARGE, "-" + LARGE, "0.0000000001", "0", None]),
    "price": Nasty("DECIMAL(12,2)", ["0.10", "-0.01", None]),
    "one_bit": Nasty("BIT(1)", [1, 0, None], lambda bits: bool(number(bits))),
    "bits": Nasty("BIT(10)", [1023, 0, 5, None], number),
    "all_bits": Nasty("BIT(64)", [2**64 - 1, 0, None], number),
    "duration": Nasty(
        "TIME(6)",
        ["838:59:59.000000", "-838:59:59", "25:00:00", "00:00:00.000001", "-00:00:01", None],
        select="CAST({} AS CHAR)",
    ),
    "day": Nasty("DATE", ["1000-01-01", "9999-12-31", "2024-02-29", None]),
    "wall_clock": Nasty(
        "DATETIME(6)",
        ["2023-03-26 02:30:00.000001", "1000-01-01", "9999-12-31 23:59:59.999999", None],
    ),
    "at": Nasty(
        "TIMESTAMP(6) NULL", ["2023-10-29 00:30:00.123456", "1970-01-01 00:00:01", None], moment
    ),
    "made": Nasty("YEAR", [1901, 2155, 2023, None]),
    "ratio": Nasty("DOUBLE", [0.1, 1.7976931348623157e308, 5e-324, -0.5, None]),
    "choice": Nasty("ENUM('','a','it''s','ü,')", ["", "a", "it's", "ü,", None]),
    "choices": Nasty("SET('a','b','c')", ["a,c", "", "b", None]),
    "body": Nasty("VARCHAR(100)", TEXTS),
    "long_body": Nasty("TEXT", TEXTS[::-1]),
}
BY_COPY_ALONE = {
    "info": Nasty(
        "JSON",
        ["null", None, "{}", "[]", '""', '{"k": [1, 2.5, "ü🚢\\"\\\\\\n"], "n": null}', "false"],
        document,
        document,
    ),
    "raw": Nasty("BLOB", [bytes(range(256)), b"", b"\\N", b"\x00", b'",\n', None]),
    "fixed": Nasty("BINARY(4)", [b"\x00\xff\x00\x01", None]),
}


def fill(journey: Any, columns: dict[str, Nasty]) -> int:
    """A table of these columns, as many rows as the longest has values; returns how many."""
    declared = ", ".join(f"`{name}` {column.declared}" for name, column in columns.items())
    journey.sql(f"CREATE TABLE nasty (id INT NOT NULL PRIMARY KEY, {declared}) CHARSET utf8mb4")
    rows = max(len(column.values) for column in columns.values())
    marks = ", ".join("?" * (len(columns) + 1))
    journey.sql(
        f"INSERT INTO nasty VALUES ({marks})",
        [
            (n, *(column.values[n % len(column.values)] for column in columns.values()))
            for n in range(rows)
        ],
    )
    return rows


def read_independently(mariadb: Any, journey: Any, columns: dict[str, Nasty]) -> list[Any]:
    selected = ", ".join(column.select.format(f"`{name}`") for name, column in columns.items())
    with (
        pymysql.connect(
            host=mariadb.host,
            port=mariadb.port,
            user=mariadb.user,
            password=mariadb.password,
            database=journey.source.database,
            charset="utf8mb4",
            init_command="SET time_zone = '+00:00'",
            ssl_disabled=True,
        ) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute(f"SELECT {selected} FROM nasty ORDER BY id")
        found = list(cursor.fetchall())
    return [turned(row, [column.stored for column in columns.values()]) for row in found]


def turned(row: tuple[Any, ...], by: list[Callable[[Any], Any]]) -> tuple[Any, ...]:
    return tuple(
        None if value is None else turn(value) for turn, value in zip(by, row, strict=True)
    )


@ON_BOTH
@pytest.mark.parametrize("insert_rows", [0, 1000], ids=["by COPY", "by INSERT"])
def test_every_nasty_value_arrives_as_it_is(journey: Any, mariadb: Any, insert_rows: int) -> None:
    columns = COLUMNS if insert_rows else COLUMNS | BY_COPY_ALONE
    if not (insert_rows or journey.warehouse.capabilities.empty_binary_in_csv):
        raw = columns["raw"]
        columns |= {"raw": replace(raw, values=[each for each in raw.values if each != b""])}
    rows = fill(journey, columns)
    journey.write_specs(nasty={"mode": "full", "key": ["id"], "insert_rows": insert_rows})

    receipt = sync_table(table="nasty")

    assert receipt.rows_inserted == rows
    assert bool(receipt.manifest_uri) is (insert_rows == 0)
    expected = read_independently(mariadb, journey, columns)
    names = ", ".join(f'"{name}"' for name in columns)
    found = [
        turned(row, [column.fetched for column in columns.values()])
        for row in journey.target("nasty", names)
    ]
    for n, name in enumerate(columns):
        assert [row[n] for row in found] == [row[n] for row in expected], name


@ON_BOTH
def test_what_is_expected_is_what_was_put_in(journey: Any, mariadb: Any) -> None:
    """The server itself changed nothing: else the comparison above would prove less."""
    columns = {"body": COLUMNS["body"], "beyond": COLUMNS["beyond"], **BY_COPY_ALONE}
    rows = fill(journey, columns)
    read = read_independently(mariadb, journey, columns)
    for n, column in enumerate(columns.values()):
        put = [column.values[row % len(column.values)] for row in range(rows)]
        assert [row[n] for row in read] == [v if v is None else column.stored(v) for v in put]


@pytest.fixture
def dated(journey: Any) -> Any:
    journey.sql("CREATE TABLE dated (id INT NOT NULL PRIMARY KEY, day DATE, at DATETIME)")
    journey.sql(
        "INSERT INTO dated VALUES (?, ?, ?)",
        [(1, "0000-00-00", "2023-01-05 10:00:00"), (2, "2023-01-05", "0000-00-00 00:00:00")],
    )
    return journey


@ON_BOTH
def test_zero_dates_are_refused_by_default(dated: Any) -> None:
    dated.write_specs(dated={"mode": "full", "insert_rows": 0})
    with pytest.raises(DataError, match=r"zero or impossible dates.*1 in 'day', 1 in 'at'"):
        sync_table(table="dated")
    assert dated.warehouse.describe(TableName(dated.schema, "dated")) is None


@ON_BOTH
def test_zero_dates_become_null_when_the_spec_says_so(dated: Any) -> None:
    dated.write_specs(dated={"mode": "full", "insert_rows": 0, "zero_dates": "null"})
    sync_table(table="dated")
    assert dated.target("dated", "id, day, at") == [
        (1, None, datetime(2023, 1, 5, 10)),
        (2, datetime(2023, 1, 5).date(), None),
    ]


def refused(journey: Any, value: str, *says: str) -> None:
    """A table of one good row is carried; then this value is refused and nothing has changed."""
    journey.sql("CREATE TABLE texts (id INT NOT NULL PRIMARY KEY, body LONGTEXT)")
    journey.sql("INSERT INTO texts VALUES (?, ?)", [(1, "good")])
    journey.write_specs(texts={"mode": "full", "insert_rows": 0})
    sync_table(table="texts")
    journey.sql("INSERT INTO texts VALUES (?, ?)", [(2, value)])
    with pytest.raises(DataError) as caught:
        sync_table(table="texts")
    message = str(caught.value)
    assert [text for text in says if text not in message] == [], message
    assert journey.target("texts") == [(1, "good")]
    assert len(journey.receipts("texts")) == 1


@ON_REDSHIFT
def test_text_over_the_limit_is_refused_and_told_with_its_place(journey: Any) -> None:
    refused(journey, "é" * 32_768, "extract", "body", "part-00000")


@ON_REDSHIFT
def test_text_of_just_the_limit_in_bytes_arrives(journey: Any) -> None:
    longest = "é" * 32_767 + "x"
    journey.sql("CREATE TABLE texts (id INT NOT NULL PRIMARY KEY, body LONGTEXT)")
    journey.sql("INSERT INTO texts VALUES (?, ?)", [(1, longest)])
    journey.write_specs(texts={"mode": "full", "insert_rows": 0})
    sync_table(table="texts")
    assert journey.target("texts") == [(1, longest)]


@ON_REDSHIFT
def test_an_empty_binary_value_is_refused_in_csv_and_arrives_by_parquet(journey: Any) -> None:
    journey.sql("CREATE TABLE photos (id INT NOT NULL PRIMARY KEY, photo BLOB)")
    journey.sql("INSERT INTO photos VALUES (?, ?)", [(1, b"\0"), (2, b""), (3, None)])
    spec = {"mode": "full", "insert_rows": 0}
    journey.write_specs(photos=spec)
    with pytest.raises(DataError, match=r"photo, file part-00000.csv.zst, row 2.*parquet"):
        sync_table(table="photos")
    journey.write_specs(photos={**spec, "stage_format": "parquet"})
    sync_table(table="photos")
    found = journey.target("photos", '"id", "photo"')
    assert [value if value is None else bytes(value) for _, value in found] == [b"\0", b"", None]


@pytest.mark.parametrize("route", ["sqlite-s3-redshift"], indirect=True)
def test_beside_json_and_times_it_arrives_when_these_go_as_text(journey: Any) -> None:
    journey.sql("CREATE TABLE photos (id INT PRIMARY KEY, photo BLOB, at TIME, about JSON)")
    rows = [(1, b"", "12:30", '{"a": 1}'), (2, b"\0", "12:30:00.5", None), (3, None, None, "[]")]
    journey.sql("INSERT INTO photos VALUES (?, ?, ?, ?)", rows)
    spec = {"mode": "full", "key": ["id"], "insert_rows": 0, "stage_format": "parquet"}
    journey.write_specs(photos=spec)
    with pytest.raises(DataError, match="with `as_text` for each column of json and time"):
        sync_table(table="photos")
    journey.write_specs(photos={**spec, "as_text": ["at", "about"]})
    sync_table(table="photos")
    found = [(n, p and bytes(p), *more) for n, p, *more in journey.target("photos")]
    assert found == rows
    state: Any = reconcile(table="photos", return_state=True)
    assert "all compared, 3 rows, equal" in str(state.message)


@pytest.mark.parametrize("route", ["mysql-folder-postgres", "sqlite-folder-duckdb"], indirect=True)
def test_a_watermark_without_a_key_counts_json_and_binary_that_are_there_as_unchanged(
    journey: Any,
) -> None:
    journey.sql("CREATE TABLE notes (id INT NOT NULL, note JSON, photo BLOB)")
    rows = [(1, '{"a": 1}', b"\0"), (2, '{"b": [1]}', b"x"), (2, None, None)]
    journey.sql("INSERT INTO notes VALUES (?, ?, ?)", rows)
    journey.write_specs(notes={"mode": "watermark", "cursor": "id", "lag": 9, "insert_rows": 0})
    sync_table(table="notes")
    again = sync_table(table="notes")
    assert (again.changed, again.rows_unchanged) == (0, 3)
    journey.sql("INSERT INTO notes VALUES (?, ?, ?)", [(2, '{"b": [2]}', b"x")])
    more = sync_table(table="notes")
    assert (more.rows_inserted, more.rows_deleted, more.rows_unchanged) == (1, 0, 3)


@ON_REDSHIFT
def test_json_arrives_though_the_spec_says_parquet(journey: Any) -> None:
    """It was refused by COPY, when all rows were read and uploaded."""
    journey.sql("CREATE TABLE notes (id INT NOT NULL PRIMARY KEY, note JSON)")
    journey.sql("INSERT INTO notes VALUES (?, ?)", [(1, '{"a": 1}'), (2, None)])
    journey.write_specs(notes={"mode": "full", "insert_rows": 0, "stage_format": "parquet"})
    sync_table(table="notes")
    found = dict(journey.target("notes", '"id", "note"'))
    assert document(found[1]) == ({"a": 1},) and found[2] is None


@ON_BOTH
def test_a_nul_that_the_target_cannot_hold_is_refused(journey: Any) -> None:
    refused(journey, "before\0after", "extract", "body", "part-00000")
