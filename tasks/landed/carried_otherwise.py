"""What was carried before without a column, or by another cursor, than it is going to be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from prefect.logging import get_run_logger

from blocks.source import Source
from blocks.warehouse import Warehouse
from ferry.batch import Batch, ExtractQuery
from ferry.receipts.read_as import by_another_cursor, read_as, read_otherwise
from ferry.receipts.table import (
    ReadAlike,
    read_by_others,
    read_to,
)
from ferry.schema import Column
from ferry.unix_time import to_unix
from tasks.landed.receipts import from_receipts
from tasks.places.readers import place_among_readers


def in_older_rows(
    batch: Batch,
    columns: Sequence[Column],
    query: ExtractQuery,
    source: Source,
    warehouse: Warehouse,
) -> tuple[str, ...]:
    """Those of the columns that rows have a value in which were carried without it.

    Args:
        batch: The batch with which the target gains them.
        columns: Columns that the target is going to gain, as the source names them.
        query: What the batch reads: its rows get the value.
        source: Where the rows are.
        warehouse: Where the receipts are.
    """
    if not columns or query.cursor is None or query.start is None:
        return ()  # all rows are read, and get it
    anything = replace(query, zero_dates="null", null_cursors="ignore")
    stretches = [replace(anything, start=None, end=query.start)]
    unit = batch.spec.cursor_unit
    before = from_receipts(lambda: read_to(warehouse, batch.target), None, warehouse)
    last = to_unix(before, unit) if before and unit else before
    if query.end is not None and last and last > query.end:  # type: ignore[operator]  # of a window
        stretches.append(replace(anything, start=query.end, end=last))
    with place_among_readers(batch.spec.source, backfill=batch.backfill):
        return tuple(
            column.name.lower()
            for column in columns
            if any(_has_value(each, column, source) for each in stretches)
        )


def _has_value(query: ExtractQuery, column: Column, source: Source) -> bool:
    narrow = replace(query, schema=replace(query.schema, columns=(column,)))
    return any(batch.num_rows > batch.column(0).null_count for batch in source.read(narrow))


def warn_of_other_readings(
    batch: Batch, cursor: Column, key: Sequence[Column | None], warehouse: Warehouse
) -> None:
    """Say which days were carried as the table's spec does not say any more.

    Args:
        batch: The batch that is going to be read.
        cursor: The cursor that bounds it.
        key: The columns of the key.
        warehouse: Where the receipts are.
    """
    none = list[ReadAlike]()
    name, now = cursor.name.lower(), read_as(batch.spec, "window", cursor.type.kind, key)
    alike = from_receipts(
        lambda: read_by_others(warehouse, batch.target, name, now), none, warehouse
    )
    for each in alike:
        otherwise = by_another_cursor(each.cursor, name) or read_otherwise(each.read_as, batch.spec)
        if otherwise:
            get_run_logger().warning(
                "%s: %s windows from %s up to %s do not count as loaded any more (%s); a backfill "
                "with reprocess=missing carries them again",
                batch.target,
                f"{each.windows:,}",
                each.first.date(),
                each.last.date(),
                otherwise.replace("it was", "they were", 1),
            )
