"""Several tables at a time: wait for the task of each, and tell what they came to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from prefect.futures import PrefectFuture, wait

R = TypeVar("R")


def gather(
    futures: Mapping[str, PrefectFuture[R]],
) -> tuple[dict[str, R], dict[str, BaseException]]:
    """What became of each, once all have ended: one that fails stops none of the others.

    Args:
        futures: What was submitted, by table.

    Returns:
        The results of those that are done, and the errors of those that failed, by table.
    """
    wait(list(futures.values()))
    results: dict[str, R] = {}
    errors: dict[str, BaseException] = {}
    for table, future in futures.items():
        result = future.result(raise_on_failure=False)
        if isinstance(result, BaseException):
            errors[table] = result
        else:
            results[table] = result
    return results, errors
