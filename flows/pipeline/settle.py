"""A scheduled run waits for its window to settle, by the source's clock, but not for ever."""

from __future__ import annotations

import time
from datetime import UTC, timedelta
from threading import Event

from prefect.logging import get_run_logger

from blocks.source import Source
from ferry.batch import Batch
from ferry.errors import FerryError, StoppedError

PATIENCE_SECONDS = 60.0
"""So much longer than the table's `settle`, for a clock that runs a little behind."""

LOOK_EVERY_SECONDS = 5.0


def wait_until_settled(batch: Batch, source: Source, stop: Event | None = None) -> None:
    """Wait until the source's clock is `settle` past the window's end; then it can be read whole.

    It waits for that long and a minute at most. A window that has not settled by then is carried
    all the same, with a warning, and counts as loaded as far as its receipt says. No place among
    the source's readers is held meanwhile.

    Args:
        batch: What is to be carried. Only for a run without dates: a person who gives a run its
            dates may carry an unfinished window.
        source: Whose clock it is.
        stop: Set when the run is cancelled.

    Raises:
        StoppedError: `stop` was set meanwhile.
    """
    if batch.window is None:
        return
    log, stop = get_run_logger(), stop or Event()
    settle = batch.spec.settle_seconds
    settled_at = batch.window.end.astimezone(UTC) + timedelta(seconds=settle)
    deadline = time.monotonic() + settle + PATIENCE_SECONDS
    waiting = False
    while True:
        try:
            clock = source.now()
        except FerryError as error:  # the reading meets it, too, and tries again
            log.warning("%s: whether it has settled is not known: %s", batch, error)
            return
        seconds = (settled_at - clock).total_seconds()
        if seconds <= 0:
            return
        if seconds > deadline - time.monotonic():
            log.warning(
                "%s has not settled: the source's clock is %s, %.0f s before the window's end and "
                "`settle`. It is carried now, and counts as loaded up to what had settled; correct "
                "the source's clock",
                batch,
                f"{clock:%Y-%m-%d %H:%M:%S} UTC",
                seconds,
            )
            return
        if not waiting:
            log.info(
                "%s waits %.0f s for what commits late: `settle` is %s s, by the source's clock",
                batch,
                seconds,
                settle,
            )
            waiting = True
        if stop.wait(min(seconds, LOOK_EVERY_SECONDS)):
            raise StoppedError(f"{batch}: stopped")
