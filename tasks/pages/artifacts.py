"""Artifacts on a run's page: shown if the Prefect server answers, never a reason to fail."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from prefect.logging import get_run_logger

from tasks.step import PREFECT_S_OWN


@contextmanager
def cosmetic(what: str) -> Iterator[None]:
    """Log a failure to show something; the rows matter more than their picture."""
    try:
        yield
    except PREFECT_S_OWN:
        raise
    except Exception as error:  # noqa: BLE001  # whatever it is: a server that does not come up
        get_run_logger().warning("%s could not be shown: %s", what, type(error).__name__)
