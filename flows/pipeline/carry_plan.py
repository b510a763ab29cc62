"""A backfill's plan, carried out: window by window, and then what is not loaded any more."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from prefect.logging import get_run_logger
from prefect.runtime import flow_run

from blocks.warehouse import Warehouse
from ferry.backfills.outcomes import Outcome, failures_of
from ferry.backfills.plan import (
    Order,
    PlannedWindow,
    Reprocess,
    TablePlan,
    in_order,
    landed_labels,
    lost_since,
)
from ferry.batch import Batch
from ferry.receipts.read_as import as_it_is_now
from ferry.receipts.receipt import LOADED, Receipt
from ferry.windows import Window
from flows.pipeline.carry_many import at_first_failure, carry_many, when_refused, window_batches
from flows.pipeline.make_batch import Route, scheduled_start
from flows.pipeline.spread_windows import Spread, make_groups
from flows.pipeline.tidy import tidied
from tasks.landed.history import read_history, read_run
from tasks.pages.progress import WindowsProgress
from tasks.step import log_failure, with_retries

LOST = (
    "it was loaded, and is not any more: something takes rows from the target meanwhile, or other "
    "runs of it fail"
)


@dataclass(frozen=True)
class BackfillOptions:
    """How a plan is carried out: the flow's parameters of these names."""

    order: Order
    max_concurrency: int
    workers: int
    reprocess: Reprocess


def carry_plan(
    plan: TablePlan, options: BackfillOptions, route: Route, *, alone: bool
) -> list[Outcome]:
    """Carry the windows of a table's plan; what became of each, in the order they were carried in.

    Call it inside a flow. Windows that were loaded, and are not any more when all is done, are
    carried, too, once. A window that fails stops no other, but in strict order, or where three
    batches in a row are refused access.

    Args:
        plan: What is to be carried.
        options: How.
        route: The table's blocks.
        alone: Whether no other table waits. Of several, what ends a table between its windows is
            logged, and told by the outcomes of what has not landed.

    Raises:
        Exception: What ends an only table between its windows.
    """
    try:
        return _carry(plan, options, route)
    except Exception as error:
        if alone:
            raise
        table = str(plan.spec.target)
        why, landed = log_failure(error, table), dict[str, Receipt]()
        with suppress(Exception):  # it may be as far away as what has just failed
            receipts = read_run.fn(str(flow_run.id), plan.spec.target, route.warehouse).receipts
            left = {
                b.label for b in _batches(plan, plan.to_run) if b.again and b.id not in receipts
            }
            landed = {
                receipt.window_label: receipt
                for receipt in receipts.values()
                if receipt.status == LOADED
                and as_it_is_now(receipt, plan.spec, plan.cursor)
                and receipt.window_label not in left
            }
        outcomes = [
            Outcome(table, each.window, landed.get(each.window.label), reason=why)
            for each in plan.to_run
        ]
        if not failures_of(outcomes):  # all windows have landed, and the table has failed
            outcomes.append(Outcome(table, None, reason=why, windows=0))
        return outcomes


def _carry(plan: TablePlan, options: BackfillOptions, route: Route) -> list[Outcome]:
    """Carry what is to run, and then whatever is not loaded any more."""
    outcomes = _by_window(_carry_windows(plan, plan.to_run, options, route))
    if not outcomes:
        return []
    for last in (False, True):
        if options.order == "strict" and failures_of(outcomes.values()):
            break
        if not all(outcome.begun for outcome in outcomes.values()):
            break
        try:
            lost = _lost(plan, outcomes, options, route.warehouse)
        except Exception as error:  # noqa: BLE001  # what has landed is to be told all the same
            why = log_failure(error, str(plan.spec.target))
            left_out = (each.window for each in plan.windows if each.window not in outcomes)
            unknown = f"not known whether it is still loaded: {why}"
            table = str(plan.spec.target)
            return [*outcomes.values(), *(Outcome(table, w, reason=unknown) for w in left_out)]
        if not lost:
            break
        get_run_logger().warning(
            "%s: %s windows were loaded and are not any more, from %s on%s",
            plan.spec.target,
            f"{len(lost):,}",
            lost[0].window.label,
            "" if last else ": they are carried, too",
        )
        if last:
            outcomes |= _by_window(
                Outcome(str(plan.spec.target), each.window, reason=LOST) for each in lost
            )
        else:
            outcomes |= _by_window(_carry_windows(plan, lost, options, route))
    return list(outcomes.values())


def _lost(
    plan: TablePlan,
    outcomes: Mapping[Window, Outcome],
    options: BackfillOptions,
    warehouse: Warehouse,
) -> list[PlannedWindow]:
    spec = plan.spec
    coverage = with_retries(read_history, spec)(spec, warehouse).coverage
    landed = with_retries(read_run, spec)(
        str(flow_run.id), spec.target, warehouse
    ).receipts.values()
    valid, labels = {each.batch_id for each in landed}, landed_labels(landed, spec, plan.cursor)
    void = {
        window
        for window, outcome in outcomes.items()
        if outcome.receipt and outcome.receipt.batch_id not in valid
    }
    return lost_since(plan, options.reprocess, coverage, void, labels)


def _by_window(outcomes: Iterable[Outcome]) -> dict[Window, Outcome]:
    return {outcome.window: outcome for outcome in outcomes if outcome.window}


def _batches(plan: TablePlan, planned: Iterable[PlannedWindow]) -> list[Batch]:
    """The windows' batches: of one that has landed already, under another id in each attempt."""
    rows = {each.window: each.rows for each in planned}
    again = {each.window: flow_run.run_count for each in planned if each.again}
    return window_batches(
        plan.spec, list(rows), str(flow_run.id), scheduled_start(), rows=rows, again=again
    )


def _carry_windows(
    plan: TablePlan, planned: Sequence[PlannedWindow], options: BackfillOptions, route: Route
) -> list[Outcome]:
    spec, run_id = plan.spec, str(flow_run.id)
    if not planned:
        return []
    batches = _batches(plan, in_order(planned, options.order))
    with (
        tidied(spec, route.stage, route.warehouse),
        WindowsProgress(f"backfill {spec.target}", "backfill-progress", len(batches)) as progress,
    ):
        # One at a time where nothing may land between a window's reading and its writing.
        one_by_one = options.order == "strict" or batches[0].overwrites_newer
        if options.workers > 1 and not one_by_one:
            spread = Spread(
                spec.name, run_id, route.warehouse, options.workers, options.max_concurrency
            )
            whole_range = [planned.window for planned in plan.windows]
            groups = make_groups(batches, whole_range, options.workers)
            outcomes = spread.carry(groups, progress.report)
        else:
            outcomes = carry_many(
                batches,
                route,
                at_once=1 if one_by_one else options.max_concurrency,
                report=progress.report,
                give_up=at_first_failure if options.order == "strict" else when_refused(),
            )
    return outcomes
