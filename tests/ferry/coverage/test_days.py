"""Which days of a table are told, and which belong together."""

import time
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

from ferry.coverage.calendar import calendar
from ferry.coverage.days import Audits, DayAudit, Stretch, TableDays, gaps_first
from ferry.coverage.standings import Status
from ferry.coverage.table import to_rows
from ferry.receipts.failures import Failure
from ferry.receipts.read_as import read_as
from ferry.receipts.receipt import Receipt
from ferry.schema import Kind
from ferry.windows import day_window
from tests.harness.told_days import LATER, NOW, failure, loaded, receipt, since, spec, tell


def bounds(table: TableDays) -> tuple[date, date]:
    return table.days[0].day, table.days[-1].day


def test_days_are_told_from_the_start_date_to_the_last_that_is_over() -> None:
    told = tell(spec(start_date=date(2023, 3, 1)), *loaded(date(2023, 3, 2)))
    assert bounds(told) == (date(2023, 3, 1), date(2023, 3, 3))
    assert str(told) == "nps: 2 days missing, 0 failed of 3"
    earlier = tell(spec(start_date=date(2023, 3, 1)), start=date(2023, 2, 1))
    assert bounds(earlier) == bounds(told)


def test_without_a_start_date_they_are_told_from_the_first_that_anything_happened_to() -> None:
    days = loaded(date(2023, 2, 27))
    assert bounds(tell(spec(), *days))[0] == date(2023, 2, 27)
    assert bounds(tell(spec(), *days, failed=(failure(date(2023, 2, 20)),)))[0].day == 20
    assert bounds(tell(spec(), *days, start=date(2023, 1, 1)))[0] == date(2023, 1, 1)
    a_full_copy = receipt(None, datetime(2023, 3, 2, 12, tzinfo=UTC), "full")
    assert bounds(tell(spec(), a_full_copy)) == (date(2023, 3, 1), date(2023, 3, 3))
    assert str(tell(spec())) == "nps: no days yet"


def id_watermarks() -> list[Receipt]:
    """What a watermark over ids leaves: its first run, and one that went on from an id."""
    first = replace(receipt(None, NOW - timedelta(days=9), "watermark"), cursor_name="id")
    return [first, replace(first, window_label="from 123")]


def test_whether_a_watermark_has_days_is_told_by_the_cursor_that_it_has_now() -> None:
    table = spec(mode="watermark", start_date=date(2023, 3, 1))
    ids, (first, later) = {"cursor": "id", "cursor_kind": Kind.INT64}, id_watermarks()
    for receipts in ([first], [later], [first, later]):
        told = tell(table, *receipts, **ids)
        assert told.instead.startswith("watermark without a time: last loaded 2023-02-23")
        by_time = tell(table, *receipts, cursor="modified", cursor_kind=Kind.TIMESTAMP)
        assert str(by_time) == "nps: 3 days missing, 0 failed of 3"
    assert tell(table, first, cursor="day", cursor_kind=Kind.DATE).instead
    seconds = spec(mode="watermark", cursor="at", cursor_unit="s", start_date=date(2023, 3, 1))
    assert not tell(seconds, first, cursor="at", cursor_kind=Kind.INT64).instead


def test_while_there_is_no_target_it_is_told_by_what_was_carried_by_that_cursor() -> None:
    table, receipts = spec(mode="watermark", start_date=date(2023, 3, 1)), id_watermarks()
    assert tell(table, *receipts, cursor="id").instead
    assert not tell(table, *receipts, cursor="modified").instead


def test_an_application_s_own_lowest_date_makes_no_two_thousand_years_of_days() -> None:
    lowest = datetime.min.replace(tzinfo=UTC)
    read = receipt(None, datetime(2023, 3, 2, 12, tzinfo=UTC), "watermark")
    watermark = replace(read, window_start=lowest)
    for zone in ("UTC", "Asia/Seoul", "America/New_York"):
        assert bounds(tell(spec(), watermark, zone=zone))[0] == date(1970, 1, 1)


def test_which_days_are_over_is_told_by_the_zone() -> None:
    midnight_in_tokyo = datetime(2023, 3, 3, 15, tzinfo=UTC)
    table = spec(start_date=date(2023, 3, 1))
    assert len(tell(table, now=midnight_in_tokyo, zone="Asia/Tokyo").days) == 3
    assert len(tell(table, now=midnight_in_tokyo).days) == 2


