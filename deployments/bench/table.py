"""The one table: what was measured as ratios, beside what is to be reached."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from deployments.bench.servers import SHORT

EXTRACT_AND_STAGE = 2.5
"""At most so many times the dump."""

WHOLE_PATH = 2.0
"""At most so many times the dump and its COPY."""

PEAK_MB = 300.0
"""At most this memory."""

PEAK_CHANGE = 0.2
"""The memory for five times the rows differs by at most this share."""

TASK_RUNS_MS = 60.0
"""At most this for the five task runs of a window."""

HEAD = ("what", "table", "seconds", "ratio", "to", "at most", "reached", "to Airflow", "peak MB")
_TEXT_COLUMNS = {0, 1, 4, 6}

WAYS = {
    ("extract-and-stage", "postgres", ""): "extract and stage, S3",
    ("extract-and-stage", "folder", ""): "extract and stage, folder",
    ("whole-path", "postgres", "full"): "whole path to PostgreSQL, full",
    ("whole-path", "postgres", "window"): "whole path to PostgreSQL, upsert",
    ("whole-path", "double", "full"): "whole path to the double, full",
    ("whole-path", "double", "window"): "whole path to the double, upsert",
}
"""What is measured of ours."""

Row = tuple[str, ...]
"""The cells of a line of the table, as in `HEAD`."""

Way = tuple[str, str, str]
"""Measure, route and mode."""


@dataclass
class Samples:
    """All values that were measured of one thing, one for each round."""

    seconds: list[float] = field(default_factory=list)
    peaks_mb: list[float] = field(default_factory=list)
    before_mb: float = 0.0
    """The most that was held before the first row."""

    def add(
        self, seconds: float, peak_mb: float | None = None, before_mb: float | None = None
    ) -> None:
        """Take in one more."""
        self.seconds.append(seconds)
        if peak_mb is not None:
            self.peaks_mb.append(peak_mb)
        self.before_mb = max(self.before_mb, before_mb or 0.0)

    @property
    def median(self) -> float:
        """The seconds."""
        return statistics.median(self.seconds)

    @property
    def peak_mb(self) -> float | None:
        """The highest."""
        return max(self.peaks_mb, default=None)


@dataclass
class Results:
    """What was measured.

    Attributes:
        rows: How many each table has.
        dump: By table.
        load: By table.
        airflow: By table; empty when it could not be measured.
        ours: By way and table.
        flow_run: A flow run that does nothing.
        task_runs: The five task runs of a window.
        section: More rows of the table; all of it, if nothing else was measured.
        notes: Lines to print below the table.
    """

    rows: dict[str, int]
    dump: dict[str, Samples] = field(default_factory=dict)
    load: dict[str, Samples] = field(default_factory=dict)
    airflow: dict[str, Samples] = field(default_factory=dict)
    ours: dict[tuple[Way, str], Samples] = field(default_factory=dict)
    flow_run: Samples = field(default_factory=Samples)
    task_runs: Samples = field(default_factory=Samples)
    section: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def lines(results: Results) -> list[str]:
    """The table as markdown, its columns aligned, with the notes below it."""
    rows = [HEAD, *(_rows(results) if results.ours else results.section)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEAD))]
    text = [_line(row, widths) for row in rows]
    rule = [
        "-" * width if i in _TEXT_COLUMNS else "-" * (width - 1) + ":"
        for i, width in enumerate(widths)
    ]
    return [text[0], _line(rule, widths), *text[1:], *([""] if results.notes else [])] + [
        f"- {note}" for note in results.notes
    ]


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = (
        cell.ljust(width) if i in _TEXT_COLUMNS else cell.rjust(width)
        for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return f"| {' | '.join(padded)} |"


def _rows(results: Results) -> Iterator[Row]:
    for table in results.dump:
        dump, load = results.dump[table].median, results.load[table].median
        name = f"{table}, {results.rows[table]:,} rows"
        yield row("the client's dump", name, seconds=dump)
        yield row("COPY of the dump", name, seconds=load)
        airflow = results.airflow.get(table)
        if airflow:
            yield row(
                "Airflow's SqlToS3Operator",
                name,
                seconds=airflow.median,
                ratio=airflow.median / dump,
                to="dump",
                peak=airflow.peak_mb,
            )
        for way, what in WAYS.items():
            ours = results.ours[way, table]
            staged = way[0] == "extract-and-stage"
            yield row(
                what,
                name,
                seconds=ours.median,
                ratio=ours.median / (dump if staged else dump + load),
                to="dump" if staged else "dump + COPY",
                goal=EXTRACT_AND_STAGE if staged else WHOLE_PATH,
                airflow=ours.median / airflow.median if airflow else None,
                peak=ours.peak_mb,
            )
    yield from _memory(results)
    yield from results.section
    yield row(
        "five task runs of Prefect's",
        "none",
        seconds=results.task_runs.median,
        ratio=results.task_runs.median * 1000 / TASK_RUNS_MS,
        to=f"{TASK_RUNS_MS:.0f} ms",
        goal=1.0,
    )
    yield row("a flow run of Prefect's", "none", seconds=results.flow_run.median)


def _memory(results: Results) -> Iterator[Row]:
    for way, what in WAYS.items():
        if (way, SHORT) not in results.ours:
            continue
        short, long = (results.ours[way, table].peak_mb for table in (SHORT, "nps"))
        if short and long:
            yield row(
                f"memory, {what}",
                f"nps, {results.rows['nps']:,} rows",
                ratio=long / short,
                to=f"{results.rows[SHORT]:,} rows",
                goal=1 + PEAK_CHANGE,
                peak=long,
            )
    before = max((samples.before_mb for samples in results.ours.values()), default=0.0)
    if before:
        yield row("memory before the first row", "all", peak=before)
    peaks = [peak for samples in results.ours.values() if (peak := samples.peak_mb)]
    if peaks:
        highest = max(peaks)
        yield row(
            "highest memory of ours",
            "all",
            ratio=highest / PEAK_MB,
            to=f"{PEAK_MB:.0f} MB",
            goal=1.0,
            peak=highest,
        )


def row(
    what: str,
    table: str,
    *,
    seconds: float | None = None,
    ratio: float | None = None,
    to: str = "",
    goal: float | None = None,
    airflow: float | None = None,
    peak: float | None = None,
) -> Row:
    """One line of the table, which tells whether the goal is reached; what is None is empty."""
    reached = "" if ratio is None or goal is None else "yes" if ratio <= goal else "no"
    return (
        what,
        table,
        "" if seconds is None else f"{seconds:.3f}" if seconds < 0.1 else f"{seconds:.2f}",
        "" if ratio is None else f"{ratio:.2f}",
        to,
        "" if goal is None else f"{goal:.2f}",
        reached,
        "" if airflow is None else f"{airflow:.2f}",
        "" if peak is None else f"{peak:.0f}",
    )
