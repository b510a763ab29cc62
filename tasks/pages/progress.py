"""Progress of a long step, in the log and as a progress artifact on the run's page."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.logging import get_run_logger

from tasks.pages.artifacts import cosmetic

FIRST_REPORT_SECONDS = 5.0
REPORT_EVERY_SECONDS = 10.0


class Progress:
    """Tells rows, rate and time left every so often; says nothing of a short step.

    Args:
        what: What is done.
        key: The artifact's.
        estimate: About how many rows there will be; asked once, at the first report.
    """

    def __init__(self, what: str, key: str, estimate: Callable[[], int | None]) -> None:
        self._what = what
        self._key = key
        self._estimate = estimate
        self._expected: int | None = None
        self._begun = time.monotonic()
        self._next = self._begun + FIRST_REPORT_SECONDS
        self._artifact: UUID | None = None
        self._reported = False
        self._log: logging.Logger | logging.LoggerAdapter[logging.Logger] = get_run_logger()

    def __call__(self, rows: int, size_bytes: int) -> None:
        """Report that so many rows, and compressed bytes, are done."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + REPORT_EVERY_SECONDS
        if not self._reported:
            self._reported, self._expected = True, self._estimate()
        text = progress_line(rows, size_bytes, now - self._begun, self._expected)
        self._log.info("%s: %s", self._what, text)
        self._show(min(99.0, 100.0 * rows / self._expected) if self._expected else 0.0, text)

    def done(self) -> None:
        """Set the artifact, if there is one, to 100 %."""
        if self._artifact:
            self._show(100.0, f"{self._what}: done")

    def _show(self, percent: float, text: str) -> None:
        with cosmetic("progress"):
            if self._artifact is None:
                created = create_progress_artifact(percent, key=self._key, description=text)
                assert isinstance(created, UUID)
                self._artifact = created
            else:
                update_progress_artifact(self._artifact, percent, description=text)


def progress_line(rows: int, size_bytes: int, seconds: float, expected: int | None) -> str:
    """One line, such as `1,200,000 rows, 14.2 MB, 240,000 rows/s, about 16 s left`."""
    rate = rows / seconds if seconds > 0 else 0.0
    line = f"{rows:,} rows, {size_bytes / 1e6:.1f} MB, {rate:,.0f} rows/s"
    if expected and rate and expected > rows:
        line += f", about {(expected - rows) / rate:,.0f} s left"
    return line
