"""From where on a watermark reads, and what would hide rows from it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferry.errors import SchemaError
from ferry.plan import stored_bound
from ferry.schema import Column, DataType, Kind, arrow_type
from ferry.watermark import JUMP, CursorWatch, Watermark, less_lag, refuse_jump

ID = Column("id", DataType(Kind.INT64))


def seen(
    column: Column,
    *batches: Sequence[object],
    clock: object = None,
    known: Watermark | None = None,
) -> CursorWatch:
    number = column.type.kind in (Kind.INT64, Kind.DECIMAL)
    watch = CursorWatch(0, column, counts_no_time=number, known=known)
    watch.begin(clock)  # type: ignore[arg-type]
    for values in batches:
        array = pa.array(values, arrow_type(column.type))
        watch.see(pa.RecordBatch.from_arrays([array], [column.name]))
    return watch


def jumped(*batches: Sequence[object], known: Watermark | None = None) -> int:
    return seen(ID, *batches, known=known).jumped


def gaps_beyond(ids: Sequence[int], known: Watermark | None) -> int:
    """What is told of the ids, from all of them at once."""
    lowest = min([*ids, int(known.lowest)] if known else ids, default=0)
    above = sorted(value for value in ids if known is None or value > known.value)
    before = [int(known.value)] if known else []
    for position, value in enumerate(above):
        few = known or len(above) - position < position
        if before and few and value - before[-1] > max(JUMP, before[-1] - lowest):
            return len(above) - position
        before.append(value)
    return 0


def test_a_watermark_less_its_lag_is_seconds_days_or_ids_earlier():
    assert less_lag(100, 10, "UTC") == 90
    assert less_lag(Decimal(100), 10, "UTC") == 90
    assert less_lag(1_672_912_800_000, 10, "UTC", "ms") == 1_672_912_790_000
    assert less_lag(date(2023, 1, 5), 3600, "UTC") == date(2023, 1, 4)
    assert less_lag(None, 10, "UTC") is None
    moment = datetime(2023, 1, 5, 12, tzinfo=UTC)
    assert less_lag(moment, 3600, "America/New_York") == moment - timedelta(hours=1)


@pytest.mark.parametrize("lag", [0, 10])
def test_a_watermark_of_many_digits_is_not_rounded(lag: int):
    assert less_lag(Decimal(10**37 + 789_012_345_678), lag, "UTC") == 10**37 + 789_012_345_678 - lag


def test_a_watermark_at_the_first_moment_that_there_is_stays_there():
    assert less_lag(datetime(1, 1, 1, 0, 0, 5), 60, "UTC").replace(tzinfo=None) == datetime.min
    assert less_lag(date(1, 1, 1), 60, "UTC") == date.min


def test_a_watermark_in_a_repeated_hour_reads_both_of_its_passes():
    start = less_lag(datetime(2023, 10, 29, 2, 59, 50), 0, "Europe/Berlin")
    assert start.replace(tzinfo=None) == datetime(2023, 10, 29, 2)
    assert stored_bound(start, Kind.TIMESTAMP, "Europe/Berlin") == datetime(2023, 10, 29, 2)


@pytest.mark.parametrize(
    ("highest", "lag", "start"),
    [
        (datetime(2024, 3, 31, 3, 30), 3600, datetime(2024, 3, 31, 1, 30)),
        (datetime(2024, 3, 31, 3, 2), 300, datetime(2024, 3, 31, 1, 57)),
        (datetime(2024, 3, 31, 4), 3600, datetime(2024, 3, 31, 3)),
        (datetime(2023, 10, 29, 3, 30), 3600, datetime(2023, 10, 29, 2)),
        (datetime(2023, 10, 29, 3, 30), 7200, datetime(2023, 10, 29, 2)),
        (datetime(2023, 10, 29, 3, 30), 10_800, datetime(2023, 10, 29, 1, 30)),
    ],
)
def test_a_lag_is_of_the_seconds_that_pass_when_the_clocks_change(
    highest: datetime, lag: int, start: datetime
):
    found = less_lag(highest, lag, "Europe/Berlin")
    assert stored_bound(found, Kind.TIMESTAMP, "Europe/Berlin") == start


NOON = datetime(2023, 1, 5, 12)


@pytest.mark.parametrize(
    ("kind", "clock", "values"),
    [
        (Kind.TIMESTAMP, NOON, [NOON, NOON + timedelta(seconds=1), None, datetime(9999, 12, 31)]),
        (
            Kind.TIMESTAMPTZ,
            NOON.replace(tzinfo=UTC),
            [
                m.replace(tzinfo=UTC)
                for m in (NOON, NOON + timedelta(hours=1), datetime(2037, 1, 1))
            ],
        ),
        (Kind.DATE, NOON.date(), [date(2023, 1, 5), date(2023, 1, 6), date(9999, 12, 31)]),
    ],
)
def test_rows_that_are_dated_ahead_are_counted(kind: Kind, clock: object, values: list[object]):
    assert seen(Column("modified", DataType(kind)), values, clock=clock).ahead == 2


def test_of_rows_without_a_value_none_is_dated_ahead():
    assert seen(Column("modified", DataType(Kind.TIMESTAMP)), [], [None], clock=NOON).ahead == 0


def test_rows_of_unix_time_that_are_dated_ahead_are_counted():
    watch = CursorWatch(0, ID, counts_no_time=False)
    watch.begin(1_672_912_800)
    array = pa.array([1_672_912_800, 1_672_912_801], pa.int64())
    watch.see(pa.RecordBatch.from_arrays([array], ["id"]))
    assert (watch.ahead, watch.jumped) == (1, 0)


def test_a_highest_number_far_beyond_all_others_is_a_jump():
    ids = list(range(1, 1001))
    assert jumped(ids) == 0
    assert jumped([*ids, 2**31 - 1]) == 1
    assert jumped([2**62], ids) == 1
    assert jumped(ids, [2**31 - 1, 2**31 - 2]) == 2
    assert jumped([1001, 2**31 - 1], known=Watermark(1000, 1)) == 1
    assert jumped([2**31 - 1], known=Watermark(1000, 1)) == 1


def test_numbers_that_grow_by_leaps_all_the_time_are_no_jump():
    snowflakes = [number << 40 for number in range(1, 500)]
    assert jumped(snowflakes) == 0
    assert jumped([500 << 40], known=Watermark(499 << 40, 1 << 40)) == 0
    assert jumped([1000 + JUMP], known=Watermark(1000, 999)) == 0
    assert jumped([1001 + JUMP], known=Watermark(1000, 999)) == 1


def test_rows_of_one_number_hide_no_jump_below_it_and_all_of_them_are_counted():
    many = [JUMP + 1] * 101
    assert jumped([0] * (2 * len(many)), many) == len(many)
    assert jumped([0] * (2 * len(many)) + many) == len(many)


def test_most_rows_beyond_a_gap_are_no_stray_rows_though_they_have_one_number():
    assert jumped([0] * 3 + [3 * JUMP] * 100_000) == 0
    assert jumped([0] * 3, [3 * JUMP] * 100_000) == 0


def test_most_ids_beyond_a_gap_are_no_stray_ones_where_the_target_has_none():
    sparse_beginning = [1, *range(100_000, 100_050)]
    assert jumped(sparse_beginning) == 0
    assert jumped([1, 2, 2**40, 2**40 + 1]) == 0  # as many
    assert jumped([1, 2, 3, 2**40, 2**40 + 1]) == 2


@pytest.mark.parametrize("stray", [99, 100, 150, 100_000])
def test_a_jump_is_seen_however_many_ids_are_beyond_it(stray: int):
    second_range = range(10**9, 10**9 + stray)
    assert jumped([1001, *second_range], known=Watermark(1000, 1)) == stray
    assert jumped(second_range, [1001], known=Watermark(1000, 1)) == stray
    assert jumped([*second_range, 10**15], known=Watermark(1000, 1)) == stray + 1
    assert jumped(second_range, list(range(150_000))) == stray


def test_a_gap_that_the_target_has_already_is_not_told_again():
    assert jumped([990, 1000, 2**40, 2**40 + 1], known=Watermark(2**40, 1)) == 0
    assert jumped([], known=Watermark(1000, 1)) == 0


def test_unsigned_and_decimal_numbers_are_looked_at_exactly():
    big = Column("id", DataType(Kind.DECIMAL, 20, 0))
    low = [Decimal(2**63 + number) for number in range(100)]
    assert seen(big, low).jumped == 0
    assert seen(big, [*low, Decimal(2**64 - 1)]).jumped == 1
    known = Watermark(low[0], low[0])
    assert seen(big, low[1:], [Decimal(2**64 - 1), Decimal(2**64 - 2)], known=known).jumped == 2
    assert jumped([-(2**63), -(2**63) + 1, -(2**63) + 2, 2**63 - 1]) == 1
    longer = Column("id", DataType(Kind.DECIMAL, 38, 0))
    assert seen(longer, [Decimal(2**70 + n) for n in range(3)] + [Decimal(2**80)]).jumped == 1


def test_the_highest_number_of_all_batches_is_kept():
    assert seen(ID, [1, 5], [2, 9], [3]).highest == 9


ids_of_any_size = st.integers(0, 62).flatmap(lambda bits: st.integers(-(2**bits), 2**bits))


@given(
    st.lists(st.lists(ids_of_any_size, max_size=300), max_size=4),
    st.none() | st.tuples(ids_of_any_size, ids_of_any_size),
)
def test_however_it_is_cut_into_batches_and_ordered_the_same_is_seen(
    batches: list[list[int]], range_known: tuple[int, int] | None
):
    known = Watermark(max(range_known), min(range_known)) if range_known else None
    every = [value for batch in batches for value in batch]
    assert jumped(*batches, known=known) == jumped(every, known=known) == gaps_beyond(every, known)


def test_a_refused_jump_says_how_to_allow_it_and_no_value():
    text = str(refuse_jump(1, "id"))
    assert "found 1 row(s) beyond such a gap" in text
    assert "cursor_jumps: allow` in the table's spec until one run has landed" in text


def test_many_new_numbers_without_a_gap_are_no_jump():
    assert jumped(list(range(1001, 12_501)), known=Watermark(1000, 1)) == 0
    backlog = [range(start, start + 10_000) for start in range(1001, 2_000_000, 10_000)]
    assert jumped(*backlog[::-1], known=Watermark(1000, 1)) == 0
    assert jumped([*range(1001, 1051), 2**31], known=Watermark(1000, 1)) == 1


def test_a_cursor_that_cannot_hold_the_present_in_its_unit_is_refused():
    watch = CursorWatch(0, Column("at", DataType(Kind.INT32)), counts_no_time=False)
    with pytest.raises(SchemaError, match=r"cannot hold the present in its `cursor_unit`"):
        watch.begin(1_672_912_800_000)
