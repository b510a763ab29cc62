"""The past windows of a table, as its schedule would have carried them."""

from datetime import UTC, date, datetime, timedelta

import pytest

from ferry.backfills.past_windows import not_loaded, past_windows
from ferry.coverage.standings import Coverage, Event
from ferry.windows import Window, day_window, scheduled_window


def test_days_are_those_from_the_first_up_to_the_window() -> None:
    own = day_window(date(2023, 3, 28), "Europe/Berlin")
    past = past_windows(date(2023, 3, 25), own, "day")
    assert [window.label for window in past] == ["2023-03-25", "2023-03-26", "2023-03-27"]
    assert [window.end for window in past] == [window.start for window in (*past[1:], own)]
    hours = [(w.end.astimezone(UTC) - w.start.astimezone(UTC)) // timedelta(hours=1) for w in past]
    assert hours == [24, 23, 24]  # on the 26th, the clocks go forward


def test_a_day_that_the_zone_left_out_is_none_of_them() -> None:
    past = past_windows(date(2011, 12, 29), day_window(date(2012, 1, 1), "Pacific/Apia"), "day")
    assert [window.label for window in past] == ["2011-12-29", "2011-12-31"]


@pytest.mark.parametrize("first", [date(2023, 3, 28), date(2023, 3, 29)])
def test_there_are_none_before_the_first(first: date) -> None:
    assert past_windows(first, day_window(date(2023, 3, 28)), "day") == []
    hour = scheduled_window(datetime(2023, 3, 28, 1, 5, tzinfo=UTC), every="hour")
    assert past_windows(first, hour, "hour") == []


def test_hours_are_those_that_the_schedule_carries() -> None:
    own = scheduled_window(datetime(2023, 3, 26, 4, 5, tzinfo=UTC), "Europe/Berlin", "hour")
    past = past_windows(date(2023, 3, 26), own, "hour")
    assert [window.start.astimezone(UTC).hour for window in past] == [23, 0, 1, 2]
    assert [window.end for window in past] == [window.start for window in (*past[1:], own)]
    # In India, midnight is at half past six.
    own = scheduled_window(datetime(2023, 3, 26, 21, 5, tzinfo=UTC), "Asia/Kolkata", "hour")
    past = past_windows(date(2023, 3, 27), own, "hour")
    assert [(window.start.astimezone(UTC)).hour for window in past] == [18, 19]
    assert past[-1].end == own.start


def test_what_is_loaded_is_left_out() -> None:
    first = datetime(2023, 1, 1, tzinfo=UTC)
    day = timedelta(days=1)
    events = [
        Event(first, first + day, first, loaded=True),
        Event(first + day, first + 2 * day, first, loaded=False),
        Event(first + 2 * day, first + 2.5 * day, first, loaded=True),
    ]
    windows = [Window(first + number * day, first + (number + 1) * day) for number in range(4)]
    assert not_loaded(windows, Coverage(events)) == windows[1:]
