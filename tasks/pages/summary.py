"""What people look at when a summary was built: its newest rows, what changed, and its charts.

All of it is one markdown artifact on the run's page. The charts are in it as data URIs, so the page
asks no other server for anything.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from traceback import extract_tb
from typing import TYPE_CHECKING, Protocol

from prefect.artifacts import create_markdown_artifact
from prefect.logging import get_run_logger

from ferry.summaries.specs import SummarySpec
from tasks.pages.cells import cell, escaped, increase, table
from tasks.pages.chart import LINES_PER_CHART, Form, draw_chart, is_thinned
from tasks.pages.summary_rows import ComparedRow, Kind, SummaryRows

if TYPE_CHECKING:
    import pandas as pd

ROWS_SHOWN = 10


class CheckOutcome(Protocol):
    """How a check of the summary went, in words; without any row's values."""

    @property
    def label(self) -> str:
        """What the check is called."""

    @property
    def passed(self) -> bool:
        """Whether what was found was as expected."""

    @property
    def expected(self) -> str:
        """What was expected."""

    @property
    def found(self) -> str:
        """What was found."""


def show_summary(
    spec: SummarySpec,
    before: pd.DataFrame,
    after: pd.DataFrame,
    checks: Sequence[CheckOutcome] = (),
    *,
    in_sight: bool = True,
    cut_off: bool = False,
) -> None:
    """Show a summary on the page of the current run, as the artifact `summary-<name>`.

    Of values it shows only those of the grain and the measures. It never fails the run: what cannot
    be shown is logged.

    Args:
        spec: The summary; each of its measures has a chart.
        before: The newest of what was published before the build, from the same time on as
            `after`: a row out of sight in one of them would be told as new or gone. Without rows
            if nothing was published.
        after: The newest of what is published now.
        checks: How its checks went.
        in_sight: Whether enough of both is there to be compared.
        cut_off: Whether there may be others, older than these.
    """
    name, by = spec.name, spec.time_column or spec.grain[0]
    with _shown(f"summary {name}"):
        rows = SummaryRows(spec.grain, spec.measures, by, before, after, in_sight, cut_off)
        charts = [_chart(name, rows, measure) for measure in spec.measures]
        facts = [spec.description.strip(), f"Owner: {escaped(spec.owner)}"]
        parts = [
            f"# {escaped(name)}",
            *facts,
            *_newest(rows),
            *_columns(spec),
            *_checks(checks),
            *charts,
        ]
        create_markdown_artifact(
            "\n\n".join(filter(None, parts)) + "\n",
            key=re.sub("[^a-z0-9]+", "-", f"summary-{name}".lower()).strip("-"),
            description=f"{name}: {_line(rows)}",
        )


def write_chart(
    path: Path,
    grain: Sequence[str],
    measure: str,
    time_column: str,
    before: pd.DataFrame,
    after: pd.DataFrame,
) -> Path:
    """Save the chart of one measure as a file, as its suffix says: `.svg` or `.png`.

    Returns:
        The path, to tell it.

    Raises:
        ValueError: The suffix is another one.
    """
    forms: dict[str, Form] = {".svg": "svg", ".png": "png"}
    if path.suffix not in forms:
        raise ValueError(f"a chart is saved as .svg or .png, not as {path.suffix or path.name!r}")
    rows = SummaryRows(tuple(grain), (measure,), time_column, before, after)
    path.write_bytes(draw_chart(measure, rows.lines(measure), forms[path.suffix]))
    return path


@contextmanager
def _shown(what: str) -> Iterator[None]:
    """Log whatever goes wrong, without its message, which could hold values."""
    try:
        yield
    except Exception as error:  # noqa: BLE001  # the rows matter more than their picture
        at = extract_tb(error.__traceback__)[-1]
        place = f"{Path(at.filename).name}:{at.lineno}"
        kind = type(error).__name__
        get_run_logger().warning("%s could not be shown: %s in %s", what, kind, place)


