"""Progress over many windows: in the log, as a progress artifact, and as a bar in a terminal."""

from __future__ import annotations

import logging
import sys
import time
from types import TracebackType
from typing import Self
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.logging import get_run_logger
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from tasks.pages.artifacts import cosmetic

FIRST_REPORT_SECONDS = 5.0
REPORT_EVERY_SECONDS = 10.0


class WindowsProgress:
    """Tells done, failed, left, rows a second and time left, every so often.

    A bar is drawn where a person watches a terminal; elsewhere there are lines in the log.

    Args:
        what: What is under way, such as `backfill raw_data.nps`.
        key: Key of the progress artifact: lower case, digits, dashes.
        total: How many windows there are to carry.
    """

    def __init__(self, what: str, key: str, total: int) -> None:
        self._what, self._key, self._total = what, key, total
        self._begun = time.monotonic()
        self._next = self._begun + FIRST_REPORT_SECONDS
        self._artifact: UUID | None = None
        self._log: logging.Logger | logging.LoggerAdapter[logging.Logger] = get_run_logger()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[tells]}"),
            disable=not sys.stderr.isatty(),
            transient=True,
        )
        self._line = self._bar.add_task(what, total=total, tells="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bar.stop()
        if self._artifact and kind is None:
            self._show(100.0, f"{self._what}: done")

    def report(self, done: int, failed: int, rows: int) -> None:
        """Say how far it is, if it is time to.

        Args:
            done: Windows that have landed.
            failed: Windows that have been given up.
            rows: Rows read for those that have landed.
        """
        now = time.monotonic()
        text = windows_line(done, failed, self._total, rows, now - self._begun)
        self._bar.update(self._line, completed=done + failed, tells=text)
        if now < self._next:
            return
        self._next = now + REPORT_EVERY_SECONDS
        self._log.info("%s: %s", self._what, text)
        self._show(min(99.0, 100.0 * (done + failed) / self._total), text)

    def _show(self, percent: float, text: str) -> None:
        with cosmetic("progress"):
            if self._artifact is None:
                created = create_progress_artifact(percent, key=self._key, description=text)
                assert isinstance(created, UUID)
                self._artifact = created
            else:
                update_progress_artifact(self._artifact, percent, description=text)


def windows_line(done: int, failed: int, total: int, rows: int, seconds: float) -> str:
    """One line: `12 done, 1 failed, 18 left, 41,000 rows/s, about 25 s left`."""
    left = total - done - failed
    line = f"{done:,} done, {failed:,} failed, {left:,} left"
    if rows and seconds > 0:
        line += f", {rows / seconds:,.0f} rows/s"
    if left and done + failed:
        line += f", about {seconds / (done + failed) * left:,.0f} s left"
    return line
