"""What every step has in common: retries by kind of error, and errors that say where."""

from __future__ import annotations

import inspect
import logging
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from contextvars import ContextVar
from functools import cache, wraps
from typing import Any, ParamSpec, Protocol, TypedDict, TypeVar

from prefect import Task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.exceptions import MissingContextError
from prefect.flow_engine import FlowRunTimeoutError
from prefect.logging import get_run_logger
from prefect.task_engine import TaskRunTimeoutError

from blocks.named import NamedBlock, naming
from ferry.batch import Batch
from ferry.errors import (
    ConflictError,
    FatalError,
    FerryError,
    OutcomeUnknownError,
    RetriableError,
    is_retriable,
)
from ferry.reasons import explained, reason_of

P = ParamSpec("P")
R = TypeVar("R")

RETRY_JITTER = 0.5
LOOK_SECONDS = 1.0
"""How often a step that waits to be tried again looks whether it still is to be."""

CONFLICT_ATTEMPTS = 4
CONFLICT_PAUSE_SECONDS = 0.5

PREFECT_S_OWN = (FlowRunTimeoutError, TaskRunTimeoutError)
"""Errors by which Prefect ends a run whose time is over."""


def explains(function: Callable[P, R]) -> Callable[P, R]:
    """Let nothing but errors of ours leave a flow or a task: stands right above its function.

    Prefect puts the text of whatever leaves into the run's state and its log, with all that caused
    it; the text of a driver's error may hold values (`ferry.reasons`).
    """

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except PREFECT_S_OWN:
            raise
        except Exception as error:  # noqa: BLE001  # whatever it is, it leaves explained
            ours = known(error)
        raise ours  # not while the other is handled, which would chain it again

    # Prefect would look the names in the annotations up in this module.
    run.__signature__ = inspect.signature(function, eval_str=True)  # type: ignore[attr-defined]
    return run


def log_failure(error: Exception, table: str, window: str | None = None) -> str:
    """Log why something failed, and return it.

    Args:
        error: What it failed with.
        table: Where, for errors that do not say.
        window: The label of the window.
    """
    ours = known(error, table=table, window=window)
    get_run_logger().error("%s", reason_of(ours))
    return reason_of(ours)


def known(error: Exception, **where: str | None) -> FerryError:
    """The error as one of ours, at its place; one that was not is logged with its traceback."""
    ours = explained(error).at(**where)
    if ours is not error:
        with suppress(MissingContextError):
            get_run_logger().error("%s", reason_of(ours), exc_info=ours)
    return ours


def retry_may_help(_task: Task[..., Any], _task_run: TaskRun, state: State[Any]) -> bool:
    """Whether the error that a step failed with is a retriable one."""
    return is_retriable(state.data if isinstance(state.data, BaseException) else None)


class StepOptions(TypedDict):
    """The options of every step's task."""

    retry_jitter_factor: float
    retry_condition_fn: Any
    cache_policy: Any
    persist_result: bool


STEP = StepOptions(
    retry_jitter_factor=RETRY_JITTER,
    retry_condition_fn=retry_may_help,
    cache_policy=NO_CACHE,
    persist_result=False,
)
"""Only retriable errors are retried, as often as the table's or summary's spec says.

There is no Prefect timeout: it does not interrupt a blocking call. The drivers' own time limits,
fields of the blocks, do.
"""


class Retries(Protocol):
    """What a spec says of retries, a table's or a summary's."""

    @property
    def retries(self) -> int:
        """How often a step is tried again."""

    @property
    def retry_delay_seconds(self) -> int:
        """How long to wait before that."""


def with_retries(step: Task[P, R], spec: Retries) -> Task[P, R]:
    """The step with the spec's `retries`, each `retry_delay_seconds` later.

    Up to half of that comes on top of it at random.
    """
    return _with_options(step, spec.retries, float(spec.retry_delay_seconds))  # type: ignore[return-value]


@cache
def _with_options(step: Task[..., object], retries: int, delay_seconds: float) -> Task[..., object]:
    """Made once for all batches: Prefect reads and parses a task's source whenever it makes one."""
    return step.with_options(retries=retries, retry_delay_seconds=delay_seconds)


_quiet: ContextVar[bool] = ContextVar("_quiet", default=False)


