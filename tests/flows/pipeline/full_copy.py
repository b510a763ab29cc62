"""A full copy under an id that the test gives: so another process can start the same run again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from prefect import flow

from flows.pipeline.carry_batch import carry_together
from flows.pipeline.make_batch import Dates, load_route, make_batch
from flows.pipeline.table_specs import load_table_specs


@flow(name="full-copy")
def full_copy(table: str, run_id: str, attempt: int = 1) -> Any:
    """Carry all of the table as this attempt of that run; returns the receipt."""
    spec = load_table_specs().named(table)
    batch = replace(make_batch(spec, Dates(), "full"), flow_run_id=run_id, attempt=attempt)
    (receipt,) = carry_together(batch, load_route(spec))
    return receipt
