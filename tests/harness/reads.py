"""A batch that is read now and lands later, as when two runs are under way at once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from prefect.logging import disable_run_logger

from ferry.receipts.receipt import Receipt
from ferry.specs.tables import Mode
from flows.pipeline.carry_batch import Dates, load_road, make_batch
from flows.pipeline.table_specs import load_table_specs
from tasks import copy, extract, plan, stage, upsert


def read_now_land_later(
    table: str, mode: Mode | None, dates: dict[str, Any], meanwhile: Callable[[], object]
) -> Receipt:
    """Extract and copy a batch; then `meanwhile` happens; then it is to land."""
    spec = load_table_specs().named(table)
    with disable_run_logger():
        batch = make_batch(spec, Dates(**dates), mode)
        road = load_road(spec)
        planned = plan.fn(batch, road.source, road.warehouse)
        extracted = extract.fn(batch, planned, road.source, road.warehouse.capabilities)
        staged = stage.fn(batch, extracted, road.stage)
        copied = copy.fn(batch, extracted, staged, road.stage, road.warehouse)
    meanwhile()
    with disable_run_logger():
        return upsert.fn(
            batch, planned, extracted, staged, copied, road.warehouse, datetime.now(UTC)
        )
