"""The newest rows of a summary, before and after publishing, for the run's page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from prefect.logging import get_run_logger

from blocks.warehouse import Warehouse
from ferry import statements as sql
from ferry.errors import FerryError
from ferry.summaries.checks import CheckResult
from ferry.summaries.specs import SummarySpec
from tasks.pages.summary import show_summary

if TYPE_CHECKING:
    import pandas as pd

NEWEST_ROWS = 400


def newest_rows(spec: SummarySpec, warehouse: Warehouse) -> pd.DataFrame:
    """The newest rows that readers see now; none if there is no table, or it cannot be read."""
    try:
        return read_newest(spec, warehouse)
    except FerryError as error:  # it is only for the page
        get_run_logger().warning("the rows of %s are not shown: %s", spec.target, error)
        return _frame([], list(spec.columns))


def read_newest(spec: SummarySpec, warehouse: Warehouse, rows: int = NEWEST_ROWS) -> pd.DataFrame:
    """So many of the newest rows, the newest first; none if there is no table.

    Without the columns that the table does not have yet, as the summary has just gained them.
    """
    there = warehouse.describe(spec.target)
    if there is None:
        return _frame([], list(spec.columns))
    columns = [column for column in spec.schema_columns if there.column(column.name)]
    names = [column.name for column in columns]
    if not names:
        return _frame([], names)
    by = next((name for name in (spec.time_column, *spec.grain) if name in names), names[0])
    return _frame(warehouse.fetch(sql.select_newest(spec.target, columns, by, rows)), names)


def _frame(rows: Sequence[Sequence[Any]], names: Sequence[str]) -> pd.DataFrame:
    import pandas as pd  # noqa: PLC0415  # 41 MB, which runs that publish nothing do without

    # Not of pandas' types: a whole number beside a NULL would be one of floating point.
    return pd.DataFrame(rows, columns=list(names), dtype=object)


def show(
    spec: SummarySpec, before: pd.DataFrame, after: pd.DataFrame, results: Sequence[CheckResult]
) -> None:
    """Put the newest rows, what changed in them, and the checks on the run's page."""
    if spec.time_column is None:  # nothing tells which rows are the newest
        return
    cut_off = NEWEST_ROWS in (len(before), len(after))
    before, after, in_sight = _of_the_same_time(before, after, spec.time_column)
    show_summary(spec, before, after, results, in_sight=in_sight, cut_off=cut_off)


def _of_the_same_time(
    before: pd.DataFrame, after: pd.DataFrame, by: str
) -> tuple[pd.DataFrame, pd.DataFrame, bool]:
    """Without rows of a time of which the other, cut off, tells nothing or not all.

    Returns:
        The two frames, and whether they can be compared: not where one has none left.
    """
    if before.empty or after.empty or by not in before.columns:
        return before, after, True
    frames = before, after
    times = [frame[by].dropna() for frame in frames]
    firsts = [
        known.min()
        for frame, known in zip(frames, times, strict=True)
        if len(frame) == NEWEST_ROWS and not known.empty
    ]
    if not firsts:
        return before, after, True
    later = [
        frame.loc[known.index[known > max(firsts)]]
        for frame, known in zip(frames, times, strict=True)
    ]
    if later[0].empty:  # beyond that all of both is there, so none afterwards are gone
        return before.iloc[:0], after, False
    return later[0], later[1], True
