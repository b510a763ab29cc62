"""Rows that would never be carried, because no bounds of their cursor column would take them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from blocks.source import Source
from blocks.warehouse import Warehouse
from ferry.batch import ExtractQuery
from ferry.errors import DataError
from ferry.plan import window_bounds
from ferry.receipts.read_as import refuse_rows_of_others
from ferry.specs.tables import Mode, TableSpec
from ferry.windows import EARLIEST, LATEST, Window
from tasks.landed.receipts import whose_rows
from tasks.places.readers import place_among_readers

_BEYOND = f"before {EARLIEST.date()} or after {LATEST.date() - timedelta(days=1)}"


def refuse_never_carried(
    spec: TableSpec,
    mode: Mode,
    query: ExtractQuery,
    source: Source,
    warehouse: Warehouse,
    *,
    backfill: bool = False,
) -> None:
    """Refuse what would leave rows behind for ever: at the source, or in the target.

    Asked before anything moves: once for all windows of a range, else by each batch's plan.

    Args:
        spec: The table's spec.
        mode: How it is carried.
        query: What is to be read; without a cursor, nothing is left behind.
        source: Where from.
        warehouse: Where the receipts are: they tell by which cursor the target's rows came.
        backfill: Whether a backfill asks, which leaves a place among the readers to others.

    Raises:
        DataError: Rows whose cursor no bounds would take, or rows of others in the target. No
            retry helps.
        ConnectionLostError, BusyError: A retry may help.
    """
    refuse_uncarried(spec, query, source, backfill=backfill)
    key = [query.schema.column(name) for name in spec.key]
    refuse_rows_of_others(whose_rows(spec.target, warehouse), spec, mode, query.cursor, key)


def refuse_uncarried(
    spec: TableSpec, query: ExtractQuery, source: Source, *, backfill: bool = False
) -> None:
    """Refuse a read that leaves rows behind for ever, unless the spec says to leave them.

    Args:
        spec: The table's spec. Windows do not reach where the calendar ends, a watermark does.
        query: What is to be read; without a cursor, nothing is left behind.
        source: Where from.
        backfill: Whether a backfill asks, which leaves a place among the readers to others.

    Raises:
        DataError: There are such rows. No retry helps.
        ConnectionLostError, BusyError: The source cannot be asked; a retry may help.
    """
    if query.cursor is None or spec.null_cursors == "ignore":
        return
    reach = _reach(spec, query) if spec.mode == "window" else None
    with place_among_readers(spec.source, backfill=backfill):
        count = source.count_uncarried(query.schema.name, query.cursor, reach)
        if spec.cursor_unit:
            count += _zeros(query, source)
    if count:
        raise DataError(
            f"rows whose cursor {query.cursor!r} is NULL, "
            + ("0" if spec.cursor_unit else "a zero date or no date at all")
            + (f", or lies {_BEYOND}," if reach else "")
            + " would never be carried",
            table=str(spec.target),
            expected="in every row a value that windows and watermarks can reach",
            found=f"{count:,} {'row' if count == 1 else 'rows'} without one",
            todo="Correct them in the source, set another `cursor` in the table's spec, leave "
            f"these rows behind with `null_cursors: ignore`, or {_in_full(spec)}.",
        )


def _reach(spec: TableSpec, query: ExtractQuery) -> ExtractQuery:
    """The same query from the first window that there can be to the last."""
    start, end = window_bounds(spec, Window(EARLIEST, LATEST))
    return replace(query, start=start, end=end)


def _in_full(spec: TableSpec) -> str:
    """What mode full makes of such rows."""
    if spec.cursor_unit:
        return "carry the table in mode full"
    zero_dates = "" if spec.zero_dates == "null" else " (with `zero_dates: null`)"
    return (
        f"carry the table in mode full, which takes NULL and MySQL's zero dates{zero_dates}, but "
        "no value that is no date at all"
    )


def _zeros(query: ExtractQuery, source: Source) -> int:
    """How many rows have 0 as their Unix time, which is what is written where there is none."""
    cursor = query.schema.column(query.cursor or "")
    schema = replace(query.schema, columns=(cursor,)) if cursor else query.schema
    zeros = replace(query, schema=schema, start=0, end=1, zero_dates="null")
    return sum(batch.num_rows for batch in source.read(zeros))
