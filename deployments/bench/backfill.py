"""A year of `nps` by the flow `backfill`: as days, as months and as one window; and days of none.

The windows are carried from MariaDB through S3 into the double, each run in a fresh process. The
seconds are from the first window's beginning to the last receipt: the flow run's own start is not
in them.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field

from deployments.bench.measured import Measured, MeasuredError
from deployments.bench.servers import MONTH, SERVER_CORES, TINY, TINY_ROWS, YEAR, BenchServers
from deployments.bench.table import Row, Samples, row

TABLE = "nps_double"
DAYS = YEAR.days
AT_ONCE = 2
"""Batches under way at a time, as a backfill has it unless it is told otherwise."""

SHORT_DAYS = 36
"""A tenth of the year, to see whether memory grows with the windows."""

YEAR_AS_DAYS = 1.2
"""At most so many times the year as one window."""

UNCHANGED = 1.5
"""At most so many times their first load, for rows that the target has already."""

SLOWER_SECONDS = 0.05
"""A round trip to a warehouse far away, added to each statement of the double."""

YEAR_AS_DAYS_SLOWER = 1.5
DECADE_SECONDS = 3.0
"""At most this for ten years of days without rows."""

BAD_DAY = 2.0
"""At most so many times the month without a bad value."""

WINDOW_CPU_SECONDS = 0.015
"""At most this of the processor time for a window of the year's days, ours of it."""

TABLE_SECONDS = 0.15
"""At most this for one of very many tiny tables in a run."""

PLAN_SECONDS = 2.0
"""At most this to plan ten years of days."""

PLANNED_DAYS = 3650
PEAK_CHANGE = 0.2
TWO_WORKERS = 1 / 1.5
"""At most this part of the time that one worker takes."""

_ALL_YEAR = ("2023-01-01", "2024-01-01")

Run = Callable[..., Measured]
"""Runs `deployments.bench.one` with these arguments; `log=` names its log file."""


@dataclass
class Backfills:
    """What was measured, a value for each round; None where it was not.

    Attributes:
        rows: How many the year has.
        month_rows: How many its first month has.
        window: The year as one window.
        again: The same once more, where nothing has changed.
        days: The year as days.
        slower_window: The same with a round trip added to each statement.
        slower_days: The same.
        months: The year as months.
        decade: Ten years of days without rows.
        month: A month as days.
        bad_day: The month with a value on its 17th day that the warehouse cannot hold.
        tables: Very many tiny tables in one run, the seconds for each.
        short: The year's first tenth, as days.
        days_cpu: The processor time of the year as days: ours, not the servers'.
        short_cpu: That of the year's first tenth.
        plan: Ten years of days, planned.
        two: The seconds of the year as days in two processes.
        notes: Lines to print below the table.
    """

    rows: int
    month_rows: int = 0
    window: Samples = field(default_factory=Samples)
    again: Samples = field(default_factory=Samples)
    days: Samples = field(default_factory=Samples)
    slower_window: Samples = field(default_factory=Samples)
    slower_days: Samples = field(default_factory=Samples)
    months: Samples = field(default_factory=Samples)
    decade: Samples = field(default_factory=Samples)
    month: Samples = field(default_factory=Samples)
    bad_day: Samples = field(default_factory=Samples)
    tables: Samples = field(default_factory=Samples)
    short: Samples = field(default_factory=Samples)
    days_cpu: Samples = field(default_factory=Samples)
    short_cpu: Samples = field(default_factory=Samples)
    plan: Samples = field(default_factory=Samples)
    two: float | None = None
    notes: list[str] = field(default_factory=list)


def measure(servers: BenchServers, run: Run, rows: int, rounds: int) -> Backfills:
    """Measure everything of this section, in turn, so many times.

    Raises:
        MeasuredError: A run failed, or carried other rows than the source has.
    """
    found = Backfills(rows)
    for _ in range(rounds):
        cpu = _both(servers, run, found.window, found.days, rows, found.again)
        found.days_cpu.add(cpu or math.nan)
        with servers.slower_double(SLOWER_SECONDS):
            _both(servers, run, found.slower_window, found.slower_days, rows)
        _carry(servers, run, found.months, *_ALL_YEAR, granularity="month", rows=rows)
        _carry(servers, run, found.decade, "2013-01-01", "2023-01-01", rows=0)
        found.month_rows = _month(servers, run, found)
        found.tables.add(_tables(servers, run))
        cpu = _carry(servers, run, found.short, "2023-01-01", "2023-02-06")
        found.short_cpu.add(cpu or math.nan)
    found.plan.add(run("plan", TABLE, str(PLANNED_DAYS)).seconds)
    cores = os.cpu_count() or 1
    if cores >= SERVER_CORES + 2:
        found.two = _two_workers(servers, run)
    else:
        found.notes.append(
            f"Two workers were not measured: this machine has {cores} cores, which the servers and "
            "one worker keep busy; another can be faster only where cores are free."
        )
    return found


def _both(
    servers: BenchServers,
    run: Run,
    window: Samples,
    days: Samples,
    rows: int,
    again: Samples | None = None,
) -> float | None:
    """The year as one window, once more where nothing has changed, and as days; their CPU time."""
    servers.empty_targets()
    measured = run("whole-path", TABLE, "window")
    window.add(measured.seconds, measured.peak_mb)
    if again:
        again.add(run("whole-path", TABLE, "window").seconds)
    return _carry(servers, run, days, *_ALL_YEAR, rows=rows)


