import itertools
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferry import windows
from ferry.errors import RequestError
from ferry.windows import (
    Window,
    business_date,
    clamped,
    day_window,
    day_windows,
    local_midnight,
    on_clock,
    read_stretch,
    repeated_times,
    run_window,
    same_clock,
    scheduled_window,
    wall_clock_bounds,
    zone_info,
)


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)


def test_the_first_run_of_a_daily_schedule_from_5_february_carries_5_february():
    """Schedule from 2021-02-05 daily: the first run is on 2021-02-06, its business date the 5th."""
    assert business_date(utc(2021, 2, 6)) == date(2021, 2, 5)
    assert business_date(utc(2021, 2, 6, 9)) == date(2021, 2, 5)
    window = scheduled_window(utc(2021, 2, 6))
    assert (window.start, window.end) == (utc(2021, 2, 5), utc(2021, 2, 6))


def test_the_business_date_is_counted_in_the_zone_of_the_deployment():
    # 23:30 UTC on the 5th is 08:30 on the 6th in Seoul.
    assert business_date(utc(2021, 2, 5, 23, 30), "Asia/Seoul") == date(2021, 2, 5)
    assert business_date(utc(2021, 2, 5, 23, 30), "UTC") == date(2021, 2, 4)
    # 03:00 UTC on the 6th is still the 5th in New York.
    assert business_date(utc(2021, 2, 6, 3), "America/New_York") == date(2021, 2, 4)


@pytest.mark.parametrize(
    ("day", "hours"),
    [(date(2023, 3, 25), 24), (date(2023, 3, 26), 23), (date(2023, 10, 29), 25)],
)
def test_a_day_is_as_long_as_the_clock_change_makes_it(day: date, hours: int):
    window = day_window(day, "Europe/Berlin")
    assert window.end.astimezone(UTC) - window.start.astimezone(UTC) == timedelta(hours=hours)


def test_days_follow_each_other_without_gap_or_overlap_all_year_long():
    for zone in ("Europe/Berlin", "America/Sao_Paulo", "Asia/Beirut", "Africa/Cairo"):
        day = date(2018, 1, 1)
        window = day_window(day, zone)
        for _ in range(366 * 2):
            day += timedelta(days=1)
            following = day_window(day, zone)
            assert window.end.astimezone(UTC) == following.start.astimezone(UTC)
            window = following


def test_each_0900_run_carries_the_day_before_over_a_clock_change():
    # 09:00 in Berlin is 08:00 UTC in winter and 07:00 UTC in summer.
    assert business_date(utc(2023, 3, 26, 7), "Europe/Berlin") == date(2023, 3, 25)
    assert business_date(utc(2023, 3, 27, 7), "Europe/Berlin") == date(2023, 3, 26)
    assert business_date(utc(2023, 10, 29, 8), "Europe/Berlin") == date(2023, 10, 28)


def test_hours_cover_the_repeated_hour_twice_and_the_skipped_one_never():
    starts = [utc(2023, 10, 29, hour, 5) for hour in range(5)]
    windows = [scheduled_window(start, "Europe/Berlin", "hour") for start in starts]
    for one, two in itertools.pairwise(windows):
        assert one.end.astimezone(UTC) == two.start.astimezone(UTC)
    assert len({window.label for window in windows}) == 5


def test_an_hour_is_the_full_one_before_whatever_second_the_run_starts_at():
    window = scheduled_window(datetime(2023, 3, 1, 9, 59, 59, 999_999, tzinfo=UTC), every="hour")
    assert (window.start, window.end) == (utc(2023, 3, 1, 8), utc(2023, 3, 1, 9))


def test_an_explicit_date_wins_over_the_schedule():
    window = run_window(scheduled_start=utc(2026, 1, 1), run_date=date(2023, 1, 5))
    assert window == day_window(date(2023, 1, 5))
    assert window.label == "2023-01-05"


