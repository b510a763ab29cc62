"""From where on a batch of mode watermark is read."""

from __future__ import annotations

from prefect.logging import get_run_logger

from blocks.warehouse import Warehouse
from ferry import statements as sql
from ferry.batch import Batch, CursorValue
from ferry.cursors import counts_no_time, find_cursor
from ferry.plan import stored_bound
from ferry.receipts.read_as import PastReading, read_otherwise, replaced_others
from ferry.receipts.receipt import LOADED
from ferry.schema import TableSchema
from ferry.unix_time import to_unix
from ferry.watermark import Watermark
from tasks.landed.receipts import readings


def watermark(
    batch: Batch, schema: TableSchema, existing: TableSchema | None, warehouse: Warehouse
) -> Watermark | None:
    """From where on the batch is read; None to read all: nothing is known to have been read.

    Where something was, and is not gone by, the log says why.

    Args:
        batch: The batch, in any mode; only one of mode watermark has a watermark.
        schema: The source table.
        existing: The target; None if there is none.
        warehouse: Where.
    """
    if batch.mode != "watermark" or existing is None:
        return None
    cursor, unit = find_cursor(batch.spec, schema.columns, batch.mode), batch.spec.cursor_unit
    there = existing.column(cursor.name) if cursor else None
    if cursor is None or there is None:
        return None
    name = there.name
    # A watermark's read, or a full copy, has read all that was there when it began; a window's has
    # not. What was read last decides: if that was read otherwise, or another key has replaced rows
    # of it since, all is read once more. So it is if windows, or a watermark by another cursor,
    # have brought ids since: the highest of them tells nothing of those below it.
    landed = readings(batch.target, warehouse)
    whole = [
        each
        for each in landed
        if each.status == LOADED and each.mode != "window" and each.cursor in (None, name)
    ]
    last = max(whole, key=lambda each: each.read_at, default=None)
    if last is None:
        return None
    read = min(last.read_at, last.landed_at)  # what landed meanwhile is not in it
    since = [each for each in landed if each.landed_at > read]
    by_ids = counts_no_time(batch.spec, cursor)
    otherwise = [read_otherwise(last.read_as, batch.spec, cursor=name)]
    otherwise += [replaced_others(each.read_as, batch.spec) for each in since]
    if by_ids and any(_leaves_ids_out(each, name) for each in since):
        otherwise.append(
            f"windows or another cursor have carried rows since, and {name} counts ids"
        )
    if why := next(filter(None, otherwise), ""):
        get_run_logger().warning(
            "%s: all of it is read, not only what is new: %s", batch.target, why
        )
        return None
    until = last.read_at
    if by_ids:
        lowest, highest = warehouse.fetch(sql.lowest_and_highest(batch.target, name))[0]
        return None if highest is None else Watermark(highest, lowest)
    bound: CursorValue | None = (
        to_unix(until, unit)
        if unit
        else stored_bound(until, there.type.kind, batch.spec.wall_clock_zone)
    )
    (highest,) = warehouse.fetch(sql.highest_up_to(batch.target, name, bound))[0]
    return None if highest is None else Watermark(highest)


def _leaves_ids_out(reading: PastReading, cursor: str) -> bool:
    """Whether ids may be missing below those that it brought: others were in no bounds of its."""
    by_another = reading.mode == "watermark" and reading.cursor not in (None, cursor)
    return reading.mode == "window" or by_another
