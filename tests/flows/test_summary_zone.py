"""Checks of what a summary reads look at the hours of its days, in its own zone."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from flows.build_summary import build_summary

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


@pytest.mark.parametrize(
    ("zone", "moment", "inside"),
    [
        ("Asia/Seoul", datetime(2023, 1, 4, 14, 59, 59, 999_999), False),
        ("Asia/Seoul", datetime(2023, 1, 4, 15), True),
        ("Asia/Seoul", datetime(2023, 1, 5, 14, 59, 59, 999_999), True),
        ("Asia/Seoul", datetime(2023, 1, 5, 15), False),
        ("America/New_York", datetime(2023, 1, 5, 4, 59), False),
        ("America/New_York", datetime(2023, 1, 6, 4, 59), True),
        ("UTC", datetime(2023, 1, 5), True),
        ("UTC", datetime(2023, 1, 6), False),
    ],
)
def test_an_input_check_looks_at_the_hours_of_the_day_in_the_summary_s_zone(
    journey: Any, tmp_path: Path, monkeypatch: Any, zone: str, moment: datetime, inside: bool
):
    warehouse = journey.warehouse
    folder = tmp_path / "summaries" / "by_day"
    folder.mkdir(parents=True)
    text = SPEC.format(schema=journey.schema, warehouse=journey.name, zone=zone)
    (folder / "summary.yaml").write_text(text)
    (folder / "query.sql").write_text(QUERY.format(schema=journey.schema))
    monkeypatch.setenv("FERRY_SUMMARIES", str(tmp_path / "summaries"))
    journey.write_specs(readings={"mode": "full"})
    warehouse.execute(f'CREATE SCHEMA "{journey.schema}"')
    table = f'"{journey.schema}".readings'
    warehouse.execute(f"CREATE TABLE {table} (read_at TIMESTAMP WITH TIME ZONE, reading INTEGER)")
    build_summary(summary="by_day")  # whole, so that a day can be built alone from now on
    mark = warehouse.capabilities.placeholder
    warehouse.execute(f"INSERT INTO {table} VALUES ({mark}, 99)", (moment.replace(tzinfo=UTC),))

    state = build_summary(
        summary="by_day",
        start_date=date(2023, 1, 5),
        end_date=date(2023, 1, 6),
        return_state=True,
    )

    assert state.is_failed() is inside, state.message
    assert ("no reading beyond 10" in state.message) is inside