def test_a_bound_without_a_zone_is_meant_in_the_runs_zone():
    window = run_window(
        scheduled_start=utc(2026, 1, 1),
        zone="Asia/Seoul",
        window_start=datetime(2023, 1, 5, 3),
        window_end=datetime(2023, 1, 5, 4),
    )
    assert window.start == utc(2023, 1, 4, 18)
    assert window.label == "2023-01-05T03:00+09:00/2023-01-05T04:00+09:00"
    assert not set(":/+") & set(window.slug)


def test_a_bound_with_a_zone_of_its_own_keeps_its_moment():
    start = datetime(2023, 1, 5, 3, tzinfo=zone_info("Asia/Seoul"))
    window = run_window(
        scheduled_start=utc(2026, 1, 1),
        zone="Europe/Berlin",
        window_start=start,
        window_end=start + timedelta(hours=1),
    )
    assert window.start == start


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            {"window_start": utc(2023, 1, 6), "window_end": utc(2023, 1, 5)},
            "the window's end is not after its start",
        ),
        (
            {"window_start": utc(2023, 1, 5), "window_end": utc(2023, 1, 5)},
            "the window's end is not after its start",
        ),
        ({"window_start": utc(2023, 1, 5)}, "needs both its ends"),
        ({"window_end": utc(2023, 1, 5)}, "needs both its ends"),
        (
            {
                "run_date": date(2023, 1, 5),
                "window_start": utc(2023, 1, 5),
                "window_end": utc(2023, 1, 6),
            },
            "a run_date or a window, not both",
        ),
        ({"zone": "Europe/Atlantis"}, "there is no time zone 'Europe/Atlantis'"),
        ({"zone": "../etc/passwd"}, "there is no time zone"),
    ],
)
def test_wrong_dates_are_refused_with_what_to_do(wrong: dict, message: str):
    with pytest.raises(RequestError, match=message) as caught:
        run_window(scheduled_start=utc(2026, 1, 1), **wrong)
    assert caught.value.todo


def test_a_window_without_a_zone_is_refused():
    with pytest.raises(RequestError, match="need a zone"):
        Window(datetime(2023, 1, 1), datetime(2023, 1, 2))
    for start, end in (
        (utc(2023, 1, 1), datetime(2023, 1, 2)),
        (datetime(2023, 1, 1), utc(2023, 1, 2)),
    ):
        with pytest.raises(RequestError, match="need a zone"):
            Window(start, end)
    with pytest.raises(RequestError, match="needs a zone"):
        business_date(datetime(2023, 1, 1))


@given(
    st.datetimes(datetime(2000, 1, 1), datetime(2037, 1, 1)),
    st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu"]),
)
def test_every_moment_is_in_exactly_one_day(moment: datetime, zone: str):
    aware = moment.replace(tzinfo=UTC)
    near = [aware.date() + timedelta(days=shift) for shift in (-1, 0, 1)]
    windows = [day_window(day, zone) for day in near]
    assert sum(w.start.astimezone(UTC) <= aware < w.end.astimezone(UTC) for w in windows) == 1


@pytest.mark.parametrize(
    ("start", "end", "wall_start", "wall_end"),
    [
        # Berlin's clocks go back from 03:00 to 02:00 on 29 October 2023, at 01:00 UTC.
        ((0, 0), (2, 0), "02:00", "03:00"),  # the whole repeated hour, both times
        ((0, 45), (1, 15), "02:00", "03:00"),  # 02:45 in summer to 02:15 in winter
        ((0, 0), (0, 30), "02:00", "03:00"),
        ((1, 0), (2, 0), "02:00", "03:00"),
        ((2, 0), (3, 0), "03:00", "04:00"),
        ((-1, 0), (0, 0), "01:00", "02:00"),  # up to, but not into, the repeated hour
    ],
)
def test_wall_clock_bounds_miss_nothing_of_a_repeated_hour(start, end, wall_start, wall_end):
    midnight = utc(2023, 10, 29)
    moments = [midnight + timedelta(hours=h, minutes=m) for h, m in (start, end)]
    bounds = wall_clock_bounds(*moments, "Europe/Berlin")
    assert [b.strftime("%H:%M") for b in bounds] == [wall_start, wall_end]
    assert all(bound.tzinfo is None for bound in bounds)


