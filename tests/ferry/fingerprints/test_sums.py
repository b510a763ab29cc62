"""Sums over the values of a column: which, and when two are the same."""

from __future__ import annotations

import json
import math
from decimal import Decimal

import pytest

from ferry.fingerprints.sums import (
    TEXT_BYTES,
    ColumnSum,
    Sum,
    ValueSums,
    no_sums,
    read_sums,
    sum_of,
)
from ferry.schema import Column, DataType, Kind

COLUMNS = (
    Column("id", DataType(Kind.INT64)),
    Column("price", DataType(Kind.DECIMAL, 12, 2)),
    Column("ratio", DataType(Kind.FLOAT64)),
    Column("tags", DataType(Kind.JSON)),
)


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind is not Kind.OTHER])
def test_every_kind_has_a_sum(kind: Kind) -> None:
    size = (12, 2) if kind is Kind.DECIMAL else (None, None)
    assert sum_of(Column("c", DataType(kind, *size))) in Sum


def test_a_decimal_whose_sum_may_overflow_is_summed_by_its_digest() -> None:
    assert sum_of(Column("c", DataType(Kind.DECIMAL, 27, 2))) is Sum.VALUE
    assert sum_of(Column("c", DataType(Kind.DECIMAL, 28, 2))) is Sum.DIGEST


def test_an_answer_is_read_column_by_column_and_adds_up() -> None:
    one = read_sums(COLUMNS, (2, 7, 2, Decimal("1.50"), 1, 0.25, 0.25, 1))
    none = read_sums(COLUMNS, (0, None, 0, None, 0, None, None, 0))
    assert none == no_sums(COLUMNS)
    assert one + none == one
    assert json.loads(str(one + one)) == {
        "id": "4:14",
        "price": "4:3",
        "ratio": "2:0.5",
        "tags": "2:0",
    }


def test_the_columns_that_differ_are_named() -> None:
    one = read_sums(COLUMNS, (2, 7, 2, Decimal("1.50"), 1, 0.3, 0.3, 1))
    for place, row in (
        (0, (2, 8, 2, Decimal("1.5"), 1, 0.3, 0.3, 1)),
        (1, (2, 7, 1, Decimal("1.5"), 1, 0.3, 0.3, 1)),
        (2, (2, 7, 2, Decimal("1.5"), 1, 0.31, 0.31, 1)),
        (3, (2, 7, 2, Decimal("1.5"), 1, 0.3, 0.3, 2)),
    ):
        assert one.differing(read_sums(COLUMNS, row)) == [COLUMNS[place].name]
    assert one.differing(read_sums(COLUMNS, (2, 7, 2, Decimal("1.5"), 1, 0.1 + 0.2, 0.3, 1))) == []


def test_what_is_no_number_is_so_on_both_sides_or_differs() -> None:
    for value in (math.inf, -math.inf, math.nan):
        assert ColumnSum(1, value, math.inf).same(ColumnSum(1, value, math.inf))
        assert not ColumnSum(1, value, math.inf).same(ColumnSum(1, 1.0, 1.0))


def test_those_of_very_many_columns_are_kept_as_a_digest() -> None:
    sums = tuple(ColumnSum(1, Decimal(number)) for number in range(6000))
    names = tuple(f"column_{number}" for number in range(6000))
    text = str(ValueSums(names, sums))
    assert len(text) <= TEXT_BYTES
    assert text.startswith("sha256:")
