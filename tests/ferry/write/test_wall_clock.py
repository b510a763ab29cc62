"""Versions that a wall clock wrote, in the hour that it repeats: the later one may be the older."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ferry.write.upsert as write_upsert
from ferry.errors import DataError, StaleReadError
from ferry.schema import Column, DataType, Kind
from ferry.windows import RepeatedTimes, repeated_times
from ferry.write import merge
from ferry.write.deletions import Deletion
from ferry.write.load import Load, Written
from ferry.write.repeated_keys import count_undecided_keys
from tests.harness.embedded import examples
from tests.harness.write_engine import CAPABILITIES, INT, STAGING, TARGET, Engine, load, upserted

ORDERS = (
    Column("id", INT),
    Column("updated_at", DataType(Kind.TIMESTAMP)),
    Column("status", DataType(Kind.TEXT)),
)
BERLIN, LORD_HOWE = (
    repeated_times(datetime(2023, 1, 1, tzinfo=UTC), datetime(2024, 1, 1, tzinfo=UTC), zone)
    for zone in ("Europe/Berlin", "Australia/Lord_Howe")
)
TWO_YEARS = (*BERLIN, (datetime(2024, 10, 27, 2), datetime(2024, 10, 27, 3)))
PAID, SHIPPED = datetime(2023, 10, 29, 2, 50), datetime(2023, 10, 29, 2, 10)
Row = tuple[int, datetime | None, str]


@pytest.fixture(scope="module")
def shop() -> Engine:
    """A target and a staging table of orders."""
    return Engine(ORDERS)


def orders(rows: Sequence[Row], repeated: tuple[RepeatedTimes, ...], **changes: Any) -> Load:
    more = {"any_may_win": False, "repeated": repeated, **changes}
    return load(rows, columns=ORDERS, key=ORDERS[:1], cursor="updated_at", **more)


def landed(
    there: Sequence[Row], rows: Sequence[Row], repeated: tuple[RepeatedTimes, ...], **changes: Any
) -> tuple[list[tuple[Any, ...]], Written]:
    """The target's rows after an upsert over those that were there, and what it counted."""
    engine = Engine(ORDERS)
    engine.put(TARGET, there)
    engine.put(STAGING, rows)
    written = upserted(engine, orders(rows, repeated, **changes), CAPABILITIES)
    return engine.rows(), written


@pytest.mark.parametrize("many_rows", [1, 100_000])
@pytest.mark.parametrize(
    ("there", "new", "repeated"),
    [
        (PAID, SHIPPED, BERLIN),
        (PAID, SHIPPED, TWO_YEARS),
        (PAID + timedelta(minutes=9), datetime(2023, 10, 29, 2), BERLIN),
        (datetime(2023, 4, 2, 1, 50), datetime(2023, 4, 2, 1, 30), LORD_HOWE),
    ],
)
def test_a_row_that_was_read_later_wins_in_the_repeated_hour(
    there: datetime, new: datetime, repeated: tuple[RepeatedTimes, ...], many_rows: int
) -> None:
    with patch.object(write_upsert, "MANY_ROWS", many_rows):
        rows, written = landed([(1, there, "paid")], [(1, new, "shipped")], repeated)
    assert (rows, written) == ([(1, new, "shipped")], Written(updated=1))


@pytest.mark.parametrize(
    ("there", "new", "repeated"),
    [
        (PAID, SHIPPED, ()),
        (PAID, datetime(2023, 10, 29, 1, 59), BERLIN),
        (datetime(2023, 10, 29, 3), SHIPPED, BERLIN),
        (datetime(2023, 10, 28, 2, 50), datetime(2023, 10, 28, 2, 10), BERLIN),
        (datetime(2024, 10, 27, 2, 10), PAID, TWO_YEARS),  # each in the hour of another year
        (datetime(2023, 4, 2, 1, 50), datetime(2023, 4, 2, 1, 29), LORD_HOWE),
        (datetime(2023, 4, 2, 2), datetime(2023, 4, 2, 1, 40), LORD_HOWE),
        (PAID, None, BERLIN),
    ],
)
def test_a_version_that_is_older_outside_of_one_repeated_hour_stays_out(
    there: datetime, new: datetime | None, repeated: tuple[RepeatedTimes, ...]
) -> None:
    rows, written = landed([(1, there, "paid")], [(1, new, "shipped")], repeated)
    assert (rows, written) == ([(1, there, "paid")], Written(unchanged=1))


def test_the_same_rows_of_the_repeated_hour_again_change_nothing() -> None:
    there = [(1, SHIPPED, "shipped"), (2, PAID, "paid")]
    assert landed(there, there, BERLIN) == (there, Written(unchanged=2))