@given(
    st.integers(0, 60 * 24 * 4),
    st.integers(1, 60 * 24),
    st.integers(0, 60 * 24 * 5),
    st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "UTC"]),
    st.sampled_from([datetime(2023, 10, 28), datetime(2023, 11, 4), datetime(2023, 4, 1)]),
)
def test_a_row_in_the_window_is_within_its_wall_clock_bounds(offset, length, row, zone, base):
    begin = base.replace(tzinfo=UTC)
    start, moment = (begin + timedelta(minutes=shift) for shift in (offset, row))
    end = start + timedelta(minutes=length)
    wall_start, wall_end = wall_clock_bounds(start, end, zone)
    written = moment.astimezone(zone_info(zone)).replace(tzinfo=None)
    if start <= moment < end:
        assert wall_start <= written < wall_end


@pytest.mark.parametrize(
    ("zone", "begin", "end"),
    [
        ("Europe/Berlin", datetime(2023, 10, 29, 2), datetime(2023, 10, 29, 3)),
        ("Australia/Lord_Howe", datetime(2023, 4, 2, 1, 30), datetime(2023, 4, 2, 2)),
        ("America/Santiago", datetime(2023, 4, 1, 23), datetime(2023, 4, 2)),
        ("America/Havana", datetime(2023, 11, 5), datetime(2023, 11, 5, 1)),
    ],
)
def test_the_times_that_a_zone_repeats_are_found_where_its_clocks_go_back(zone, begin, end):
    change = begin.replace(tzinfo=zone_info(zone), fold=1).astimezone(UTC)
    second, found = timedelta(seconds=1), ((begin, end),)
    assert repeated_times(utc(2023, 1, 1), utc(2024, 1, 1), zone) == found
    assert repeated_times(change, change, zone) == found
    assert repeated_times(change - second, change + second / 2, zone) == found
    assert repeated_times(change + second, utc(2024, 1, 1), zone) == ()
    assert repeated_times(utc(2023, 1, 1), change - second / 2, zone) == ()


@given(
    st.integers(0, 60 * 24 * 4),
    st.integers(1, 60 * 24),
    st.integers(0, 60 * 24),
    st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "UTC"]),
    st.sampled_from([datetime(2023, 10, 28), datetime(2023, 11, 4), datetime(2023, 4, 1)]),
)
def test_a_repeated_time_in_a_window_is_among_those_found_for_it(offset, length, row, zone, base):
    start = base.replace(tzinfo=UTC) + timedelta(minutes=offset)
    window = Window(start, start + timedelta(minutes=length), zone)
    written = (start + timedelta(minutes=row % length)).astimezone(zone_info(zone))
    offsets = {written.replace(fold=fold).utcoffset() for fold in (0, 1)}
    wall = written.replace(tzinfo=None, fold=0)
    found = repeated_times(*read_stretch(window, zone), zone)
    assert any(low <= wall < high for low, high in found) == (len(offsets) == 2)


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata"])
def test_a_zone_whose_clocks_never_go_back_repeats_nothing(zone: str):
    assert repeated_times(datetime.min.replace(tzinfo=UTC), utc(2030, 1, 1), zone) == ()


def test_what_is_repeated_is_found_to_the_ends_of_the_calendar():
    first, last = (each.replace(tzinfo=UTC) for each in (datetime.min, datetime.max))
    until_1990 = repeated_times(first, utc(1990, 1, 1), "Europe/Berlin")
    assert until_1990[0] == (datetime(1980, 9, 28, 2), datetime(1980, 9, 28, 3))
    assert len(until_1990) == 10
    assert len(repeated_times(utc(9998, 1, 1), last, "Europe/Berlin")) == 2


