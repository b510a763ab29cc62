"""Which windows travel together: neighbours, up to so many rows, more of them as more is known."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferry.backfills.window_queue import GROWTH, MOST_WINDOWS, WindowQueue, neighbours
from ferry.batch import Batch
from ferry.day_ranges import DayRange, Granularity, split_days
from ferry.specs.tables import TableSpec
from ferry.windows import Window

NOW = datetime(2024, 1, 1, tzinfo=UTC)
SPEC = TableSpec(
    name="nps", source="shop", source_table="nps", mode="window", key=["id"], batch_rows=1000
)
DAYS = DayRange(date(2023, 1, 1), date(2024, 1, 1), "UTC")


def batches(
    rows: int | None,
    days: DayRange = DAYS,
    granularity: Granularity = "day",
    spec: TableSpec = SPEC,
) -> list[Batch]:
    return [
        Batch(spec, "window", window, "run", NOW, Path("parts"), estimated_rows=rows)
        for window in split_days(days, granularity)
    ]


def taken(queue: WindowQueue, rows_each: int) -> list[int]:
    """How many windows each batch has, if each window has so many rows."""
    sizes = []
    while batch := queue.take():
        sizes.append(len(batch.each))
        queue.read(batch, rows_each * len(batch.each))
    return sizes


def test_by_the_guess_as_many_as_have_so_many_rows() -> None:
    assert taken(WindowQueue(batches(100), 1), 100) == [10] * 36 + [5]


def test_a_guess_is_corrected_by_what_is_read() -> None:
    sizes = taken(WindowQueue(batches(10), 1), 100)
    assert sizes[0] == 64  # which had more rows than was guessed
    assert set(sizes[2:-1]) <= {10, 11, 12, 13}
    assert taken(WindowQueue(batches(0), 1), 100)[:3] == [64, 10, 10]
    assert taken(WindowQueue(batches(1000), 1), 50)[-2] > 10  # far fewer rows than was guessed


def test_days_without_rows_do_not_make_a_guess_of_many_small() -> None:
    early, late = batches(1)[:100], batches(500)[100:]
    queue = WindowQueue([*early, *late], 1)
    without = {each.label for each in early}
    sizes = []
    while batch := queue.take():
        sizes.append(sum(0 if each.label in without else 500 for each in batch.each))
        queue.read(batch, sizes[-1])
    assert max(sizes) <= 1500


def test_without_a_guess_a_batch_has_no_more_than_a_few_weeks() -> None:
    assert max(taken(WindowQueue(batches(None), 1), 0)) == 64


def test_without_a_guess_it_begins_with_one() -> None:
    sizes = taken(WindowQueue(batches(None), 1), 1)
    assert sizes[:2] == [1, GROWTH]


def test_years_without_rows_are_few_batches() -> None:
    decade = DayRange(date(2014, 1, 1), date(2024, 1, 1), "UTC")
    for rows in (0, 1):
        sizes = taken(WindowQueue(batches(rows, decade), 4), 0)
        assert sum(sizes) == 3652
        assert len(sizes) <= 24
        assert max(sizes) <= MOST_WINDOWS


def test_rows_that_were_guessed_evenly_and_are_all_late_make_no_batch_of_all() -> None:
    """As of MySQL without an index on the cursor: what was not found may all be in what is left."""
    spec = SPEC.model_copy(update={"batch_rows": 2_000_000})
    decade = DayRange(date(2014, 1, 1), date(2024, 1, 1), "UTC")
    last = {each.label for each in batches(1)}
    queue, rows, late = (
        WindowQueue(batches(27_400, decade, spec=spec), 1),
        list[int](),
        274_000,
    )
    while batch := queue.take():
        rows.append(sum(late for each in batch.each if each.label in last))
        queue.read(batch, rows[-1])
    assert sum(rows) == 365 * late
    assert max(rows) < 12 * spec.batch_rows
    assert len(rows) < 60
    assert len(taken(WindowQueue(batches(27_400, decade, spec=spec), 1), 0)) == 18  # none at all


def test_what_is_left_is_shared_among_the_threads() -> None:
    few = DayRange(date(2023, 1, 1), date(2023, 1, 9), "UTC")
    assert taken(WindowQueue(batches(100, few), 4), 100) == [2, 2, 2, 2]


@pytest.mark.parametrize("spec", [SPEC.model_copy(update={"batch_rows": 0})])
def test_each_by_itself_where_the_spec_says_so(spec: TableSpec) -> None:
    assert set(taken(WindowQueue(batches(0, spec=spec), 1), 0)) == {1}


def test_each_by_itself_once_they_are_to_be_kept_apart() -> None:
    queue = WindowQueue(batches(1), 1)
    first = queue.take()
    assert first and len(first.each) == 64
    queue.keep_apart()
    assert set(taken(queue, 1)) == {1}


def test_never_across_a_gap() -> None:
    all_of_them = batches(1)
    queue = WindowQueue([*all_of_them[:5], *all_of_them[6:9]], 1)
    assert taken(queue, 1) == [5, 3]


def test_never_what_lands_once_more_and_what_has_not_landed() -> None:
    """All windows of a batch would have the one's ids, under which the other has landed."""
    days = batches(100)[:9]
    days[3:6] = [replace(day, again=2) for day in days[3:6]]
    queue, found = WindowQueue(days, 1), list[tuple[int, ...]]()
    while batch := queue.take():
        found.append(tuple(each.again for each in batch.each))
    assert found == [(0, 0, 0), (2, 2, 2), (0, 0, 0)]


