"""A batch that is read now and lands later, as when two runs are under way at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from prefect.logging import disable_run_logger

from ferry.batch import Copied, Staged
from ferry.receipts.receipt import Receipt
from ferry.specs.tables import Mode
from flows.pipeline.make_batch import Dates, load_route, make_batch
from flows.pipeline.table_specs import load_table_specs
from tasks.copy_in import copy
from tasks.extract import extract
from tasks.plan_batch import plan
from tasks.stage import stage
from tasks.upsert import drop_staging, upsert


def read_now_land_later(
    table: str,
    mode: Mode | None,
    dates: dict[str, Any],
    meanwhile: Callable[[], object],
    read_at: datetime | None = None,
) -> Receipt:
    """Extract and copy a batch; then `meanwhile` happens; then it is to land.

    Args:
        table: The table.
        mode: Its mode; None for the spec's.
        dates: Its window.
        meanwhile: What happens before it lands.
        read_at: What the source's clock showed at the read; None for what it shows.
    """
    spec = load_table_specs().named(table)
    with disable_run_logger():
        batch = make_batch(spec, Dates(**dates), mode)
        route = load_route(spec)
        planned = plan.fn(batch, route.source, route.warehouse)
        extracted = extract.fn(
            batch, planned, route.source, route.stage, route.warehouse.capabilities
        )
        if read_at:
            extracted = replace(extracted, read_at=read_at)
        staged, copied = Staged((), None, extracted.layout, 0), Copied(None, 0)
        if extracted.rows:
            staged = stage.fn(batch, extracted, route.stage)
            copied = copy.fn(batch, extracted, staged, route.stage, route.warehouse)
    meanwhile()
    with disable_run_logger():
        try:
            return upsert.fn(
                batch, planned, extracted, staged, copied, route.warehouse, datetime.now(UTC)
            )[0]
        except Exception:  # given up, as by `carry_batch`
            drop_staging(planned, copied, route.warehouse)
            raise
