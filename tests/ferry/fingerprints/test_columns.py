"""Which columns are compared, how, and which are refused by name."""

from __future__ import annotations

from typing import Any

import pytest

from ferry.errors import SchemaError
from ferry.fingerprints.columns import ComparedBy, pair_columns
from ferry.schema import Column, DataType, Kind, TableName, TableSchema

TABLE = TableName("raw_data", "t")


def schema(**columns: Any) -> TableSchema:
    types = {
        name: each if isinstance(each, DataType) else DataType(each)
        for name, each in columns.items()
    }
    return TableSchema(TABLE, tuple(Column(name, each) for name, each in types.items()))


def test_columns_are_paired_by_name_whatever_the_case_and_the_order() -> None:
    found = pair_columns(schema(Id=Kind.INT32, b=Kind.TEXT), schema(b=Kind.TEXT, id=Kind.INT64))
    assert [(p.source.name, p.target.name) for p in found] == [("Id", "id"), ("b", "b")]


@pytest.mark.parametrize(
    ("kind", "how"),
    [
        (Kind.FLOAT32, ComparedBy.NEARLY),
        (Kind.FLOAT64, ComparedBy.NEARLY),
        (Kind.JSON, ComparedBy.PRESENCE),
    ],
)
def test_what_engines_write_differently_is_compared_otherwise(kind: Kind, how: ComparedBy) -> None:
    (_, pair) = pair_columns(schema(id=Kind.INT32, c=kind), schema(id=Kind.INT32, c=kind))
    assert pair.how is how
    with pytest.raises(SchemaError, match="'c' of the key cannot be compared exactly"):
        pair_columns(schema(c=kind), schema(c=kind), key=["c"])


def test_numbers_of_any_kind_are_one_family() -> None:
    kinds = (Kind.BOOLEAN, Kind.INT16, Kind.INT64, DataType(Kind.DECIMAL, 20, 4))
    for one in kinds:
        for other in kinds:
            (pair,) = pair_columns(schema(c=one), schema(c=other))
            assert pair.how is ComparedBy.EXACTLY


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Kind.TEXT, Kind.INT32),
        (Kind.DATE, Kind.TIMESTAMP),
        (Kind.TEXT, Kind.BINARY),
        (Kind.INT32, Kind.FLOAT64),
        (Kind.TEXT, Kind.OTHER),
        (Kind.JSON, Kind.TEXT),
        (Kind.TIME, Kind.TEXT),
        (Kind.TIMESTAMP, Kind.TEXT),
        (Kind.INT32, Kind.TEXT),
    ],
)
def test_types_that_cannot_be_compared_are_refused_by_the_column_s_name(
    one: Kind, other: Kind
) -> None:
    with pytest.raises(SchemaError, match="column 'c' cannot be compared") as caught:
        pair_columns(schema(c=one), schema(c=other))
    todo = caught.value.todo or ""
    helps = other is Kind.TEXT and one in (Kind.JSON, Kind.TIME)
    assert ("`as_text: [c]`" in todo) is helps  # elsewhere it is refused, or changes nothing
    assert ("a view" in todo) is not helps


def test_a_wall_clock_is_a_moment_only_where_it_is_utc_s() -> None:
    sides = (schema(c=Kind.TIMESTAMP), schema(c=Kind.TIMESTAMPTZ))
    for utc in ("UTC", "Etc/UTC"):
        assert pair_columns(*sides, wall_clock_zone=utc)[0].how is ComparedBy.EXACTLY
    with pytest.raises(SchemaError, match="cannot be compared"):
        pair_columns(*sides, wall_clock_zone="Europe/Berlin")


def test_columns_on_one_side_only_are_told_of_both() -> None:
    ours, theirs = schema(id=Kind.INT32, a=Kind.TEXT), schema(id=Kind.INT32, b=Kind.TEXT)
    with pytest.raises(SchemaError, match="one side only") as caught:
        pair_columns(ours, theirs)
    assert "in the source: a; in the target: b" in str(caught.value)
    assert len(pair_columns(schema(id=Kind.INT32), theirs, target_only=["B"])) == 1


def test_what_may_be_long_goes_in_hashed_and_so_does_what_makes_a_row_too_long() -> None:
    def hashed(*types: DataType) -> list[bool]:
        sides = schema(**{f"c{number}": each for number, each in enumerate(types)})
        return [pair.hashed for pair in pair_columns(sides, sides)]

    text = DataType(Kind.TEXT, max_bytes=1000)
    assert hashed(text, DataType(Kind.TEXT), DataType(Kind.TEXT, max_bytes=1025)) == [
        False,
        True,
        True,
    ]
    assert hashed(DataType(Kind.BINARY, max_bytes=513), DataType(Kind.INT64)) == [True, False]
    assert hashed(*[text] * 40).count(True) == 10
