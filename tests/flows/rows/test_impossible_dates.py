"""Dates that no window can have yet, or ever, and rows that are dated where the calendar ends."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from prefect.client.schemas.objects import State, StateType

from ferry.coverage.standings import Status
from ferry.errors import RequestError
from ferry.schema import TableName
from flows.backfill_tables import backfill
from flows.build_summary import build_summary
from flows.show_coverage import show_coverage
from flows.sync_all import sync_all
from flows.sync_table import sync_table
from tests.harness.plain_runs import run_at

pytestmark = pytest.mark.usefixtures("plain_runs")

ONE_ROUTE = pytest.mark.parametrize("route", ["sqlite-folder-duckdb"], indirect=True)
CURSORS = pytest.mark.parametrize(
    ("cursor", "zone"),
    [("modified", "Asia/Seoul"), ("modified", "America/New_York"), ("day", "Asia/Seoul")],
)
BY_DAY = {"mode": "window", "key": ["id"], "null_cursors": "ignore"}
EDGES = [date(1, 1, 1), date(9999, 12, 31)]


@pytest.fixture
def shop(journey: Any) -> Any:
    """Events dated at an application's own lowest and highest date, and one between them."""
    journey.sql("CREATE TABLE events (id INT NOT NULL PRIMARY KEY, modified DATETIME, day DATE)")
    days = ["0001-01-01", "2023-01-05", "9999-12-31"]
    rows = [(n, f"{day} 00:00:00", day) for n, day in enumerate(days)]
    journey.sql("INSERT INTO events VALUES (?, ?, ?)", rows)
    journey.write_specs(events={**BY_DAY, "cursor": "modified"})
    return journey


def refused(state: State[Any]) -> str:
    assert state.type is StateType.FAILED
    return state.message or ""


@ONE_ROUTE
def test_a_run_for_a_day_where_the_calendar_ends_is_refused_and_says_so(shop: Any) -> None:
    bounds = {"window_start": datetime(1, 1, 1), "window_end": datetime(1, 1, 1, 1)}
    for zone in ("UTC", "Asia/Seoul", "America/New_York"):
        for day in EDGES:
            with pytest.raises(RequestError, match="where the calendar ends") as caught:
                sync_table(table="events", run_date=day, zone=zone)
            assert caught.value.table == f"{shop.schema}.events"
            state = sync_all(run_date=day, zone=zone, return_state=True)
            assert "where the calendar ends" in refused(state), (day, zone)
        with pytest.raises(RequestError, match="where the calendar ends"):
            sync_table(table="events", zone=zone, **bounds)


@ONE_ROUTE
def test_a_backfill_and_a_coverage_to_where_the_calendar_ends_are_refused(shop: Any) -> None:
    for zone in ("UTC", "Asia/Seoul"):
        for start, end in ((date(1, 1, 1), date(1, 1, 2)), (date(9999, 12, 30), date.max)):
            with pytest.raises(RequestError):
                backfill(table="events", start_date=start, end_date=end, zone=zone)
        state = show_coverage(start_date=date(1, 1, 1), zone=zone, return_state=True)
        assert "a start_date from 1970-01-01 on" in refused(state)
    spec = {"mode": "window", "key": ["id"], "start_date": date(1, 1, 1)}
    shop.write_specs(events=spec)
    state = show_coverage(zone="Asia/Seoul", return_state=True)
    assert "where the calendar ends" in refused(state)


@CURSORS
def test_the_first_day_that_a_window_can_have_carries_its_rows(
    shop: Any, cursor: str, zone: str
) -> None:
    shop.write_specs(
        events={**BY_DAY, "cursor": cursor, "zone": zone},
    )
    shop.sql("UPDATE events SET modified = '0001-01-03 12:00:00', day = '0001-01-03' WHERE id = 0")
    receipt = sync_table(table="events", run_date=date(1, 1, 3))
    assert (receipt.rows_inserted, receipt.window_label) == (1, "0001-01-03")
    assert shop.target("events", "id, modified") == [(0, datetime(1, 1, 3, 12))]
    again = sync_table(table="events", run_date=date(1, 1, 3))
    assert (again.rows_unchanged, again.changed) == (1, 0)


