"""What every step has in common: retries by kind of error, and errors that say where."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ParamSpec, TypedDict, TypeVar

from prefect import Task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun

from ferry.batch import Batch
from ferry.errors import FatalError, FerryError, is_retriable
from ferry.specs import TableSpec

P = ParamSpec("P")
R = TypeVar("R")

RETRY_JITTER = 0.5


def retry_may_help(_task: Task[..., Any], _task_run: TaskRun, state: State[Any]) -> bool:
    """Whether the error that a step failed with is a retriable one."""
    return is_retriable(state.data if isinstance(state.data, BaseException) else None)


class StepOptions(TypedDict):
    """The options of every step's task."""

    retries: int
    retry_delay_seconds: float
    retry_jitter_factor: float
    retry_condition_fn: Any
    cache_policy: Any
    persist_result: bool


STEP = StepOptions(
    retries=1,
    retry_delay_seconds=180,
    retry_jitter_factor=RETRY_JITTER,
    retry_condition_fn=retry_may_help,
    cache_policy=NO_CACHE,
    persist_result=False,
)
"""One retry after 3 minutes, plus up to half of that at random; only for retriable errors.

There is no Prefect timeout: it does not interrupt a blocking call. The drivers' own time limits,
fields of the blocks, do.
"""


def for_table(step: Task[P, R], spec: TableSpec) -> Task[P, R]:
    """The step with the retries that the table's spec asks for."""
    return step.with_options(
        retries=spec.retries, retry_delay_seconds=float(spec.retry_delay_seconds)
    )


@contextmanager
def located(batch: Batch, step: str) -> Iterator[None]:
    """Let every error that passes say the table, as the warehouse names it, window and step.

    Raises:
        FatalError: This machine's own disk failed.
    """
    try:
        yield
    except FerryError as error:
        error.table = str(batch.target)
        error.at(window=batch.label, step=step)
        raise
    except OSError as error:
        raise FatalError(
            "this machine cannot write or read the part files",
            table=str(batch.target),
            window=batch.label,
            step=step,
            found=error.strerror or type(error).__name__,
            todo="Make room, or set TMPDIR to a folder that the worker can write.",
        ) from error
