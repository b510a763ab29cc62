"""Lookback: what a scheduled run carries again, before its own window and in one read with it.

The batch's window is then the whole stretch, and so is its receipt's. Which part of it is the run's
own follows from the run's scheduled start.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from ferry.specs.tables import TableSpec
from ferry.windows import Every, Window, clamped, local_midnight, scheduled_window, zone_info


def with_lookback(spec: TableSpec, own: Window) -> Window:
    """The window from the table's `lookback` before it on, but not before its `start_date`."""
    if not spec.lookback:
        return own
    start = clamped(own.start.astimezone(UTC), -timedelta(seconds=spec.lookback))
    if spec.start_date:
        start = max(start, local_midnight(spec.start_date, own.zone))
    return Window(min(start, own.start), own.end, own.zone)


def window_length(spec: TableSpec) -> Every:
    """What a window without dates is; with `every: never`, a day."""
    return "hour" if spec.every == "hour" else "day"


def own_window(spec: TableSpec, window: Window, scheduled_start: datetime) -> Window:
    """The run's own window: the one it was given, without the lookback of a scheduled run."""
    if not spec.lookback:
        return window
    own = scheduled_window(scheduled_start, window.zone, window_length(spec))
    return own if window == with_lookback(spec, own) else window


def from_midnight(window: Window, zone: str) -> Window:
    """The window from the midnight in a zone on that is at its start or before it."""
    day = window.start.astimezone(zone_info(zone)).date()
    return Window(local_midnight(day, zone), window.end, window.zone)
