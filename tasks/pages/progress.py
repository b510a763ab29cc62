"""Progress of what takes long: in the log, as an artifact on the run's page, and in a terminal."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from threading import Thread
from types import TracebackType
from typing import Any, Self
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.logging import get_run_logger
from rich import progress as rich_progress

from tasks.pages.artifacts import cosmetic

FIRST_REPORT_SECONDS = 5.0
REPORT_EVERY_SECONDS = 10.0
DONE_SECONDS = 10.0
"""So long it waits, at its end, for the server to take the last line."""


class Progress:
    """Tells how far something is every so often; says nothing of what is soon done.

    Args:
        what: What is done, such as `backfill raw_data.nps`.
        key: Key of the progress artifact: lower case, digits, dashes.
    """

    def __init__(self, what: str, key: str) -> None:
        self._what = what
        self._key = key
        self._begun = time.monotonic()
        self._next = self._begun + FIRST_REPORT_SECONDS
        self._artifact: UUID | None = None
        self._showing: Thread | None = None
        self._log: logging.Logger | logging.LoggerAdapter[Any] = get_run_logger()

    @property
    def seconds(self) -> float:
        """For how long it has been under way."""
        return time.monotonic() - self._begun

    def is_due(self) -> bool:
        """Whether it is time to report; then the next report is not before long."""
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + REPORT_EVERY_SECONDS
        return True

    def report(self, text: str, percent: float) -> None:
        """Say how far it is; never 100 %, which only `done` says."""
        self._log.info("%s: %s", self._what, text)
        self._show(min(99.0, percent), text)

    def done(self) -> None:
        """Set the artifact, if there is one, to 100 %, if the server answers soon."""
        if self._showing is None:
            return
        self._showing.join(DONE_SECONDS)
        if self._artifact:
            self._show(100.0, f"{self._what}: done")
            self._showing.join(DONE_SECONDS)

    def _show(self, percent: float, text: str) -> None:
        """Show it beside what is done, which never waits for a server that is busy or away.

        Prefect's client asks such a server for more than a minute; until it is through, nothing
        newer is shown.
        """
        if self._showing and self._showing.is_alive():
            return
        show = partial(copy_context().run, self._put, percent, text)
        self._showing = Thread(target=show, daemon=True, name="progress")
        self._showing.start()

    def _put(self, percent: float, text: str) -> None:
        with cosmetic("progress"):
            if self._artifact is None:
                created = create_progress_artifact(percent, key=self._key, description=text)
                assert isinstance(created, UUID)
                self._artifact = created
            else:
                update_progress_artifact(self._artifact, percent, description=text)


class RowsProgress:
    """Tells rows, rate and time left of one long step.

    Args:
        what: What is done.
        key: The artifact's.
        estimate: About how many rows there will be; asked once, at the first report.
    """

    def __init__(self, what: str, key: str, estimate: Callable[[], int | None]) -> None:
        self._progress = Progress(what, key)
        self._estimate = estimate
        self._reported = False
        self._expected: int | None = None

    def __call__(self, rows: int, size_bytes: int) -> None:
        """Say that so many rows, and compressed bytes, are done, if it is time to."""
        if not self._progress.is_due():
            return
        if not self._reported:
            self._reported, self._expected = True, self._estimate()
        text = rows_line(rows, size_bytes, self._progress.seconds, self._expected)
        self._progress.report(text, 100.0 * rows / self._expected if self._expected else 0.0)

    def done(self) -> None:
        """Say that all rows are done."""
        self._progress.done()


def rows_line(rows: int, size_bytes: int, seconds: float, expected: int | None) -> str:
    """One line, such as `1,200,000 rows, 14.2 MB, 240,000 rows/s, about 16 s left`."""
    rate = rows / seconds if seconds > 0 else 0.0
    line = f"{rows:,} rows, {size_bytes / 1e6:.1f} MB, {rate:,.0f} rows/s"
    if expected and rate and expected > rows:
        line += f", about {(expected - rows) / rate:,.0f} s left"
    return line


class WindowsProgress:
    """Tells done, failed, left, rows a second and time left of many windows.

    A bar is drawn where a person watches a terminal; elsewhere there are lines in the log.

    Args:
        what: What is under way, such as `backfill raw_data.nps`.
        key: The artifact's.
        total: How many windows there are to carry.
    """

    def __init__(self, what: str, key: str, total: int) -> None:
        self._progress, self._total = Progress(what, key), total
        self._bar = rich_progress.Progress(
            rich_progress.TextColumn("{task.description}"),
            rich_progress.BarColumn(),
            rich_progress.MofNCompleteColumn(),
            rich_progress.TextColumn("{task.fields[tells]}"),
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
        if kind is None:
            self._progress.done()

    def report(self, done: int, failed: int, rows: int) -> None:
        """Say how far it is, if it is time to.

        Args:
            done: Windows that have landed.
            failed: Windows that have been given up.
            rows: Rows read for those that have landed.
        """
        text = windows_line(done, failed, self._total, rows, self._progress.seconds)
        self._bar.update(self._line, completed=done + failed, tells=text)
        if self._progress.is_due():
            self._progress.report(text, 100.0 * (done + failed) / self._total)


def windows_line(done: int, failed: int, total: int, rows: int, seconds: float) -> str:
    """One line: `12 done, 1 failed, 18 left, 41,000 rows/s, about 25 s left`."""
    left = total - done - failed
    line = f"{done:,} done, {failed:,} failed, {left:,} left"
    if rows and seconds > 0:
        line += f", {rows / seconds:,.0f} rows/s"
    if left and done + failed:
        line += f", about {seconds / (done + failed) * left:,.0f} s left"
    return line
