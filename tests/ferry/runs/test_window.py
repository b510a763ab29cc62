"""What a message says as Window, flow by flow, with and without dates."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from ferry.runs.window import by_schedule, window_text
from ferry.specs.tables_file import TableSpecs, parse_table_specs

START = datetime(2026, 11, 26, 16, tzinfo=UTC)
SPECS = """
defaults: {source: shop, stage: lake, warehouse: warehouse, mode: window, key: [id]}
tables:
  nps: {}
  seoul: {zone: Asia/Seoul, every: never}
  again: {lookback: 86400, every: never}
  hits: {every: hour}
  orders: {mode: full}
  stock_prices: {every: never, start_date: 2019-12-30}
"""
HOUR = {"window_start": "2026-11-20T03:00:00+00:00", "window_end": "2026-11-20T04:00:00+00:00"}
HOUR_LABEL = "2026-11-20T03:00+00:00/2026-11-20T04:00+00:00"

TOLD: list[tuple[str, dict[str, Any], str | None]] = [
    ("sync-table", {"table": "nps"}, "2026-11-25"),
    ("sync-table", {"table": "seoul"}, "2026-11-26"),
    ("sync-table", {"table": "seoul", "zone": "UTC"}, "2026-11-25"),
    ("sync-table", {"table": "again"}, "2026-11-25"),
    ("sync-table", {"table": "hits"}, "2026-11-26T15:00+00:00/2026-11-26T16:00+00:00"),
    ("sync-table", {"table": "nps", "run_date": "2020-02-29"}, "2020-02-29"),
    ("sync-table", {"table": "nps", **HOUR}, HOUR_LABEL),
    ("sync-table", {"table": "orders"}, "full"),
    ("sync-table", {"table": "nps", "mode": "full"}, "full"),
    ("sync-all", {"every": "day"}, "2026-11-25"),
    ("sync-all", {}, "2026-11-25"),
    ("sync-all", {"every": "hour"}, "2026-11-26T15:00+00:00/2026-11-26T16:00+00:00"),
    ("sync-all", {"tables": ["nps", "seoul"]}, None),
    ("sync-all", {"tables": ["nps", "seoul"], "run_date": "2020-02-29"}, "2020-02-29"),
    ("sync-all", {"tables": ["nps", "seoul"], **HOUR}, " to ".join(HOUR.values())),
    ("sync-all", {"every": "day", **HOUR}, HOUR_LABEL),
    ("sync-all", {"tables": ["orders"]}, None),
    ("sync-all", {"tables": ["orders", "nps"], "zone": "Asia/Seoul"}, "2026-11-26"),
    ("sync-all", {"tables": ["hits"]}, "2026-11-26T15:00+00:00/2026-11-26T16:00+00:00"),
    ("sync-all", {"tables": ["nps"], "every": "hour"}, "2026-11-25"),
    ("sync-all", {"tables": ["nps", "hits"]}, None),
    ("sync-all", {"tables": ["nps", "hits"], "zone": "UTC"}, None),
    ("sync-all", {"tables": ["nps", "hits"], "run_date": "2020-02-29"}, "2020-02-29"),
    ("sync-all", {"tables": ["nps", "again"]}, "2026-11-25"),
    ("sync-all", {"tables": ["all"], "run_date": "2020-02-29"}, "2020-02-29"),
    ("sync-all", {"tables": ["all"]}, None),
    ("update-symbols", {}, "2026-11-19 to 2026-11-25"),
    ("update-symbols", {"days": 1}, "2026-11-25"),
    ("update-symbols", {"zone": "Asia/Seoul", "days": 2}, "2026-11-25 to 2026-11-26"),
    ("update-symbols", {"run_date": "2020-03-01", "days": 2}, "2020-02-29 to 2020-03-01"),
    ("update-symbols", {"run_date": "2020-01-01"}, "2019-12-30 to 2020-01-01"),
    ("update-symbols", {"run_date": "2019-12-01"}, "2019-12-01"),
    (
        "update-symbols",
        {"window_start": "2020-01-01", "window_end": "2023-01-01"},
        "2020-01-01 to 2022-12-31",
    ),
    (
        "backfill",
        {"table": "nps", "start_date": "2020-01-01", "end_date": "2023-01-01"},
        "2020-01-01 to 2022-12-31",
    ),
    (
        "backfill",
        {"table": ["nps", "seoul"], "start_date": "2020-01-01", "end_date": "2020-01-02"},
        "2020-01-01",
    ),
    ("coverage", {}, "all days"),
    ("coverage", {"start_date": "2020-01-01"}, "from 2020-01-01 on"),
    ("coverage", {"end_date": "2023-01-01"}, "up to 2022-12-31"),
    (
        "coverage",
        {"table": "nps", "start_date": "2020-01-01", "end_date": "2023-01-01"},
        "2020-01-01 to 2022-12-31",
    ),
    ("build-summary", {"summary": "nps_summary"}, "all days"),
    ("reconcile", {"table": "all", "last_days": 35}, "the last 35 days"),
    ("build-summary", {"table": "raw_data.nps", "start_date": "2020-01-01"}, "from 2020-01-01 on"),
    (
        "build-summary",
        {"summary": "mau_summary", "start_date": "2020-01-01", "end_date": "2020-01-02"},
        "2020-01-01",
    ),
]


def specs() -> TableSpecs:
    return parse_table_specs(SPECS, "tables.yaml")


@pytest.mark.parametrize(("flow", "given", "window"), TOLD)
def test_the_window_of_every_flow_is_told_as_people_say_it(
    flow: str, given: dict[str, Any], window: str | None
) -> None:
    assert window_text(flow, given, START, specs) == window


@pytest.mark.parametrize(("flow", "given", "window"), TOLD)
def test_a_run_with_dates_never_tells_its_scheduled_start_as_its_window(
    flow: str, given: dict[str, Any], window: str | None
) -> None:
    dates = [value for name, value in given.items() if "date" in name or "window" in name]
    told = by_schedule(given, START)
    assert told == (None if dates else "of the run scheduled for 2026-11-26 16:00 UTC")
