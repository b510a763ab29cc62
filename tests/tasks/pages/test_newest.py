"""Which rows of a summary its run's page compares, and as what values it reads them."""

from __future__ import annotations

from datetime import date
from typing import Any

import pandas as pd
import pytest

from blocks.warehouses import DuckDBWarehouse
from ferry.summaries.files import parse_summary
from ferry.summaries.specs import SummarySpec
from tasks.pages import summary as summary_page
from tasks.pages.newest import NEWEST_ROWS, newest_rows, read_newest, show

YAML = """\
schema: analytics
owner: data team
description: Users by day and channel.
publish: by_window
partition: {column: day, by: day}
grain: [day, channel]
reads:
  raw_data.sessions: {column: created_at, fixed: true}
columns:
  day: {type: date, description: The day.}
  channel: {type: integer, description: Where they came from.}
  users: {type: bigint, description: How many.}
"""
QUERY = (
    "SELECT day, channel, users FROM raw_data.sessions "
    "WHERE created_at >= :window_start AND created_at < :window_end"
)


@pytest.fixture
def spec() -> SummarySpec:
    files = {"summary.yaml": YAML, "query.sql": QUERY}
    return parse_summary("by_channel", files, ("redshift", "duckdb"))


@pytest.fixture
def warehouse(duckdb_warehouse: DuckDBWarehouse) -> DuckDBWarehouse:
    duckdb_warehouse.execute("CREATE SCHEMA analytics")
    duckdb_warehouse.execute(
        "CREATE TABLE analytics.by_channel (day DATE, channel INT, users BIGINT)"
    )
    return duckdb_warehouse


@pytest.fixture
def told(spec: SummarySpec, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The page's text, of two frames."""
    pages: list[str] = []
    monkeypatch.setattr(
        summary_page, "create_markdown_artifact", lambda text, **_: pages.append(text)
    )

    def told(before: pd.DataFrame, after: pd.DataFrame) -> str:
        show(spec, before, after, [])
        return pages[-1]

    return told


def fill(warehouse: DuckDBWarehouse, *days: int, channels: int, first: int = 0) -> None:
    for day in days:
        warehouse.execute(
            f"INSERT INTO analytics.by_channel SELECT DATE '2023-01-{day:02}', c, 1 "
            f"FROM range({first}, {first + channels}) AS channels(c)"
        )


def test_days_that_are_gone_are_told_though_older_ones_come_into_sight(
    spec: SummarySpec, warehouse: DuckDBWarehouse, told: Any
) -> None:
    fill(warehouse, *range(1, 9), channels=100)
    before = newest_rows(spec, warehouse)
    warehouse.execute("DELETE FROM analytics.by_channel WHERE day > DATE '2023-01-04'")
    page = told(before, newest_rows(spec, warehouse))
    assert "none of the newest rows; against what was published before: " in page
    assert "300 gone" in page
    assert "too many of one time" not in page


def test_a_day_of_which_rows_are_out_of_sight_is_not_compared(
    spec: SummarySpec, warehouse: DuckDBWarehouse, told: Any
) -> None:
    fill(warehouse, 3, 4, 5, channels=150)
    before = newest_rows(spec, warehouse)
    fill(warehouse, 5, channels=20, first=150)
    after = newest_rows(spec, warehouse)
    assert len(before) == len(after) == NEWEST_ROWS
    text = told(before, after)
    assert (
        "the newest 320 rows; against what was published before: 20 new, 0 changed, 0 gone." in text
    )


@pytest.mark.parametrize("days", [(5,), (4, 5)])
def test_of_days_that_are_all_out_of_sight_nothing_is_said_to_be_new_or_gone(
    spec: SummarySpec, warehouse: DuckDBWarehouse, told: Any, days: tuple[int, ...]
) -> None:
    fill(warehouse, 3, 4, channels=250)
    before = newest_rows(spec, warehouse)
    fill(warehouse, *days, channels=500, first=250)
    text = told(before, newest_rows(spec, warehouse))
    assert (
        "the newest 400 rows, too many of one time to be compared with what was published before."
        in text
    )
    assert "**new**" not in text and "gone" not in text and "nothing was published" not in text


def test_what_is_published_first_is_shown_though_it_is_cut_off(
    spec: SummarySpec, warehouse: DuckDBWarehouse, told: Any
) -> None:
    before = newest_rows(spec, warehouse)
    fill(warehouse, 3, channels=500)
    text = told(before, newest_rows(spec, warehouse))
    assert "the newest 400 rows; nothing was published before." in text


def test_a_whole_number_beside_a_null_stays_what_it_is(
    spec: SummarySpec, warehouse: DuckDBWarehouse
) -> None:
    warehouse.execute(
        f"INSERT INTO analytics.by_channel VALUES ('2023-01-03', 1, {2**53 + 1}), "
        "('2023-01-02', 1, NULL)"
    )
    rows = read_newest(spec, warehouse).values.tolist()
    assert rows == [[date(2023, 1, 3), 1, 2**53 + 1], [date(2023, 1, 2), 1, None]]


@pytest.mark.parametrize("gained", ["users", "day"])
def test_what_was_published_before_is_compared_without_a_column_that_it_gains(
    spec: SummarySpec, warehouse: DuckDBWarehouse, told: Any, gained: str
) -> None:
    fill(warehouse, 3, channels=2)
    warehouse.execute(f"ALTER TABLE analytics.by_channel DROP COLUMN {gained}")
    before = newest_rows(spec, warehouse)
    assert len(before) == 2
    kind = {"day": "DATE", "users": "BIGINT"}[gained]
    warehouse.execute(f"ALTER TABLE analytics.by_channel ADD COLUMN {gained} {kind}")
    warehouse.execute(
        f"UPDATE analytics.by_channel SET {gained} = {{}}".format(
            {"day": "DATE '2023-01-03'", "users": "7"}[gained]
        )
    )
    text = told(before, newest_rows(spec, warehouse))
    said = {
        "users": "\n2 rows; against what was published before: 0 new, 0 changed, 0 gone.",
        "day": "2 rows; what was published before had another grain, and is not compared.",
    }
    assert said[gained] in text
