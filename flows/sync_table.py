"""sync-table: carry one table, for one day, one window, or all of it."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.runtime import flow_run

from ferry.specs.tables import Mode
from ferry.windows import zone_info
from flows.pipeline.given_dates import Day, Moment
from flows.pipeline.make_batch import Dates, load_route, make_batch
from flows.pipeline.notify import notify
from flows.pipeline.settle import wait_until_settled
from flows.pipeline.summaries.follow import carry_and_follow
from flows.pipeline.table_specs import load_table_specs
from tasks.step import explains


def _run_name() -> str:
    given = flow_run.parameters
    when = given.get("run_date") or given.get("window_start") or given.get("mode")
    return f"sync {given['table']}" + (f" {when}" if when else "")


@flow(
    name="sync-table",
    persist_result=False,
    flow_run_name=_run_name,
    on_failure=[notify],
    on_crashed=[notify],
)
@explains
def sync_table(
    table: str,
    run_date: Day | None = None,
    window_start: Moment | None = None,
    window_end: Moment | None = None,
    mode: Mode | None = None,
    zone: str | None = None,
) -> Any:
    """Carry one table from its source to the warehouse, and write the receipt.

    The summaries that read it are then built for the partitions it changed.

    Without dates, a table in mode `window` is carried for the day (or hour) before the run's
    scheduled start.

    Args:
        table: Name of the table, as in the table specs: `nps` or `raw_data.nps`.
        run_date: Carry this whole day. An explicit date always wins over the schedule. One before
            the table's `start_date` is refused.
        window_start: Carry from this moment on, together with `window_end`. Without an offset it
            is meant in `zone`; the form's picker writes an offset of its own, which counts.
        window_end: Carry up to, but not including, this moment.
        mode: Carry it another way this once: `full` reloads all of the table.
        zone: Zone in which days are counted, and moments without an offset are meant; by default
            the table's own.

    Returns:
        The batch's receipt.

    Raises:
        RequestError: An unknown table, dates that cannot be or a zone that there is not. No retry
            helps.
    """
    if zone:  # also where nothing asks for it, as for a table in mode full
        zone_info(zone)
    spec = load_table_specs().named(table)
    dates = Dates(run_date, window_start, window_end, zone)
    batch, route = make_batch(spec, dates, mode), load_route(spec)
    if not dates.given:
        wait_until_settled(batch, route.source)
    return carry_and_follow(batch, route)
