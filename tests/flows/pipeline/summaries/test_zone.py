"""The days of a summary are those of its own zone wherever a column has a zone."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from ferry.statements import PARAM, Statement
from flows.build_summary import build_summary

pytestmark = pytest.mark.usefixtures("plain_runs")

QUERY = """SELECT CAST('2023-01-05' AS DATE) AS day, COUNT(*) AS readings
FROM {schema}.readings
WHERE CAST(:window_start AS TIMESTAMP) < CAST(:window_end AS TIMESTAMP)
"""
SPEC = """
schema: {schema}
warehouse: {warehouse}
owner: a test
description: Readings by the day in Seoul.
publish: by_window
partition: {{column: day, by: day}}
grain: [day]
zone: {zone}
reads:
  {schema}.readings: {{column: read_at, fixed: true}}
columns:
  day: {{type: date, description: The day.}}
  readings: {{type: bigint, description: How many.}}
input_check:
  - name: no reading beyond 10
    bounds: reading
    table: {schema}.readings
    max: 10
"""


def named(journey: Any, zone: str) -> dict[str, str]:
    return {"schema": journey.schema, "warehouse": journey.name, "zone": zone}


def readings(journey: Any, folder: Path, monkeypatch: Any, spec: str, query: str) -> str:
    """An empty table of readings in the warehouse, and a summary of it; the table's name."""
    own = folder / "summaries" / "by_day"
    own.mkdir(parents=True)
    (own / "summary.yaml").write_text(spec)
    (own / "query.sql").write_text(query.format(schema=journey.schema))
    monkeypatch.setenv("FERRY_SUMMARIES", str(folder / "summaries"))
    journey.write_specs(readings={"mode": "full"})
    table = f'"{journey.schema}".readings'
    journey.warehouse.execute(f'CREATE SCHEMA "{journey.schema}"')
    journey.warehouse.execute(
        f"CREATE TABLE {table} (read_at TIMESTAMP WITH TIME ZONE, reading INTEGER)"
    )
    return table


MOMENTS = {
    "Asia/Seoul": [
        (datetime(2023, 1, 4, 14, 59, 59, 999_999), False),
        (datetime(2023, 1, 4, 15), True),
        (datetime(2023, 1, 5, 14, 59, 59, 999_999), True),
        (datetime(2023, 1, 5, 15), False),
    ],
    "America/New_York": [
        (datetime(2023, 1, 5, 4, 59), False),
        (datetime(2023, 1, 6, 4, 59), True),
    ],
    "UTC": [(datetime(2023, 1, 5), True), (datetime(2023, 1, 6), False)],
}
"""By zone: moments of UTC, and whether they are on its fifth."""


@pytest.mark.parametrize("zone", MOMENTS)
def test_an_input_check_looks_at_the_hours_of_the_day_in_the_summary_s_zone(
    journey: Any, tmp_path: Path, monkeypatch: Any, zone: str
):
    warehouse = journey.warehouse
    table = readings(journey, tmp_path, monkeypatch, SPEC.format_map(named(journey, zone)), QUERY)
    build_summary(summary="by_day")  # whole, so that a day can be built alone from now on
    put = f"INSERT INTO {table} VALUES ({PARAM}, 99)"
    days = {"start_date": date(2023, 1, 5), "end_date": date(2023, 1, 6)}
    for moment, inside in MOMENTS[zone]:
        warehouse.execute(Statement(put, (moment.replace(tzinfo=UTC),)))

        state = build_summary(summary="by_day", **days, return_state=True)

        assert state.is_failed() is inside, (moment, state.message)
        assert ("no reading beyond 10" in state.message) is inside
        warehouse.execute(f"DELETE FROM {table}")


HOURS = """SELECT hour, COUNT(*) AS readings FROM (
  SELECT DATE_TRUNC('hour', r.read_at) AS hour FROM {schema}.readings AS r
  WHERE r.read_at >= :window_start AND :window_end > r.read_at
) AS hours GROUP BY hour
"""
BY_HOUR = """
schema: {schema}
warehouse: {warehouse}
owner: a test
description: Readings by the hour; a day is the zone's.
publish: by_window
partition: {{column: hour, by: day}}
grain: [hour]
zone: {zone}
retries: 0
reads:
  {schema}.readings: {{column: read_at, fixed: true}}
columns:
  hour: {{type: timestamptz, description: The hour.}}
  readings: {{type: bigint, description: How many.}}
input_check:
  - name: readings of the day
    sql: SELECT COUNT(*) FROM (SELECT read_at FROM {schema}.readings) AS r
      WHERE read_at >= CAST(:window_start AS TIMESTAMP) AND read_at < :window_end
    equals: {expected}
    severity: {severity}
output_check:
  - name: hours of the day
    sql: SELECT COUNT(*) FROM {schema}.by_day WHERE hour BETWEEN :window_start AND :window_end
    equals: {expected}
    severity: {severity}
"""


@pytest.mark.parametrize("zone", ["Asia/Seoul", "America/New_York"])
def test_a_summary_whose_partition_has_a_zone_is_replaced_by_the_days_of_the_summary_s(
    journey: Any, tmp_path: Path, monkeypatch: Any, zone: str
):
    def spec(expected: int, severity: str) -> str:
        return BY_HOUR.format(**named(journey, zone), expected=expected, severity=severity)

    def at(*hours: tuple[int, int]) -> list[datetime]:
        return [datetime(2023, 1, day, hour, tzinfo=ZoneInfo(zone)) for day, hour in hours]

    warehouse = journey.warehouse
    table = readings(journey, tmp_path, monkeypatch, spec(0, "warn"), HOURS)
    put = f"INSERT INTO {table} VALUES ({PARAM}, 1)"
    for moment in at((4, 21), (4, 23), (5, 1), (5, 23), (6, 1), (6, 2)):
        warehouse.execute(Statement(put, (moment.astimezone(UTC),)))
    build_summary(summary="by_day")
    for moment in at((4, 22), (5, 0), (5, 22), (6, 0)):
        warehouse.execute(Statement(put, (moment.astimezone(UTC),)))

    (tmp_path / "summaries" / "by_day" / "summary.yaml").write_text(spec(4, "fail"))
    build_summary(summary="by_day", start_date=date(2023, 1, 5), end_date=date(2023, 1, 6))

    hours = journey.target("by_day", "hour, readings", order="1")
    expected = at((4, 21), (4, 23), (5, 0), (5, 1), (5, 22), (5, 23), (6, 1), (6, 2))
    assert hours == [(moment.astimezone(UTC), 1) for moment in expected]
