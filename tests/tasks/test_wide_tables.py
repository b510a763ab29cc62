"""Tables of very many columns: more than one SELECT can ask the sums of."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from flows.backfill_tables import backfill
from flows.sync_table import sync_table

pytestmark = pytest.mark.usefixtures("plain_runs")

NAMES = [f"c{n}" for n in range(1_000)]


@pytest.fixture
def shop(journey: Any) -> Any:
    wide = ", ".join(f"{name} INT" for name in NAMES)
    journey.sql(f"CREATE TABLE wide (id INT NOT NULL PRIMARY KEY, modified DATETIME, {wide})")
    marks = ", ".join("?" for _ in NAMES)
    values = [
        (key, f"2023-01-{day:02} 12:00:00", *range(key, key + len(NAMES)))
        for key, day in ((1, 1), (2, 1), (3, 2))
    ]
    journey.sql(f"INSERT INTO wide VALUES (?, ?, {marks})", values)
    return journey


def carried(shop: Any) -> list[tuple[int, ...]]:
    return [row[:1] + row[2:] for row in shop.target("wide")]


ROWS = [(key, *range(key, key + len(NAMES))) for key in (1, 2, 3)]


def test_a_table_of_a_thousand_columns_lands(shop: Any) -> None:
    shop.write_specs(wide={"mode": "full", "insert_rows": 0})
    receipt = sync_table(table="wide")
    assert carried(shop) == ROWS
    assert receipt.rows_copied == receipt.rows_inserted == 3


@pytest.mark.parametrize(
    "route", ["sqlite-folder-duckdb", "mysql-folder-postgres"], indirect=True
)  # half a minute of Redshift's grammar tells no more
def test_windows_of_a_thousand_columns_land_together(shop: Any) -> None:
    shop.write_specs(wide={"mode": "window", "key": ["id"], "cursor": "modified"})
    backfill(table="wide", start_date=date(2023, 1, 1), end_date=date(2023, 1, 3))
    assert carried(shop) == ROWS
    assert [each.rows_copied for each in shop.receipts("wide")] == [2, 1]
    shop.sql("UPDATE wide SET c999 = 7 WHERE id = 3")
    receipt = sync_table(table="wide", run_date=date(2023, 1, 2))
    assert (receipt.rows_updated, carried(shop)[2][-1]) == (1, 7)
