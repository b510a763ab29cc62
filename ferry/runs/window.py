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
from ferry.specs.chosen import chosen_specs, may_write
from ferry.specs.tables import Mode, TableSpec
from ferry.specs.tables_file import TableSpecs
from ferry.windows import days_until

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


def price_days(
    spec: TableSpec, run_date: date | None, days: int, scheduled_start: datetime, zone: str | None
) -> tuple[date, date]:
    """The days of prices that a run of update-symbols carries without a window, `[first, end)`.

    Args:
        spec: The table's spec: no day before its `start_date`, but for the last one, is among them.
        run_date: The last day; None for the one before the scheduled start.
        days: How many they are.
        scheduled_start: When the run was to start, aware.
        zone: The zone in which the day before the scheduled start is counted; None for the table's.

    Raises:
        RequestError: There is no such zone. No retry helps.
    """
    first, end = days_until(run_date, days, scheduled_start, zone or spec.zone)
    if spec.start_date:
        first = max(first, min(spec.start_date, end - timedelta(days=1)))
    return first, end


def _of_table(given: Given, scheduled_start: datetime, specs: Specs) -> str | None:
    return _label(specs().named(given["table"]), given, scheduled_start, given.get("mode"))


def _of_all(given: Given, scheduled_start: datetime, specs: Specs) -> str | None:
    labels = {
        _label(spec, given, scheduled_start)
        for spec in _due(given.get("tables"), given.get("every", "day"), specs())
        if spec.mode == "window"
    }
    if len(labels) > 1 and given.get("window_start"):
        return f"{given['window_start']} to {given['window_end']}"
    return labels.pop() if len(labels) == 1 else None


def _due(tables: list[str] | None, every: str, specs: TableSpecs) -> list[TableSpec]:
    """The tables that a run of sync-all carries."""
    if tables is None:
        return [spec for spec in specs.values() if spec.every == every]
    return [spec for spec in chosen_specs(specs, tables) if may_write(spec, tables)]


def _label(
    spec: TableSpec, given: Given, scheduled_start: datetime, mode: Mode | None = None
) -> str:
    """What a run carries of the table: its own window, else its mode."""
    chosen, window = choose_window(
        spec, scheduled_start=scheduled_start, mode=mode, zone=given.get("zone"), **_dates(given)
    )
    return str(own_window(spec, window, scheduled_start) if window else chosen)


def _of_prices(given: Given, scheduled_start: datetime, specs: Specs) -> str | None:
    if given.get("window_start") or given.get("window_end"):
        return _days(_day(given["window_start"]), _day(given["window_end"]))
    last, days, zone = _day(given.get("run_date")), given.get("days", 7), given.get("zone")
    return _days(*price_days(specs().named(PRICES), last, days, scheduled_start, zone))


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
