"""A cursor of Unix time is a cursor of time: windows, backfills, coverage and watermarks."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from blocks.sources import MySQLSource
from ferry.batch import ExtractQuery
from ferry.errors import DataError, SchemaError
from ferry.schema import TableName
from flows.backfill_tables import backfill
from flows.reconcile_tables import reconcile
from flows.show_coverage import show_coverage
from flows.sync_table import sync_table

pytestmark = pytest.mark.usefixtures("plain_runs")

NOON = int(datetime(2023, 1, 5, 12, tzinfo=UTC).timestamp())
DAY = 86_400
MIDNIGHT = NOON - DAY // 2
HOUR = 3_600
UNITS = {"s": ("INT UNSIGNED", 1), "ms": ("BIGINT", 1_000), "us": ("BIGINT UNSIGNED", 1_000_000)}
ONE_ROUTE = pytest.mark.parametrize("route", ["sqlite-folder-duckdb"], indirect=True)
WINDOW = {"mode": "window", "key": ["id"], "cursor": "created_at", "insert_rows": 0}


def make(journey: Any, *moments: float, unit: str = "s", **spec: Any) -> None:
    """A table `hits` of these moments, in seconds, numbered from 1."""
    declared, each = UNITS[unit]
    if min(moments) < 0:
        declared = "BIGINT"
    if not isinstance(journey.source, MySQLSource):
        declared = "INTEGER"
    journey.sql(f"CREATE TABLE hits (id INT NOT NULL PRIMARY KEY, created_at {declared} NULL)")
    journey.sql("CREATE INDEX by_created_at ON hits (created_at)")
    add(journey, *moments, each=each)
    journey.write_specs(hits={**WINDOW, "cursor_unit": unit, **spec})


def add(journey: Any, *moments: float, first: int = 1, each: int = 1) -> None:
    rows = [(n, round(moment * each)) for n, moment in enumerate(moments, first)]
    journey.sql("INSERT INTO hits VALUES (?, ?)", rows)


@pytest.mark.parametrize("unit", UNITS)
def test_a_day_carries_exactly_its_rows(journey: Any, unit: str):
    edge = 1 / UNITS[unit][1]  # the next moment that the column can tell
    make(journey, MIDNIGHT - edge, MIDNIGHT, MIDNIGHT + DAY - edge, MIDNIGHT + DAY, unit=unit)

    receipt = sync_table(table="hits", run_date=date(2023, 1, 5))
    again = sync_table(table="hits", run_date=date(2023, 1, 5))

    assert journey.target("hits", "id") == [(2,), (3,)]
    assert (receipt.window_label, receipt.cursor_name) == ("2023-01-05", "created_at")
    assert (again.rows_unchanged, again.changed) == (2, 0)


def test_a_backfill_carries_its_days_by_the_index_and_coverage_tells_them(journey: Any):
    make(journey, *(NOON + day * DAY for day in range(-200, 5)))
    days = {"start_date": date(2023, 1, 4), "end_date": date(2023, 1, 8)}
    spec = journey.source.describe(TableName("", "hits"))
    one_day = ExtractQuery(spec, "created_at", MIDNIGHT, MIDNIGHT + DAY)

    receipts = backfill(table="hits", **days)
    told = show_coverage(table="hits", **days, return_state=True)

    assert len(receipts[f"{journey.schema}.hits"]) == 4
    assert len(journey.target("hits")) == 4
    assert told.message == "hits: 4 days loaded"
    assert journey.source.estimate_rows(one_day) <= 2


def test_a_watermark_continues_from_the_time_less_the_lag_and_rows_ahead_hide_nothing(
    journey: Any,
):
    now = int(time.time())
    make(journey, now - 900, now - 600, now + 10 * DAY, mode="watermark", lag=90)
    sync_table(table="hits")
    add(journey, now - 700, now - 1, first=11)

    second = sync_table(table="hits")

    assert journey.target("hits", "id") == [(1,), (2,), (3,), (12,)]  # 11 came too late for the lag
    assert second.window_start == datetime.fromtimestamp(now - 690, UTC)
    assert second.window_label.startswith("from 20")
    assert second.complete_until == second.read_at - timedelta(seconds=90)


def test_a_table_without_a_key_is_appended_to_and_no_row_doubled(journey: Any):
    now = int(time.time())
    make(journey, now - 900, now - 600, mode="watermark", key=[])
    sync_table(table="hits")
    add(journey, now - 600, now - 500, first=11)

    receipt = sync_table(table="hits")

    assert journey.target("hits", "id") == [(1,), (2,), (11,), (12,)]
    assert (receipt.rows_extracted, receipt.rows_inserted, receipt.rows_unchanged) == (3, 2, 1)


@pytest.mark.parametrize("mode", ["window", "watermark"])
def test_rows_without_a_time_are_refused_or_left_behind_as_the_spec_says(journey: Any, mode: str):
    make(journey, NOON, 0, HOUR, -HOUR, mode=mode)
    journey.sql("INSERT INTO hits VALUES (5, NULL)")
    days = (date(2023, 1, 5), date(1970, 1, 1), date(1969, 12, 31))
    dates = {"run_date": days[0]} if mode == "window" else {}
    with pytest.raises(DataError, match=r"NULL, 0.* would never be carried") as refused:
        sync_table(table="hits", **dates)
    assert "found 2 rows" in str(refused.value)

    journey.write_specs(hits={**WINDOW, "mode": mode, "cursor_unit": "s", "null_cursors": "ignore"})
    assert sync_table(table="hits", **dates).status == "loaded"
    if mode == "window":
        assert journey.target("hits", "id") == [(1,)]
        for day in days:
            sync_table(table="hits", run_date=day)
    assert journey.target("hits", "id") == [(1,), (3,), (4,)]


def test_rows_that_are_left_behind_without_a_time_are_compared_by_no_day(journey: Any):
    make(journey, HOUR, 0, 2 * HOUR, null_cursors="ignore")
    day = {"start_date": date(1970, 1, 1), "end_date": date(1970, 1, 2)}
    backfill(table="hits", **day)

    def compared() -> str:
        state = reconcile(table="hits", **day, repair="carry", return_state=True)
        return str(state.message).partition("hits: ")[2]

    assert compared() == "1 day compared, 2 rows, equal"
    journey.sql("UPDATE hits SET created_at = 0 WHERE id = 1")
    assert compared() == "1 day compared, 2 rows, equal, 1 pending"
    sync_table(table="hits", mode="full")  # which carries rows without a time as well
    assert compared() == "1 day compared, 1 rows, equal"
    assert len(journey.target("hits")) == 3


@ONE_ROUTE
def test_a_column_that_the_source_gained_is_filled_in_by_the_days_that_had_it_not(journey: Any):
    make(journey, NOON, NOON + DAY, NOON + 2 * DAY)
    for day in (5, 6, 7):
        sync_table(table="hits", run_date=date(2023, 1, day))
    days = {"start_date": date(2023, 1, 5), "end_date": date(2023, 1, 8)}
    journey.sql("ALTER TABLE hits ADD COLUMN kind VARCHAR(9) DEFAULT 'web'")

    sync_table(table="hits", run_date=date(2023, 1, 5))
    told = show_coverage(table="hits", **days, return_state=True)

    assert told.message == "hits: 2 days missing, 0 failed of 3"


@ONE_ROUTE
def test_a_unit_without_a_number_is_refused(journey: Any):
    journey.sql("CREATE TABLE hits (id INT NOT NULL PRIMARY KEY, created_at DATETIME NOT NULL)")
    journey.write_specs(hits={**WINDOW, "cursor_unit": "s"})
    with pytest.raises(SchemaError, match="'created_at' is no whole number"):
        sync_table(table="hits", run_date=date(2023, 1, 5))


@ONE_ROUTE
def test_a_number_without_a_unit_is_asked_for_it(journey: Any):
    make(journey, NOON, cursor_unit=None)
    with pytest.raises(SchemaError, match="`cursor_unit: s`, ms or us"):
        sync_table(table="hits", run_date=date(2023, 1, 5))


def test_a_wrong_unit_carries_no_row_in_silence(journey: Any):
    make(journey, NOON, unit="ms", cursor_unit="s", mode="watermark")
    sync_table(table="hits")
    add(journey, NOON + 60, first=2, each=1_000)
    sync_table(table="hits")
    assert journey.target("hits", "id") == [(1,), (2,)]
