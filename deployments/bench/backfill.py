"""A year of `nps` by the flow `backfill`: as days, as months and as one window; and empty days.

The windows are carried from MariaDB through S3 into the double, each run in a fresh process. The
seconds are from the first window's beginning to the last receipt: the flow run's own start is not
in them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from deployments.bench.measured import Measured, MeasuredError
from deployments.bench.places import SERVER_CORES, YEAR, Places
from deployments.bench.table import Row, row

TABLE = "nps_double"
DAYS = YEAR.days
SHORT_DAYS = 36
"""A tenth of the year, to see whether memory grows with the windows."""

YEAR_AS_DAYS = 4.0
"""At most so many times the year as one window."""

EMPTY_WINDOW_MS = 150.0
"""At most this for an empty window, all in all."""

PLAN_SECONDS = 2.0
"""At most this to plan ten years of days."""

PLANNED_DAYS = 3650
PEAK_CHANGE = 0.2
TWO_WORKERS = 1 / 1.5
"""At most this part of the time that one worker takes."""

Run = Callable[..., Measured]
"""Runs `deployments.bench.one` with these arguments; `log=` names its log file."""


@dataclass
class Backfills:
    """What was measured; None where it was not.

    Attributes:
        rows: How many the year has.
        days: The year as days.
        short: Its first tenth, as days.
        months: The year as months.
        empty: A year of days without rows, one after the other.
        plan: Ten years of days, planned.
        two: The seconds of the year as days in two processes.
    """

    rows: int
    days: Measured | None = None
    short: Measured | None = None
    months: Measured | None = None
    empty: Measured | None = None
    plan: Measured | None = None
    two: float | None = None
    notes: list[str] = field(default_factory=list)


def measure(places: Places, run: Run, rows: int) -> Backfills:
    """Measure everything of this section once.

    Raises:
        MeasuredError: A run failed, or carried other rows than the source has.
    """
    found = Backfills(rows)
    found.short = _carry(places, run, "2023-01-01", "2023-02-06")
    found.days = _carry(places, run, "2023-01-01", "2024-01-01", rows=rows)
    found.months = _carry(places, run, "2023-01-01", "2024-01-01", granularity="month", rows=rows)
    found.empty = _carry(places, run, "2022-01-01", "2023-01-01", at_once=1, rows=0)
    found.plan = run("plan", TABLE, str(PLANNED_DAYS))
    cores = os.cpu_count() or 1
    if cores >= SERVER_CORES + 2:
        found.two = _two_workers(places, run)
    else:
        found.notes.append(
            f"Two workers were not measured: this machine has {cores} cores, which the servers and "
            "one worker keep busy; another can be faster only where cores are free."
        )
    return found


def _carry(
    places: Places,
    run: Run,
    start: str,
    end: str,
    *,
    granularity: str = "day",
    at_once: int = 4,
    rows: int | None = None,
) -> Measured:
    places.empty_targets()
    measured = run("backfill", TABLE, start, end, granularity, str(at_once))
    if rows is not None and measured.result["rows"] != rows:
        raise MeasuredError(
            f"backfill by {granularity} carried {measured.result['rows']} of {rows} rows"
        )
    return measured


def _two_workers(places: Places, run: Run) -> float:
    """Two processes with half of the year each; from the first window of both to the last."""
    places.empty_targets()
    _carry(places, run, "2022-01-01", "2022-01-02")  # so that neither has to make the target
    halves = (("2023-01-01", "2023-07-02"), ("2023-07-02", "2024-01-01"))
    with ThreadPoolExecutor(2) as pool:
        runs = [
            pool.submit(run, "backfill", TABLE, *half, "day", "4", log=f"worker-{number}.log")
            for number, half in enumerate(halves)
        ]
        results = [each.result().result for each in runs]
    return float(max(r["ended"] for r in results) - min(r["began"] for r in results))


def table_rows(found: Backfills, one_window_seconds: float) -> Iterator[Row]:
    """The rows of this section; the year as one window is the whole path's upsert."""
    name = f"nps, {found.rows:,} rows"
    if found.days:
        yield row(
            f"a year as {DAYS} days",
            name,
            seconds=found.days.seconds,
            ratio=found.days.seconds / one_window_seconds,
            to="one window",
            goal=YEAR_AS_DAYS,
            peak=found.days.peak_mb,
        )
    if found.months:
        yield row(
            "a year as 12 months",
            name,
            seconds=found.months.seconds,
            ratio=found.months.seconds / one_window_seconds,
            to="one window",
            peak=found.months.peak_mb,
        )
    if found.empty:
        each = found.empty.seconds / DAYS
        yield row(
            "an empty window",
            "nps, no rows",
            seconds=each,
            ratio=each * 1000 / EMPTY_WINDOW_MS,
            to=f"{EMPTY_WINDOW_MS:.0f} ms",
            goal=1.0,
        )
    if found.days and found.short and found.days.peak_mb and found.short.peak_mb:
        yield row(
            f"memory, a year as {DAYS} days",
            name,
            ratio=found.days.peak_mb / found.short.peak_mb,
            to=f"{SHORT_DAYS} days",
            goal=1 + PEAK_CHANGE,
            peak=found.days.peak_mb,
        )
    if found.plan:
        yield row(
            f"plan of {found.plan.result['windows']:,} windows",
            "nps",
            seconds=found.plan.seconds,
            ratio=found.plan.seconds / PLAN_SECONDS,
            to=f"{PLAN_SECONDS:.0f} s",
            goal=1.0,
        )
    if found.days:
        yield row(
            "a year as days, two workers",
            name,
            seconds=found.two,
            ratio=found.two / found.days.seconds if found.two else None,
            to="one worker" if found.two else "no free cores",
            goal=TWO_WORKERS,
        )
