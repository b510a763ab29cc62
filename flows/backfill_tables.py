"""backfill: carry any range of past days again, or for the first time, and say what is missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from prefect import flow
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from prefect.states import Completed, Failed
from pydantic import Field

from ferry.backfills.outcomes import Outcome, failed_lines, failures_of, receipts_of, windows_of
from ferry.backfills.plan import (
    Order,
    Reprocess,
    TablePlan,
    check_range,
    check_table,
    none_left,
)
from ferry.bounded import MAX_REASONS, first_of, on_one_line
from ferry.day_ranges import DayRange, Granularity
from ferry.errors import RequestError
from ferry.reasons import reason_of
from ferry.specs.chosen import are_all, chosen_specs, may_write, some_names
from ferry.specs.tables import TableSpec
from flows.pipeline.carry_plan import BackfillOptions, carry_plan
from flows.pipeline.given_dates import Day
from flows.pipeline.make_batch import Route, Routes, scheduled_start
from flows.pipeline.notify import notify
from flows.pipeline.summaries.follow import follow_tables
from flows.pipeline.table_specs import load_table_specs
from tasks.pages.backfill import (
    left_out_lines,
    plan_line,
    show_carried,
    show_plan,
    unplanned_lines,
)
from tasks.plan_backfill import plan_backfill
from tasks.step import explains, known, log_failure, with_retries
from tasks.target.left_in_target import count_left, left_line

NEVER = "every: never: carried only when named"

Concurrency = Annotated[int, Field(ge=1, le=64)]


def _run_name() -> str:
    given = flow_run.parameters
    dry = "dry run: " if given.get("dry_run") else ""
    names = some_names(given["table"])
    return f"{dry}backfill {names} {given['start_date']} to {given['end_date']}"


@flow(
    name="backfill",
    persist_result=False,
    flow_run_name=_run_name,
    on_failure=[notify],
    on_crashed=[notify],
)
@explains
def backfill(
    table: str | list[str],
    start_date: Day,
    end_date: Day,
    granularity: Granularity = "day",
    reprocess: Reprocess = "missing",
    order: Order = "oldest",
    max_concurrency: Concurrency = 2,
    workers: Concurrency = 1,
    dry_run: bool = False,
    zone: str | None = None,
) -> Any:
    """Carry a range of past days, window by window, each with its own receipt.

    The summaries that read the tables are then built once, for the partitions that were changed.

    The plan is shown before the first row moves. A window that fails does not stop the others, nor
    does one of several tables that cannot be planned; the run then ends Failed and names each with
    its reason. Run it again with the same dates: it does
    only what is left.

    Args:
        table: A table as in the table specs, several, or `all`: of all, those of `every: never`
            and those that have no such windows are left out.
        start_date: The first day.
        end_date: The day after the last one; it can be today.
        granularity: How long a window is: hour, day, week (from Monday on) or month.
        reprocess: missing: what is not loaded, whether it failed or was never tried. failed: only
            what failed. all: everything, also what is loaded.
        order: oldest or newest windows first; or strict: strictly one after the other, oldest
            first, each table ending at its first failure (Airflow's depends_on_past).
        max_concurrency: How many batches of windows are under way at a time, in each worker. They
            are read in parallel and written in turn: with two, one is read while another lands.
        workers: 1: this run carries all windows itself. More: groups of windows become runs on the
            work pool, so many at a time.
        dry_run: Show the plan and carry nothing.
        zone: Zone in which days are counted; by default each table's own.

    Returns:
        The receipts by table.

    Raises:
        RequestError: Dates or options that cannot be. No retry helps.
    """
    if order == "strict" and workers > 1:
        raise RequestError(
            "strict order is for one worker",
            expected="workers=1",
            found=f"workers={workers}",
            todo="Leave `workers` at 1, or choose order oldest.",
        )
    specs, left_out = _chosen(table)
    days = [DayRange(start_date, end_date, zone or spec.zone) for spec in specs]
    unplanned: dict[str, str] = {}
    if not are_all(table):
        for spec, one in zip(specs, days, strict=True):  # all of them, before any server is asked
            check_table(spec)
            check_range(one, spec, scheduled_start())
    plans, routes = [], Routes()
    for spec, one in zip(specs, days, strict=True):
        try:
            plan = _plan(spec, routes.of(spec), one, granularity, reprocess, of_all=are_all(table))
        except Exception as error:
            if len(specs) == 1:
                raise
            unplanned[str(spec.target)] = log_failure(error, str(spec.target))
        else:
            if plan.left_out:
                left_out[str(spec.target)] = plan.left_out
            else:
                plans.append(plan)
    if not plans and not unplanned:
        raise none_left(left_out)
    show_plan(plans, left_out, unplanned)
    if dry_run:
        return _planned(plans, unplanned, left_out)
    options = BackfillOptions(order, max_concurrency, workers, reprocess)
    alone = len(specs) == 1
    carried = [
        (plan, carry_plan(plan, options, routes.of(plan.spec), alone=alone)) for plan in plans
    ]
    return _ended(carried, routes, unplanned, left_out)


def _chosen(table: str | list[str]) -> tuple[list[TableSpec], dict[str, str]]:
    """The tables that were asked for; of all, without those that it does not take, and why.

    Raises:
        RequestError: An unknown table, or none.
    """
    asked = chosen_specs(load_table_specs(), table)
    if not are_all(table):
        return asked, {}
    chosen, left_out = list[TableSpec](), dict[str, str]()
    for spec in asked:
        try:
            check_table(spec)
        except RequestError as error:
            left_out[str(spec.target)] = error.problem
        else:
            if not may_write(spec, table):
                left_out[str(spec.target)] = NEVER
            else:
                chosen.append(spec)
    if not chosen:
        raise none_left(left_out)
    return chosen, left_out


def _plan(
    spec: TableSpec,
    route: Route,
    days: DayRange,
    granularity: Granularity,
    reprocess: Reprocess,
    *,
    of_all: bool,
) -> TablePlan:
    return with_retries(plan_backfill, spec)(
        spec,
        days,
        granularity,
        reprocess,
        route.source,
        route.warehouse,
        now=scheduled_start(),
        flow_run_id=str(flow_run.id),
        of_all=of_all,
    )


def _planned(
    plans: Sequence[TablePlan], unplanned: Mapping[str, str], left_out: Mapping[str, str]
) -> Any:
    line = "Dry run: " + (
        "; ".join(first_of(map(plan_line, plans), MAX_REASONS)) or "no table can be planned"
    )
    rest = left_out_lines(left_out)
    if unplanned:
        return Failed(message="\n".join([line, *unplanned_lines(unplanned), *rest]))
    return Completed(message="; ".join([line, *rest]))


def _ended(
    carried: Sequence[tuple[TablePlan, list[Outcome]]],
    routes: Routes,
    unplanned: Mapping[str, str],
    left_out: Mapping[str, str],
) -> Any:
    lines, receipts, left = [], {}, []
    failures: list[Outcome] = []
    for plan, outcomes in carried:
        table = str(plan.spec.target)
        landed, failed = receipts_of(outcomes), failures_of(outcomes)
        tried = {each.window for each in outcomes}
        skipped = sum(each.window not in tried for each in plan.windows if each.skipped)
        receipts[table] = landed
        deleted = sum(r.rows_deleted for r in landed)
        superseded = sum(r.rows_superseded or 0 for r in landed)
        lines.append(
            f"{table}: {len(landed)} windows carried, {windows_of(failed)} failed, "
            f"{skipped} skipped; "
            f"{sum(r.rows_extracted for r in landed):,} read, "
            f"{sum(r.rows_inserted for r in landed):,} inserted, "
            f"{sum(r.rows_updated for r in landed):,} updated, "
            + (f"{deleted:,} deleted, " if deleted else "")
            + f"{sum(r.rows_unchanged for r in landed):,} unchanged"
            + (f", {superseded:,} superseded" if superseded else "")
        )
        failures += failed
        get_run_logger().info("%s", lines[-1])
        left += _left(plan.spec, outcomes, routes)
    show_carried([*lines, *left], failures, unplanned)
    published = follow_tables(receipts)
    if failures or unplanned:
        reasons = failed_lines(failures)
        many = windows_of(failures)
        reported = [f"{many:,} windows failed:"] if many and len(reasons) > 1 else []
        reported += [*reasons, *unplanned_lines(unplanned)]
        reported += map(on_one_line, published.failures.values())
        told = first_of(reported, 2 * MAX_REASONS)
        return Failed(message="\n".join([*told, *left_out_lines(left_out)]))
    told = [*first_of(lines, MAX_REASONS), *left_out_lines(left_out)]
    return published.after("; ".join(told), receipts)


def _left(spec: TableSpec, outcomes: Sequence[Outcome], routes: Routes) -> list[str]:
    """The line about rows that the source no longer has, if there are any."""
    carried = [(o.window, o.receipt) for o in outcomes if o.window and o.receipt]
    try:
        rows = count_left(spec, carried, routes.of(spec).warehouse) if carried else None
    except Exception as error:  # noqa: BLE001  # what has been carried is to be told all the same
        reason = reason_of(known(error, table=str(spec.target)))
        return [f"{spec.target}: rows that the source has no more were not counted: {reason}"]
    if not rows:
        return []
    line = left_line(spec, rows)
    get_run_logger().warning("%s", line)
    return [line]
