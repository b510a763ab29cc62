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
    summed,
)
from ferry.schema import Column, DataType, Kind

COLUMNS = (
    Column("id", DataType(Kind.INT64)),
    Column("price", DataType(Kind.DECIMAL, 12, 2)),
    Column("ratio", DataType(Kind.FLOAT64)),
    Column("tags", DataType(Kind.JSON)),
)
WHAT = summed(COLUMNS)


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind is not Kind.OTHER])
def test_every_kind_has_a_sum(kind: Kind) -> None:
    size = (12, 2) if kind is Kind.DECIMAL else (None, None)
    assert sum_of(Column("c", DataType(kind, *size))) in Sum


def test_a_decimal_whose_sum_may_overflow_is_summed_by_its_digest() -> None:
    assert sum_of(Column("c", DataType(Kind.DECIMAL, 27, 2))) is Sum.VALUE
    assert sum_of(Column("c", DataType(Kind.DECIMAL, 28, 2))) is Sum.DIGEST


def test_an_answer_is_read_column_by_column_and_adds_up() -> None:
    one = read_sums(WHAT, (2, 7, 2, Decimal("1.50"), 1, 0.25, 0.25, 1))
    none = read_sums(WHAT, (0, None, 0, None, 0, None, None, 0))
    assert none == no_sums(WHAT)
    assert one + none == one
    assert [(each.count, each.total) for each in (one + one).sums] == [
        (4, 14),
        (4, 3),
        (2, 0.5),
        (2, 0),
    ]


def test_sums_of_many_digits_are_added_and_told_exactly() -> None:
    value = Decimal("98765432.123456789012345677")
    summed, rows = no_sums(WHAT), 1_001
    for _ in range(rows):
        summed += read_sums(WHAT, (0, None, 1, value, 0, None, None, 0))
    at_once = read_sums(
        WHAT, (0, None, rows, Decimal(f"{98765432123456789012345677 * rows}e-18"), 0, None, None, 0)
    )
    assert summed.differing(at_once) == []
    assert summed.salted_text("salt") == at_once.salted_text("salt")
    less = read_sums(
        WHAT, (0, None, rows, at_once.sums[1].total - Decimal("1e-18"), 0, None, None, 0)
    )
    assert summed.salted_text("salt") != less.salted_text("salt")


def test_a_receipt_tells_whether_sums_are_the_same_and_no_value() -> None:
    one = read_sums(WHAT, (1, 5400, 1, Decimal("1.50"), 1, 0.25, 0.25, 1))
    other = read_sums(WHAT, (1, 5400, 1, Decimal("1.5"), 1, 0.25 + 1e-17, 0.25, 1))
    assert (
        one.salted_text("batch") == other.salted_text("batch") != one.salted_text("another batch")
    )
    told = json.loads(one.salted_text("batch"))
    assert told["ratio"] == "1"
    assert told["id"].startswith("1:") and "5400" not in told["id"]
    assert told["price"] != json.loads((one + one).salted_text("batch"))["price"]


def test_the_columns_that_differ_are_named() -> None:
    one = read_sums(WHAT, (2, 7, 2, Decimal("1.50"), 1, 0.3, 0.3, 1))
    for place, row in (
        (0, (2, 8, 2, Decimal("1.5"), 1, 0.3, 0.3, 1)),
        (1, (2, 7, 1, Decimal("1.5"), 1, 0.3, 0.3, 1)),
        (2, (2, 7, 2, Decimal("1.5"), 1, 0.31, 0.31, 1)),
        (3, (2, 7, 2, Decimal("1.5"), 1, 0.3, 0.3, 2)),
    ):
        assert one.differing(read_sums(WHAT, row)) == [COLUMNS[place].name]
    assert one.differing(read_sums(WHAT, (2, 7, 2, Decimal("1.5"), 1, 0.1 + 0.2, 0.3, 1))) == []


def test_of_long_binary_the_length_is_summed_where_the_warehouse_makes_no_digest() -> None:
    short, long = (Column("c", DataType(Kind.BINARY, max_bytes=n)) for n in (512, 513))
    assert [sum_of(each, digests_bytes=False) for each in (short, long)] == [
        Sum.DIGEST,
        Sum.LENGTH,
    ]
    assert sum_of(long) is Sum.DIGEST


def test_several_columns_of_short_text_have_one_digest_and_their_lengths() -> None:
    word, long = (Column("w", DataType(Kind.TEXT, max_bytes=n)) for n in (40, 40_000))
    other, endless = Column("o", word.type), Column("e", DataType(Kind.TEXT))
    found = [(each.name, each.kind) for each in summed([word, long, other, endless])]
    assert found == [
        ("w", Sum.LENGTH),
        ("w", Sum.DIGEST),
        ("o", Sum.LENGTH),
        ("e", Sum.DIGEST),
        ("w, o", Sum.DIGEST),
    ]
    assert [each.kind for each in summed([word, long, endless], lengths=True)] == [Sum.LENGTH] * 3
    assert [each.kind for each in summed([word])] == [Sum.DIGEST]
    assert [each.kind for each in summed([word, other], apart=True)] == [Sum.DIGEST] * 2


def test_what_is_no_number_is_so_on_both_sides_or_differs() -> None:
    for value in (math.inf, -math.inf, math.nan):
        assert ColumnSum(1, value, math.inf).same(ColumnSum(1, value, math.inf))
        assert not ColumnSum(1, value, math.inf).same(ColumnSum(1, 1.0, 1.0))


def test_those_of_very_many_columns_are_kept_as_a_digest() -> None:
    sums = tuple(ColumnSum(1, Decimal(number)) for number in range(6000))
    names = tuple(f"column_{number}" for number in range(6000))
    text = ValueSums(names, sums).salted_text("batch")
    assert len(text) <= TEXT_BYTES
    assert text.startswith("sha256:")
