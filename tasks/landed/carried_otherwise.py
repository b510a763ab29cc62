"""What was carried before without a column, or by another cursor, than it is going to be.

And what no run has carried, before the window of one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from prefect.logging import get_run_logger

from blocks.source import Source
from blocks.warehouse import Warehouse
from ferry.batch import Batch, ExtractQuery
from ferry.lookback import window_length, with_lookback
from ferry.receipts.other_windows import ReadAlike, carried_up_to, read_by_others
from ferry.receipts.read_as import by_another_cursor, read_as, read_otherwise
from ferry.receipts.table import read_to
from ferry.schema import Column
from ferry.specs.chosen import asked_as
from ferry.specs.tables import TableSpec
from ferry.unix_time import to_unix
from ferry.windows import Window, local_midnight, scheduled_window
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
    """Say which days were carried as the table's spec does not say any more, or by nobody.

    Where `zone` or `every` is another one than before, rows may be in no window: those between the
    last one of the old and the first one of the new.

    Args:
        batch: The batch that is going to be read.
        cursor: The cursor that bounds it.
        key: The columns of the key.
        warehouse: Where the receipts are.
    """
    none: tuple[list[ReadAlike], datetime | None, bool] = [], None, False
    name, now = cursor.name.lower(), read_as(batch.spec, "window", cursor.type.kind, key)
    window = batch.window if _follows_others(batch) else None
    start = window.start if window else None
    others, own, reached = from_receipts(
        lambda: read_by_others(warehouse, batch.target, name, now, start), none, warehouse
    )
    if window and not reached:
        _warn_of_gap(batch, window, warehouse)
    why = {
        each: by_another_cursor(each.cursor, name)
        or read_otherwise(each.read_as, batch.spec, cursor=each.cursor)
        for each in others
    }
    # Receipts of an older Ferry say the same in other words.
    moments = [each.landed_at for each, otherwise in why.items() if not otherwise]
    last_alike = max([*moments, own] if own else moments, default=None)
    for each, otherwise in why.items():
        if otherwise and (last_alike is None or each.landed_at > last_alike):
            get_run_logger().warning(
                "%s: %s windows from %s up to %s do not count as loaded any more (%s); a backfill "
                "with reprocess=missing carries them again",
                batch.target,
                f"{each.windows:,}",
                each.first.date(),
                each.last.date(),
                otherwise.replace("it was", "they were", 1),
            )


def _follows_others(batch: Batch) -> bool:
    """Whether a run before this one should have carried what is before the batch's window."""
    spec, window = batch.spec, batch.window
    if window is None or spec.every == "never" or spec.catch_up:  # which carries it itself
        return False
    own = scheduled_window(batch.scheduled_start, window.zone, window_length(spec))
    return window == with_lookback(spec, own)


def _warn_of_gap(batch: Batch, window: Window, warehouse: Warehouse) -> None:
    """Say what before a window nobody has carried, where anything was before that."""
    table, start = batch.target, window.start
    until = from_receipts(lambda: carried_up_to(warehouse, table, start), None, warehouse)
    if until is None or until >= start:  # a full copy or a watermark has read it
        return
    gap = Window(until, start, window.zone)
    get_run_logger().warning(
        "%s: nothing has carried the rows from %s up to %s, before this window: a run failed, "
        "has not ended yet or was not made, or `zone` or `every` was another. To carry them: %s",
        table,
        gap.start.isoformat(),
        gap.end.isoformat(),
        command_for(batch.spec, gap),
    )


def command_for(spec: TableSpec, gap: Window) -> str:
    """What carries the rows of a gap: whole days by a backfill, else it as one window."""
    first, end = gap.start.date(), gap.end.date()
    if (gap.start, gap.end) == (local_midnight(first, gap.zone), local_midnight(end, gap.zone)):
        flow, given = "backfill", {"start_date": first, "end_date": end, "zone": gap.zone}
    else:
        flow = "sync-table"
        given = {"window_start": gap.start.isoformat(), "window_end": gap.end.isoformat()}
    parameters = " ".join(f"--param {each}={value}" for each, value in given.items())
    return f"prefect deployment run '{flow}/on-demand' --param table={asked_as(spec)} {parameters}"
