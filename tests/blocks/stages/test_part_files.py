"""Part files: every value arrives as it was, whatever is in it, in bounded memory."""

from __future__ import annotations

import csv
import io
import re
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from blocks.stages.parts.files import read_rows, write_parts
from ferry.batch import Extract, StageFormat
from ferry.errors import DataError, FatalError, SchemaError
from ferry.schema import Column, Kind, arrow_schema
from tests.harness.embedded import examples
from tests.harness.part_rows import FORMATS, MARKER, batch_of, column, words

COLUMNS = (
    column("flag", Kind.BOOLEAN),
    column("small", Kind.INT16),
    column("medium", Kind.INT32),
    column("big", Kind.INT64),
    column("price", Kind.DECIMAL, precision=21, scale=2),
    column("tiny", Kind.DECIMAL, precision=38, scale=20),
    column("huge", Kind.DECIMAL, precision=65, scale=10),
    column("real", Kind.FLOAT32),
    column("double", Kind.FLOAT64),
    column("day", Kind.DATE),
    column("clock", Kind.TIME),
    column("wall", Kind.TIMESTAMP),
    column("moment", Kind.TIMESTAMPTZ),
    column("words", Kind.TEXT),
    column("bytes", Kind.BINARY),
    column("document", Kind.JSON),
)
NASTY = [
    "",
    '"',
    '""',
    ",",
    "\n",
    "\r\n",
    "\r",
    "\0",
    "\\",
    "\\N",
    "NULL",
    "~",
    "😀",
    " x ",
    MARKER,
]
TEXT = st.one_of(
    st.text(st.characters(exclude_categories=("Cs",)), max_size=20),
    st.lists(st.sampled_from(NASTY[:-1]), max_size=4).map("".join),
    st.just(f"{MARKER}{MARKER}"),
)
WALL = st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999999))
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "flag": st.booleans(),
    "small": st.integers(-(2**15), 2**15 - 1),
    "medium": st.integers(-(2**31), 2**31 - 1),
    "big": st.integers(-(2**63), 2**63 - 1),
    "price": st.integers(1 - 10**21, 10**21 - 1).map(lambda n: Decimal(n).scaleb(-2)),
    "tiny": st.one_of(st.integers(-99, 99), st.integers(1 - 10**27, 10**27 - 1)).map(
        lambda n: Decimal(n).scaleb(-20)
    ),
    "huge": st.from_regex(r"\A-?[0-9]{1,55}\.[0-9]{10}\Z"),
    "real": st.floats(width=32, allow_nan=False, allow_infinity=False),
    "double": st.floats(allow_nan=False, allow_infinity=False),
    "day": st.dates(),
    "clock": st.times(),
    "wall": st.one_of(WALL, WALL.map(lambda moment: moment.replace(microsecond=0))),
    "moment": WALL.map(lambda moment: moment.replace(tzinfo=UTC)),
    "words": TEXT,
    "bytes": st.binary(max_size=20),
    "document": st.one_of(st.just('{"a": "b\\"c"}'), TEXT),
}
ROWS = st.lists(st.tuples(*(st.none() | VALUES[c.name] for c in COLUMNS)), min_size=1, max_size=12)


def as_csv(rows: Any, columns: tuple[Column, ...], folder: Path, **options: Any) -> Extract:
    """The rows, written as one CSV file."""
    return write_parts(
        [batch_of(rows, columns)],
        columns,
        folder,
        format=StageFormat.CSV,
        part_size_bytes=1 << 20,
        **options,
    )


def text_of(extract: Extract) -> str:
    content = b"".join(
        zstandard.ZstdDecompressor().stream_reader(io.BytesIO(part.path.read_bytes())).read()
        for part in extract.parts
    )
    return content.decode()


