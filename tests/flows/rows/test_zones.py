"""Each table counts its days in its own zone, through the deployments' own parameters, too."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from prefect.client.schemas.objects import StateType

from ferry.coverage.standings import Status
from ferry.statements import PARAM, Statement
from flows.backfill_tables import backfill
from flows.pipeline import make_batch
from flows.reconcile_tables import reconcile
from flows.show_coverage import show_coverage
from flows.sync_all import sync_all
from flows.sync_table import sync_table
from tests.harness.plain_runs import deployed, run_at

pytestmark = pytest.mark.usefixtures("plain_runs")

SEOUL, NEW_YORK = "Asia/Seoul", "America/New_York"
ONE_ROUTE = pytest.mark.parametrize("route", ["sqlite-folder-duckdb"], indirect=True)
DAY = date(2024, 1, 5)
SPEC = {"mode": "window", "key": ["id"], "cursor": "modified"}


@pytest.fixture
def shop(journey: Any) -> Any:
    """Orders, one every three hours of six days of Seoul's wall clock."""
    journey.sql("CREATE TABLE orders (id INT NOT NULL PRIMARY KEY, modified DATETIME)")
    hours = (datetime(2024, 1, 3) + n * timedelta(hours=3) for n in range(48))
    journey.sql("INSERT INTO orders VALUES (?, ?)", [(n, str(at)) for n, at in enumerate(hours)])
    journey.write_specs(orders={**SPEC, "zone": SEOUL})
    return journey


def days(shop: Any, table: str = "orders") -> list[str]:
    return [receipt.window_label for receipt in shop.receipts(table)]


def test_a_run_for_a_date_carries_that_day_of_the_table_s_own_zone(shop: Any) -> None:
    receipt = sync_table(**deployed(sync_table, "on-demand"), table="orders", run_date=DAY)

    assert receipt.window_label == "2024-01-05"
    assert receipt.window_start.astimezone(UTC) == datetime(2024, 1, 4, 15, tzinfo=UTC)
    assert shop.target("orders", "id, modified") == [
        (n, datetime(2024, 1, 5) + (n - 16) * timedelta(hours=3)) for n in range(16, 24)
    ]


@ONE_ROUTE
def test_a_zone_that_a_person_gives_to_a_run_wins(shop: Any) -> None:
    given = {**deployed(sync_table, "on-demand"), "zone": "UTC"}
    receipt = sync_table(**given, table="orders", run_date=DAY)
    assert receipt.window_start.astimezone(UTC) == datetime(2024, 1, 5, tzinfo=UTC)
    assert shop.target("orders", "MIN(modified)", "1") == [(datetime(2024, 1, 5, 9),)]


@ONE_ROUTE
def test_the_daily_run_carries_the_day_before_of_each_table_s_own_zone(shop: Any) -> None:
    shop.sql("CREATE TABLE visits (id INT NOT NULL PRIMARY KEY, modified DATETIME)")
    shop.write_specs(orders={**SPEC, "zone": SEOUL}, visits={**SPEC, "zone": NEW_YORK})
    given = deployed(sync_all, "daily")
    # Midnight of the 7th has passed in Seoul; in New York it is the 6th.
    start = datetime(2024, 1, 6, 15, 30, tzinfo=UTC)
    assert run_at(sync_all, start, **given).type is StateType.COMPLETED
    assert (days(shop), days(shop, "visits")) == (["2024-01-06"], ["2024-01-05"])

    run_at(sync_all, start, **given, zone="UTC")
    assert (days(shop)[-1], days(shop, "visits")[-1]) == ("2024-01-05", "2024-01-05")


@ONE_ROUTE
def test_a_window_without_an_offset_is_meant_in_the_table_s_own_zone(shop: Any) -> None:
    bounds = {"window_start": datetime(2024, 1, 5, 6), "window_end": datetime(2024, 1, 5, 12)}
    sync_table(**deployed(sync_table, "on-demand"), table="orders", **bounds)
    assert shop.target("orders", "id") == [(18,), (19,)]


@ONE_ROUTE
def test_backfills_and_coverage_count_days_in_the_table_s_own_zone(shop: Any) -> None:
    dates = {"start_date": DAY, "end_date": date(2024, 1, 7)}
    backfill(**deployed(backfill, "on-demand"), table="orders", **dates)
    assert sorted(days(shop)) == ["2024-01-05", "2024-01-06"]  # they land in any order
    assert [row[0] for row in shop.target("orders", "id")] == list(range(16, 32))

    for name in ("on-demand", "daily"):
        told = show_coverage(**deployed(show_coverage, name), table="orders", **dates)
        (found,) = told.values()
        assert found.count(Status.LOADED) == 2
    told = show_coverage(table="orders", **dates, zone="UTC")
    (found,) = told.values()
    assert found.count(Status.LOADED) == 1  # of the 6th, 15 hours are


