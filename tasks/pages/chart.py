"""Line charts over time, drawn without a display: what was published before, and what is now.

matplotlib takes seconds to import, so it is imported when something is drawn, and not before.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from io import BytesIO
from itertools import pairwise
from statistics import median
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

POINTS_PER_LINE = 400
"""A line with more is thinned: a chart some 800 pixels wide cannot show more either.

Lines that share a chart share them, too, so that the image stays small.
"""

Form = Literal["svg", "png"]

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
LINES_PER_CHART = len(_COLOURS)
"""As many lines as there are colours that also colour-blind people tell apart."""

_DRAWING = Lock()
"""matplotlib's figures are separate, but its fonts and settings are shared between threads."""


@dataclass(frozen=True)
class Line:
    """One line of a chart.

    Attributes:
        label: What the legend calls it; empty if it is the only one.
        now: Its points as they are published now: when, and the figure.
        before: Its points as they were published before.
    """

    label: str
    now: Sequence[tuple[datetime, float | None]]
    before: Sequence[tuple[datetime, float | None]] = ()


def draw_chart(title: str, lines: Sequence[Line], form: Form = "svg") -> bytes:
    """The image: a strong line for what is published now, over a pale one for what was before.

    Where a point is missing, or its figure is NULL, the line is broken. A line of more than
    `POINTS_PER_LINE` points keeps the lowest and the highest of each of so many equal stretches.

    Args:
        title: Stands above the chart.
        lines: What to draw; those after the first `LINES_PER_CHART` are left off.
        form: SVG is sharp at any size and small; PNG is known everywhere.
    """
    with _DRAWING:
        figure = _figure(title, lines[:LINES_PER_CHART])
        image = BytesIO()
        figure.savefig(image, format=form, metadata={"Date": None} if form == "svg" else None)
        return image.getvalue()


def is_thinned(line: Line, lines: Sequence[Line]) -> bool:
    """Whether this one of the chart's lines has more points than are drawn."""
    return len(line.now) > _points_per_line(lines)


def moment(value: Any) -> datetime | None:
    """When that is on the time axis: without a zone, UTC where it had one; None if it is no time.

    A date is its midnight; text is read as ISO 8601, where `2023-01` is the first of the month.
    """
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(f"{value}-01" if len(value) == 7 else value)
        except ValueError:
            return None
    if isinstance(value, datetime):
        return value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
    return datetime.combine(value, time.min) if isinstance(value, date) else None


