"""Backfills: how a range is cut into windows, and which of them are carried."""

from datetime import UTC, date, datetime
from typing import Any

import pytest

from ferry.backfills.plan import (
    TablePlan,
    check_range,
    check_table,
    days_label,
    in_order,
    lost_since,
    neighbours_merged,
    plan_windows,
    why_no_windows,
)
from ferry.coverage.standings import Coverage, Event
from ferry.day_ranges import DayRange, split_days
from ferry.errors import RequestError
from ferry.schema import Column, DataType, Kind
from ferry.specs.tables import TableSpec
from ferry.windows import Window, day_window

NOW = datetime(2024, 1, 10, 9, tzinfo=UTC)
JULY = DayRange(date(2023, 7, 1), date(2023, 8, 1), "UTC")


def spec(**fields: Any) -> TableSpec:
    given_fields = {"name": "nps", "source": "shop", "mode": "window", "key": ["id"], **fields}
    return TableSpec.model_validate(given_fields)


@pytest.mark.parametrize(
    ("start", "end", "fields", "problem", "expected"),
    [
        ("2023-07-01", "2023-07-01", {}, "end is not after its start", "after 2023-07-01"),
        ("2023-07-02", "2023-07-01", {}, "end is not after its start", "after 2023-07-02"),
        ("2024-02-01", "2024-03-01", {}, "in the future", "2024-01-10 (UTC) at most"),
        ("2024-01-01", "2024-01-11", {}, "not over yet", "2024-01-10 (UTC) at most"),
        (
            "2022-12-31",
            "2023-01-02",
            {"start_date": "2023-01-01"},
            "before the table does",
            "2023-01-01 or later",
        ),
    ],
)
def test_a_range_that_cannot_be_carried_is_refused(
    start: str, end: str, fields: dict[str, str], problem: str, expected: str
) -> None:
    days = DayRange(date.fromisoformat(start), date.fromisoformat(end), "UTC")
    with pytest.raises(RequestError) as refused:
        check_range(days, spec(**fields), NOW)
    assert "raw_data.nps: the range" in str(refused.value)
    assert problem in str(refused.value)
    assert expected in str(refused.value)


def test_the_range_may_end_today_in_its_own_zone() -> None:
    late = datetime(2024, 1, 9, 23, 30, tzinfo=UTC)
    check_range(DayRange(date(2024, 1, 1), date(2024, 1, 10), "Asia/Tokyo"), spec(), late)
    with pytest.raises(RequestError, match="not over yet"):
        check_range(DayRange(date(2024, 1, 1), date(2024, 1, 10), "UTC"), spec(), late)


def test_a_zone_that_is_none_is_refused() -> None:
    with pytest.raises(RequestError, match="no time zone 'Mars/Olympus'"):
        check_range(DayRange(JULY.start, JULY.end, "Mars/Olympus"), spec(), NOW)


def test_tables_without_windows_or_key_are_refused() -> None:
    with pytest.raises(RequestError, match="mode full cannot be backfilled"):
        check_table(spec(mode="full"))
    with pytest.raises(RequestError, match="a table without a key has no windows"):
        check_table(spec(mode="watermark", key=[]))
    check_table(spec(mode="watermark"))


def event(day: int, *, loaded: bool) -> Event:
    window = day_window(date(2023, 7, day))
    return Event(window.start, window.end, NOW, loaded=loaded)


def test_missing_failed_and_all_choose_their_windows_and_tell_why_others_are_skipped() -> None:
    days = split_days(DayRange(date(2023, 7, 1), date(2023, 7, 5), "UTC"), "day")
    coverage = Coverage([event(1, loaded=True), event(2, loaded=False)])

    def skipped(reprocess: Any) -> list[str]:
        return [planned.skipped for planned in plan_windows(days, coverage, reprocess)]

    assert skipped("missing") == ["loaded", "", "", ""]
    assert skipped("failed") == ["loaded", "", "missing", "missing"]
    assert skipped("all") == ["", "", "", ""]
    assert not any(planned.again for planned in plan_windows(days, coverage, "all"))


@pytest.mark.parametrize("reprocess", ["missing", "failed", "all"])
def test_what_the_run_itself_has_landed_is_done_as_long_as_it_is_loaded(reprocess: Any) -> None:
    days = split_days(DayRange(date(2023, 7, 1), date(2023, 7, 4), "UTC"), "day")
    coverage = Coverage([event(1, loaded=True), event(2, loaded=False)])
    landed = frozenset(day.label for day in days)
    done, failed, missing = plan_windows(days, coverage, reprocess, landed)
    assert (done.skipped, done.again) == ("landed in an earlier attempt of this run", False)
    assert (failed.skipped, failed.again) == ("", True)
    assert missing.again is (reprocess != "failed")


