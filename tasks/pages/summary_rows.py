"""A summary's rows as people look at them: the newest, and how they differ from those before."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from tasks.pages.chart import Line, figure_of, moment

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, Any]
Kind = Literal["new", "changed", "gone", "same"]

_SAME = 1e-9
"""Floating point sums differ in their last digits with the order of the rows; that is no change."""


@dataclass(frozen=True)
class ComparedRow:
    """A row of a summary, now and before.

    Attributes:
        now: What is published now; None if the row is gone.
        before: What was published before; None if the row is new.
        changed: The measures that differ.
    """

    now: Row | None
    before: Row | None
    changed: tuple[str, ...]

    @property
    def kind(self) -> Kind:
        """What became of the row."""
        if self.before is None:
            return "new"
        if self.now is None:
            return "gone"
        return "changed" if self.changed else "same"

    @property
    def shown(self) -> Row:
        """The row now; if it is gone, what it was."""
        row = self.now if self.now is not None else self.before
        assert row is not None
        return row


@dataclass(frozen=True)
class SummaryRows:
    """The published rows of a summary, before and after a build.

    Attributes:
        grain: The columns that tell its rows apart.
        measures: Its columns with figures.
        time_column: The column that is the charts' time axis.
        before: What was published before; without columns if nothing was.
        after: What is published now.
        in_sight: Whether enough of both is there to be compared.
        cut_off: Whether there may be others, older than these.
    """

    grain: tuple[str, ...]
    measures: tuple[str, ...]
    time_column: str
    before: pd.DataFrame
    after: pd.DataFrame
    in_sight: bool = True
    cut_off: bool = False

    @cached_property
    def compared(self) -> list[ComparedRow]:
        """Every row, now and before: newest first, then by the rest of the grain."""
        before, now = self._by_key(self.before), self._by_key(self.after)
        compared = [name for name in self.measures if name in self.before.columns]
        found = [
            ComparedRow(
                now.get(key),
                before.get(key),
                tuple(
                    name
                    for name in compared
                    if key in now and key in before and differs(before[key][name], now[key][name])
                ),
            )
            for key in now | before
        ]
        found.sort(key=lambda row: self._group(row.shown))
        found.sort(
            key=lambda row: moment(row.shown[self.time_column]) or datetime.min,
            reverse=True,
        )
        return found

    @property
    def counts(self) -> Counter[Kind]:
        """How many rows are new, changed, gone, and the same."""
        return Counter(row.kind for row in self.compared)

    @property
    def comparable(self) -> bool:
        """Whether what was published before has the grain of now."""
        return {*self.grain, self.time_column} <= set(self.before.columns)

    def lines(self, measure: str) -> list[Line]:
        """The measure over time, a line for each of the grain's other values; largest first."""
        groups: dict[str, tuple[list[Any], list[Any]]] = {}
        for frame, which in ((self.after, 0), (self.before, 1)):
            if measure not in frame.columns or self.time_column not in frame.columns:
                continue
            for row in rows_of(frame):
                when = moment(row[self.time_column])
                if when is not None:
                    label = " / ".join(self._group(row))
                    points = groups.setdefault(label, ([], []))[which]
                    points.append((when, figure_of(row[measure])))
        lines = [Line(label, now, before) for label, (now, before) in sorted(groups.items())]
        return sorted(lines, key=lambda line: -sum(abs(figure or 0) for _, figure in line.now))

    def _by_key(self, frame: pd.DataFrame) -> dict[tuple[Any, ...], Row]:
        """The rows by their grain; none if the frame has another grain, or is without columns."""
        if not {*self.grain, self.time_column} <= set(frame.columns):
            return {}
        return {
            tuple(moment(row[name]) or row[name] for name in (*self.grain, self.time_column)): row
            for row in rows_of(frame)
        }

    def _group(self, row: Row) -> list[str]:
        """The values of the grain besides the time."""
        return [str(row.get(name)) for name in self.grain if name != self.time_column]


def rows_of(frame: pd.DataFrame) -> list[Row]:
    """The frame's rows with Python's own values; whatever stands for NULL is None."""
    plain = frame.astype(object)
    rows: list[Row] = plain.where(plain.notna(), None).to_dict("records")
    return rows


def differs(before: Any, now: Any) -> bool:
    """Whether a measure changed: more than a floating point sum differs by itself."""
    if isinstance(before, float) or isinstance(now, float):
        one, other = figure_of(before), figure_of(now)
        if one is not None and other is not None:
            return not math.isclose(one, other, rel_tol=_SAME, abs_tol=_SAME / 1000)
    return bool(before != now)