def figure_of(value: Any) -> float | None:
    """The value as a chart takes it; None if it is no finite number."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def in_runs(
    points: Iterable[tuple[datetime, float | None]], times: Iterable[datetime]
) -> list[tuple[datetime, float, int]]:
    """The points in order of time, each with the number of its unbroken run.

    A run ends where a figure is NULL, and where the next point is further away than points are
    by all the chart's times: one month where all are firsts of a month, the smallest distance
    where all distances are multiples of it, else the median one.
    """
    all_times = sorted(set(times))
    monthly = all(when.day == 1 and _is_midnight(when) for when in all_times)
    place = _month if monthly else _microsecond
    distances = [place(b) - place(a) for a, b in pairwise(all_times)]
    step = min(distances, default=0)
    if any(distance % step for distance in distances):
        step = int(median(distances))
    runs: list[tuple[datetime, float, int]] = []
    run, last = 0, None
    for when, figure in sorted(points, key=lambda point: point[0]):
        if figure is None:
            run += 1
            continue
        if last is not None and 2 * (place(when) - place(last)) > 3 * step:
            run += 1
        last = when
        runs.append((when, figure, run))
    return runs


def thinned(
    points: Sequence[tuple[datetime, float, int]], limit: int
) -> Sequence[tuple[datetime, float, int]]:
    """At most so many of the points: the lowest and the highest of equal stretches of them."""
    if len(points) <= limit:
        return points
    stretches = max(1, limit // 2)
    kept: set[int] = set()
    for number in range(stretches):
        first = number * len(points) // stretches
        stretch = range(first, (number + 1) * len(points) // stretches)
        kept.add(min(stretch, key=lambda index: points[index][1]))
        kept.add(max(stretch, key=lambda index: points[index][1]))
    return [points[index] for index in sorted(kept)]


def _points_per_line(lines: Sequence[Line]) -> int:
    return POINTS_PER_LINE // max(1, min(len(lines), LINES_PER_CHART))


def _month(when: datetime) -> int:
    return when.year * 12 + when.month


def _microsecond(when: datetime) -> int:
    return (when - datetime.min) // timedelta(microseconds=1)


def _is_midnight(when: datetime) -> bool:
    return when.time() == time.min


def _figure(title: str, lines: Sequence[Line]) -> Figure:
    from matplotlib.figure import Figure  # noqa: PLC0415  # takes seconds

    figure = Figure(figsize=(7.5, 2.6), dpi=150, layout="constrained", facecolor="white")
    axes = figure.subplots()
    limit = _points_per_line(lines)
    times = [when for line in lines for when, _ in (*line.before, *line.now)]
    drawn: list[datetime] = []
    entries: dict[str, Line2D] = {}  # of the legend: one "before" for all lines
    for number, (colour, line) in enumerate(zip(_COLOURS, lines, strict=False)):
        before, now = in_runs(line.before, times), in_runs(line.now, times)
        label = line.label or "now"
        if before:
            plotted = _plot(axes, thinned(before, limit), color=colour, alpha=0.3, linewidth=4)
            plotted.set_gid(f"before-{number}")
            entries.setdefault("before", plotted)
        if now:
            plotted = _plot(axes, thinned(now, limit), color=colour, linewidth=1.6)
            plotted.set_gid(f"now-{number}")
            entries[label] = plotted
        drawn += [when for when, _, _ in (*before, *now)]
    axes.set_title(title, loc="left", fontsize=11, fontweight="bold", parse_math=False)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.grid(axis="y", linewidth=0.5, alpha=0.5)
    if drawn:
        _lay_out(axes, drawn, entries)
    else:
        axes.set(xticks=[], yticks=[])
        axes.text(0.5, 0.5, "no figures", transform=axes.transAxes, ha="center", color="grey")
    return figure


def _plot(axes: Axes, points: Sequence[tuple[datetime, float, int]], **style: Any) -> Line2D:
    """One line, broken between runs; a point that has no neighbour in its run is a dot."""
    times: list[Any] = []
    figures: list[float] = []
    dots: list[bool] = []
    runs = [run for _, _, run in points]
    for index, (when, figure, run) in enumerate(points):
        follows = index > 0 and runs[index - 1] == run
        if index and not follows:
            times.append(when)
            figures.append(math.nan)
            dots.append(False)
        times.append(when)
        figures.append(figure)
        dots.append(not follows and runs[index + 1 : index + 2] != [run])
    style |= {"marker": "o", "markersize": 2 + style["linewidth"], "markevery": dots}
    (plotted,) = axes.plot(times, figures, **style)
    return plotted


def _lay_out(axes: Axes, drawn: Sequence[datetime], entries: Mapping[str, Line2D]) -> None:
    """Few ticks on round times that say day, month and year; numbers written out; a legend."""
    from matplotlib import dates, ticker  # noqa: PLC0415  # takes seconds

    first, last = min(drawn), max(drawn)
    # A day has no hours to tell, and a time alone no length.
    least = timedelta(days=6) if all(map(_is_midnight, drawn)) else timedelta(hours=1)
    margin: Any = max((last - first) / 50, (least - (last - first)) / 2)
    axes.set_xlim(first - margin, last + margin)
    locator = dates.AutoDateLocator(minticks=4, maxticks=9)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(
        dates.ConciseDateFormatter(  # type: ignore[no-untyped-call]
            locator,
            formats=["%Y", "%b", "%d %b", "%H:%M", "%H:%M", "%S.%f"],
            zero_formats=["", "%b\n%Y", "%d %b", "%d %b", "%H:%M", "%H:%M"],
            offset_formats=["", "", "%Y", "%Y", "%d %b %Y", "%d %b %Y"],
        )
    )
    axes.yaxis.set_major_locator(ticker.MaxNLocator(5))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.12g}")
    axes.tick_params(labelsize=9)
    legend = axes.legend(
        list(entries.values()),
        list(entries),
        loc="upper left",
        bbox_to_anchor=(1, 1),
        frameon=False,
        fontsize=8,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
