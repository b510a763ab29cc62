"""Rows that would never be carried, because no bounds of their cursor column would take them."""

from __future__ import annotations

from blocks.source import Source
from ferry.batch import ExtractQuery
from ferry.errors import DataError
from ferry.specs import TableSpec


def refuse_uncarried(spec: TableSpec, query: ExtractQuery, source: Source) -> None:
    """Refuse a read that leaves rows behind for ever, unless the spec says to leave them.

    Args:
        spec: The table's spec.
        query: What is to be read; without a cursor, nothing is left behind.
        source: Where from.

    Raises:
        DataError: There are such rows. No retry helps.
        ConnectionLostError, BusyError: The source cannot be asked; a retry may help.
    """
    if query.cursor is None or spec.null_cursors == "ignore":
        return
    if count := source.count_uncarried(query.schema.name, query.cursor):
        raise DataError(
            f"rows whose cursor {query.cursor!r} is NULL, a zero date or no date at all would "
            "never be carried",
            table=str(spec.target),
            expected="in every row a value that windows and watermarks can reach",
            found=f"{count:,} {'row' if count == 1 else 'rows'} without one",
            todo="Correct them in the source, set another `cursor` in the table's spec, carry it "
            "in mode full, or leave these rows behind with `null_cursors: ignore`.",
        )