def test_what_the_run_itself_has_landed_and_is_lost_since_is_landed_once_more() -> None:
    days = split_days(DayRange(date(2023, 7, 1), date(2023, 7, 4), "UTC"), "day")
    all_loaded = Coverage([event(day, loaded=True) for day in (1, 2, 3)])
    plan = TablePlan(spec(), plan_windows(days, all_loaded, "missing"))
    since = Coverage([event(1, loaded=True), event(2, loaded=False)])
    lost = lost_since(plan, "missing", since, (), frozenset({"2023-07-01", "2023-07-02"}))
    assert [(each.window.label, each.skipped, each.again) for each in lost] == [
        ("2023-07-02", "", True),
        ("2023-07-03", "", False),
    ]


@pytest.mark.parametrize("reprocess", ["missing", "failed", "all"])
def test_what_an_earlier_attempt_has_landed_and_is_lost_since_is_landed_once_more(
    reprocess: Any,
) -> None:
    days = split_days(DayRange(date(2023, 7, 1), date(2023, 7, 4), "UTC"), "day")
    all_loaded = Coverage([event(day, loaded=True) for day in (1, 2, 3)])
    landed = frozenset({"2023-07-01", "2023-07-02"})
    plan = TablePlan(spec(), plan_windows(days, all_loaded, reprocess, landed))
    since = Coverage([event(1, loaded=True), event(3, loaded=True)])
    (lost,) = lost_since(plan, reprocess, since, (), frozenset({"2023-07-01"}))
    assert (lost.window.label, lost.skipped, lost.again) == ("2023-07-02", "", False)


def test_what_the_run_has_carried_is_lost_where_it_is_void_since_and_what_failed_in_it_is_not() -> (
    None
):
    days = split_days(DayRange(date(2023, 7, 1), date(2023, 7, 4), "UTC"), "day")
    plan = TablePlan(spec(), plan_windows(days, Coverage([]), "missing"))
    since = Coverage([event(1, loaded=True), event(3, loaded=False)])
    (lost,) = lost_since(plan, "missing", since, {days[1]}, frozenset())
    assert (lost.window, lost.again) == (days[1], False)
    one_failed = Coverage([event(1, loaded=False)])
    plan = TablePlan(spec(), plan_windows(days, one_failed, "failed"))
    assert lost_since(plan, "failed", Coverage([]), (), frozenset()) == []


def test_windows_begin_oldest_or_newest_first() -> None:
    planned = plan_windows(split_days(JULY, "week"), Coverage([]), "all")
    oldest = in_order(planned, "oldest")
    assert oldest == in_order(planned, "strict") == in_order(planned, "newest")[::-1]
    assert oldest[0].window.start < oldest[-1].window.start


def test_days_that_follow_on_one_another_are_told_as_one() -> None:
    days = [day_window(date(2023, 7, day)) for day in (1, 2, 4)]
    assert [days_label(window) for window in neighbours_merged(days)] == [
        "2023-07-01 to 2023-07-02",
        "2023-07-04",
    ]
    hour = Window(datetime(2023, 7, 1, 3, tzinfo=UTC), datetime(2023, 7, 1, 4, tzinfo=UTC))
    assert days_label(hour) == hour.label


def test_hours_with_one_between_them_that_the_clock_has_twice_are_told_as_two() -> None:
    day = DayRange(date(2023, 10, 29), date(2023, 10, 30), "Europe/Berlin")
    hours = split_days(day, "hour")
    before, first, second, after = hours[1:5]
    assert before.end.time() == second.start.time()
    assert neighbours_merged([before, second]) == [before, second]
    assert len(neighbours_merged([before, first, second, after])) == 1


@pytest.mark.parametrize(
    ("fields", "kind", "granularity", "why"),
    [
        ({"mode": "watermark", "cursor": "id"}, Kind.INT64, "day", "a watermark of numbers, 'id'"),
        ({"mode": "watermark"}, Kind.INT64, "day", "a watermark of numbers, 'updated_at'"),
        ({"mode": "watermark", "cursor_unit": "s"}, Kind.INT64, "hour", ""),
        ({"mode": "watermark"}, Kind.TIMESTAMP, "hour", ""),
        ({"mode": "watermark"}, Kind.DATE, "hour", "its cursor 'updated_at' has no time of day"),
        ({}, Kind.DATE, "hour", "its cursor 'updated_at' has no time of day"),
        ({}, Kind.DATE, "day", ""),
        ({"cursor": "id"}, Kind.TIMESTAMP, "day", ""),  # a mistake in the spec: not left out
        ({}, Kind.TEXT, "day", ""),
    ],
)
def test_of_all_tables_those_without_windows_are_known_by_their_cursor(
    fields: dict[str, Any], kind: Kind, granularity: Any, why: str
) -> None:
    columns = (Column("id", DataType(Kind.INT64)), Column("updated_at", DataType(kind)))
    told = why_no_windows(spec(**fields), columns, granularity)
    assert told.startswith(why) and bool(told) is bool(why)
