"""Ranges of days, and the windows into which they are cut."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferry.backfills.plan import days_label
from ferry.day_ranges import (
    DayRange,
    Granularity,
    check_ends,
    check_first_day,
    check_start_date,
    split_days,
)
from ferry.errors import RequestError
from ferry.windows import local_midnight


def labels(days: DayRange, granularity: Granularity) -> list[str]:
    return [days_label(window) for window in split_days(days, granularity)]


def test_days_are_local_days_also_when_the_clocks_change() -> None:
    windows = split_days(DayRange(date(2023, 3, 25), date(2023, 3, 28), "Europe/Berlin"), "day")
    assert [window.label for window in windows] == ["2023-03-25", "2023-03-26", "2023-03-27"]
    hours = [
        (w.end.astimezone(UTC) - w.start.astimezone(UTC)) / timedelta(hours=1) for w in windows
    ]
    assert hours == [24, 23, 24]


def test_months_begin_on_the_first_and_weeks_on_monday_whatever_the_range() -> None:
    assert labels(DayRange(date(2023, 1, 30), date(2023, 3, 2), "UTC"), "month") == [
        "2023-01-30 to 2023-01-31",
        "2023-02-01 to 2023-02-28",
        "2023-03-01",
    ]
    assert labels(DayRange(date(2023, 7, 1), date(2023, 7, 12), "UTC"), "week") == [
        "2023-07-01 to 2023-07-02",
        "2023-07-03 to 2023-07-09",
        "2023-07-10 to 2023-07-11",
    ]


def test_a_day_by_the_hour_has_as_many_windows_as_the_day_has_hours() -> None:
    for day, hours in ((date(2023, 3, 26), 23), (date(2023, 10, 29), 25), (date(2023, 7, 1), 24)):
        days = DayRange(day, day + timedelta(days=1), "Europe/Berlin")
        assert len(split_days(days, "hour")) == hours


@given(
    st.dates(date(2019, 1, 1), date(2024, 1, 1)),
    st.integers(1, 80),
    st.sampled_from(["hour", "day", "week", "month"]),
    st.sampled_from(["UTC", "Europe/Berlin", "America/Sao_Paulo", "Australia/Lord_Howe"]),
)
def test_windows_cover_the_range_without_gap_or_overlap(
    start: date, count: int, granularity: Granularity, zone: str
) -> None:
    end = start + timedelta(days=count)
    windows = split_days(DayRange(start, end, zone), granularity)
    assert windows[0].start == local_midnight(start, zone)
    assert windows[-1].end == local_midnight(end, zone)
    assert all(before.end == after.start for before, after in pairwise(windows))


def test_too_many_windows_are_refused_with_the_step_that_would_do() -> None:
    with pytest.raises(RequestError) as refused:
        split_days(DayRange(date(1910, 1, 1), date(2024, 1, 1), "UTC"), "hour")
    assert str(refused.value) == (
        "FERRY-REQUEST: 1910-01-01 to 2024-01-01 by the hour makes about 999,312 windows; expected "
        "20,000 at most; found 999,312. Use granularity=week, or a shorter range."
    )


def test_where_no_step_would_do_a_shorter_range_does() -> None:
    ages = DayRange(date(2, 1, 1), date(9998, 1, 1), "UTC")
    with pytest.raises(RequestError, match="Use granularity=month, or a shorter range"):
        split_days(ages, "day")
    with pytest.raises(RequestError, match=r"\. Use a shorter range"):
        split_days(ages, "month")
    most = DayRange(date(1970, 1, 1), date(1970, 1, 1) + timedelta(days=20_000), "UTC")
    assert len(split_days(most, "day")) == 20_000


def test_a_day_that_a_zone_left_out_is_no_window() -> None:
    apia = DayRange(date(2011, 12, 28), date(2012, 1, 2), "Pacific/Apia")  # it had no 30 December
    windows = split_days(apia, "day")
    left = ["2011-12-28", "2011-12-29", "2011-12-31", "2012-01-01"]
    assert [window.label for window in windows] == labels(apia, "day") == left
    assert all(one.end == other.start for one, other in pairwise(windows))
    assert len(split_days(apia, "hour")) == 4 * 24
    for granularity in ("hour", "day", "month"):
        with pytest.raises(RequestError, match="Pacific/Apia has no 2011-12-30"):
            split_days(DayRange(date(2011, 12, 30), date(2011, 12, 31), apia.zone), granularity)


def test_a_range_without_days_is_refused() -> None:
    check_ends(date(2023, 1, 2), None)
    check_ends(date(2023, 1, 2), date(2023, 1, 3))
    with pytest.raises(RequestError, match="not after its start"):
        check_ends(date(2023, 1, 2), date(2023, 1, 2), "raw_data.t")
    with pytest.raises(RequestError, match="not after its start"):
        split_days(DayRange(date(2023, 1, 2), date(2023, 1, 2), "UTC"), "day")


def test_the_table_s_first_day_can_be_asked_for() -> None:
    first = date(2023, 7, 1)
    check_start_date("range", first, first, "raw_data.t")
    check_start_date("range", first, None, "raw_data.t")
    with pytest.raises(RequestError):
        check_start_date("range", first - timedelta(days=1), first, "raw_data.t")


def test_a_range_whose_first_day_is_not_over_is_refused() -> None:
    now = datetime(2023, 1, 1, 20, tzinfo=UTC)  # in Tokyo, the 2nd has begun
    check_first_day(DayRange(date(2023, 1, 1), date(2023, 1, 9), "Asia/Tokyo"), now, "raw_data.t")
    for first, zone in ((date(2023, 1, 1), "UTC"), (date(2023, 1, 2), "Asia/Tokyo")):
        with pytest.raises(RequestError, match=f"a start_date before {first}.*{zone}") as refused:
            check_first_day(DayRange(first, date(2023, 1, 9), zone), now, "raw_data.t")
        assert "raw_data.t: no day of the range is over" in str(refused.value)


def test_the_days_of_a_window_are_those_of_its_zone() -> None:
    days = DayRange(date(2023, 3, 25), date(2023, 3, 28), "Europe/Berlin")
    first, *_, last = split_days(days, "day")
    assert DayRange.of(first) == DayRange(days.start, date(2023, 3, 26), days.zone)
    assert DayRange.of(last) == DayRange(date(2023, 3, 27), days.end, days.zone)
