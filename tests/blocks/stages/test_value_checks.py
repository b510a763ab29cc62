"""What a warehouse cannot hold is refused by column, file and row, and nothing else is."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from blocks.stages.parts.files import write_parts
from blocks.warehouses import RedshiftWarehouse
from ferry.batch import StageFormat
from ferry.capabilities import Capabilities
from ferry.errors import DataError
from ferry.schema import Column, DataType, Kind, arrow_schema
from tests.blocks.warehouses.conftest import UNDER_TEST

COLUMNS = (
    Column("id", DataType(Kind.INT32)),
    Column("body", DataType(Kind.TEXT)),
    Column("raw", DataType(Kind.BINARY)),
    Column("doc", DataType(Kind.JSON)),
)
GOOD = (1, "é", b"\0", '{"a": 1, "b": 2}')
NONE = (None, None, None, None)
NARROW = Capabilities((StageFormat.CSV,), 20, 5, 9, "redshift", max_binary_bytes=5, json_digits=38)


def written(rows: list[tuple[Any, ...]], folder: Path, capabilities: Capabilities) -> int:
    schema = arrow_schema(COLUMNS)
    columns = [
        pa.array(values, f.type) for values, f in zip(zip(*rows, strict=True), schema, strict=True)
    ]
    batch = pa.RecordBatch.from_arrays(columns, schema=schema)
    return write_parts(
        [batch.slice(0, 2), batch.slice(2)],
        COLUMNS,
        folder,
        format=capabilities.stage_formats[0],
        part_size_bytes=1 << 30,
        capabilities=capabilities,
    ).rows


@pytest.mark.parametrize(
    ("bad", "name", "problem"),
    [
        ((1, "a\0b", b"", "{}"), "body", "NUL character"),
        ((1, "ééé", b"", "{}"), "body", "longer than the warehouse can hold; expected at most 5"),
        ((1, "", b"123456", "{}"), "raw", "longer than the warehouse can hold"),
        ((1, "", b"", '{"k": 1, "k": 2}'), "doc", "a key occurs twice"),
        (
            (1, "", b"", '{"k": ["ééé"]}'),
            "doc",
            "a text within JSON is longer than the",
        ),
    ],
)
def test_it_is_told_by_column_file_and_row(
    bad: tuple[Any, ...], name: str, problem: str, tmp_path: Path
):
    with pytest.raises(DataError) as caught:
        written([GOOD, NONE, GOOD, GOOD, bad, bad], tmp_path, NARROW)
    assert problem in str(caught.value)
    assert f"column {name}, file part-00000.csv.zst, row 5" in str(caught.value)
    assert "`exclude` the column" in (caught.value.todo or "")
    assert "`target_only`" in (caught.value.todo or "")  # else the next run is refused
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("longest", "advised"), [(16, True), (15, False)])
def test_json_is_advised_to_go_as_text_where_it_is_not_too_long_for_that(
    longest: int, advised: bool, tmp_path: Path
):
    bad = (1, "", b"", '{"k": 1, "k": 2}')
    with pytest.raises(DataError, match="a key occurs twice") as caught:
        written([GOOD, bad], tmp_path, replace(NARROW, max_text_bytes=longest))
    assert ("`as_text: [doc]`" in str(caught.value)) is advised
    assert ("the next run says how it becomes text" in str(caught.value)) is advised
    assert "`exclude` the column" in str(caught.value)


def test_what_fits_passes(tmp_path: Path):
    assert written([NONE, GOOD, (1, "12345", b"12345", "1"), NONE], tmp_path, NARROW) == 4
    roomy = replace(NARROW, nul_in_text=True, json_digits=None)
    assert written([GOOD, (1, "a\0b", b"", '{"k": 1, "k": 2}')], tmp_path, roomy) == 2


def test_an_empty_binary_value_is_told_with_what_keeps_its_table_at_csv(tmp_path: Path):
    with pytest.raises(DataError, match=r"`as_text` for each .* json and time, .*becomes text"):
        written([(1, "", b"", "{}")], tmp_path, RedshiftWarehouse.capabilities)


@pytest.mark.parametrize("kind", UNDER_TEST)
def test_each_warehouse_tells_what_it_can_hold(kind: Any, tmp_path: Path):
    holds = {
        (1, "a\0b", b"1", "{}"): kind.capabilities.nul_in_text,
        (1, "", b"1", '{"k": 1, "k": 2}'): kind.capabilities.json_digits is None,
        (1, "", b"", "{}"): kind.capabilities.empty_binary_in_csv,
    }
    for row, is_held in holds.items():
        with nullcontext() if is_held else pytest.raises(DataError, match="row 2"):
            assert written([GOOD, row], tmp_path, kind.capabilities) == 2
    longest = "x" * 65_535
    assert written([(1, longest, b"1", "{}")] * 2, tmp_path, kind.capabilities) == 2
    if kind is RedshiftWarehouse:
        with pytest.raises(DataError, match=r"65,535 bytes; found column body, file .*, row 2"):
            written([GOOD, (1, longest + "x", b"1", "{}")], tmp_path, kind.capabilities)