@pytest.mark.parametrize(("there", "new"), [(PAID, SHIPPED), (SHIPPED, PAID), (PAID, PAID)])
def test_of_the_repeated_hour_what_was_read_before_another_batch_landed_is_read_again(
    there: datetime, new: datetime
) -> None:
    with pytest.raises(StaleReadError, match=r"1 rows that differ.*the clocks repeat"):
        landed([(1, there, "now")], [(1, new, "then")], BERLIN, others_landed=True)


def test_what_another_batch_has_brought_alike_or_newer_is_not_read_again() -> None:
    there = [(1, SHIPPED, "shipped"), (2, datetime(2023, 10, 29, 3), "paid")]
    rows = [(1, SHIPPED, "shipped"), (2, PAID, "new")]
    assert landed(there, rows, BERLIN, others_landed=True) == (there, Written(unchanged=2))


def test_rows_of_one_key_in_the_repeated_hour_are_told_apart_no_more_than_equal_ones() -> None:
    rows: list[Row] = [(1, PAID, "paid"), (1, SHIPPED, "shipped")]
    assert landed([], rows, ()) == ([rows[0]], Written(inserted=1, superseded=1))
    with pytest.raises(DataError, match=r"differ, and none of them is newer by 'updated_at'"):
        landed([], rows, BERLIN, version="updated_at")
    won, written = landed([], rows, BERLIN, any_may_win=True)
    assert (won, written) == ([rows[0]], Written(inserted=1, superseded=1, undecided_keys=1))


def test_rows_of_one_key_with_a_newer_one_after_the_repeated_hour_are_told_apart() -> None:
    rows: list[Row] = [(1, datetime(2023, 10, 29, 3), "new"), (1, PAID, "a"), (1, SHIPPED, "b")]
    assert landed([], rows, BERLIN) == (rows[:1], Written(inserted=1, superseded=2))


def test_a_deletion_in_the_repeated_hour_is_applied() -> None:
    deleted = Deletion(ORDERS[2], ("gone", "away"))
    rows, written = landed([(1, PAID, "paid")], [(1, SHIPPED, "gone")], BERLIN, deleted=deleted)
    assert (rows, written) == ([], Written(deleted=1))


def test_without_repeated_times_no_statement_says_a_word_of_them() -> None:
    rules = (STAGING, TARGET, ORDERS, ORDERS[:1], "updated_at")
    there, new = '"main"."target"."updated_at"', '"main"."staging"."updated_at"'
    older = f"({there} > {new} OR ({there} IS NOT NULL AND {new} IS NULL) OR ("
    assert older in merge.known(*rules, pads_text=False).sql
    assert older not in merge.known(*rules, pads_text=False, repeated=BERLIN).sql
    equal = f"AND ({there} = {new} OR ({there} IS NULL AND {new} IS NULL))"
    undecided = merge.count_undecided(STAGING, TARGET, ORDERS[:1], "updated_at", pads_text=False)
    assert undecided.sql.endswith(equal)
    for statement in (undecided, count_undecided_keys(*rules, pads_text=False)):
        assert statement.values == ()


MINUTES = [datetime(2023, 10, 29, 1, 45) + timedelta(minutes=15 * step) for step in range(7)]
version = st.none() | st.sampled_from(MINUTES)
stand = st.dictionaries(st.integers(0, 3), st.tuples(version, st.sampled_from("abc")))


@pytest.mark.parametrize("using", [True, False])
@settings(max_examples=examples(60))
@given(before=stand, now=stand, deletes=st.booleans())
def test_whatever_is_read_the_target_becomes_it_unless_that_is_surely_older(
    shop: Engine, before: dict, now: dict, using: bool, deletes: bool
) -> None:
    ((low, high),) = BERLIN
    expected = dict(before)
    for key, (new, status) in now.items():
        there = before.get(key, (None, ""))[0]
        older = there is not None and (new is None or there > new)
        if older and new and low <= new < high and low <= there < high:
            older = False
        if older:
            continue
        if deletes and status == "c":
            expected.pop(key, None)
        else:
            expected[key] = (new, status)
    rows = [(key, *rest) for key, rest in now.items()]
    shop.put(TARGET, [(key, *rest) for key, rest in before.items()])
    shop.put(STAGING, rows)
    deleted = Deletion(ORDERS[2], ("c",)) if deletes else None

    upserted(
        shop,
        orders(rows, BERLIN, deleted=deleted, unique_key=True),
        replace(CAPABILITIES, deletes_using=using),
    )

    assert shop.rows() == sorted(((k, *rest) for k, rest in expected.items()), key=repr)