def test_a_range_without_a_day_says_why_it_has_none() -> None:
    over, loaded_ = "nps: no day of that range is over", loaded(date(2023, 3, 2))
    before = "nps: that range is before its first day, 2023-03-02"
    for table in (tell(spec(), *loaded_), tell(spec(start_date=date(2023, 3, 2)))):
        assert str(table.within(date(2023, 3, 4), date(2023, 3, 9))) == over
        assert str(table.within(date(2200, 1, 1), None)) == over
        assert str(table.within(date(2023, 3, 1), date(2023, 3, 2))) == before
        assert str(table.within(None, date(2023, 3, 2))) == before
        assert not table.within(date(2023, 3, 3), None).instead
    assert str(tell(spec()).within(date(2023, 3, 1), date(2023, 3, 2))) == "nps: no days yet"
    assert str(tell(spec()).within(date(2023, 3, 4), None)) == over


def failed_run(mode: str, at: datetime) -> Failure:
    """A run that was to carry all of a table, or all that was new, and failed."""
    no_window = {"window_start": None, "window_end": None, "window_label": mode}
    return replace(failure(date(2023, 3, 1)), mode=mode, failed_at=at, **no_window)


def test_a_table_without_days_stands_itself_by_what_happened_to_it_last() -> None:
    table, day, hour = spec(mode="full"), date(2023, 3, 1), timedelta(hours=1)
    copy = receipt(None, LATER, "full")
    void = replace(copy, status="void", mode="void", window_label="the target is gone")
    stands = {
        None: tell(spec(), *loaded(day)),
        Status.LOADED: tell(table, copy, failed=(failed_run("full", NOW),)),
        Status.MISSING: tell(table, copy, replace(void, finished_at=LATER)),
        Status.FAILED: tell(table, copy, failed=(failed_run("full", LATER + hour),)),
    }
    assert {status: told.totals.whole for status, told in stands.items()} == {
        status: status for status in stands
    }
    assert tell(table).totals.whole is Status.MISSING
    assert stands[Status.FAILED].within(day, None).totals.whole is Status.FAILED


def test_a_window_neither_loads_a_table_without_days_nor_hides_that_its_own_run_failed() -> None:
    dates, day = {"cursor": "day", "cursor_kind": Kind.DATE}, date(2020, 1, 1)
    watermark, failed = spec(mode="watermark"), failed_run("watermark", NOW)
    told = tell(watermark, *loaded(day), failed=(failed,), **dates)
    assert told.whole is Status.FAILED
    assert told.instead.startswith(
        "watermark without a time: never loaded as a whole; failed 2023-03-04"
    )
    carried = receipt(None, NOW - timedelta(hours=1), "watermark")
    told = tell(watermark, carried, failed=(failure(day),), **dates)
    assert told.instead == "watermark without a time: last loaded 2023-03-04 07:00 UTC"
    full = spec(mode="full")
    for never in (*loaded(day), carried, replace(receipt(None, mode="full"), status="partial")):
        told = tell(full, never, failed=(failure(day),))
        assert (told.whole, told.instead) == (Status.MISSING, "full: never loaded as a whole")


def test_a_table_without_days_is_not_loaded_by_what_was_read_otherwise_than_it_says_now() -> None:
    table = spec(mode="full")
    here, there = (read_as(spec(source_table=name), "full", None) for name in ("nps", "shop.nps"))
    copies = [
        replace(receipt(None, NOW + timedelta(hours=hour), "full"), read_as=each)
        for hour, each in enumerate((here, there, here))
    ]
    assert tell(table, copies[0]).whole is Status.LOADED
    told = tell(table, *copies[:2])
    assert told.whole is Status.MISSING
    assert told.instead == (
        "full: last loaded 2023-03-04 09:00 UTC; "
        "it was carried with source_table shop.nps, and source_table is now nps"
    )
    assert tell(table, *copies).whole is Status.LOADED

    by_id = replace(receipt(None, NOW, "watermark"), cursor_name="id")
    now = {"cursor": "number", "cursor_kind": Kind.INT64}
    told = tell(spec(mode="watermark"), by_id, **now)
    assert told.whole is Status.MISSING
    assert told.instead.endswith("it was carried by the cursor id, and the cursor is now number")
    by_number = replace(by_id, cursor_name="number", finished_at=LATER)
    assert tell(spec(mode="watermark"), by_id, by_number, **now).whole is Status.LOADED