@CURSORS
def test_a_watermark_at_the_lowest_date_there_is_goes_on_from_there(
    shop: Any, cursor: str, zone: str
) -> None:
    spec = {"mode": "watermark", "key": ["id"], "cursor": cursor, "lag": 60, "zone": zone}
    shop.write_specs(events=spec)
    shop.sql("DELETE FROM events WHERE id > 0")
    first, second, third = (sync_table(table="events") for _ in range(3))
    assert (first.rows_inserted, second.changed, third.changed) == (1, 0, 0)
    assert shop.target("events", "id, day") == [(0, date(1, 1, 1))]
    shop.sql("INSERT INTO events VALUES (1, '2023-01-05 00:00:00', '2023-01-05')")
    assert sync_table(table="events").rows_inserted == 1
    assert len(shop.receipts("events")) == 4


@ONE_ROUTE
def test_the_coverage_of_a_watermark_that_began_at_the_lowest_date_can_be_told(shop: Any) -> None:
    spec = {"mode": "watermark", "key": ["id"], "cursor": "modified", "lag": 60}
    shop.write_specs(events={**spec, "zone": "Asia/Seoul"})
    shop.sql("DELETE FROM events WHERE id > 1")
    sync_table(table="events")
    assert show_coverage(table="events", return_state=True).type is StateType.COMPLETED


@ONE_ROUTE
def test_a_window_in_the_future_is_refused_before_anything_is_read(shop: Any) -> None:
    now = datetime.now(UTC)
    tomorrow = now.date() + timedelta(days=2)
    soon = {"window_start": now + timedelta(hours=1), "window_end": now + timedelta(hours=2)}
    for given in ({"run_date": tomorrow}, soon, {"run_date": date(2999, 1, 1)}):
        with pytest.raises(RequestError, match="is in the future") as caught:
            sync_table(table="events", **given)
        assert caught.value.table == f"{shop.schema}.events"
        assert caught.value.todo
        assert "the window is in the future" in refused(sync_all(**given, return_state=True))
    assert shop.warehouse.describe(TableName(shop.schema, "events")) is None


@ONE_ROUTE
def test_which_day_is_in_the_future_is_told_by_the_zone_and_the_scheduled_start(shop: Any) -> None:
    start = datetime(2023, 1, 5, 18, tzinfo=UTC)  # in Seoul, the 6th has begun
    for zone, state_type in (("UTC", StateType.FAILED), ("Asia/Seoul", StateType.COMPLETED)):
        given = {"table": "events", "run_date": "2023-01-06", "zone": zone}
        state = run_at(sync_table, start, **given)
        assert state.type is state_type, zone


@ONE_ROUTE
def test_a_summary_is_not_built_for_days_that_have_not_begun(survey: Any) -> None:
    survey.answer(5, [9])
    sync_table(table="nps", mode="full")
    today = datetime.now(UTC).date()
    for start in (today + timedelta(days=2), date(2999, 1, 1)):
        given = {"start_date": start, "end_date": start + timedelta(days=1)}
        message = refused(build_summary(summary="nps_summary", **given, return_state=True))
        assert f"{survey.journey.schema}.nps_summary" in message
        assert "the window is in the future" in message
    assert survey.labels() == ["all"]
    begun = {"start_date": today, "end_date": date(2999, 1, 1)}
    assert build_summary(summary="nps_summary", **begun, return_state=True).is_completed()


@ONE_ROUTE
def test_a_day_that_has_begun_is_carried_and_its_receipt_says_how_far(shop: Any) -> None:
    today = datetime.now(UTC).date()
    receipt = sync_table(table="events", run_date=today)
    assert receipt.status == "loaded"
    assert receipt.complete_until == receipt.read_at
    days = show_coverage(table="events", start_date=today - timedelta(days=1))
    (told,) = days.values()
    assert told.count(Status.LOADED) == 0
