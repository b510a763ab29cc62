"""carry-windows carries what a backfill planned with a spec, or nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ferry.errors import RequestError
from ferry.schema import TableName
from flows.carry_windows import carry_windows
from flows.pipeline.table_specs import load_table_specs

pytestmark = pytest.mark.usefixtures("plain_runs")

WINDOW = {"mode": "window", "key": ["id"]}
DAY = [(datetime(2023, 7, 1, tzinfo=UTC), datetime(2023, 7, 2, tzinfo=UTC))]


@pytest.fixture
def shop(journey: Any) -> Any:
    """One row on the day."""
    journey.sql("CREATE TABLE nps (id INT NOT NULL PRIMARY KEY, modified DATETIME)")
    journey.sql("INSERT INTO nps VALUES (1, '2023-07-01 12:00:00')")
    journey.write_specs(nps=WINDOW)
    return journey


def carried(**given: Any) -> Any:
    return carry_windows(
        **{
            "table": "nps",
            "windows": DAY,
            "zone": "UTC",
            "backfill_run_id": "8f9d0b0e-6f0f-4c51-8f5d-0a6f5b1d2c3e",
            "scheduled_start": datetime.now(UTC),
            **given,
        },
        return_state=True,
    )


def refused(message: str, **given: Any) -> str:
    with pytest.raises(RequestError, match=message) as caught:
        carried(**given).result()
    assert caught.value.todo
    return str(caught.value)


def test_a_spec_that_says_otherwise_than_planned_is_refused_and_the_difference_named(
    shop: Any,
) -> None:
    planned = load_table_specs().named("nps").as_planned
    changes: list[dict[str, Any]] = [
        {"schema": f"{shop.schema}_x"},
        {"cursor": "modified"},
        {"key": ["id", "modified"]},
        {"mode": "watermark"},
        {"settle": 60},
    ]
    for change in changes:
        shop.write_specs(nps={**WINDOW, **change})
        (field,) = change
        told = refused("is not the one that the backfill was planned with", planned_spec=planned)
        assert f"expected {field}=" in told and f"found {field}=" in told
        assert told.startswith(f"FERRY-REQUEST: {shop.schema}.nps")
    assert shop.warehouse.describe(TableName(shop.schema, "nps")) is None

    shop.write_specs(nps=WINDOW)
    assert carried(planned_spec=planned).is_completed()
    assert shop.target("nps", "id") == [(1,)]


def test_what_has_no_windows_is_refused_whoever_asks(shop: Any) -> None:
    assert carried().is_completed()
    for spec in ({"mode": "full"}, {"mode": "watermark"}, {"mode": "full", "key": ["id"]}):
        shop.write_specs(nps=spec)
        refused("cannot be backfilled")
    shop.write_specs(nps=WINDOW)
    begins = datetime.now(UTC) + timedelta(hours=1)
    refused("is in the future", windows=[(begins, begins + timedelta(hours=1))])
    assert shop.target("nps", "id") == [(1,)]
    assert len(shop.receipts("nps")) == 1
