"""Lookback: what a scheduled run carries again together with its own window."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferry.errors import SchemaError
from ferry.lookback import own_window, with_lookback
from ferry.plan import choose_window, plan_query
from ferry.schema import Column, DataType, Kind, TableName, TableSchema
from ferry.specs.tables import TableSpec
from ferry.windows import Window, day_window, scheduled_window

START = datetime(2023, 3, 27, 9, 5, tzinfo=UTC)
HOUR = timedelta(hours=1)


def spec(**fields: Any) -> TableSpec:
    known = {"name": "nps", "source": "shop", "mode": "window", "key": ["id"]}
    return TableSpec.model_validate({**known, **fields})


def chosen(table: TableSpec, **dates: Any) -> Window:
    _, window = choose_window(table, scheduled_start=START, **dates)
    assert window is not None
    return window


def test_a_scheduled_run_reads_from_the_lookback_before_its_own_window_on() -> None:
    day = chosen(spec(lookback=3600))
    assert (day.start, day.end) == (
        datetime(2023, 3, 25, 23, tzinfo=UTC),
        datetime(2023, 3, 27, tzinfo=UTC),
    )
    hour = chosen(spec(lookback=7200, every="hour"))
    assert (hour.start, hour.end) == (START.replace(hour=6, minute=0), START.replace(minute=0))
    assert chosen(spec()) == day_window(date(2023, 3, 26))


def test_a_run_with_dates_carries_these_and_no_more() -> None:
    table = spec(lookback=3600)
    assert chosen(table, run_date=date(2023, 1, 5)) == day_window(date(2023, 1, 5))
    bounds = {"window_start": START - 3 * HOUR, "window_end": START - 2 * HOUR}
    assert chosen(table, **bounds).end - chosen(table, **bounds).start == HOUR


def test_nothing_before_the_table_s_start_date_is_looked_back_at() -> None:
    table = spec(lookback=7 * 86_400, start_date=date(2023, 3, 25))
    assert chosen(table).start == datetime(2023, 3, 25, tzinfo=UTC)
    assert chosen(spec(lookback=86_400, start_date=date(2024, 1, 1))) == day_window(
        date(2023, 3, 26)
    )


@given(
    st.integers(0, 40 * 86_400),
    st.datetimes(datetime(2023, 1, 1), datetime(2024, 1, 1)),
    st.sampled_from(["UTC", "Europe/Berlin", "Australia/Lord_Howe"]),
    st.sampled_from(["day", "hour"]),
)
def test_the_run_s_own_window_is_known_again_whatever_the_lookback(
    lookback: int, start: datetime, zone: str, every: Any
) -> None:
    table = spec(lookback=lookback, every=every, zone=zone)
    scheduled = start.replace(tzinfo=UTC)
    own = scheduled_window(scheduled, zone, every)
    wide = with_lookback(table, own)
    assert own_window(table, wide, scheduled) == own
    before = own.start.astimezone(UTC) - wide.start.astimezone(UTC)
    assert before == timedelta(seconds=lookback)
    other = day_window(date(2022, 1, 5), zone)
    assert own_window(table, other, scheduled) == other


@pytest.mark.parametrize(("zone", "days"), [("UTC", 1), ("Europe/Berlin", 2)])
def test_over_a_column_of_dates_a_lookback_is_whole_days(zone: str, days: int) -> None:
    columns = (Column("id", DataType(Kind.INT64)), Column("day", DataType(Kind.DATE)))
    schema = TableSchema(TableName("", "nps"), columns)
    # In Berlin, the 26th has 23 hours: a day before it began, it was 23:00 of the 24th there.
    table = spec(lookback=86_400, cursor="day", zone=zone)
    own = scheduled_window(START + timedelta(days=1), zone)
    window = with_lookback(table, own)
    query = plan_query(table, "window", window, schema, own=own)
    assert isinstance(query.start, datetime)
    assert query.start.date() == date(2023, 3, 27) - timedelta(days=days)
    assert (query.start.hour, query.end) == (0, own.end)
    part_of_a_day = Window(own.start + HOUR, own.end, zone)
    with pytest.raises(SchemaError, match="has no time of day"):
        plan_query(table, "window", part_of_a_day, schema, own=part_of_a_day)
