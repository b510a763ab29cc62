"""The past windows of a table that is carried again and again: those its schedule should have left.

They are what `sync_all` catches up when they are not loaded: the Prefect server was down and never
made their runs, or their runs failed.
"""

from __future__ import annotations

import math
from datetime import UTC, date, timedelta

from ferry.coverage.standings import Coverage, Status
from ferry.windows import Every, Window, day_windows, local_midnight

ONE_HOUR = timedelta(hours=1)


def past_windows(first: date, before: Window, every: Every) -> list[Window]:
    """The days, or hours, from the first day up to a window, oldest first, without a gap.

    Args:
        first: The first day, in the window's zone.
        before: The window that follows on them: a day or an hour, as a schedule carries it.
        every: How long each of them is.
    """
    if every == "day":
        return day_windows(first, before.start.date(), before.zone)
    end = before.start.astimezone(UTC)
    # Counted back from the window, so that they fall on the same hours where a zone's midnight
    # does not; the first then begins up to an hour early.
    seconds = (end - local_midnight(first, before.zone)).total_seconds()
    hours = math.ceil(seconds / ONE_HOUR.total_seconds())
    return [
        Window(end - number * ONE_HOUR, end - (number - 1) * ONE_HOUR, before.zone)
        for number in range(hours, 0, -1)
    ]


def not_loaded(windows: list[Window], coverage: Coverage) -> list[Window]:
    """Those that are missing or failed, in their order."""
    return [window for window in windows if coverage.of(window).status is not Status.LOADED]
