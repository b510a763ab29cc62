"""Catching up: past windows that are not loaded are carried after the run's own, one by one."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from threading import Event

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture, wait
from prefect.logging import get_run_logger

from ferry.batch import Batch
from ferry.coverage.failed_windows import FailedWindow
from ferry.coverage.past_windows import not_loaded, past_windows
from ferry.errors import AccessError, ConfigurationError, RetriableError
from ferry.lookback import own_window
from ferry.plan import plan_query
from ferry.reasons import reason_of
from ferry.receipts.read_as import refuse_rows_of_others
from ferry.receipts.receipt import Receipt
from ferry.windows import Window
from flows.pipeline.carry_batch import Road, StoppedError, Together, carry, load_road, summary_line
from tasks.history import read_coverage
from tasks.landed import readings
from tasks.runs.own_state import while_running
from tasks.step import explains, log_failure
from tasks.uncarried import refuse_uncarried

GIVE_UP_AFTER = 3
NOT_THE_WINDOWS_FAULT = (RetriableError, AccessError, ConfigurationError)
"""A server that is down, a password that is wrong: the next window would meet it, too."""


@dataclass(frozen=True)
class CaughtUp:
    """What became of the past windows of one table.

    Attributes:
        table: The table, as the warehouse names it.
        receipts: Of those that arrived, oldest first.
        failed: The others, and why; one of no window for all that were not tried any more.
    """

    table: str
    receipts: tuple[Receipt, ...] = ()
    failed: tuple[FailedWindow, ...] = ()

    @property
    def reasons(self) -> list[str]:
        """Why windows did not arrive, one for each."""
        return [each.reason for each in self.failed]

    def __str__(self) -> str:
        labels = [receipt.window_label for receipt in self.receipts]
        several = f"{len(labels):,} windows, {labels[0]} to {labels[-1]}" if labels else "none"
        return f"{self.table}: caught up {labels[0] if len(labels) == 1 else several}"


def catch_up_tables(batches: Iterable[Batch]) -> list[CaughtUp]:
    """Catch up the tables whose spec asks for it, several at once; call it inside a flow.

    Args:
        batches: The run's own batches.

    Returns:
        What became of them, for each table that had something to catch up.

    Raises:
        Abort: The run is over already, by its state.
    """
    stop = Event()
    futures: dict[str, PrefectFuture[CaughtUp]] = {
        str(batch.target): catch_up.submit(batch, stop) for batch in batches if batch.spec.catch_up
    }
    try:
        with while_running(stop):
            wait(list(futures.values()))
    except BaseException:  # a cancelled run ends here, by a signal or by what its state says
        stop.set()
        raise
    found = []
    for table, future in futures.items():
        result = future.result(raise_on_failure=False)
        if isinstance(result, BaseException):
            result = CaughtUp(table, failed=(FailedWindow(table, None, reason_of(result)),))
        found.append(result)
    return [each for each in found if each.receipts or each.reasons]


@task(
    name="catch up",
    task_run_name="catch up {batch.target}",
    cache_policy=NO_CACHE,
    persist_result=False,
)
@explains
def catch_up(batch: Batch, stop: Event) -> CaughtUp:
    """Carry what is not loaded between the table's `start_date` and the batch, oldest first.

    Each window is a batch of its own, with a receipt of its own. One that fails does not stop the
    others, unless several in a row fail by what is no window's fault: then the next run goes on.

    Args:
        batch: The run's own batch of the table; it is not carried here.
        stop: Once it is set, no window begins another step.

    Raises:
        FerryError: The receipts cannot be read, or rows have a cursor that no window takes.
    """
    road = load_road(batch.spec)
    windows = _to_catch_up(batch, road)
    if windows:  # as the plan of a backfill does, before anything moves
        with suppress(*NOT_THE_WINDOWS_FAULT):  # which the windows meet, and tell
            schema = road.source.describe(batch.spec.source_name, batch.spec.exclude)
            query = plan_query(batch.spec, "window", windows[0], schema)
            refuse_uncarried(batch.spec, query, road.source, backfill=True)
            refuse_rows_of_others(
                readings(batch.target, road.warehouse), batch.spec, "window", query.cursor
            )
    log, together = get_run_logger(), Together(stop=stop)
    receipts: list[Receipt] = []
    failed: list[FailedWindow] = []
    table = str(batch.target)
    in_a_row = 0
    for number, window in enumerate(windows):
        late = replace(batch, window=window, backfill=True)
        try:
            receipts.append(carry(late, road, together))
        except StoppedError as stopped:
            failed.append(FailedWindow(table, window, str(stopped)))
            break
        except Exception as error:  # noqa: BLE001  # the other windows go on, whatever it is
            failed.append(FailedWindow(table, window, log_failure(error, table, late.label)))
            in_a_row = in_a_row + 1 if isinstance(error, NOT_THE_WINDOWS_FAULT) else 0
        else:
            log.info("caught up: %s", summary_line(receipts[-1]))
            in_a_row = 0
        left = len(windows) - number - 1
        if in_a_row == GIVE_UP_AFTER and left:
            why = f"{table}: {left:,} more windows are left to the next run"
            failed.append(FailedWindow(table, None, why))
            break
    return CaughtUp(table, tuple(receipts), tuple(failed))


def _to_catch_up(batch: Batch, road: Road) -> list[Window]:
    spec = batch.spec
    if batch.window is None or spec.start_date is None:
        return []
    own = own_window(spec, batch.window, batch.scheduled_start)
    past = past_windows(spec.start_date, own, "hour" if spec.every == "hour" else "day")
    return not_loaded(past, read_coverage(batch.spec, road.warehouse))
