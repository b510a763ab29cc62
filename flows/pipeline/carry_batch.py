"""One batch through its steps: plan ▶ extract ▶ stage ▶ copy ▶ upsert; and its page.

A process that is killed in the middle leaves the target as it was, or all of the batch with its
receipt: the same run started again looks for the receipt first (`already_landed`), and carries what
has none. What is left over in the stage and the warehouse is tidied later (`tidy.py`).
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from prefect import Task
from prefect.logging import get_run_logger

from blocks.source import Source
from blocks.stage import Stage
from blocks.warehouse import Warehouse
from ferry.batch import Batch, Copied, Staged
from ferry.errors import (
    AccessError,
    ConfigurationError,
    FerryError,
    IncompleteReadError,
    RetriableError,
    StaleReadError,
    StoppedError,
)
from ferry.plan import BatchPlan
from ferry.reasons import reason_of
from ferry.receipts.receipt import Receipt
from ferry.specs.tables import TableSpec
from flows.pipeline.make_batch import Route
from tasks.copy_in import copy
from tasks.extract import extract
from tasks.landed.failures import record_failures
from tasks.landed.quiet import wait_until_quiet
from tasks.landed.receipts import already_landed
from tasks.pages.receipt import receipt_line, show_receipt
from tasks.plan_batch import plan
from tasks.stage import discard, stage
from tasks.step import in_place, located, with_retries
from tasks.upsert import drop_staging, upsert

SMALL_TABLE_ROWS = 10_000
"""Of many tables in a run, one of so many rows at most has one task run for all of its steps."""

NOT_THE_WINDOWS_FAULT = (RetriableError, AccessError, ConfigurationError)
"""A server that is down, a password that is wrong: the next window would meet it, too."""

READ_AGAIN = 3
"""How often a batch is planned and read again, as another landed or its table was altered.

