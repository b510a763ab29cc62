"""A receipts table that an older Ferry made: it gets the columns that it lacks, and stays right."""

from __future__ import annotations

import dataclasses
from datetime import date
from typing import Any

import pytest

from ferry.receipts.receipt import Receipt
from flows.backfill_tables import backfill
from flows.show_coverage import show_coverage
from flows.sync_table import sync_table

pytestmark = pytest.mark.usefixtures("plain_runs")

NEW = [each.name for each in dataclasses.fields(Receipt) if each.default is not dataclasses.MISSING]
"""What receipts have gained since the first: each has a default, for those that lack it."""

DAY = date(2023, 1, 1)


def test_a_receipts_table_of_an_older_ferry_is_read_and_gets_its_new_columns(journey: Any) -> None:
    journey.sql("CREATE TABLE visits (id BIGINT NOT NULL PRIMARY KEY, modified DATETIME NOT NULL)")
    journey.sql("INSERT INTO visits VALUES (1, '2023-01-01 10:00:00')")
    journey.write_specs(visits={"mode": "window", "key": ["id"]})
    sync_table(table="visits", run_date=DAY)
    for column in NEW:
        journey.warehouse.execute(f"ALTER TABLE ferry.receipts DROP COLUMN {column}")
    show_coverage(table="visits")
    skipped = backfill(table="visits", start_date=DAY, end_date=date(2023, 1, 2))
    assert skipped == {f"{journey.schema}.visits": []}  # what the older Ferry loaded is loaded
    sync_table(table="visits", run_date=DAY)
    older, newer = journey.receipts("visits")
    assert (older.status, newer.status) == ("loaded", "loaded")
    assert newer.rows_unchanged == 1
