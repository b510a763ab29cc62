"""Coverage: the last thing that happened to a moment tells how it stands."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferry.coverage.standings import Coverage, Event, Status, coverage_of
from ferry.receipts.failures import Failure
from ferry.receipts.read_as import read_as
from ferry.receipts.receipt import Receipt, void_receipt
from ferry.schema import Kind, TableName
from ferry.specs.tables import TableSpec
from ferry.windows import Window, day_window
from tests.harness import told_days

JUNE = datetime(2023, 6, 1, tzinfo=UTC)
DAY = date(2023, 1, 5)


def receipt(
    window: Window | None, started_at: datetime, mode: str = "window", label: str = ""
) -> Receipt:
    made = told_days.receipt(window, started_at, mode)
    return replace(
        made,
        window_end=window.end if window and mode == "window" else None,
        window_label=label or made.window_label,
        finished_at=started_at + timedelta(minutes=1),
    )


def spec(**told: Any) -> TableSpec:
    return TableSpec(name="people", source="shop", mode="window", **told)


def failure(window: Window | None, failed_at: datetime) -> Failure:
    return Failure(
        batch_id="b",
        table_name="raw_data.nps",
        mode="window",
        window_start=window.start if window else None,
        window_end=window.end if window else None,
        window_label=window.label if window else "full",
        error="AccessError",
        reason="the server refuses",
        flow_run_id="f",
        failed_at=failed_at,
    )


def statuses(coverage: Coverage, *days: int) -> list[Status]:
    return [coverage.of(day_window(date(2023, 1, day))).status for day in days]


def test_a_window_with_a_receipt_is_loaded_and_its_neighbours_are_missing() -> None:
    coverage = coverage_of([receipt(day_window(DAY), JUNE)], [])
    assert statuses(coverage, 4, 5, 6) == [Status.MISSING, Status.LOADED, Status.MISSING]


def test_days_that_one_month_covers_are_loaded_and_the_month_that_its_days_cover() -> None:
    month = Window(datetime(2023, 1, 1, tzinfo=UTC), datetime(2023, 2, 1, tzinfo=UTC))
    assert statuses(coverage_of([receipt(month, JUNE)], []), 1, 31) == [Status.LOADED] * 2
    days = [receipt(day_window(date(2023, 1, day)), JUNE) for day in range(1, 32)]
    assert coverage_of(days, []).of(month).status is Status.LOADED
    one_is_not_there = coverage_of([*days[:9], *days[10:]], []).of(month)
    assert one_is_not_there.status is Status.MISSING
    assert one_is_not_there.reason == "a part of it is loaded"


def test_a_day_that_was_read_before_it_was_over_is_not_loaded() -> None:
    noon = datetime(2023, 1, 5, 12, tzinfo=UTC)
    coverage = coverage_of([receipt(day_window(DAY), noon)], [])
    assert coverage.of(day_window(DAY)).status is Status.MISSING
    morning = Window(datetime(2023, 1, 5, tzinfo=UTC), noon)
    assert coverage.of(morning).status is Status.LOADED


def test_a_window_is_loaded_as_far_as_its_receipt_says_that_it_was_complete() -> None:
    after = datetime(2023, 1, 6, 0, 1, tzinfo=UTC)
    read = replace(
        receipt(day_window(DAY), after), read_at=after, complete_until=after - timedelta(minutes=5)
    )
    day = coverage_of([read], []).of(day_window(DAY))
    assert (day.status, day.reason) == (Status.MISSING, "a part of it is loaded")
    until = Window(datetime(2023, 1, 5, tzinfo=UTC), datetime(2023, 1, 5, 23, 56, tzinfo=UTC))
    assert coverage_of([read], []).of(until).status is Status.LOADED
    settled = replace(read, complete_until=after)
    assert coverage_of([settled], []).of(day_window(DAY)).status is Status.LOADED


def test_a_source_whose_clock_runs_behind_is_complete_as_far_as_its_own_clock_says() -> None:
    behind = datetime(2023, 1, 4, 12, tzinfo=UTC)
    for mode, window in (("full", None), ("window", day_window(DAY))):
        read = replace(receipt(window, JUNE, mode), read_at=behind, complete_until=behind)
        assert statuses(coverage_of([read], []), 4, 5) == [Status.MISSING] * 2


def test_a_failure_counts_until_the_window_is_loaded_again_and_says_why() -> None:
    loaded, hour = receipt(day_window(DAY), JUNE), timedelta(hours=1)
    failed = coverage_of([loaded], [failure(day_window(DAY), JUNE + hour)]).of(day_window(DAY))
    assert (failed.status, failed.reason) == (
        Status.FAILED,
        "AccessError: the server refuses",
    )
    mended = coverage_of([loaded], [failure(day_window(DAY), JUNE - hour)])
    assert mended.of(day_window(DAY)).status is Status.LOADED


def test_a_window_stands_since_the_last_thing_that_happened_to_any_part_of_it() -> None:
    day, noon = day_window(DAY), datetime(2023, 1, 5, 12, tzinfo=UTC)
    halves = [Window(day.start, noon), Window(noon, day.end)]
    earlier, later = JUNE, JUNE + timedelta(hours=2)
    for ats in ((earlier, later), (later, earlier)):
        parts = list(zip(halves, ats, strict=True))
        loaded = coverage_of([receipt(half, at) for half, at in parts], []).of(day)
        assert loaded.at == later + timedelta(minutes=1)
        failures = [replace(failure(half, at), reason=str(at)) for half, at in parts]
        failed = coverage_of([], failures).of(day)
        assert (failed.at, str(later) in failed.reason) == (later, True)


def test_a_full_copy_has_loaded_everything_up_to_when_it_was_read() -> None:
    coverage = coverage_of([receipt(None, datetime(2023, 1, 5, 9, tzinfo=UTC), "full")], [])
    assert statuses(coverage, 1, 4, 5) == [Status.LOADED, Status.LOADED, Status.MISSING]


def test_a_full_copy_has_loaded_no_more_because_of_what_was_carried_since() -> None:
    copy = receipt(None, datetime(2023, 1, 5, 9, tzinfo=UTC), "full")
    coverage = coverage_of([copy, receipt(day_window(date(2023, 1, 9)), JUNE)], [])
    assert statuses(coverage, 4, 5, 8, 9) == [
        Status.LOADED,
        Status.MISSING,
        Status.MISSING,
        Status.LOADED,
    ]


def test_a_watermark_has_loaded_from_its_bound_to_when_it_was_read() -> None:
    read_from = Window(datetime(2023, 1, 3, tzinfo=UTC), JUNE)
    at = datetime(2023, 1, 5, 9, tzinfo=UTC)
    coverage = coverage_of([receipt(read_from, at, "watermark", "from 2023-01-03")], [])
    assert statuses(coverage, 2, 3, 4, 5) == [
        Status.MISSING,
        Status.LOADED,
        Status.LOADED,
        Status.MISSING,
    ]


def test_a_watermark_over_ids_and_a_failed_full_copy_tell_of_no_day() -> None:
    ids = receipt(None, JUNE, "watermark", "from 4711")
    coverage = coverage_of([ids], [failure(None, JUNE)])
    assert coverage.of(day_window(DAY)).status is Status.MISSING


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/New_York"])
def test_days_are_compared_as_moments_whatever_their_zone(zone: str) -> None:
    coverage = coverage_of([receipt(day_window(DAY, zone), JUNE)], [])
    assert coverage.of(day_window(DAY, zone)).status is Status.LOADED
    assert coverage.of(day_window(DAY)).status is Status.MISSING


HOURS = st.integers(0, 20)
EVENTS = st.lists(st.tuples(HOURS, HOURS, st.booleans()), max_size=8)


@given(EVENTS, HOURS, st.integers(1, 5))
def test_whatever_happened_each_hour_stands_as_its_last_event_says(
    happened: list[tuple[int, int, bool]], start: int, hours: int
) -> None:
    def at(hour: int) -> datetime:
        return JUNE + timedelta(hours=hour)

    events = [
        Event(at(begin), at(end), JUNE + timedelta(days=number), loaded)
        for number, (begin, end, loaded) in enumerate(happened)
    ]
    last = {
        hour: loaded for begin, end, loaded in happened for hour in range(begin, max(begin, end))
    }
    found = [last.get(hour) for hour in range(start, start + hours)]
    expected = Status.FAILED if False in found else Status.LOADED if all(found) else Status.MISSING
    assert Coverage(events).of(Window(at(start), at(start + hours))).status is expected


def test_what_is_void_is_not_loaded_until_it_is_carried_again():
    first, second = day_window(DAY), day_window(DAY + timedelta(days=1))
    hour = timedelta(hours=1)
    void = void_receipt(
        TableName("raw_data", "nps"),
        "the target was made anew",
        flow_run_id="f",
        started_at=JUNE,
        at=JUNE + timedelta(minutes=1),  # as late as the last of what it makes void
    )
    before = [receipt(first, JUNE - hour), receipt(second, JUNE)]
    coverage = coverage_of([*before, void], [])
    for window in (first, second):
        standing = coverage.of(window)
        assert (standing.status, standing.reason) == (Status.MISSING, "the target was made anew")
    again = coverage_of([*before, void, receipt(second, JUNE + hour)], [])
    assert [again.of(window).status for window in (first, second)] == [
        Status.MISSING,
        Status.LOADED,
    ]
    failed = coverage_of([*before, void], [failure(first, JUNE + hour)])
    assert failed.of(first).status is Status.FAILED


def test_windows_that_another_cursor_carried_do_not_count_as_loaded():
    window = day_window(DAY)
    by_created = replace(receipt(window, JUNE), cursor_name="created_at")
    assert coverage_of([by_created], [], "created_at").of(window).status is Status.LOADED
    assert coverage_of([by_created], []).of(window).status is Status.LOADED
    assert coverage_of([receipt(window, JUNE)], [], "modified").of(window).status is Status.LOADED
    standing = coverage_of([by_created], [], "modified").of(window)
    assert standing.status is Status.MISSING
    assert standing.reason.startswith("it was carried by the cursor created_at, and the cursor is")


def test_what_another_cursor_carried_takes_back_no_day_but_its_own() -> None:
    carried = ((6, "modified"), (7, "modified"), (5, "created_at"))
    told = [
        replace(
            receipt(day_window(date(2023, 1, day)), JUNE + timedelta(hours=n)), cursor_name=cursor
        )
        for n, (day, cursor) in enumerate(carried)
    ]
    assert statuses(coverage_of(told, [], "modified"), 5, 6, 7) == [
        Status.MISSING,
        Status.LOADED,
        Status.LOADED,
    ]


def test_a_void_is_of_all_before_it_whatever_the_clocks_say():
    full = receipt(None, JUNE, "full")
    at_once = void_receipt(
        TableName("raw_data", "nps"), "gone", flow_run_id="f", started_at=JUNE, at=full.finished_at
    )
    assert coverage_of([full, at_once], []).of(day_window(DAY)).status is Status.MISSING
    ahead = replace(full, complete_until=JUNE + timedelta(days=3))  # the source's clock is
    day_after = day_window(JUNE.date() + timedelta(days=1))
    assert coverage_of([ahead], []).of(day_after).status is Status.LOADED
    assert coverage_of([ahead, at_once], []).of(day_after).status is Status.MISSING


def test_windows_that_were_read_as_the_spec_does_not_say_any_more_do_not_count() -> None:
    window, by_id = day_window(DAY), spec(key=["ID"])
    told = replace(receipt(window, JUNE), read_as=read_as(by_id, "window", Kind.TIMESTAMP))
    for same in (by_id, spec(key=["id"], zone="UTC"), spec(key=["id"], source_zone="Etc/UTC")):
        assert coverage_of([told], [], spec=same).of(window).status is Status.LOADED
    for changed in ({"key": ["id", "shop"]}, {"source_zone": "Asia/Seoul"}, {"cursor_unit": "ms"}):
        standing = coverage_of([told], [], spec=spec(**{"key": ["id"], **changed})).of(window)
        assert (standing.status, next(iter(changed)) in standing.reason) == (Status.MISSING, True)
    versions = spec(key=["id"], version="revision")
    assert coverage_of([told], [], spec=versions).of(window).status is Status.MISSING
    # A version that is the cursor is none: nothing is decided otherwise by its name.
    told = replace(told, cursor_name="modified")
    for same in (spec(key=["id"], version="Modified"), by_id):
        told = replace(told, read_as=read_as(same, "window", Kind.TIMESTAMP))
        for now in (by_id, spec(key=["id"], version="modified")):
            assert coverage_of([told], [], spec=now).of(window).status is Status.LOADED
    of_moments = replace(told, read_as=read_as(by_id, "window", Kind.TIMESTAMPTZ))
    elsewhere = spec(key=["id"], source_zone="Asia/Seoul")
    assert coverage_of([of_moments], [], spec=elsewhere).of(window).status is Status.LOADED


def test_what_was_read_by_another_key_takes_back_what_was_loaded_before_it() -> None:
    by_id, by_code = spec(key=["id"]), spec(key=["code"])
    first, second = day_window(DAY), day_window(DAY + timedelta(days=1))
    hour = timedelta(hours=1)
    told = replace(receipt(first, JUNE), read_as=read_as(by_id, "window", Kind.TIMESTAMP))
    other = replace(
        receipt(second, JUNE + hour), read_as=read_as(by_code, "window", Kind.TIMESTAMP)
    )
    again = replace(told, finished_at=JUNE + 3 * hour)
    assert coverage_of([told], [], spec=by_id).of(first).status is Status.LOADED
    assert coverage_of([told, other], [], spec=by_id).of(first).status is Status.MISSING
    assert coverage_of([told, other, again], [], spec=by_id).of(first).status is Status.LOADED


def test_many_values_that_mark_deleted_rows_are_told_short() -> None:
    marks = {"key": ["id"], "soft_deletes": "apply"}
    one, other = (
        spec(**marks, deleted_values=[f"{word} {number}" for number in range(500)])
        for word in ("gone", "away")
    )
    window, text = day_window(DAY), read_as(one, "window", None)
    assert len(text) < 500
    told = replace(receipt(window, JUNE), read_as=text)
    assert coverage_of([told], [], spec=one).of(window).status is Status.LOADED
    assert coverage_of([told], [], spec=other).of(window).status is Status.MISSING


def test_of_a_full_copy_nothing_matters_but_the_table_that_was_copied() -> None:
    told = replace(receipt(None, JUNE, "full"), read_as=read_as(spec(key=["id"]), "full", None))
    day = day_window(DAY)
    same = spec(key=["id", "shop"], zone="Asia/Seoul", cursor_unit="s", version="revision")
    assert coverage_of([told], [], spec=same).of(day).status is Status.LOADED
    for other in ({"source_table": "persons"}, {"soft_deletes": "apply"}):
        now = spec(key=["id"], **other)
        assert coverage_of([told], [], spec=now).of(day).status is Status.MISSING
