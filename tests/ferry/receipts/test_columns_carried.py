"""Columns that a table begins to carry, told from receipts."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from ferry.receipts.columns_carried import (
    ColumnsCarried,
    begun_to_carry,
    columns_text,
    landed_otherwise,
    names_of,
    renamed,
)
from ferry.schema import Column, DataType, Kind


def landed(names: str, begun: int, at: int) -> ColumnsCarried:
    hours = (datetime(2026, 1, 1, hour, tzinfo=UTC) for hour in (begun, at))
    return ColumnsCarried(frozenset(names.split()), 1, *hours)


def columns(*names: str) -> list[Column]:
    return [Column(name, DataType(Kind.INT32)) for name in names]


def test_columns_are_kept_by_name() -> None:
    assert names_of(columns_text(columns("b", 'a, "é"'))) == {"b", 'a, "é"'}
    assert columns_text(columns("b", "a")) == columns_text(columns("a", "b"))


def test_too_many_columns_are_not_kept() -> None:
    assert columns_text(columns(*(f"column_{number:0100}" for number in range(1_000)))) == ""


def test_a_column_that_all_landed_with_is_not_begun() -> None:
    assert begun_to_carry("ab", []) == frozenset()
    assert begun_to_carry("ab", [landed("a b", 1, 2), landed("a b c", 3, 4)]) == frozenset()


def test_a_column_that_some_landed_without_is_begun() -> None:
    assert begun_to_carry("ab", [landed("a", 1, 2)]) == {"b"}


def test_who_began_after_them_has_looked_at_them() -> None:
    assert begun_to_carry("ab", [landed("a", 1, 2), landed("a b", 2, 3)]) == frozenset()


def test_who_carried_a_part_has_not() -> None:
    part = replace(landed("a b", 2, 3), begun_at=None)
    assert begun_to_carry("ab", [landed("a", 1, 2), part]) == {"b"}


def test_a_column_may_be_another_one_renamed_that_all_landed_with() -> None:
    past = [landed("a old", 1, 2)]
    assert renamed("b", "ab", past) == {"b"}
    assert renamed("b", ["a", "b", "old"], past) == frozenset()  # it is there beside the other
    assert renamed("bc", "abc", past) == frozenset()  # nobody knows which of them it is
    assert renamed("b", "ab", [*past, landed("a", 3, 4)]) == frozenset()
    assert renamed("b", "ab", [landed("a b", 1, 2), landed("a old", 3, 4)]) == {"b"}  # and back
    left_out = [landed("a b old", 1, 2), landed("a old", 3, 4)]
    assert renamed("b", "ab", left_out) == frozenset()  # two that landed together are two
    part = replace(landed("a b", 3, 4), begun_at=None)
    assert renamed("b", "ab", [*past, part]) == frozenset()  # whose are the values that are there


def test_one_that_landed_by_a_clock_that_is_behind_is_seen() -> None:
    past = landed("a", 1, 3)
    now = replace(past, batches=2)  # its date is older than the last one's
    assert landed_otherwise("ab", "ab", [past], [now]) == "without a column that it brings: b"


def test_who_began_before_they_landed_has_not() -> None:
    assert begun_to_carry("ab", [landed("a", 1, 3), landed("a b", 2, 4)]) == {"b"}
    assert begun_to_carry("ab", [landed("a b", 1, 2), landed("a", 3, 4)]) == {"b"}
    two = [landed("a", 1, 2), landed("a c", 3, 6)]
    assert begun_to_carry("ab", [*two, landed("a b", 4, 7)]) == {"b"}  # before the last of them


@pytest.mark.parametrize(
    ("now", "found"),
    [
        ([landed("a", 1, 2)], None),
        ([landed("a", 1, 2), landed("a b c", 3, 4)], None),
        ([landed("a", 1, 3)], "without a column that it brings: b"),
        ([landed("a", 1, 2), landed("b", 1, 3), landed("a b", 3, 4)], r"that it brings: a"),
        ([landed("a", 1, 2), landed("a b d", 1, 3)], "with a column that it was read without: d"),
    ],
)
def test_what_lands_after_the_plan_with_other_columns_is_told(
    now: list[ColumnsCarried], found: str | None
) -> None:
    told = landed_otherwise("ab", "c", [landed("a", 1, 2)], now)
    assert told is None if found is None else told and told.endswith(found)