def test_first_are_tables_that_failed_as_a_whole_and_then_those_with_failed_days() -> None:
    day, failed = date(2023, 3, 1), (failure(date(2023, 3, 1)), failure(date(2023, 3, 2)))
    full = spec(mode="full")
    totals = [
        tell(full, receipt(None, LATER, "full")).totals,
        tell(spec(), *loaded(day)).totals,
        tell(full).totals,
        tell(spec(), failed=failed).totals,
        tell(full, failed=(failed_run("full", LATER),)).totals,
    ]
    assert sorted(totals, key=gaps_first) == totals[::-1]


KIND = "AccessError"


def test_days_that_follow_on_one_another_and_stand_alike_are_joined() -> None:
    failed = (failure(date(2023, 3, 2)), failure(date(2023, 3, 3), "another reason"))
    told = tell(spec(start_date=date(2023, 2, 25)), *loaded(date(2023, 2, 27)), failed=failed)
    assert told.to_repair() == [
        Stretch(date(2023, 2, 25), date(2023, 2, 26), Status.MISSING, ""),
        Stretch(date(2023, 2, 28), date(2023, 3, 1), Status.MISSING, ""),
        Stretch(date(2023, 3, 2), date(2023, 3, 2), Status.FAILED, f"{KIND}: the server refuses"),
        Stretch(date(2023, 3, 3), date(2023, 3, 3), Status.FAILED, f"{KIND}: another reason"),
    ]


def test_ten_years_of_days_take_less_than_two_seconds() -> None:
    table = spec(start_date=date(2013, 3, 7))
    receipts = loaded(*since(date(2013, 3, 7), date(2023, 2, 28))[::2])
    begun = time.process_time()
    told = tell(table, *receipts, zone="Europe/Berlin")
    shown, rows = calendar(told), to_rows(told, NOW)
    assert time.process_time() - begun < 2
    assert len(rows) == len(told.days) == 3649
    assert shown.count(" 2018  ") == 12


def test_a_day_that_was_equal_with_others_since_has_drifted_no_more() -> None:
    day, zone = date(2023, 2, 14), "Europe/Berlin"
    table, february = spec(start_date=date(2023, 2, 1)), since(date(2023, 2, 1), date(2023, 3, 3))
    landed = [replace(receipt(day_window(each, zone)), finished_at=NOW) for each in february]
    differed = {bounds_of(day, day, zone): DayAudit(LATER, "1 changed")}
    month = bounds_of(date(2023, 2, 1), date(2023, 2, 28), zone)

    def drifted(audits: Audits) -> list[int]:
        days = tell(table, *landed, zone=zone, audits=audits).days
        return [each.day.day for each in days if each.standing.status is Status.DRIFTED]

    assert drifted(differed) == [14]
    later, earlier = LATER + timedelta(days=1), LATER - timedelta(days=1)
    assert drifted({**differed, month: DayAudit(earlier, "")}) == [14]
    assert drifted({**differed, month: DayAudit(later, "2 changed")}) == [14]
    assert drifted({**differed, month: DayAudit(later, "")}) == []
    told = tell(table, *landed, zone=zone, audits={month: DayAudit(later, "")})
    assert [each.audited_at for each in told.days] == [later] * 28 + [None] * 3
    half = (month[0] + timedelta(hours=1), month[1])
    told = tell(table, *landed, zone=zone, audits={half: DayAudit(later, "")})
    assert [each.audited_at for each in told.days] == [None] + [later] * 27 + [None] * 3


def test_a_day_that_has_drifted_is_loaded_again_or_failed_by_what_happened_since() -> None:
    day = date(2023, 3, 2)
    landed = replace(receipt(day_window(day)), finished_at=NOW)
    audits = {bounds_of(day, day, "UTC"): DayAudit(LATER, "1 changed")}

    def status(*receipts: Receipt, failed: tuple[Failure, ...] = ()) -> Status:
        told = tell(spec(start_date=day), *receipts, failed=failed, audits=audits)
        return told.days[0].standing.status

    hour = timedelta(hours=1)
    assert status(landed) is Status.DRIFTED
    assert status(landed, replace(landed, finished_at=LATER + hour)) is Status.LOADED
    failed = replace(failure(day), failed_at=NOW + hour)
    assert status(landed, failed=(failed,)) is Status.FAILED


def bounds_of(first: date, last: date, zone: str) -> tuple[datetime, datetime]:
    start, end = day_window(first, zone).start, day_window(last, zone).end
    return start.astimezone(UTC), end.astimezone(UTC)
