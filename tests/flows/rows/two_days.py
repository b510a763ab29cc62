"""Two days of the table `people`: what coverage says of them, and what a backfill carries."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

from blocks.registry import load_warehouse
from ferry.coverage.days import table_days
from flows.backfill_tables import backfill
from flows.pipeline.table_specs import load_table_specs
from tasks.landed.history import read_history

FIRST, SECOND, THIRD = (date(2023, 1, day) for day in (5, 6, 7))


def missing() -> dict[date, str]:
    """The days of both that are not loaded, and why."""
    spec = load_table_specs().named("people")
    history = read_history.fn(spec, load_warehouse(spec.warehouse))
    told = table_days(
        spec,
        history.receipts,
        history.failures,
        cursor=history.cursor,
        cursor_kind=history.cursor_kind,
        zone=spec.zone,
        now=datetime(2023, 1, 7, tzinfo=UTC),
        start=FIRST,
    )
    standing = {each.day: each.standing for each in told.days}
    return {day: each.reason for day, each in standing.items() if each.status != "loaded"}


def fill(**given: Any) -> int:
    """Carry what is missing of them; how many windows that were."""
    carried = backfill(table="people", start_date=FIRST, end_date=THIRD, **given)
    return sum(map(len, carried.values()))