@ONE_ROUTE
def test_a_day_that_a_zone_left_out_is_none_to_plan_tell_or_compare(journey: Any) -> None:
    apia = {**SPEC, "zone": "Pacific/Apia"}  # it went from 29 to 31 December 2011
    journey.sql("CREATE TABLE orders (id INT NOT NULL PRIMARY KEY, modified DATETIME)")
    rows = [(1, "2011-12-29 23:59:59"), (2, "2011-12-31 00:00:00"), (3, "2012-01-01 12:00:00")]
    journey.sql("INSERT INTO orders VALUES (?, ?)", rows)
    journey.write_specs(orders=apia)
    days = {"start_date": date(2011, 12, 29), "end_date": date(2012, 1, 2)}
    left = ["2011-12-29", "2011-12-31", "2012-01-01"]

    backfill(table="orders", **days)

    assert sorted(each.window_label for each in journey.receipts("orders")) == left
    (told,) = show_coverage(table="orders", **days).values()
    shown = Statement(
        f"SELECT day FROM ferry.coverage WHERE table_name = {PARAM} AND day < '2012-01-02' "
        "ORDER BY day",
        (f"{journey.schema}.orders",),
    )
    assert [str(day) for (day,) in journey.warehouse.fetch(shown)] == left
    assert told.count(Status.LOADED) == 3
    (audit,) = reconcile(table="orders", **days).values()
    assert [bucket.label for bucket in audit.buckets] == left
    assert not audit.different
    again = backfill(table="orders", **days, reprocess="all")
    assert [len(receipts) for receipts in again.values()] == [3]


@pytest.fixture
def visits(journey: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Visits, one every three hours of six days of UTC; carries them as if it were a moment."""
    journey.sql("CREATE TABLE visits (id INT NOT NULL PRIMARY KEY, seconds BIGINT)")
    first = int(datetime(2024, 1, 3, tzinfo=UTC).timestamp())
    journey.sql("INSERT INTO visits VALUES (?, ?)", [(n, first + 10800 * n) for n in range(48)])

    def carry(*moments: str, **given: Any) -> Any:
        spec = {"mode": "window", "key": ["id"], "cursor": "seconds", "cursor_unit": "s"}
        journey.write_specs(visits={**spec, **given})
        for moment in moments:
            at = datetime.fromisoformat(f"2024-01-{moment}+00:00")
            monkeypatch.setattr(make_batch, "scheduled_start", lambda at=at: at)
            sync_table(table="visits")
        return journey

    return carry


def told(text: str) -> list[tuple[str, dict[str, str]]]:
    """The flows and parameters that carry what nobody has, as the warnings of a log say them."""
    commands = re.findall(r"nothing has carried .* run '([^']*)'(.*)", text)
    return [(flow, dict(re.findall(r"--param (\S+)=(\S+)", given))) for flow, given in commands]


@ONE_ROUTE
@pytest.mark.parametrize(
    ("given", "moments", "missed"),
    [
        ({"zone": NEW_YORK}, ["06 09:00:00", "07 09:00:00"], [16, 17]),
        ({"every": "hour"}, ["05 16:05:00", "05 17:05:00"], [16, 17, 18, 19, 20]),
        ({"zone": SEOUL}, ["05 16:00:00", "06 16:00:00"], []),
        ({}, ["06 09:00:00", "07 09:00:00"], []),
    ],
    ids=["zone", "every", "a zone to the east", "as before"],
)
def test_rows_between_the_windows_of_one_spec_and_of_another_are_told(
    visits: Any,
    caplog: pytest.LogCaptureFixture,
    given: dict[str, str],
    moments: list[str],
    missed: list[int],
) -> None:
    visits("04 09:00:00", "05 09:00:00")
    journey = visits(*moments, **given)
    there = {row[0] for row in journey.target("visits", "id")}
    assert [n for n in range(max(there)) if n not in there] == missed
    commands = told(caplog.text)
    assert len(commands) == bool(missed)
    for flow, parameters in commands:
        assert flow == "sync-table/on-demand"
        assert sync_table(**parameters).rows_inserted == len(missed)


@ONE_ROUTE
def test_days_that_no_run_has_carried_are_told_by_the_next_one(
    visits: Any, caplog: pytest.LogCaptureFixture
) -> None:
    visits("04 09:00:00", "07 09:00:00")
    days = {"start_date": "2024-01-04", "end_date": "2024-01-06", "zone": "UTC"}
    assert told(caplog.text) == [("backfill/on-demand", {"table": "visits", **days})]
    visits("08 09:00:00", every="never")
    visits("10 09:00:00", catch_up=True, start_date="2024-01-03")
    visits("12 09:00:00", lookback=400_000)
    assert len(told(caplog.text)) == 1