def log_step(message: str, *values: object) -> None:
    """Log what a step did; at DEBUG for one of very many, of which it would be too much."""
    get_run_logger().log(logging.DEBUG if _quiet.get() else logging.INFO, message, *values)


def in_place(
    step: Task[P, R],
    spec: Retries,
    *,
    quiet: bool = False,
    go_on: Callable[[], None] = lambda: None,
) -> Callable[P, R]:
    """The step within the run that calls it: with the spec's retries, but no task run of its own.

    A task run costs Prefect's server some 35 ms of processor time, more than a step of a small
    window costs everybody else, and a line of its log 6 ms. So a step of one of many windows has
    neither, and a window one line in the flow run's log if all goes well.

    Args:
        step: The step.
        spec: What says how often it is tried again.
        quiet: Whether what it does is logged at DEBUG.
        go_on: Raises once it is not to be tried again; asked all the while that it waits for that.
    """

    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        token = _quiet.set(quiet)
        try:
            return retried(step.fn, spec, go_on)(*args, **kwargs)
        finally:
            _quiet.reset(token)

    return run


def retried(
    function: Callable[P, R], spec: Retries, go_on: Callable[[], None] = lambda: None
) -> Callable[P, R]:
    """The function, done once more after a retriable error, as often as the spec says.

    Args:
        function: What is done.
        spec: What says how often it is tried again.
        go_on: Raises once it is not to be tried again; asked all the while that it waits for that.
    """

    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        for _ in range(spec.retries):
            try:
                return function(*args, **kwargs)
            except RetriableError as error:
                pause = spec.retry_delay_seconds * (1 + RETRY_JITTER * random.random())
                get_run_logger().warning("once more in %.0f s after: %s", pause, error)
                _wait(pause, go_on)
        return function(*args, **kwargs)

    return run


def _wait(seconds: float, go_on: Callable[[], None]) -> None:
    until = time.monotonic() + seconds
    go_on()
    while (left := until - time.monotonic()) > 0:
        time.sleep(min(left, LOOK_SECONDS))
        go_on()


def repeat_on_conflict(transact: Callable[[], R], what: str) -> R:
    """Do the transaction again, a few times and at once, where repeating it is what helps.

    That is after a serialization conflict, and after an answer lost at COMMIT: so `transact` looks
    first whether it has landed, or may be done twice.

    Args:
        transact: One whole transaction.
        what: What it does, for the log.

    Raises:
        ConflictError, OutcomeUnknownError: The last attempt's.
    """
    for attempt in range(1, CONFLICT_ATTEMPTS):
        try:
            return transact()
        except (ConflictError, OutcomeUnknownError) as error:
            get_run_logger().warning("%s: once more after: %s", what, error)
            time.sleep(CONFLICT_PAUSE_SECONDS * 2**attempt * random.random())
    return transact()


@contextmanager
def error_context(
    table: str, window: str | None, step: str, block: NamedBlock | None = None
) -> Iterator[None]:
    """Let every error that passes say where it was.

    Args:
        table: The table or summary, as the warehouse names it.
        window: The label of the window, or of the partitions.
        step: What is done.
        block: What it is done with; errors name it unless they name one.

    Raises:
        UnknownError: What is not ours, without its text.
    """
    try:
        with naming(block) if block else nullcontext():
            yield
    except FerryError as error:
        error.table = table
        error.at(window=window, step=step)
        raise
    except PREFECT_S_OWN:
        raise
    except Exception as error:  # noqa: BLE001  # whatever it is, it leaves explained
        unknown = known(error, table=table, window=window, step=step)
        raise unknown from unknown.__cause__


@contextmanager
def located(batch: Batch, step: str, block: NamedBlock) -> Iterator[None]:
    """As `error_context`, for a step of a batch; errors name the block unless they name one.

    Raises:
        FatalError: This machine's own disk failed.
        UnknownError: What is not ours, without its text.
    """
    with error_context(str(batch.target), batch.label, step):
        try:
            with naming(block):
                yield
        except OSError as error:
            raise FatalError(
                "this machine cannot write or read the part files",
                found=error.strerror or type(error).__name__,
                todo="Make room, or set TMPDIR to a folder that the worker can write.",
            ) from error
