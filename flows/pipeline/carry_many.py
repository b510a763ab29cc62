"""Many windows of one table in one process: read in parallel, written in turn."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass
from datetime import datetime
from queue import Empty, SimpleQueue
from threading import Thread

from blocks.work_folder import work_folder
from ferry.batch import Batch
from ferry.coverage.failed_windows import NOT_BEGUN, FailedWindow
from ferry.receipts.receipt import Receipt
from ferry.specs.tables import TableSpec
from ferry.windows import Window
from flows.pipeline.carry_batch import Road, StoppedError, Together, carry
from tasks.runs.own_state import while_running
from tasks.step import log_failure

LOOK_EVERY_SECONDS = 1.0
STOP_SECONDS = 10.0

Report = Callable[[int, int, int], None]
"""Told the windows done, those that failed, and the rows read, every second or so."""


@dataclass(frozen=True)
class Outcome:
    """What became of one window.

    Attributes:
        window: The window.
        receipt: The proof that it arrived; None if it did not.
        reason: Why it did not.
    """

    window: Window
    receipt: Receipt | None = None
    reason: str = ""


def carry_many(
    batches: Sequence[Batch],
    road: Road,
    *,
    at_once: int,
    report: Report,
    stop_at_failure: bool = False,
) -> list[Outcome]:
    """Carry windows of one table; one that fails does not stop the others.

    When the run is cancelled, also where nobody is left to end its process, no window begins
    another step: each has landed as a whole or not at all.

    Args:
        batches: The windows, in the order in which they begin.
        road: The blocks they travel over.
        at_once: How many are under way at a time.
        report: Told how far it is.
        stop_at_failure: Begin none after the first that failed.

    Returns:
        The outcomes in the order of the batches.

    Raises:
        Abort: The run is over already, by its state.
    """
    together, todo, done = Together(), SimpleQueue[Batch](), SimpleQueue[tuple[Batch, Outcome]]()
    for batch in batches:
        todo.put(batch)
    outcomes: dict[str, Outcome] = {}
    threads = [
        # In a copy of the context: it holds the flow run that the windows' tasks belong to.
        Thread(
            target=copy_context().run,
            args=(_work, todo, done, road, together, stop_at_failure),
            daemon=True,
        )
        for _ in range(min(at_once, len(batches)))
    ]
    for thread in threads:
        thread.start()
    try:
        with while_running(together.stop) as own:
            while len(outcomes) < len(batches):
                with suppress(Empty):
                    batch, outcome = done.get(timeout=LOOK_EVERY_SECONDS)
                    outcomes[batch.id] = outcome
                    if stop_at_failure and outcome.receipt is None:
                        break
                own.raise_if_ended()
                report(*_counts(outcomes.values()))
    finally:  # a cancelled run ends here, by a signal or by what its state says
        together.stop.set()
        _join(threads)
    return [
        outcomes.get(batch.id) or Outcome(_window(batch), reason=NOT_BEGUN) for batch in batches
    ]


def _work(
    todo: SimpleQueue[Batch],
    done: SimpleQueue[tuple[Batch, Outcome]],
    road: Road,
    together: Together,
    stop_at_failure: bool,
) -> None:
    """Carry one window after the other until none is left."""
    while not together.stop.is_set():
        try:
            batch = todo.get_nowait()
        except Empty:
            return
        outcome = _carry_one(batch, road, together)
        if stop_at_failure and outcome.receipt is None:
            together.stop.set()  # before another one can begin
        done.put((batch, outcome))


def _join(threads: Sequence[Thread]) -> None:
    """Wait a little for windows to end their step; a process that ends leaves them as they are."""
    end = time.monotonic() + STOP_SECONDS
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))


def _carry_one(batch: Batch, road: Road, together: Together) -> Outcome:
    try:
        return Outcome(_window(batch), carry(batch, road, together))
    except StoppedError as stopped:
        return Outcome(_window(batch), reason=str(stopped))
    except Exception as error:  # noqa: BLE001  # the other windows go on, whatever it is
        return Outcome(_window(batch), reason=log_failure(error, str(batch.target), batch.label))


def _counts(outcomes: Collection[Outcome]) -> tuple[int, int, int]:
    receipts = [outcome.receipt for outcome in outcomes if outcome.receipt]
    rows = sum(receipt.rows_extracted for receipt in receipts)
    return len(receipts), len(outcomes) - len(receipts), rows


def _window(batch: Batch) -> Window:
    assert batch.window is not None
    return batch.window


def window_batches(
    spec: TableSpec, windows: list[Window], backfill_run_id: str, scheduled_start: datetime
) -> list[Batch]:
    """The batches of a backfill: the same ids in whichever process they are carried."""
    return [
        Batch(
            spec=spec,
            mode="window",
            window=window,
            flow_run_id=backfill_run_id,
            scheduled_start=scheduled_start,
            work_folder=work_folder(),
            backfill=True,
        )
        for window in windows
    ]


def failed_windows(spec: TableSpec, outcomes: Iterable[Outcome]) -> list[FailedWindow]:
    """Those of the windows that did not arrive, with their reasons."""
    table = str(spec.target)
    return [FailedWindow(table, each.window, each.reason) for each in outcomes if not each.receipt]
