"""Catching up: past windows that are not loaded are carried after the run's own, oldest first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from threading import Event

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture
from prefect.logging import get_run_logger

from ferry.backfills.outcomes import Outcome, receipts_of
from ferry.backfills.past_windows import not_loaded, past_windows
from ferry.batch import Batch
from ferry.lookback import own_window, window_length
from ferry.plan import plan_query
from ferry.reasons import reason_of
from ferry.receipts.read_as import refuse_rows_of_others
from ferry.schema import Column
from ferry.specs.tables import TableSpec
from ferry.windows import Window
from flows.pipeline.carry_batch import NOT_THE_WINDOWS_FAULT
from flows.pipeline.carry_many import InARow, run_windows
from flows.pipeline.make_batch import Route, Routes
from tasks.gather import gather
from tasks.landed.history import read_coverage, read_run
from tasks.landed.receipts import whose_rows
from tasks.landed.uncarried import refuse_uncarried
from tasks.pages.receipt import receipt_line
from tasks.plan_batch import describe_source
from tasks.runs.own_state import while_running
from tasks.step import explains

GIVE_UP_AFTER = 3
"""So many batches in a row that fail by what is no window's fault: the others would, too."""


def catch_up_tables(batches: Iterable[Batch], routes: Routes) -> dict[str, list[Outcome]]:
    """Catch up the tables whose spec asks for it, several at once; call it inside a flow.

    Args:
        batches: The run's own batches.
        routes: The routes of the run's tables.

    Returns:
        What became of the windows, oldest first, by table: of those that had any to catch up.

    Raises:
        Abort: The run is over already, by its state.
    """
    stop = Event()
    futures: dict[str, PrefectFuture[list[Outcome]]] = {
        str(batch.target): catch_up.submit(batch, routes, stop)
        for batch in batches
        if batch.spec.catch_up
    }
    try:
        with while_running(stop):
            found, errors = gather(futures)
    except BaseException:  # a cancelled run ends here, by a signal or by what its state says
        stop.set()
        raise
    found |= {
        table: [Outcome(table, None, reason=reason_of(error), windows=0)]
        for table, error in errors.items()
    }
    return {table: outcomes for table, outcomes in found.items() if outcomes}


def caught_up_lines(caught_up: Mapping[str, Sequence[Outcome]]) -> list[str]:
    """Which windows arrived, a line for each table: `raw_data.nps: caught up 2023-01-05`."""
    lines = []
    for table, outcomes in caught_up.items():
        labels = [receipt.window_label for receipt in receipts_of(outcomes)]
        several = f"{len(labels):,} windows, {labels[0]} to {labels[-1]}" if labels else "none"
        lines.append(f"{table}: caught up {labels[0] if len(labels) == 1 else several}")
    return lines


@task(
    name="catch up",
    task_run_name="catch up {batch.target}",
    cache_policy=NO_CACHE,
    persist_result=False,
)
@explains
def catch_up(batch: Batch, routes: Routes, stop: Event) -> list[Outcome]:
    """Carry what is not loaded between the table's `start_date` and the batch, oldest first.

    Neighbours travel together, as in a backfill, and each window has a receipt of its own. One that
    fails does not stop the others, unless several batches in a row fail by what is no window's
    fault: then the next run goes on.

    Args:
        batch: The run's own batch of the table; it is not carried here.
        routes: The routes of the run's tables.
        stop: Once it is set, no window begins another step, and blocks are not waited for.

    Returns:
        What became of them, in their order. Those that were not tried any more are one `Outcome`
        together, without a window.

    Raises:
        FerryError: The receipts cannot be read, or rows have a cursor that no window takes.
    """
    spec, route = batch.spec, routes.of(batch.spec, stop)
    windows = _to_catch_up(batch, route)
    if windows:
        _refuse_as_a_backfill(spec, windows[0], route)
    landed = _landed_before(batch, route) if windows else set[str]()
    batches = [replace(batch, window=window, backfill=True) for window in windows]
    batches = [
        replace(each, again=batch.attempt) if each.label in landed else each for each in batches
    ]
    log = get_run_logger()
    outcomes = run_windows(
        batches,
        route,
        at_once=1,
        stop=stop,
        landed=lambda receipt: log.info("caught up: %s", receipt_line(receipt)),
        give_up=InARow(GIVE_UP_AFTER),
    )
    tried = [outcome for outcome in outcomes if outcome.begun]
    left = len(outcomes) - len(tried)
    if left:
        why = f"{batch.target}: {left:,} more windows are left to the next run"
        tried.append(Outcome(str(batch.target), None, reason=why, windows=left))
    return tried


def _refuse_as_a_backfill(spec: TableSpec, window: Window, route: Route) -> None:
    """Refuse what the plan of a backfill refuses, before anything moves.

    Where the source cannot be asked, the windows meet that, and tell; but whose rows the target
    has, its receipts tell.
    """
    cursor, key = None, list[Column | None]()
    with suppress(*NOT_THE_WINDOWS_FAULT):
        query = plan_query(spec, "window", window, describe_source(spec, route.source))
        cursor, key = query.cursor, [query.schema.column(name) for name in spec.key]
        refuse_uncarried(spec, query, route.source, backfill=True)
    refuse_rows_of_others(whose_rows(spec.target, route.warehouse), spec, "window", cursor, key)


def _to_catch_up(batch: Batch, route: Route) -> list[Window]:
    spec = batch.spec
    if batch.window is None or spec.start_date is None:
        return []
    own = own_window(spec, batch.window, batch.scheduled_start)
    past = past_windows(spec.start_date, own, window_length(spec))
    return not_loaded(past, read_coverage(batch.spec, route.warehouse))


def _landed_before(batch: Batch, route: Route) -> set[str]:
    """The windows that this run has landed, and that are not loaded any more: they land again."""
    if batch.attempt == 1:
        return set()
    history = read_run.fn(batch.flow_run_id, batch.target, route.warehouse)
    return {receipt.window_label for receipt in history.receipts.values()}
