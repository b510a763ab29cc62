"""After a backfill: rows of the target that the source no longer has in the windows carried."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from prefect.logging import get_run_logger

from blocks.warehouse import Warehouse
from ferry import statements as sql
from ferry.backfills.plan import neighbours_merged
from ferry.cursors import find_cursor
from ferry.plan import stored_bound
from ferry.reasons import reason_of
from ferry.receipts.receipt import Receipt
from ferry.schema import TIMES
from ferry.specs.tables import TableSpec
from ferry.windows import Window
from tasks.step import known

MAX_STRETCHES = 50
"""Of one question to the warehouse; a backfill with more gaps than that is not counted."""


def count_left(
    spec: TableSpec, carried: Sequence[tuple[Window, Receipt]], warehouse: Warehouse
) -> int | None:
    """At least how many rows of the target, in these windows, were not among those just read.

    They were deleted in the source, or lie in another window there by now. Ferry deletes none: it
    cannot tell the two apart. It is no more than a count: the rows in the target whose cursor is in
    the windows, less those read, of which the newest of each key landed. Rows that land at the same
    time from elsewhere make it uncertain by their number.

    Returns:
        How many; None where it cannot be told, or not cheaply.
    """
    stretches = neighbours_merged(
        window for window, _ in sorted(carried, key=lambda each: each[0].start)
    )
    if not spec.key or spec.soft_deletes == "apply" or not 0 < len(stretches) <= MAX_STRETCHES:
        return None
    try:
        found = _rows_in(stretches, spec, warehouse)
    except Exception as error:  # noqa: BLE001  # what was carried has landed
        why = reason_of(known(error, table=str(spec.target)))
        get_run_logger().warning("rows left in %s are not counted: %s", spec.target, why)
        return None
    if found is None:
        return None
    receipts = [receipt for _, receipt in carried]
    return max(0, found - sum(r.rows_extracted - (r.rows_superseded or 0) for r in receipts))


def _rows_in(stretches: Sequence[Window], spec: TableSpec, warehouse: Warehouse) -> int | None:
    existing = warehouse.describe(spec.target)
    cursor = find_cursor(spec, existing.columns) if existing else None
    if cursor is None or cursor.type.kind not in TIMES:
        return None
    kind = cursor.type.kind

    def bound(moment: datetime) -> object:
        return stored_bound(moment.astimezone(UTC), kind, spec.wall_clock_zone)

    bounds = [(bound(stretch.start), bound(stretch.end)) for stretch in stretches]
    return int(warehouse.fetch(sql.count_within(spec.target, cursor.name, bounds))[0][0])


def left_line(spec: TableSpec, rows: int) -> str:
    """What the page and the log say of them."""
    return (
        f"{spec.target}: at least {rows:,} rows of the target in these windows are not in the "
        "source's any more: they were deleted there, or have moved to another window. Ferry does "
        "not delete them; mode full does"
    )
