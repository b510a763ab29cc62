"""What a spec that was wrong has carried, or replaced, is not taken for what it asks for now."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from flows.backfill_tables import backfill
from flows.sync_table import sync_table
from tests.flows.pipeline.full_copy import full_copy

pytestmark = pytest.mark.usefixtures("plain_runs")

DAY = date(2023, 1, 5)
NOON, LATER = "2023-01-05 12:00:00", "2023-01-05 13:00:00"


def test_a_full_copy_that_is_tried_again_from_another_table_is_another_batch(journey: Any) -> None:
    for number, table in enumerate(("asked", "mistaken")):
        journey.sql(f"CREATE TABLE {table} (id INT NOT NULL PRIMARY KEY)")
        journey.sql(f"INSERT INTO {table} VALUES (?)", [(number,)])
    spec = {"mode": "full", "key": ["id"]}
    journey.write_specs(people={**spec, "source_table": "mistaken"})
    full_copy("people", "the run")
    assert full_copy("people", "the run", attempt=2).rows_inserted == 1  # it is found
    assert len(journey.receipts("people")) == 1

    journey.write_specs(people={**spec, "source_table": "asked"})
    full_copy("people", "the run", attempt=3)
    assert journey.target("people") == [(0,)]


@pytest.mark.parametrize("key", [["parcel", "line"], []], ids=["keyed", "keyless"])
def test_a_watermark_does_not_go_on_where_another_key_has_replaced_rows_since(
    journey: Any, key: list[str]
) -> None:
    journey.sql("CREATE TABLE parcels (parcel INT NOT NULL, line INT NOT NULL, modified DATETIME)")
    rows = [(1, 1, NOON), (1, 2, LATER), (2, 1, NOON)]
    journey.sql("INSERT INTO parcels VALUES (?, ?, ?)", rows)
    right = {"mode": "watermark", "key": key, "cursor": "modified"}
    journey.write_specs(parcels=right)
    sync_table(table="parcels", mode="full")

    journey.sql("UPDATE parcels SET modified = ? WHERE line = 2", [("2023-01-05 14:00:00",)])
    journey.write_specs(parcels={**right, "key": ["parcel"], "on_repeated_key": "newest"})
    backfill(table="parcels", start_date=DAY, end_date=date(2023, 1, 6), reprocess="all")
    target = journey.target("parcels", "parcel, line", "parcel, line")
    assert target == [(1, 2), (2, 1)]

    journey.write_specs(parcels=right)
    assert sync_table(table="parcels").rows_extracted == 3
    assert journey.target("parcels", "parcel, line", "parcel, line") == [(1, 1), (1, 2), (2, 1)]
    assert sync_table(table="parcels").rows_extracted < 3
