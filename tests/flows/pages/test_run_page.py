"""What a run shows on its page and in its message: the receipt, and what was left out."""

from datetime import date
from typing import Any

import pytest

from flows.backfill_tables import backfill
from flows.sync_table import sync_table
from tests.harness.api import Api


@pytest.fixture
def shop(journey: Any) -> Any:
    journey.sql("CREATE TABLE my_orders (id INT NOT NULL PRIMARY KEY, modified DATETIME)")
    rows = [(n, "2023-01-05 10:00:00") for n in range(1, 1235)]
    journey.sql("INSERT INTO my_orders VALUES (?, ?)", rows)
    journey.write_specs(my_orders={"mode": "window", "key": ["id"], "insert_rows": 0})
    return journey


def test_the_receipt_is_on_the_run_s_page(shop: Any, api: Api) -> None:
    receipt = sync_table(table="my_orders", run_date=date(2023, 1, 5))

    (artifact,) = api.artifacts(receipt.flow_run_id)
    assert artifact.type == "markdown"
    assert artifact.key == f"receipt-{shop.schema}-my-orders".replace("_", "-")
    page = str(artifact.data)
    assert f"### {shop.schema}.my_orders, 2023-01-05" in page
    for line in ("extracted", "staged", "copied", "inserted"):
        assert f"| {line} | 1,234 |" in page
    for line in ("updated", "deleted", "unchanged"):
        assert f"| {line} | 0 |" in page
    for part in (receipt.batch_id, receipt.manifest_uri, receipt.checksum, receipt.code_version):
        assert part in page
    summary = f"{shop.schema}.my_orders 2023-01-05: 1,234 read, 1,234 inserted, 0 updated"
    assert str(artifact.description).startswith(summary)
    run = api.flow_run(receipt.flow_run_id)
    assert run.state is not None
    assert run.state.message == artifact.description


@pytest.mark.parametrize("route", ["sqlite-folder-duckdb"], indirect=True)
def test_a_backfill_of_all_leaves_out_and_names_what_has_no_such_windows(
    shop: Any, api: Api
) -> None:
    shop.sql("CREATE TABLE clicks (id BIGINT NOT NULL PRIMARY KEY)")
    shop.sql("CREATE TABLE days (id INT NOT NULL PRIMARY KEY, day DATE)")
    clicks = {"mode": "watermark", "key": ["id"], "cursor": "id"}
    days = {"mode": "window", "key": ["id"], "cursor": "day"}
    shop.write_specs(**shop.specs(), clicks=clicks, days=days)
    january = {"start_date": date(2023, 1, 5), "end_date": date(2023, 1, 6)}

    def told(table: Any, **given: Any) -> Any:
        return backfill(table=table, **january, **given, return_state=True)

    by_the_hour = told("all", granularity="hour")
    assert by_the_hour.is_completed(), by_the_hour.message
    page = {a.key: str(a.data) for a in api.artifacts(by_the_hour.state_details.flow_run_id)}
    for line in (
        f"{shop.schema}.clicks is left out: a watermark of numbers, 'id', has no time to cut",
        f"{shop.schema}.days is left out: its cursor 'day' has no time of day, so it has no win",
    ):
        assert line in page["backfill-plan"]
        assert line in by_the_hour.message
    assert "24 windows carried" in by_the_hour.message
    dry = told("all", dry_run=True)
    assert dry.is_completed() and f"{shop.schema}.clicks is left out" in dry.message
    assert "days: 1 of 1 windows to carry" in dry.message

    assert "'id' cannot be the cursor of mode window" in told("clicks").message
    assert "'day' has no time of day" in told(["days"], granularity="hour").message
    shop.write_specs(clicks=clicks)
    assert "none of the tables can be backfilled" in told("all").message
