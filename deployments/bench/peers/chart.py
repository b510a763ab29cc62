"""The seconds of floor, ours and peers as bars, drawn without a display."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

from deployments.bench.peers.race import Found
from deployments.bench.peers.tools import PEERS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FLOOR, OURS = "dump + COPY", "Ferry"
_DUMP, _COPY, _OURS, _THEIRS = "#999999", "#CCCCCC", "#0072B2", "#E69F00"


def seconds_of(found: Found, table: str) -> dict[str, float]:
    """What took how long: the floor, ours, and each peer that was measured."""
    theirs = {
        each.name: found.peers[each.name, table].median
        for each in PEERS
        if (each.name, table) in found.peers
    }
    return {FLOOR: found.floor(table), OURS: found.ours[table].median} | theirs


def in_words(found: Found) -> str:
    """The chart's figures, for who does not see it."""
    tables = (
        f"{table}, {rows:,} rows. "
        + "; ".join(f"{name}: {taken:.1f}" for name, taken in seconds_of(found, table).items())
        for table, rows in found.rows.items()
    )
    return f"Seconds from MariaDB to PostgreSQL, as bars. {'. '.join(tables)}."


def draw(found: Found) -> bytes:
    """The image, an SVG: a field for each table, with a bar for each way."""
    import matplotlib as mpl  # noqa: PLC0415  # takes seconds
    from matplotlib.figure import Figure  # noqa: PLC0415

    with mpl.rc_context({"svg.hashsalt": "ferry"}):
        figure = Figure(figsize=(7.5, 2.6), dpi=150, layout="constrained", facecolor="white")
        fields = figure.subplots(1, len(found.rows), sharey=True, squeeze=False)[0]
        for axes, table in zip(fields, found.rows, strict=True):
            _fill(axes, found, table)
        figure.supxlabel("seconds from MariaDB to PostgreSQL, all rows; less is better", fontsize=9)
        image = BytesIO()
        figure.savefig(image, format="svg", metadata={"Date": None})
    return image.getvalue()


def _fill(axes: Axes, found: Found, table: str) -> None:
    taken = seconds_of(found, table)
    dump = found.dump[table].median
    for name, seconds in taken.items():
        if name == FLOOR:
            axes.barh(name, dump, color=_DUMP)
            axes.barh(name, seconds - dump, left=dump, color=_COPY)
        else:
            axes.barh(name, seconds, color=_OURS if name == OURS else _THEIRS)
        axes.annotate(
            f"{seconds:.1f}",
            (seconds, name),
            xytext=(3, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
        )
    axes.set_title(
        f"{table}, {found.rows[table]:,} rows", loc="left", fontsize=11, fontweight="bold"
    )
    axes.set_xlim(0, max(taken.values()) * 1.15)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.grid(axis="x", linewidth=0.5, alpha=0.5)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=9)
    if not axes.yaxis_inverted():
        axes.invert_yaxis()
