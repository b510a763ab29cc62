"""carry-windows: a group of a backfill's windows, carried by whichever worker takes it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from prefect import flow
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from ferry.backfills.outcomes import failed_lines, failures_of
from ferry.backfills.plan import check_table, check_unchanged
from ferry.errors import RequestError
from ferry.windows import Window, check_begun
from flows.pipeline.carry_many import carry_many, when_refused, window_batches
from flows.pipeline.make_batch import load_route
from flows.pipeline.table_specs import load_table_specs
from flows.pipeline.tidy import tidied
from tasks.landed.history import landed_of_run
from tasks.pages.progress import WindowsProgress
from tasks.step import explains, with_retries


def _run_name() -> str:
    given = flow_run.parameters
    starts = given["windows"][0][0], given["windows"][-1][0]
    return f"carry {given['table']} " + " to ".join(str(start)[:10] for start in starts)


@flow(name="carry-windows", persist_result=False, flow_run_name=_run_name)
@explains
def carry_windows(
    table: str,
    windows: list[tuple[datetime, datetime]],
    zone: str,
    backfill_run_id: UUID,
    scheduled_start: datetime,
    max_concurrency: int = 2,
    planned_spec: dict[str, Any] | None = None,
    again: int = 0,
    rows: list[int | None] | None = None,
) -> Any:
    """Carry a group of a backfill's windows. The flow `backfill` starts it; you need not.

    What the backfill has landed already, here or elsewhere, is not done again. It ends when the
    backfill is cancelled, also where no process of that one is left.

    Args:
        table: Name of the table, as in the table specs.
        windows: The windows' bounds.
        zone: Zone in which they are meant.
        backfill_run_id: The backfill's flow run: its windows land once, whoever carries them.
        scheduled_start: When the backfill was to start.
        max_concurrency: How many batches of windows are under way at a time.
        planned_spec: The table's spec as the backfill planned with it. If the table specs say
            otherwise by now, nothing is carried.
        again: The backfill's attempt, where it has landed these windows in an earlier one and they
            are not loaded any more; else 0.
        rows: About how many rows each of the windows has, by the backfill's plan; by default nobody
            knows.

    Raises:
        RequestError: The table has no windows, a window is in the future, or the spec is another
            one than the backfill's. No retry helps.
    """
    spec = load_table_specs().named(table)
    if planned_spec is not None:
        check_unchanged(spec, planned_spec)
    check_table(spec)
    bounded = [Window(start, end, zone) for start, end in dict.fromkeys(windows)]
    try:
        for window in bounded:
            check_begun(window, min(scheduled_start, datetime.now(UTC)))
    except RequestError as error:
        raise error.at(table=str(spec.target)) from None
    route = load_route(spec)
    once_more = dict.fromkeys(bounded, again)
    guessed = dict(zip(bounded, rows or (), strict=False))
    batches = window_batches(
        spec, bounded, str(backfill_run_id), scheduled_start, rows=guessed, again=once_more
    )
    landed = with_retries(landed_of_run, spec)(
        str(backfill_run_id), spec.target, bounded, route.warehouse
    )
    left = [batch for batch in batches if batch.id not in landed]
    with (
        tidied(spec, route.stage, route.warehouse),
        WindowsProgress(f"carry {spec.target}", "carry-windows-progress", len(left)) as progress,
    ):
        outcomes = carry_many(
            left,
            route,
            at_once=max_concurrency,
            report=progress.report,
            give_up=when_refused(),
            begun_by=backfill_run_id,
        )
    failed = failures_of(outcomes)
    if failed:
        head = f"{len(failed):,} of {len(batches):,} windows failed:"
        return Failed(message="\n".join([head, *failed_lines(failed)]))
    return Completed(message=f"{len(batches)} windows are there")
