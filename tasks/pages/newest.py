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
        return _frame([], spec)


def read_newest(spec: SummarySpec, warehouse: Warehouse, rows: int = NEWEST_ROWS) -> pd.DataFrame:
    """So many of the newest rows, the newest first; none if there is no table."""
    found = []
    if warehouse.describe(spec.target) is not None:
        by = spec.time_column or spec.grain[0]
        found = warehouse.fetch(sql.select_newest(spec.target, spec.schema_columns, by, rows))
    return _frame(found, spec)


def _frame(rows: Sequence[Sequence[Any]], spec: SummarySpec) -> pd.DataFrame:
    import pandas as pd  # noqa: PLC0415  # 41 MB, which runs that publish nothing do without

    return pd.DataFrame(rows, columns=list(spec.columns))


def show(
    spec: SummarySpec, before: pd.DataFrame, after: pd.DataFrame, results: Sequence[CheckResult]
) -> None:
    """Put the newest rows, what changed in them, and the checks on the run's page."""
    if spec.time_column is None:  # nothing tells which rows are the newest
        return
    before, after = _from_the_same_time_on(before, after, spec.time_column)
    show_summary(
        name=spec.name,
        description=spec.description,
        grain=spec.grain,
        measures=spec.measures,
        time_column=spec.time_column,
        before=before,
        after=after,
        owner=spec.owner,
        checks=results,
    )


def _from_the_same_time_on(
    before: pd.DataFrame, after: pd.DataFrame, by: str
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Without rows that are older than what the other, cut off, still tells of."""
    cut = [frame[by].min() for frame in (before, after) if len(frame) == NEWEST_ROWS]
    if not cut:
        return before, after
    first = max(cut)
    return before[before[by] >= first], after[after[by] >= first]