def test_newest_first_each_batch_is_in_order_of_time() -> None:
    queue = WindowQueue(batches(100)[::-1], 1)
    first = queue.take()
    assert first and first.window
    assert first.label == "2023-12-22 to 2023-12-31"
    assert list(first.windows) == sorted(first.windows, key=lambda each: each.start)


def test_hours_that_the_clocks_repeat_are_not_read_for_two() -> None:
    spec = SPEC.model_copy(update={"zone": "Europe/Berlin"})
    day = DayRange(date(2023, 10, 29), date(2023, 10, 30), "Europe/Berlin")
    hours = batches(1, day, "hour", spec)
    assert len(hours) == 25
    assert taken(WindowQueue(hours, 1), 1) == [3, 22]  # the third and the fourth have all of it


def test_hours_with_one_between_them_that_the_clock_has_twice_are_no_neighbours() -> None:
    day = DayRange(date(2023, 10, 29), date(2023, 10, 30), "Europe/Berlin")
    before, first, second = batches(1, day, "hour")[1:4]
    assert neighbours([before, first, second])
    assert not neighbours([before, second])


@given(st.lists(st.integers(0, 40), unique=True, min_size=1), st.integers(1, 5), st.booleans())
def test_every_window_is_taken_once_and_neighbours_only(
    days: list[int], at_once: int, newest: bool
) -> None:
    year = batches(100)
    some = [year[day] for day in sorted(days)]
    queue = WindowQueue(some[::-1] if newest else some, at_once)
    windows: list[Window | None] = []
    while batch := queue.take():
        assert neighbours(batch.each)
        assert len({each.id for each in batch.each} | {batch.id}) == len(batch.each) + (
            len(batch.each) > 1
        )
        windows += [each.window for each in batch.each]
        queue.read(batch, 100 * len(batch.each))
    assert sorted(map(str, windows)) == sorted(str(each.window) for each in some)


@pytest.mark.parametrize("newest", [False, True])
def test_a_batch_that_fails_is_halved_in_the_order_of_the_plan(newest: bool) -> None:
    some = batches(1)[:5]
    queue = WindowQueue(some[::-1] if newest else some, 1)
    whole = queue.take()
    assert whole and len(whole.each) == 5
    labels = [each.label for each in queue.smaller(whole)]
    assert labels == sorted(labels, reverse=newest)
    assert sorted(labels) == ["2023-01-01 to 2023-01-02", "2023-01-03 to 2023-01-05"]
    pair = Batch.together(some[:2])
    assert {each.windows for each in queue.smaller(pair)} == {()}
    queue.keep_apart()
    order = some[::-1] if newest else some
    assert [each.label for each in queue.smaller(whole)] == [each.label for each in order]


@pytest.mark.parametrize("newest", [False, True])
@pytest.mark.parametrize(
    ("at_fault", "parts"),
    [
        (0, ["2023-01-01", "2023-01-02 to 2023-01-05"]),
        (2, ["2023-01-01 to 2023-01-02", "2023-01-03", "2023-01-04 to 2023-01-05"]),
        (4, ["2023-01-01 to 2023-01-04", "2023-01-05"]),
    ],
)
def test_where_the_window_at_fault_is_known_it_stands_alone_at_once(
    newest: bool, at_fault: int, parts: list[str]
) -> None:
    some = batches(1)[:5]
    queue = WindowQueue(some[::-1] if newest else some, 1)
    whole = queue.take()
    assert whole
    labels = [each.label for each in queue.smaller(whole, at_fault)]
    assert labels == sorted(parts, reverse=newest)
    queue.keep_apart()
    assert len(queue.smaller(whole, at_fault)) == 5