ENDS = ["UTC", "Asia/Seoul", "America/New_York", "Pacific/Kiritimati", "Pacific/Pago_Pago"]


@pytest.mark.parametrize("zone", ENDS)
@pytest.mark.parametrize("day", [date.min, date.max])
def test_days_where_the_calendar_ends_are_refused_as_windows(day: date, zone: str):
    with pytest.raises(RequestError, match="where the calendar ends"):
        day_window(day, zone)
    with pytest.raises(RequestError, match="where the calendar ends"):
        run_window(scheduled_start=utc(2026, 1, 1), zone=zone, run_date=day)
    edge = datetime.min if day == date.min else datetime(9999, 12, 31, 22)
    bounds = {"window_start": edge, "window_end": edge + timedelta(hours=1)}
    with pytest.raises(RequestError, match="where the calendar ends"):
        run_window(scheduled_start=utc(2026, 1, 1), zone=zone, **bounds)


def test_a_window_that_only_ends_where_the_calendar_does_is_refused() -> None:
    with pytest.raises(RequestError, match="where the calendar ends"):
        Window(utc(2023, 1, 1), datetime(9999, 12, 31, tzinfo=UTC))


@pytest.mark.parametrize("zone", ENDS)
def test_the_first_and_the_last_window_can_be_named_compared_and_put_on_any_clock(zone: str):
    for window in (
        Window(utc(1, 1, 2), utc(1, 1, 2, 1), zone),
        Window(utc(9999, 12, 29, 23), utc(9999, 12, 30), zone),
    ):
        assert window.label
        for other in ENDS:
            low, high = wall_clock_bounds(window.start, window.end, other)
            assert high - low == timedelta(hours=1)


def test_a_moment_is_moved_no_further_than_the_calendar_goes():
    hour, zone = timedelta(hours=1), zone_info("Asia/Seoul")
    low, high = datetime.min.replace(tzinfo=zone), datetime.max.replace(tzinfo=zone)
    assert (clamped(low, -hour), clamped(high, hour)) == (low, high)
    assert clamped(low + hour, -24 * hour) == low
    assert clamped(utc(2023, 1, 5), hour) == utc(2023, 1, 5, 1)
    assert (clamped(date.min, -24 * hour), clamped(date.max, 24 * hour)) == (date.min, date.max)
    assert clamped(date(2023, 1, 5), -24 * hour) == date(2023, 1, 4)


@pytest.mark.parametrize("zone", ENDS)
def test_a_moment_is_on_every_clock_where_the_calendar_ends(zone: str):
    for own in ENDS:
        for moment in (datetime.min, datetime.max):
            aware = moment.replace(tzinfo=zone_info(own))
            found = on_clock(aware, zone_info(zone))
            assert found.tzinfo is zone_info(zone)
            assert abs(found.replace(tzinfo=None) - moment) <= timedelta(hours=30)
            wall_clock_bounds(aware, aware, zone)
    with pytest.raises(RequestError, match="where the calendar ends"):
        local_midnight(date.min, "Asia/Seoul")


def test_the_days_of_tables_in_two_zones_in_turn_are_worked_out_once() -> None:
    def ten_years() -> int:
        for zone in ("Europe/Berlin", "Asia/Seoul"):
            day_windows(date(2013, 1, 1), date(2023, 1, 1), zone)
        return windows._whole_day.cache_info().misses

    assert ten_years() == ten_years()


def test_two_zones_are_one_clock_only_where_they_never_differ() -> None:
    assert same_clock("UTC", "Etc/UTC")
    assert not same_clock("UTC", "Europe/London")  # alike each winter
    assert not same_clock("UTC", "Europe/Nowhere")
