"""plan windows: which windows of a table a backfill is to carry, before the first row moves."""

from __future__ import annotations

import dataclasses
import math
from datetime import datetime
from itertools import accumulate, pairwise

from prefect import task

from blocks.source import Source
from blocks.warehouse import Warehouse
from ferry.backfills.plan import (
    PlannedWindow,
    Reprocess,
    TablePlan,
    check_range,
    check_table,
    landed_labels,
    plan_windows,
    why_no_windows,
)
from ferry.day_ranges import DayRange, Granularity, split_days
from ferry.plan import plan_query
from ferry.schema import TableSchema
from ferry.specs.tables import TableSpec
from ferry.windows import Window
from tasks.landed.history import read_coverage, read_run
from tasks.landed.uncarried import refuse_never_carried
from tasks.plan_batch import describe_source
from tasks.step import STEP, explains

MAX_ESTIMATES = 50
"""Questions to the source: its optimizer guesses for so many stretches of the range."""


@task(name="plan windows", task_run_name="plan {spec.target} {days}", **STEP)
@explains
def plan_backfill(
    spec: TableSpec,
    days: DayRange,
    granularity: Granularity,
    reprocess: Reprocess,
    source: Source,
    warehouse: Warehouse,
    *,
    now: datetime,
    flow_run_id: str,
    of_all: bool = False,
) -> TablePlan:
    """The windows of the range, which of them are to be carried, and about how many rows that is.

    Args:
        spec: The table's spec.
        days: The range.
        granularity: How long a window is.
        reprocess: Which windows are to be carried.
        source: Where the table is read from: it knows the cursor column, and guesses rows.
        warehouse: Where the receipts are.
        now: The run's scheduled start.
        flow_run_id: The backfill's run: what it landed in an earlier attempt is not done again,
            as long as it is loaded.
        of_all: Whether all tables were asked for: one that has no such windows is left out.

    Raises:
        RequestError: The range or the table cannot be backfilled. No retry helps.
        SchemaError: The table has no cursor column, or none that takes such a granularity.
        DataError: Rows that no window would carry. No retry helps.
        ConnectionLostError, BusyError: A retry may help.
    """
    check_table(spec)
    schema = describe_source(spec, source)
    if of_all and (why := why_no_windows(spec, schema.columns, granularity)):
        return TablePlan(spec, (), left_out=why)
    check_range(days, spec, now)
    windows = split_days(days, granularity)
    coverage = read_coverage(spec, warehouse)
    queries = [plan_query(spec, "window", window, schema) for window in windows]
    cursor = queries[0].cursor or ""
    own = read_run.fn(flow_run_id, spec.target, warehouse).receipts.values()
    planned = plan_windows(windows, coverage, reprocess, landed_labels(own, spec, cursor))
    refuse_never_carried(spec, "window", queries[0], source, warehouse, backfill=True)
    return TablePlan(
        spec,
        _with_rows(planned, spec, schema, source),
        source.row_bytes(spec.source_name),
        queries[0].cursor or "",
    )


def _with_rows(
    planned: tuple[PlannedWindow, ...],
    spec: TableSpec,
    schema: TableSchema,
    source: Source,
) -> tuple[PlannedWindow, ...]:
    """The windows with the source's guess: each stretch's is shared among its windows.

    Without an index the guess for any stretch is the whole table; so together they are made to be
    no more than the guess for the whole range.
    """

    def guess(stretch: tuple[PlannedWindow, ...]) -> int | None:
        first, last = stretch[0].window, stretch[-1].window
        whole = Window(first.start, last.end, first.zone)
        return source.estimate_rows(plan_query(spec, "window", whole, schema))

    if all(each.skipped for each in planned):
        return planned
    size = math.ceil(len(planned) / MAX_ESTIMATES)
    stretches = [planned[first : first + size] for first in range(0, len(planned), size)]
    in_all, guesses = guess(planned), [guess(stretch) for stretch in stretches]
    if in_all is None or any(rows is None for rows in guesses):
        return planned
    scale = min(1.0, in_all / max(1, sum(filter(None, guesses))))
    shares = (
        (rows or 0) * scale / len(stretch)
        for stretch, rows in zip(stretches, guesses, strict=True)
        for _ in stretch
    )
    # Their sums are rounded, not they: less than half a row of each window would come to none.
    sums = [0, *map(round, accumulate(shares))]
    return tuple(
        dataclasses.replace(each, rows=after - before)
        for each, (before, after) in zip(planned, pairwise(sums), strict=True)
    )
