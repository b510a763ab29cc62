"""What is not back of a lost table: what had been carried, less what has been since."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from ferry.coverage.losses import Interval, not_back
from ferry.coverage.standings import ALWAYS
from ferry.receipts.receipt import LOADED, PARTIAL, RECONCILE, VOID, ReceiptTimes
from ferry.windows import day_window

LOST = datetime(2023, 6, 2, tzinfo=UTC)
EVER: list[Interval] = [(ALWAYS, datetime(9999, 1, 1, tzinfo=UTC))]


def carried(
    start: datetime | None, end: datetime | None, days_after: int, status: str = LOADED
) -> ReceiptTimes:
    at = LOST + timedelta(days=days_after)
    mode = "window" if end else "watermark"
    return ReceiptTimes(mode, start, end, mode, status, at, at)


def day(number: int, days_after: int, status: str = LOADED) -> ReceiptTimes:
    window = day_window(date(2023, 1, number))
    return carried(window.start, window.end, days_after, status)


def of(first: int, last: int) -> Interval:
    return datetime(2023, 1, first, tzinfo=UTC), datetime(2023, 1, last, tzinfo=UTC)


VOID_TIMES = ReceiptTimes("void", None, None, "the target was made anew", VOID, LOST, LOST)
HAD = [day(number, -1) for number in (3, 4, 5, 6)] + [VOID_TIMES]


@pytest.mark.parametrize(
    ("since", "bounds", "left"),
    [
        ([], EVER, [of(3, 7)]),
        ([day(4, 1)], EVER, [of(3, 4), of(5, 7)]),
        ([day(4, 1)], [of(4, 5)], []),
        ([day(4, 1)], [of(4, 6)], [of(5, 6)]),
        ([day(9, 1)], [of(9, 10)], []),
        ([day(9, 1)], EVER, [of(3, 7)]),
        ([day(3, 1, PARTIAL)], [of(3, 4)], [of(3, 4)]),
        ([carried(None, None, 1)], EVER, []),
        ([day(number, 1) for number in (6, 5, 4, 3)], EVER, []),
    ],
)
def test_what_is_left_is_what_was_carried_and_is_not_again(
    since: list[ReceiptTimes], bounds: list[Interval], left: list[Interval]
) -> None:
    assert not_back([*HAD, *since], LOST, bounds) == left


def test_a_part_of_an_hour_that_is_back_leaves_the_rest_of_its_day() -> None:
    start = datetime(2023, 1, 4, tzinfo=UTC)
    hour = carried(start + timedelta(hours=3), start + timedelta(hours=4), 1)
    assert not_back([*HAD, hour], LOST, [of(4, 5)]) == [
        (start, start + timedelta(hours=3)),
        (start + timedelta(hours=4), start + timedelta(days=1)),
    ]


def test_what_was_only_ever_there_in_part_is_back_in_part() -> None:
    had = [day(3, -1, PARTIAL), day(4, -1, PARTIAL), VOID_TIMES]
    assert not_back([*had, day(4, 1, PARTIAL)], LOST, EVER) == [of(3, 4)]


def test_a_repair_has_carried_nothing_before_a_loss_and_brings_nothing_back_after_it() -> None:
    at = LOST - timedelta(hours=2)
    before = replace(day(4, 0, PARTIAL), mode=RECONCILE, started_at=at, finished_at=at)
    again = [day(number, 1) for number in (3, 4, 5, 6)]
    assert not_back([*HAD, before, *again], LOST, EVER) == []
    in_part = [day(3, -1, PARTIAL), day(4, -1, PARTIAL), VOID_TIMES]
    after = replace(day(3, 1, PARTIAL), mode=RECONCILE)
    assert not_back([*in_part, after], LOST, EVER) == [of(3, 5)]


def test_what_was_carried_before_an_earlier_loss_counts_too() -> None:
    earlier = replace(VOID_TIMES, finished_at=LOST - timedelta(hours=12), started_at=LOST)
    assert not_back([*HAD, earlier], LOST, EVER) == [of(3, 7)]
