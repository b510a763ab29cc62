"""Many windows of one table in one process: read in parallel, written in turn."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from contextvars import copy_context
from datetime import datetime
from queue import Empty, SimpleQueue
from threading import Event, Lock, Thread
from uuid import UUID

from prefect.logging import get_run_logger

from blocks.work_folder import work_folder
from ferry.backfills.outcomes import NOT_BEGUN, Outcome, receipts_of
from ferry.backfills.window_queue import WindowQueue
from ferry.batch import Batch
from ferry.errors import AccessError, ApartError, DataError, SchemaError, StoppedError
from ferry.reasons import explained, reason_of
from ferry.receipts.receipt import Receipt
from ferry.specs.tables import TableSpec
from ferry.windows import Window
from flows.pipeline.carry_batch import NOT_THE_WINDOWS_FAULT, Coordination, carry_together
from flows.pipeline.make_batch import Route
from tasks.landed.failures import record_failures
from tasks.runs.own_state import while_running
from tasks.step import log_failure

LOOK_EVERY_SECONDS = 1.0
STOP_SECONDS = 10.0
REFUSED_IN_A_ROW = 3
"""So many batches in a row are refused access, then no other one begins."""

Report = Callable[[int, int, int], None]
"""Told the windows done, those that failed, and the rows read, every second or so."""

GiveUp = Callable[[Exception | None], bool]
"""Told of each batch how it ended (None: it arrived); whether no other window is to begin."""


def never(_: Exception | None) -> bool:
    """Give up at nothing."""
    return False


def at_first_failure(error: Exception | None) -> bool:
    """Give up at the first failure."""
    return error is not None


def is_no_windows_fault(failure: Exception) -> bool:
    """Whether every window would meet it: a server that is down, a table that does not fit."""
    of_the_table = isinstance(failure, SchemaError) and failure.step == "plan"
    return of_the_table or isinstance(failure, NOT_THE_WINDOWS_FAULT)


class InARow:
    """Give up when so many batches in a row, as they end, fail by what is no window's fault.

    Args:
        number: How many.
        of: Whether an error is counted; whatever else ends a batch begins the row anew.
    """

    def __init__(self, number: int, of: Callable[[Exception], bool] = is_no_windows_fault) -> None:
        self._number, self._of, self._in_a_row = number, of, 0
        self._lock = Lock()

    def __call__(self, error: Exception | None) -> bool:
        """Count the batch that has ended with this error, or arrived."""
        with self._lock:
            self._in_a_row = self._in_a_row + 1 if error and self._of(error) else 0
            return self._in_a_row >= self._number


def when_refused() -> GiveUp:
    """Give up where nobody lets the batches in: servers lock a user who fails at it too often."""
    return InARow(REFUSED_IN_A_ROW, lambda error: isinstance(error, AccessError))


def carry_many(
    batches: Sequence[Batch],
    route: Route,
    *,
    at_once: int,
    report: Report,
    give_up: GiveUp = never,
    begun_by: UUID | None = None,
) -> list[Outcome]:
    """Carry windows of one table for the current flow run, as `run_windows` does.

    When the run is cancelled, or the one that has begun it, also where nobody is left to end its
    process, no window begins another step: each has landed as a whole or not at all.

    Raises:
        Abort: The run is over already, by its state.
    """
    stop = Event()
    with while_running(stop, begun_by) as own:

        def look(done: int, failed: int, rows: int) -> None:
            own.raise_if_ended()
            report(done, failed, rows)

        return run_windows(batches, route, at_once=at_once, stop=stop, report=look, give_up=give_up)


def run_windows(
    batches: Sequence[Batch],
    route: Route,
    *,
    at_once: int,
    stop: Event,
    report: Report = lambda *_: None,
    landed: Callable[[Receipt], None] = lambda _: None,
    give_up: GiveUp = never,
) -> list[Outcome]:
    """Carry windows of one table; one that fails does not stop the others.

    Args:
        batches: The windows, in the order in which they begin.
        route: The blocks they travel over.
        at_once: How many are under way at a time.
        stop: Once it is set, no window begins another step.
        report: Told how far it is.
        landed: Given each receipt when it is there.
        give_up: Says after each batch whether no other window is to begin; those under way go on.

    Returns:
        The outcomes in the order of the batches.

    Raises:
        BaseException: What is no error of a window, and ends the run: Prefect's `Abort`, an exit,
            a failure that cannot be logged. Of the other windows none begins another step.
    """
    todo, done = WindowQueue(batches, at_once), SimpleQueue[Outcome | BaseException | None]()
    given_up = Event()

    def carry_until_none_is_left() -> None:
        try:
            while not (shared.stopped or given_up.is_set()) and (batch := todo.take()):
                for ended_together, error in _carry(batch, route, shared, todo):
                    if give_up(error):
                        given_up.set()  # before another one can begin
                    for outcome in ended_together:
                        done.put(outcome)
                    if given_up.is_set():
                        break
        except BaseException as ended:  # noqa: BLE001  # no error of a window: it ends the run
            done.put(ended)
        else:
            done.put(None)

    shared = Coordination(stop=stop)
    threads = [
        # In a copy of the context: it holds the flow run that the windows' tasks belong to.
        Thread(target=copy_context().run, args=(carry_until_none_is_left,), daemon=True)
        for _ in range(min(at_once, len(batches)))
    ]
    for thread in threads:
        thread.start()
    outcomes: dict[Window | None, Outcome] = {}
    working = len(threads)
    arrived = failed = rows = 0
    try:
        while working:
            with suppress(Empty):
                outcome = done.get(timeout=LOOK_EVERY_SECONDS)
                if isinstance(outcome, BaseException):
                    raise outcome
                if outcome is None:
                    working -= 1
                    continue
                outcomes[outcome.window] = outcome
                if outcome.receipt:
                    arrived, rows = arrived + 1, rows + outcome.receipt.rows_extracted
                    landed(outcome.receipt)
                else:
                    failed += 1
            report(arrived, failed, rows)
    except BaseException:  # a cancelled run ends here, by a signal or by what its state says
        shared.over.set()
        _join(threads)
        raise
    return [
        outcomes.get(batch.window)
        or Outcome(str(batch.target), batch.window, reason=NOT_BEGUN, begun=False)
        for batch in batches
    ]


def _carry(
    batch: Batch, route: Route, shared: Coordination, todo: WindowQueue
) -> Iterator[tuple[list[Outcome], Exception | None]]:
    """Carry the batch; of windows that travel together and fail, in smaller batches.

    Until the one at fault stands alone with its reason, and the others have landed. What each of
    them would meet is that of all. Those that have ended together come together, with their error.
    """
    waiting = [batch]  # no recursion: each of a thousand windows may be at fault
    while waiting:
        one = waiting.pop()
        failure: Exception
        try:
            receipts = carry_together(one, route, shared)
        except StoppedError as stopped:
            failure = stopped
        except Exception as error:  # noqa: BLE001  # the other windows go on, whatever it is
            failure = error
        else:
            todo.read(one, sum(receipt.rows_extracted for receipt in receipts))
            yield [_outcome(*each) for each in zip(one.each, receipts, strict=True)], None
            continue
        if isinstance(failure, StoppedError):
            yield [_outcome(each, reason=str(failure)) for each in one.each], failure
        elif one.windows and not is_no_windows_fault(failure):
            why = reason_of(explained(failure))
            get_run_logger().info("%s is carried in smaller batches after: %s", one, why)
            if isinstance(failure, ApartError):
                todo.keep_apart()
            at_fault = failure.window_number if isinstance(failure, DataError) else None
            waiting += reversed(todo.smaller(one, at_fault))
        else:
            if one.windows:
                record_failures(one.each, failure, route.warehouse)
            failed = [
                _outcome(each, reason=log_failure(failure, str(each.target), each.label))
                for each in one.each
            ]
            yield failed, failure


def _outcome(batch: Batch, receipt: Receipt | None = None, reason: str = "") -> Outcome:
    return Outcome(str(batch.target), batch.window, receipt, reason)


def _join(threads: Sequence[Thread]) -> None:
    """Wait a little for windows to end their step; a process that ends leaves them as they are."""
    end = time.monotonic() + STOP_SECONDS
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))


def counts(outcomes: Collection[Outcome]) -> tuple[int, int, int]:
    """The windows that arrived, those that failed, and the rows read, as a `Report` is told."""
    receipts = receipts_of(outcomes)
    rows = sum(receipt.rows_extracted for receipt in receipts)
    return len(receipts), len(outcomes) - len(receipts), rows


def window_batches(
    spec: TableSpec,
    windows: Sequence[Window],
    backfill_run_id: str,
    scheduled_start: datetime,
    rows: Mapping[Window, int | None] | None = None,
    again: Mapping[Window, int] | None = None,
) -> list[Batch]:
    """The batches of a backfill: the same ids in whichever process they are carried.

    Args:
        spec: The table's spec.
        windows: The windows.
        backfill_run_id: The backfill's flow run.
        scheduled_start: When that was to start.
        rows: About how many rows windows have, where that was guessed.
        again: Of windows that the backfill has landed before and lands once more: `Batch.again`.
    """
    return [
        Batch(
            spec=spec,
            mode="window",
            window=window,
            flow_run_id=backfill_run_id,
            scheduled_start=scheduled_start,
            work_folder=work_folder(),
            backfill=True,
            estimated_rows=rows.get(window) if rows else None,
            again=again.get(window, 0) if again else 0,
        )
        for window in windows
    ]