def _newest(rows: SummaryRows) -> Iterator[str]:
    """The newest rows, and the newest of the others that differ."""
    yield "## Newest rows"
    yield _line(rows)
    new = [name for name in rows.measures if name not in rows.before.columns]
    if new and len(rows.before):
        yield f"Not published before: {', '.join(map(escaped, new))}."
    newest, older = rows.compared[:ROWS_SHOWN], rows.compared[ROWS_SHOWN:]
    if newest:
        yield _table(rows, newest)
    if differing := [row for row in older if row.kind != "same" and rows.in_sight]:
        count = len(differing)
        shown = f", the newest {ROWS_SHOWN} of them" if count > ROWS_SHOWN else ""
        yield f"### Older rows that differ: {count:,}{shown}"
        yield _table(rows, differing[:ROWS_SHOWN])


def _line(rows: SummaryRows) -> str:
    """One sentence about what changed."""
    have = f"{len(rows.after):,} row{'' if len(rows.after) == 1 else 's'}"
    if rows.cut_off:
        have = f"the newest {have}" if len(rows.after) else "none of the newest rows"
    if not rows.in_sight:
        return f"{have}, too many of one time to be compared with what was published before."
    if not len(rows.before):
        return f"{have}; nothing was published before."
    if not rows.comparable:
        return f"{have}; what was published before had another grain, and is not compared."
    counts = rows.counts
    kinds: tuple[Kind, ...] = ("new", "changed", "gone")
    changes = ", ".join(f"{counts[kind]:,} {kind}" for kind in kinds)
    return f"{have}; against what was published before: {changes}."


def _table(rows: SummaryRows, compared: Sequence[ComparedRow]) -> str:
    grain = list(dict.fromkeys((rows.time_column, *rows.grain)))
    lines = [
        [
            *(cell(row.shown[name]) for name in grain),
            *(_measure(row, name) for name in rows.measures),
            f"**{row.kind}**" if row.kind != "same" and rows.in_sight else "",
        ]
        for row in compared
    ]
    return table([*grain, *rows.measures, "against before"], lines, rows.measures)


def _measure(row: ComparedRow, name: str) -> str:
    """A figure; where it changed, from what to what, and by how much."""
    if row.now is None:
        return f"{cell(row.shown[name])} → gone" if name in row.shown else "gone"
    now = row.now[name]
    if row.before is None or name not in row.changed:
        return cell(now)
    before = row.before[name]
    by = increase(before, now)
    return f"{cell(before)} → {cell(now)}" + (f" ({by})" if by else "")


def _columns(spec: SummarySpec) -> Iterator[str]:
    """What each column tells, in its author's words."""
    yield "## Columns"
    lines = [[escaped(name), escaped(each.description)] for name, each in spec.columns.items()]
    yield table(["column", "what it tells"], lines)


def _checks(checks: Sequence[CheckOutcome]) -> Iterator[str]:
    if checks:
        yield "## Checks"
        lines = [
            [
                escaped(check.label),
                "passed" if check.passed else "**failed**",
                escaped(check.expected),
                escaped(check.found),
            ]
            for check in checks
        ]
        yield table(["check", "outcome", "expected", "found"], lines)


def _chart(name: str, rows: SummaryRows, measure: str) -> str:
    """The measure's heading and chart; without the chart, if it cannot be drawn."""
    heading = f"## {escaped(measure)} over time"
    with _shown(f"the chart of {name}.{measure}"):
        lines = rows.lines(measure)
        image = b64encode(draw_chart(measure, lines)).decode()
        parts = [heading, f"![{escaped(measure)}](data:image/svg+xml;base64,{image})"]
        if len(lines) > LINES_PER_CHART:
            parts.append(f"The {LINES_PER_CHART} largest of {len(lines):,} are drawn.")
        if any(is_thinned(line, lines) for line in lines):
            parts.append("Of so many points, the lowest and highest of each stretch are drawn.")
        return "\n\n".join(parts)
    return f"{heading}\n\nThe chart could not be drawn; the run's log says why."
