"""The window of a run, as its message tells it: what the flow itself makes of its parameters.

A run may end before it says which window it carries, or without ever beginning; its parameters and
its scheduled start say it as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any, TypeAlias

from ferry.lookback import own_window
from ferry.plan import choose_window
from ferry.specs.chosen import chosen_specs
from ferry.specs.tables_file import TableSpecs
from ferry.windows import Every, days_until, run_window

DATES = ("run_date", "window_start", "window_end", "start_date", "end_date")
"""The parameters by which a person gives a run its dates."""

PRICES = "stock_prices"
"""The table of `update-symbols`."""

Given: TypeAlias = Mapping[str, Any]
Specs: TypeAlias = Callable[[], TableSpecs]


def window_text(flow: str, given: Given, scheduled_start: datetime, specs: Specs) -> str | None:
    """The window of a run of one of Ferry's flows; None if it is not one for all of its tables.

    Args:
        flow: The flow's name.
        given: The run's parameters, as Prefect stores them: dates are text.
        scheduled_start: When the run was to start, aware.
        specs: The table specs, for flows whose window depends on the table.

    Raises:
        FerryError, ValueError, KeyError: The parameters or the specs are wrong.
    """
    window_of = WINDOW_OF.get(flow)
    return window_of(given, scheduled_start, specs) if window_of else None


def by_schedule(given: Given, scheduled_start: datetime) -> str | None:
    """What a window that is not known depends on; None for a run that was given dates."""
    if any(given.get(name) for name in DATES):
        return None
    return f"of the run scheduled for {scheduled_start.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _of_table(given: Given, scheduled_start: datetime, specs: Specs) -> str | None:
    spec = specs().named(given["table"])
    mode, window = choose_window(
        spec,
        scheduled_start=scheduled_start,
        mode=given.get("mode"),
        zone=given.get("zone"),
        **_dates(given),
    )
    return str(own_window(spec, window, scheduled_start) if window else mode)


def _of_all(given: Given, scheduled_start: datetime, specs: Specs) -> str | None:
    every: Every = "hour" if given.get("every") == "hour" else "day"
    zones = [given["zone"]] if given.get("zone") else _zones(given.get("tables"), every, specs())
    labels = {
        str(run_window(scheduled_start=scheduled_start, zone=zone, every=every, **_dates(given)))
        for zone in zones
    }
    if len(labels) > 1 and given.get("window_start"):
        return f"{given['window_start']} to {given['window_end']}"
    return labels.pop() if len(labels) == 1 else None


def _zones(tables: list[str] | None, every: str, specs: TableSpecs) -> list[str]:
    """The zones in which the windows of a run of sync-all are counted: its tables' own."""
    chosen = chosen_specs(specs, tables) if tables else specs.values()
    due = [spec for spec in chosen if spec.mode == "window" and (tables or spec.every == every)]
    return [spec.zone for spec in due]


def _of_prices(given: Given, scheduled_start: datetime, specs: Specs) -> str | None:
    if given.get("window_start") or given.get("window_end"):
        return _days(_day(given["window_start"]), _day(given["window_end"]))
    zone = given.get("zone") or specs().named(PRICES).zone
    return _days(
        *days_until(_day(given.get("run_date")), given.get("days", 7), scheduled_start, zone)
    )


def _of_range(given: Given, _scheduled_start: datetime, _specs: Specs) -> str | None:
    return _days(_day(given["start_date"]), _day(given["end_date"]))


def _of_what_is_asked(given: Given, _scheduled_start: datetime, _specs: Specs) -> str | None:
    if given.get("last_days"):
        return f"the last {given['last_days']} days"
    return _days(_day(given.get("start_date")), _day(given.get("end_date")))


WINDOW_OF: dict[str, Callable[[Given, datetime, Specs], str | None]] = {
    "sync-table": _of_table,
    "sync-all": _of_all,
    "update-symbols": _of_prices,
    "backfill": _of_range,
    "coverage": _of_what_is_asked,
    "build-summary": _of_what_is_asked,
    "reconcile": _of_what_is_asked,
}
"""What tells the window of each flow that sends messages."""


def _dates(given: Given) -> dict[str, Any]:
    start, end = given.get("window_start"), given.get("window_end")
    return {
        "run_date": _day(given.get("run_date")),
        "window_start": datetime.fromisoformat(start) if start else None,
        "window_end": datetime.fromisoformat(end) if end else None,
    }


def _day(text: str | None) -> date | None:
    return date.fromisoformat(text[:10]) if text else None


def _days(first: date | None, end: date | None) -> str:
    """Days as people say them: the last one is in it."""
    last = end - timedelta(days=1) if end else None
    if first and last:
        return str(first) if first == last else f"{first} to {last}"
    if first or last:
        return f"from {first} on" if first else f"up to {last}"
    return "all days"