At once the first time; after that when nothing that takes rows out, or voids them, has landed for
as long as its read takes.
"""


@dataclass(frozen=True)
class Coordination:
    """What the windows of one table share that are carried at the same time.

    Attributes:
        commit_lock: Held while a window is written: commits to one table are serial.
        stop: Once it is set, no window begins another step; others may share it.
        over: The same, of these windows alone.
    """

    commit_lock: threading.Lock = field(default_factory=threading.Lock)
    stop: threading.Event = field(default_factory=threading.Event)
    over: threading.Event = field(default_factory=threading.Event)

    @property
    def stopped(self) -> bool:
        """Whether no window is to begin another step."""
        return self.stop.is_set() or self.over.is_set()


class TaskRuns(Enum):
    """How the steps of a batch are run."""

    EACH_A_TASK = "each a task run"
    SMALL_IN_PLACE = "those of a small table within the task run that stands for it"
    IN_PLACE = "within the run, and without a line of log each: of many windows"


def carry(batch: Batch, route: Route, how: TaskRuns = TaskRuns.EACH_A_TASK) -> Receipt:
    """Carry the batch and return its receipt; what an earlier attempt landed is not done again.

    A batch that fails leaves a failure, beside the receipts, where that can be written.

    Args:
        batch: One window, or all, of one table.
        route: The blocks it travels over.
        how: How its steps are run; of many tables, the run's own page tells of the small ones.

    Raises:
        FerryError: From the step that failed; the target is as it was.
        IncompleteReadError: A part could not be read; the rest has landed, and has its receipt.
    """
    (receipt,) = carry_together(batch, route, how=how)
    if how is TaskRuns.EACH_A_TASK or receipt.rows_extracted > SMALL_TABLE_ROWS:
        show_receipt(receipt)
    return receipt


def carry_together(
    batch: Batch,
    route: Route,
    shared: Coordination | None = None,
    how: TaskRuns = TaskRuns.IN_PLACE,
) -> tuple[Receipt, ...]:
    """Carry one batch, and return the receipts of its windows in their order, as `carry` does.

    Several windows that fail leave no failure: nobody knows yet which of them is at fault. Nor do
    those that fail once they are to stop: a window that was loaded stays so.

    Args:
        batch: One window, or all, or several windows that travel together.
        route: The blocks it travels over.
        shared: What many batches share.
        how: How its steps are run. Of very many, nobody could look at a task run and an artifact
            for each (`tasks.step.in_place`).

    Raises:
        FerryError: From the step that failed; the target is as it was.
        ApartError: Its windows cannot travel together.
        IncompleteReadError: A part could not be read; the rest has landed, and has its receipt.
        StoppedError: It was to stop meanwhile, by `shared`.
    """
    started_at = datetime.now(UTC)
    asked = batch.attempt > 1 and not batch.windows
    landed = already_landed(batch, route.warehouse) if asked else None
    if landed:
        get_run_logger().info("%s has landed in an earlier attempt of this run", batch)
        return (landed,)
    try:
        return _arrive(batch, route, started_at, shared or Coordination(), how)
    except StoppedError:
        raise
    except Exception as error:
        if shared and shared.stopped:  # its process ends under it, and takes away what it needs
            raise StoppedError(f"{batch}: stopped") from error
        if receipts := _landed_meanwhile(batch, error, route.warehouse):
            return receipts
        # A subset that failed tells nothing about the whole window.
        if not (batch.subset or batch.windows):
            record_failures([batch], error, route.warehouse)
        raise
    finally:
        shutil.rmtree(batch.folder, ignore_errors=True)


def _landed_meanwhile(
    batch: Batch, error: Exception, warehouse: Warehouse
) -> tuple[Receipt, ...] | None:
    """The receipts of the batch's windows if all have landed in this run while this attempt failed.

    A process that was taken for dead goes on beside the attempt that replaces it. Whichever lands
    takes the staged files along, and the other one cannot load them any more. Or the answer to a
    COMMIT was lost, and the warehouse could not be asked again in time. What landed without some of
    its rows has another id, and is not found here.
    """
    if batch.subset or isinstance(error, IncompleteReadError):  # this one landed
        return None
    landed = []
    try:
        for each in batch.each:
            receipt = already_landed(each, warehouse)
            if receipt is None:
                return None
            landed.append(receipt)
    except FerryError:  # the failure that is told is the first one
        return None
    get_run_logger().warning(
        "%s has landed in this run, while this attempt failed: %s", batch, reason_of(error)
    )
    return tuple(landed)


def _arrive(
    batch: Batch, route: Route, started_at: datetime, shared: Coordination, how: TaskRuns
) -> tuple[Receipt, ...]:
    for again in range(READ_AGAIN):
        begun = time.monotonic()
        try:
            return _steps(batch, route, started_at, shared, how)
        except StaleReadError as error:
            get_run_logger().warning("%s is read again: %s", batch, error)
        if again:  # something goes on landing, as a long repair does
            with suppress(RetriableError):  # what is asked next is asked again
                took = time.monotonic() - begun
                wait_until_quiet(batch, route.warehouse, took, lambda: shared.stopped)
        started_at = datetime.now(UTC)
    return _steps(batch, route, started_at, shared, how)


def _steps(
    batch: Batch, route: Route, started_at: datetime, shared: Coordination, how: TaskRuns
) -> tuple[Receipt, ...]:
    def go_on() -> None:
        if shared.stopped:
            raise StoppedError(f"{batch}: stopped")

    spec, step = batch.spec, _runner(how, go_on)
    go_on()
    planned = step(plan, spec)(batch, route.source, route.warehouse)
    if how is TaskRuns.SMALL_IN_PLACE and not _is_small(planned, route.source):
        step = with_retries
    go_on()
    with located(batch, "stage", route.warehouse):
        route.warehouse.refuse_stage(route.stage)
    extracted = step(extract, spec)(
        batch, planned, route.source, route.stage, route.warehouse.capabilities
    )
    go_on()
    staged = Staged((), None, extracted.layout, 0, extracted.record_key)
    if extracted.rows:  # an empty window has nothing to stage and to copy
        staged = step(stage, spec)(batch, extracted, route.stage)
    with _staged_files(batch, staged, route.stage):
        go_on()
        copied = Copied(None, 0)
        try:
            if extracted.rows:
                copied = step(copy, spec)(batch, extracted, staged, route.stage, route.warehouse)
            with shared.commit_lock:
                go_on()
                receipts: tuple[Receipt, ...] = step(upsert, spec)(
                    batch, planned, extracted, staged, copied, route.warehouse, started_at
                )
        except Exception:  # given up: every attempt of a step has failed
            drop_staging(planned, copied, route.warehouse)
            raise
    if extracted.left_out:
        show_receipt(receipts[0])
        raise IncompleteReadError(
            extracted.left_out,
            table=str(batch.target),
            window=batch.label,
            step="extract",
            found=f"the rest, which has landed: {receipt_line(receipts[0])}",
            todo="Correct what is wrong, and carry the window again: it does not count as loaded.",
        )
    return receipts


@contextmanager
def _staged_files(batch: Batch, staged: Staged, files: Stage) -> Iterator[None]:
    """Remove the staged files at the end, but pieces that are of use to another attempt."""
    of_use = True  # if the process ends here
    try:
        yield
        of_use = False  # it has landed
    except Exception as error:
        # Files that are not as they were staged would fail every attempt that goes on from them.
        of_use = isinstance(error, (StoppedError, *NOT_THE_WINDOWS_FAULT))
        if staged.record_key and not of_use:
            get_run_logger().warning(
                "%s: what is staged is not used again: all is read anew", batch
            )
        raise
    finally:
        if not (staged.record_key and of_use):
            discard(batch.spec, staged, files)


def _runner(
    how: TaskRuns, go_on: Callable[[], None]
) -> Callable[[Task[..., Any], TableSpec], Callable[..., Any]]:
    """What makes of a step's task, and a table's spec, what is to be called."""
    if how is TaskRuns.EACH_A_TASK:
        return with_retries

    def within(step: Task[..., Any], spec: TableSpec) -> Callable[..., Any]:
        return in_place(step, spec, quiet=how is TaskRuns.IN_PLACE, go_on=go_on)

    return within


def _is_small(planned: BatchPlan, source: Source) -> bool:
    """Whether so few rows are to be read, by the source's guess, that task runs would cost most."""
    rows = source.estimate_rows(planned.query)
    return rows is not None and rows <= SMALL_TABLE_ROWS