@pytest.mark.parametrize("format", FORMATS)
@settings(
    max_examples=examples(150),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(rows=ROWS, cut=st.integers(0, 12))
def test_every_kind_of_value_arrives_as_it_was(
    tmp_path: Path, format: StageFormat, rows: list[tuple[Any, ...]], cut: int
) -> None:
    whole = batch_of(rows, COLUMNS)
    batches = [whole.slice(0, cut), whole.slice(cut)]  # slices share their buffers
    extract = write_parts(
        batches,
        COLUMNS,
        tmp_path / "parts",
        format=format,
        part_size_bytes=1,
        hex_prefix="\\x",
        null_marker=MARKER,
    )
    assert extract.rows == len(rows)
    assert list(read_rows(extract)) == rows


@settings(
    max_examples=examples(150),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(rows=ROWS)
def test_an_independent_reader_finds_the_same_csv(
    tmp_path: Path, rows: list[tuple[Any, ...]]
) -> None:
    extract = as_csv(rows, COLUMNS, tmp_path / "parts", null_marker=MARKER)
    read = list(csv.reader(io.StringIO(text_of(extract), newline=""), strict=True))
    expected = [
        [MARKER if v is None else as_text(c, v) for c, v in zip(COLUMNS, row, strict=True)]
        for row in rows
    ]
    assert [[normal(c, v) for c, v in zip(COLUMNS, r, strict=True)] for r in read] == expected


def as_text(column: Column, value: Any) -> str:
    """The value as Python would have it in the file."""
    kind = column.type.kind
    if kind is Kind.BOOLEAN:
        return "true" if value else "false"
    if kind is Kind.DECIMAL:
        return value if isinstance(value, str) else f"{value:f}"
    if kind is Kind.BINARY:
        return bytes(value).hex()
    if kind is Kind.FLOAT32:
        return repr(float(np.float32(value)))
    if kind in (Kind.TIMESTAMP, Kind.TIMESTAMPTZ, Kind.TIME, Kind.DATE):
        return str(value)
    return str(value)


def normal(column: Column, text: str) -> str:
    """The file's text in Python's spelling: floats, and fractions that are all zero."""
    if text == MARKER:
        return text
    if column.type.kind in (Kind.FLOAT32, Kind.FLOAT64):
        number = float(text)
        return repr(float(np.float32(number)) if column.type.kind is Kind.FLOAT32 else number)
    if column.type.kind in (Kind.TIMESTAMP, Kind.TIMESTAMPTZ, Kind.TIME):
        return re.sub(r"\.000000(?=\Z|\+)", "", text)
    return text


def test_duckdb_reads_the_same(tmp_path: Path) -> None:
    values = [None, "", "a", 'say "x"', "a,b", "line\nbreak", "\\", "NULL", "😀"]
    columns = (column("n", Kind.INT32), column("words", Kind.TEXT), column("x", Kind.FLOAT64))
    rows = [(n, value, None if n % 2 else n / 3) for n, value in enumerate(values)]
    extract = as_csv(rows, columns, tmp_path)
    found = duckdb.execute(
        "SELECT * FROM read_csv(?, header=false, nullstr=?, quote='\"', escape='\"', delim=',',"
        " auto_detect=false, columns={'n': 'INTEGER', 'words': 'VARCHAR', 'x': 'DOUBLE'})",
        [str(extract.parts[0].path), extract.layout.null_marker],
    ).fetchall()
    assert found == rows


def test_the_lines_are_as_the_dialect_says(tmp_path: Path) -> None:
    row = (
        True, 1, -2, 3, Decimal("1.50"), Decimal("1E-20"), "12.0000000000", 0.1, 1e300,
        date(2023, 1, 5), time(1, 2, 3), datetime(2023, 1, 5, 1, 2, 3),
        datetime(2023, 1, 5, 1, 2, 3, 40, tzinfo=UTC), 'a"b', b"\x00\xff", "{}",
    )  # fmt: skip
    extract = as_csv(
        [row, (None,) * len(row)], COLUMNS, tmp_path, hex_prefix="\\x", null_marker=MARKER
    )
    assert text_of(extract) == (
        "true,1,-2,3,1.50,0.00000000000000000001,12.0000000000,0.1,1e+300,2023-01-05,01:02:03,"
        '2023-01-05 01:02:03,2023-01-05 01:02:03.000040+00:00,"a""b",\\x00ff,"{}"\n'
        + ",".join([MARKER] * len(row))
        + "\n"
    )


def test_floats_that_are_no_numbers_are_spelled_as_warehouses_read_them(tmp_path: Path) -> None:
    columns = (column("x", Kind.FLOAT32), column("y", Kind.FLOAT64))
    rows = [(float("nan"), float("inf")), (float("-inf"), None), (None, 1.5)]
    extract = as_csv(rows, columns, tmp_path, null_marker="~")
    assert text_of(extract) == "NaN,Infinity\n-Infinity,~\n~,1.5\n"


@pytest.mark.parametrize("kind", [Kind.TEXT, Kind.JSON])
def test_a_value_that_equals_the_marker_is_refused_and_nothing_is_left(
    tmp_path: Path, kind: Kind
) -> None:
    columns = (column("id", Kind.INT32), column("note", kind))
    batches = [batch_of([(1, "x"), (2, None)], columns), batch_of([(3, MARKER)], columns)]
    with pytest.raises(DataError, match="'note'") as caught:
        write_parts(
            batches,
            columns,
            tmp_path,
            format=StageFormat.CSV,
            part_size_bytes=1,
            null_marker=MARKER,
        )
    assert MARKER not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_every_run_makes_a_marker_of_its_own_that_needs_no_quoting(tmp_path: Path) -> None:
    columns, batch = words(["a", None])
    made = {
        write_parts(
            [batch], columns, tmp_path, format=StageFormat.CSV, part_size_bytes=1 << 20
        ).layout.null_marker
        for _ in range(20)
    }
    assert len(made) == 20
    assert all(re.fullmatch(r"~null-[0-9a-f]{12}~", marker) for marker in made)


def test_a_wide_decimal_that_is_no_number_is_refused_without_its_text(tmp_path: Path) -> None:
    columns = (column("huge", Kind.DECIMAL, precision=65, scale=10),)
    for text in ("1,2", "1e5", "secret", "1\n", ""):
        with pytest.raises(DataError, match="'huge'") as caught:
            write_parts(
                [batch_of([(text,)], columns)],
                columns,
                tmp_path,
                format=StageFormat.CSV,
                part_size_bytes=1,
            )
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize("format", FORMATS)
def test_a_part_that_changed_is_refused_without_its_values(
    tmp_path: Path, format: StageFormat
) -> None:
    columns, batch = words(["secret"] * 3)
    extract = write_parts([batch], columns, tmp_path, format=format, part_size_bytes=1 << 20)
    path, content = extract.parts[0].path, extract.parts[0].path.read_bytes()
    other = zstandard.compress(b'"secret","secret"\n')
    for damage in (content[: len(content) // 2], b"", b"garbage" * 9, other):
        path.write_bytes(damage)
        with pytest.raises(DataError, match="has changed since it was written") as caught:
            list(read_rows(extract))
        assert "secret" not in f"{caught.value}{caught.value.__cause__}"
    path.unlink()
    with pytest.raises(FatalError, match="not on this machine"):
        list(read_rows(extract))


@pytest.mark.parametrize("format", FORMATS)
def test_columns_of_another_type_are_refused(tmp_path: Path, format: StageFormat) -> None:
    _, batch = words(["a"])
    with pytest.raises(SchemaError, match="'n'"):
        write_parts([batch], (column("n", Kind.INT64),), tmp_path, format=format, part_size_bytes=1)
    assert list(tmp_path.iterdir()) == []


def test_parquet_has_the_exact_types(tmp_path: Path) -> None:
    extract = write_parts(
        [batch_of([(None,) * len(COLUMNS)], COLUMNS)],
        COLUMNS,
        tmp_path,
        format=StageFormat.PARQUET,
        part_size_bytes=1 << 20,
    )
    assert extract.layout.null_marker == ""
    assert pq.read_schema(extract.parts[0].path).equals(arrow_schema(COLUMNS))


def test_parquet_times_tell_old_readers_their_unit_too(tmp_path: Path) -> None:
    """Redshift takes a time without a ConvertedType, as one in nanoseconds, for microseconds.

    https://github.com/apache/arrow/issues/38000. What pyarrow says of a file that it reads is of
    the newer LogicalType, so the footer is looked into: an INT64 and TIMESTAMP_MICROS, as Thrift
    writes these of a column `t` that may be NULL.
    """
    columns = (column("t", Kind.TIMESTAMP), column("t", Kind.TIMESTAMPTZ))
    for each in columns:
        batch = batch_of([(None,)], (each,))
        extract = write_parts(
            [batch],
            (each,),
            tmp_path,
            format=StageFormat.PARQUET,
            part_size_bytes=1 << 20,
        )
        footer = extract.parts[0].path.read_bytes()
        assert b"\x15\x04\x25\x02\x18\x01t\x25\x14" in footer
