"""Deadlines are judged from receipts: once late, once arrived, whatever the clocks do."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from pydantic import ValidationError

from ferry.coverage.deadline_notice import arrived_notice, late_table_notice, unjudged_notice
from ferry.coverage.deadlines import (
    KEPT_DAYS,
    Arrival,
    Deadline,
    DeadlineState,
    arrival,
    deadlines_to_judge,
    last_deadline,
    next_state,
)
from ferry.receipts.failures import Failure
from ferry.receipts.read_as import read_as
from ferry.receipts.receipt import Receipt, void_receipt
from ferry.schema import TableName
from ferry.specs.due_time import due_moment
from ferry.specs.tables import TableSpec
from ferry.windows import Window, day_window
from tests.harness.told_days import receipt

BERLIN = "Europe/Berlin"


def spec(**fields: object) -> TableSpec:
    wanted: dict[str, object] = {
        "name": "orders", "source": "shop", "mode": "window", "key": ["id"],
        "zone": BERLIN, "due": "09:30",
    }  # fmt: skip
    return TableSpec.model_validate(wanted | fields)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def deadline(table: TableSpec, day: str = "2026-11-26") -> Deadline:
    local = date.fromisoformat(day)
    assert table.due
    return Deadline(table, local, due_moment(local, table.due, table.zone))


class TestTheSpec:
    @pytest.mark.parametrize("due", ["9:30", "24:00", "09:60", "0930", "09:30:00", " 09:30", ""])
    def test_what_is_no_time_of_the_day_is_refused(self, due: str) -> None:
        with pytest.raises(ValidationError, match='written as "09:30"'):
            spec(due=due)

    def test_a_time_without_quotes_is_a_number_to_yaml(self) -> None:
        with pytest.raises(ValidationError, match="in quotes"):
            spec(due=9 * 60 + 30)

    def test_it_is_optional(self) -> None:
        assert last_deadline(spec(due=None), utc("2026-11-26T12:00")) is None
        assert deadlines_to_judge(spec(due=None), utc("2026-11-26T12:00"), {}) == []


class TestWhen:
    @pytest.mark.parametrize(
        ("now", "day"),
        [
            ("2026-11-26T08:29", "2026-11-25"),  # 09:29 in Berlin
            ("2026-11-26T08:30", "2026-11-26"),
            ("2026-11-26T22:59", "2026-11-26"),
            ("2026-11-26T23:00", "2026-11-26"),  # midnight
        ],
    )
    def test_the_last_one_that_has_passed_counts(self, now: str, day: str) -> None:
        found = last_deadline(spec(), utc(now))
        assert found and str(found.day) == day

    @pytest.mark.parametrize(
        ("now", "due", "day"),
        [
            ("2026-11-25T22:59", "00:00", "2026-11-25"),
            ("2026-11-25T23:00", "00:00", "2026-11-26"),
            ("2026-11-26T22:58", "23:59", "2026-11-25"),
            ("2026-11-26T22:59", "23:59", "2026-11-26"),
        ],
    )
    def test_around_midnight(self, now: str, due: str, day: str) -> None:
        found = last_deadline(spec(due=due), utc(now))
        assert found and str(found.day) == day

    @pytest.mark.parametrize(
        ("day", "due", "moment"),
        [
            ("2026-03-29", "02:30", "2026-03-29T01:30"),  # skipped: it is 03:30
            ("2026-10-25", "02:30", "2026-10-25T00:30"),  # twice: the first
            ("2026-10-25", "09:30", "2026-10-25T08:30"),
            ("2026-10-24", "09:30", "2026-10-24T07:30"),
        ],
    )
    def test_when_the_clocks_change(self, day: str, due: str, moment: str) -> None:
        assert due_moment(date.fromisoformat(day), due, BERLIN) == utc(moment)

    def test_nothing_is_due_before_the_table_s_first_day(self) -> None:
        table = spec(start_date="2026-11-26")
        assert last_deadline(table, utc("2026-11-26T12:00")) is None
        assert last_deadline(table, utc("2026-11-27T12:00")) is not None


class TestArrival:
    def arrived(self, table: TableSpec, *receipts: Receipt, failures: tuple = ()) -> Arrival:
        return arrival(deadline(table), receipts, failures)

    def test_a_window_s_day_before_has_to_be_loaded(self) -> None:
        day = day_window(date(2026, 11, 25), BERLIN)
        other = day_window(date(2026, 11, 24), BERLIN)
        assert self.arrived(spec(), receipt(day, utc("2026-11-26T08:00"))).there
        late = self.arrived(spec(), receipt(other, utc("2026-11-26T08:00")))
        assert late == Arrival(False, utc("2026-11-26T08:00"))

    def test_a_day_that_was_read_before_it_was_over_is_not_there(self) -> None:
        day = day_window(date(2026, 11, 25), BERLIN)
        early = replace(
            receipt(day, utc("2026-11-25T20:00")), complete_until=utc("2026-11-25T20:00")
        )
        assert not self.arrived(spec(), early).there

    @pytest.mark.parametrize("missing", [None, 0, 12, 23])
    def test_of_an_hourly_table_every_hour_of_the_day_before(self, missing: int | None) -> None:
        start = day_window(date(2026, 11, 25), BERLIN).start.astimezone(UTC)
        hours = [
            Window(start + timedelta(hours=n), start + timedelta(hours=n + 1), BERLIN)
            for n in range(24)
            if n != missing
        ]
        receipts = [receipt(hour, utc("2026-11-26T00:10")) for hour in hours]
        assert self.arrived(spec(every="hour"), *receipts).there is (missing is None)

    @pytest.mark.parametrize("mode", ["full", "watermark"])
    @pytest.mark.parametrize(
        ("finished", "there"), [("2026-11-25T22:59", False), ("2026-11-25T23:00", True)]
    )
    def test_of_others_anything_since_the_day_began(
        self, mode: str, finished: str, there: bool
    ) -> None:
        table = spec(mode=mode)
        assert self.arrived(table, receipt(None, utc(finished), mode)).there is there

    @pytest.mark.parametrize("mode", ["full", "watermark"])
    def test_what_a_worker_with_a_clock_ahead_has_landed_is_of_the_day_that_the_source_tells(
        self, mode: str
    ) -> None:
        table, read = spec(mode=mode), utc("2026-11-26T05:00")
        ahead = replace(receipt(None, utc("2026-11-29T05:00"), mode), read_at=read)
        after_it = replace(ahead, finished_at=utc("2026-11-29T05:01"))  # as of a worker that is not
        found = [
            arrival(deadline(table, f"2026-11-{day}"), [ahead, after_it]).there
            for day in (26, 27, 28, 29)
        ]
        assert found == [True, False, False, False]

    @pytest.mark.parametrize(("read", "there"), [("11:01", True), ("10:59", False)])
    def test_a_copy_that_was_begun_the_evening_before_is_of_the_day_in_which_it_lands(
        self, read: str, there: bool
    ) -> None:
        landed = receipt(None, utc("2026-11-26T02:00"), "full")
        begun = replace(landed, read_at=utc(f"2026-11-25T{read}"))
        assert self.arrived(spec(mode="full"), begun).there is there

    @pytest.mark.parametrize("mode", ["full", "watermark"])
    def test_a_backfill_s_window_of_old_days_makes_a_table_no_newer(self, mode: str) -> None:
        old = receipt(day_window(date(2025, 1, 1), BERLIN), utc("2026-11-26T08:00"))
        arrived = self.arrived(spec(mode=mode), old)
        assert arrived == Arrival(False, utc("2026-11-26T08:00"))

    def test_a_copy_of_another_table_than_the_spec_names_now_is_not_there(self) -> None:
        table = spec(mode="full", source_table="shop.orders")
        copies = [
            replace(receipt(None, utc(f"2026-11-26T0{hour}:00"), "full"), read_as=read)
            for hour, read in (
                (4, read_as(table, "full", None)),
                (5, read_as(spec(), "full", None)),
            )
        ]
        assert self.arrived(table, copies[0]).there
        late = self.arrived(table, *copies)
        assert not late.there and "source_table is now shop.orders" in late.reason

    @pytest.mark.parametrize(("name", "there"), [("modified", True), ("created_at", False)])
    def test_a_watermark_by_another_cursor_than_it_has_now_is_not_there(
        self, name: str, there: bool
    ) -> None:
        landed = replace(receipt(None, utc("2026-11-26T05:00"), "watermark"), cursor_name=name)
        due = deadline(spec(mode="watermark"))
        assert arrival(due, [landed], cursor="modified").there is there

    def test_a_copy_is_there_whatever_has_landed_since(self) -> None:
        copy = receipt(None, utc("2026-11-26T05:00"), "full")
        since = receipt(day_window(date(2025, 1, 1), BERLIN), utc("2026-11-26T06:00"))
        arrived = self.arrived(spec(mode="full"), copy, since)
        assert arrived == Arrival(True, utc("2026-11-26T06:00"))

    def test_what_was_lost_since_is_not_there(self) -> None:
        at = utc("2026-11-26T05:00")
        void = void_receipt(
            TableName("raw_data", "orders"), "the target is gone", flow_run_id="f",
            started_at=at, at=at, rows_lost=1,
        )  # fmt: skip
        loaded = receipt(None, utc("2026-11-26T04:00"), "full")
        assert not self.arrived(spec(mode="full"), loaded, void).there
        landed = replace(loaded, finished_at=utc("2026-11-26T05:01"), read_at=loaded.started_at)
        assert self.arrived(spec(mode="full"), void, landed).there

    def test_a_failure_tells_why(self) -> None:
        day = day_window(date(2026, 11, 25), BERLIN)
        failed = Failure(
            batch_id="b", table_name="raw_data.orders", mode="window", window_start=day.start,
            window_end=day.end, window_label=day.label, error="AccessError",
            reason="the server refuses", flow_run_id="f", failed_at=utc("2026-11-26T08:00"),
        )  # fmt: skip
        late = self.arrived(spec(), failures=(failed,))
        assert not late.there and "the server refuses" in late.reason

        landed = receipt(day, utc("2026-11-26T07:00"))  # and was run once more at eight
        assert self.arrived(spec(), landed, failures=(failed,)) == Arrival(True, landed.finished_at)


class TestTelling:
    @pytest.mark.parametrize(
        ("before", "there", "told"),
        [
            (None, True, DeadlineState.KEPT),
            (None, False, DeadlineState.LATE),
            (DeadlineState.LATE, False, None),
            (DeadlineState.LATE, True, DeadlineState.ARRIVED),
            (DeadlineState.ARRIVED, True, None),
            (DeadlineState.ARRIVED, False, None),
            (DeadlineState.KEPT, False, None),
        ],
    )
    def test_each_is_told_once(
        self, before: DeadlineState | None, there: bool, told: DeadlineState | None
    ) -> None:
        assert next_state(before, Arrival(there, None)) is told

    def test_what_was_there_in_time_is_not_asked_for_again(self) -> None:
        now = utc("2026-11-26T12:00")
        assert deadlines_to_judge(spec(), now, {}) == [deadline(spec())]
        for told in (DeadlineState.KEPT, DeadlineState.ARRIVED):
            assert deadlines_to_judge(spec(), now, {deadline(spec()).key: told}) == []

    def test_what_is_late_is_waited_for_also_on_the_next_days_but_not_for_ever(self) -> None:
        table = spec()
        told = {deadline(table).key: DeadlineState.LATE}
        next_day = deadlines_to_judge(table, utc("2026-11-27T12:00"), told)
        assert next_day == [deadline(table), deadline(table, "2026-11-27")]
        later = utc("2026-11-26T12:00") + timedelta(days=KEPT_DAYS + 1)
        assert deadline(table) not in deadlines_to_judge(table, later, told)

    def test_of_windows_those_that_passed_while_nobody_could_judge_are_judged(self) -> None:
        table, now = spec(), utc("2026-11-29T12:00")
        told = {deadline(table).key: DeadlineState.KEPT}
        days = ["2026-11-27", "2026-11-28", "2026-11-29"]
        assert deadlines_to_judge(table, now, told) == [deadline(table, day) for day in days]
        whole = spec(mode="full")  # a copy of today holds what one of the day before did
        assert deadlines_to_judge(whole, now, told) == [deadline(whole, days[-1])]
        assert deadlines_to_judge(table, now, {}) == [deadline(table, days[-1])]

    def test_no_two_tables_have_the_same_mark(self) -> None:
        named = [("a", "b_c"), ("a_b", "c"), ("a", "b$c"), ("a", "b")]
        keys = {deadline(spec(schema=schema, name=name)).key for schema, name in named}
        assert len(keys) == len(named)
        assert all(key.replace("_", "").isalnum() for key in keys)


class TestMessages:
    def test_a_late_table(self) -> None:
        late = Arrival(False, utc("2026-11-25T08:02"), "the <server> refuses")
        notice = late_table_notice(deadline(spec()), late)
        assert notice.subject == "Ferry: orders for 2026-11-25 is not loaded; due 09:30"
        assert notice.body.splitlines() == [
            "Due: 09:30 Europe/Berlin on 2026-11-26",
            "Last receipt: 2026-11-25 09:02 Europe/Berlin",
            "Reason: the \u2039server\u203a refuses",
            "What to look at: docs/runbook.md, A table is late",
        ]

    def test_one_that_has_arrived_after_all(self) -> None:
        there = Arrival(True, utc("2026-11-26T10:00"))
        notice = arrived_notice(deadline(spec()), there)
        assert notice.subject == "Ferry: orders for 2026-11-25 has arrived after all"
        assert notice.body.splitlines() == [
            "It was due 09:30 Europe/Berlin on 2026-11-26, and is there now.",
            "Last receipt: 2026-11-26 11:00 Europe/Berlin",
        ]

    def test_a_full_copy_is_told_by_its_day(self) -> None:
        notice = late_table_notice(deadline(spec(mode="full")), Arrival(False, None))
        assert "orders for 2026-11-26 is not loaded" in notice.subject
        assert "Last receipt: none" in notice.body

    def test_a_warehouse_that_cannot_be_asked(self) -> None:
        notice = unjudged_notice("warehouse", "ConnectionLostError: gone\nfor good")
        assert notice.subject.endswith("warehouse cannot be asked")
        assert "Reason: ConnectionLostError: gone for good" in notice.body
