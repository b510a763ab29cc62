"""What a run shows on its page: the receipt, and one line of what changed."""

from datetime import date
from typing import Any

import pytest

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