def _tables(servers: BenchServers, run: Run) -> float:
    """Very many tiny tables in one run; returns the seconds for one of them."""
    servers.empty_targets()
    measured = run("tables")
    if measured.result["rows"] != len(TINY) * TINY_ROWS:
        raise MeasuredError(f"{measured.result['rows']} rows of the tiny tables were carried")
    return measured.seconds / len(TINY)


def _month(servers: BenchServers, run: Run, found: Backfills) -> int:
    """A month as days, without and with a value that cannot land; returns its rows."""
    rows = 0
    for samples, windows in ((found.month, 31), (found.bad_day, 30)):
        servers.empty_targets()
        with servers.bad_value() if windows < 31 else nullcontext():
            measured = run("month", MONTH, "2023-01-01", "2023-02-01")
        if measured.result["windows"] != windows:
            raise MeasuredError(f"{measured.result['windows']} of {windows} days were carried")
        samples.add(measured.seconds)
        rows = rows or int(measured.result["rows"])
    return rows


def _carry(
    servers: BenchServers,
    run: Run,
    samples: Samples,
    start: str,
    end: str,
    *,
    granularity: str = "day",
    at_once: int = AT_ONCE,
    rows: int | None = None,
) -> float | None:
    """Carry a range, and return the processor time that ours took."""
    servers.empty_targets()
    measured = run("backfill", TABLE, start, end, granularity, str(at_once))
    if rows is not None and measured.result["rows"] != rows:
        raise MeasuredError(
            f"backfill by {granularity} carried {measured.result['rows']} of {rows} rows"
        )
    samples.add(measured.seconds, measured.peak_mb)
    return measured.cpu_seconds


def _two_workers(servers: BenchServers, run: Run) -> float:
    """Two processes with half of the year each; from the first window of both to the last."""
    servers.empty_targets()
    _carry(
        servers, run, Samples(), "2022-01-01", "2022-01-02"
    )  # so that neither has to make the target
    halves = (("2023-01-01", "2023-07-02"), ("2023-07-02", "2024-01-01"))
    with ThreadPoolExecutor(2) as pool:
        runs = [
            pool.submit(
                run, "backfill", TABLE, *half, "day", str(AT_ONCE), log=f"worker-{number}.log"
            )
            for number, half in enumerate(halves)
        ]
        results = [each.result().result for each in runs]
    return float(max(r["ended"] for r in results) - min(r["began"] for r in results))


def table_rows(found: Backfills) -> Iterator[Row]:
    """The rows of this section."""
    name = f"nps, {found.rows:,} rows"
    slower = f"{SLOWER_SECONDS * 1000:.0f} ms more a statement"
    for what, samples, window, goal in (
        (f"a year as {DAYS} days", found.days, found.window, YEAR_AS_DAYS),
        (f"the same, {slower}", found.slower_days, found.slower_window, YEAR_AS_DAYS_SLOWER),
        ("a year as 12 months", found.months, found.window, None),
    ):
        yield row(
            what,
            name,
            seconds=samples.median,
            ratio=samples.median / window.median,
            to="one window",
            goal=goal,
            peak=samples.peak_mb,
        )
    yield row("the year as one window", name, seconds=found.window.median)
    yield row(f"the same, {slower}", name, seconds=found.slower_window.median)
    yield row(
        "the same once more, nothing changed",
        name,
        seconds=found.again.median,
        ratio=found.again.median / found.window.median,
        to="the first load",
        goal=UNCHANGED,
    )
    yield row(
        "ten years of days without rows",
        "nps, no rows",
        seconds=found.decade.median,
        ratio=found.decade.median / DECADE_SECONDS,
        to=f"{DECADE_SECONDS:.0f} s",
        goal=1.0,
    )
    month = f"{found.month_rows:,} rows"
    yield row("a month as 31 days", month, seconds=found.month.median)
    yield row(
        "the month with a bad value on its 17th day",
        month,
        seconds=found.bad_day.median,
        ratio=found.bad_day.median / found.month.median,
        to="without",
        goal=BAD_DAY,
    )
    yield row(
        f"{len(TINY)} tables in one run, each",
        f"{TINY_ROWS} rows",
        seconds=found.tables.median,
        ratio=found.tables.median / TABLE_SECONDS,
        to=f"{TABLE_SECONDS} s",
        goal=1.0,
    )
    more_days = DAYS - SHORT_DAYS  # what a process does once is in both
    cpu = (found.days_cpu.median - found.short_cpu.median) / more_days
    if not math.isnan(cpu):
        yield row(
            f"one of the {DAYS} days, ours of the processor time",
            f"{found.rows // DAYS:,} rows",
            seconds=cpu,
            ratio=cpu / WINDOW_CPU_SECONDS,
            to=f"{WINDOW_CPU_SECONDS * 1000:.0f} ms",
            goal=1.0,
        )
    if found.days.peak_mb and found.short.peak_mb:
        yield row(
            f"memory, a year as {DAYS} days",
            name,
            ratio=found.days.peak_mb / found.short.peak_mb,
            to=f"{SHORT_DAYS} days",
            goal=1 + PEAK_CHANGE,
            peak=found.days.peak_mb,
        )
    yield row(
        f"plan of {PLANNED_DAYS:,} windows",
        "nps",
        seconds=found.plan.median,
        ratio=found.plan.median / PLAN_SECONDS,
        to=f"{PLAN_SECONDS:.0f} s",
        goal=1.0,
    )
    yield row(
        "a year as days, two workers",
        name,
        seconds=found.two,
        ratio=found.two / found.days.median if found.two else None,
        to="one worker" if found.two else "no free cores",
        goal=TWO_WORKERS,
    )
