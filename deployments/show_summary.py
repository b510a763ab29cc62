"""A published summary for people at a terminal: its newest rows as text, and a chart as a file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from blocks.registry import load_warehouse
from flows.pipeline.summaries.specs import load_summaries
from tasks.pages.newest import read_newest
from tasks.pages.summary import write_chart


def summary_lines(summary: str, rows: int = 10) -> Iterator[str]:
    """The newest rows of a summary, the newest first, as the lines of a table.

    Args:
        summary: Its name.
        rows: How many.

    Raises:
        FerryError: There is no such summary, or it cannot be read.
    """
    spec = load_summaries().named(summary)
    frame = read_newest(spec, load_warehouse(spec.warehouse), rows)
    cells = [list(frame.columns), *([str(value) for value in row] for row in frame.values.tolist())]
    return _aligned(cells)


def draw_summary(summary: str, measure: str, path: Path) -> Path:
    """Save the chart of one measure, over all that is published; returns the path.

    Args:
        summary: Its name.
        measure: One of its columns.
        path: The file, `.svg` or `.png`.

    Raises:
        FerryError: There is no such summary, or it cannot be read.
    """
    spec = load_summaries().named(summary)
    frame = read_newest(spec, load_warehouse(spec.warehouse))
    time_column = spec.time_column or spec.grain[0]
    return write_chart(path, spec.grain, measure, time_column, frame.iloc[:0], frame)


def _aligned(cells: Sequence[Sequence[str]]) -> Iterator[str]:
    """The rows with their columns below each other, the first one to the left."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for first, *others in cells:
        numbers = zip(others, widths[1:], strict=True)
        yield "  ".join([first.ljust(widths[0]), *(each.rjust(width) for each, width in numbers)])
