"""Artifacts on a run's page: shown if the Prefect server answers, never a reason to fail."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from prefect.exceptions import PrefectException
from prefect.logging import get_run_logger


@contextmanager
def cosmetic(what: str) -> Iterator[None]:
    """Log a failure to show something; the rows matter more than their picture."""
    try:
        yield
    except (PrefectException, httpx.HTTPError) as error:
        get_run_logger().warning("%s could not be shown: %s", what, type(error).__name__)
