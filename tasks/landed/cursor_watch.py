"""The cursor of a watermark, watched while its rows are read: what would hide rows, or has."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime

from prefect.logging import get_run_logger

from blocks.source import Source
from ferry.batch import Batch, CursorValue
from ferry.cursors import counts_no_time, find_cursor
from ferry.errors import FerryError
from ferry.plan import stored_bound
from ferry.schema import NUMBERS, Column, TableSchema
from ferry.unix_time import to_unix
from ferry.watermark import CursorWatch, Watermark, refuse_jump


def watch_cursor(batch: Batch, schema: TableSchema, known: Watermark | None) -> CursorWatch | None:
    """What looks at the cursors that are read, where they are those of a watermark.

    A full copy of such a table is looked at, too: the next watermark continues from it.

    Args:
        batch: The batch.
        schema: The source table.
        known: From where on it is read; None where all is.
    """
    if "watermark" not in (batch.mode, batch.spec.mode):
        return None
    cursor = find_cursor(batch.spec, schema.columns, "watermark")
    if cursor is None or cursor not in schema.columns:
        return None
    return CursorWatch(
        schema.columns.index(cursor),
        cursor,
        counts_no_time=counts_no_time(batch.spec, cursor),
        known=known,
    )


def goes_on_by_ids(batch: Batch, watch: CursorWatch | None) -> bool:
    """Whether a watermark goes on from the highest id that is read.

    Of two that read at two moments, the one would hide what the other saw too early.
    """
    return watch is not None and counts_no_time(batch.spec, watch.column)


def clock_as_read(read_at: datetime, cursor: Column, batch: Batch) -> CursorValue | None:
    """The source's clock as the cursor column holds it; None if it holds no times."""
    if cursor.type.kind in NUMBERS:
        unit = batch.spec.cursor_unit
        return to_unix(read_at, unit) if unit else None
    return stored_bound(read_at, cursor.type.kind, batch.spec.wall_clock_zone)


def check_ahead(batch: Batch, watch: CursorWatch) -> None:
    """Log what is dated ahead, and refuse what is numbered ahead of all proportion.

    Args:
        batch: The batch, all of which has been read.
        watch: What has looked at its cursors.

    Raises:
        DataError: It would hide what comes below it, and the spec does not let it. No retry helps.
    """
    if watch.ahead:
        get_run_logger().warning(
            "%s: %s rows are dated ahead of the source's clock, by %s: they are carried, and hide "
            "nothing that comes before them",
            batch,
            f"{watch.ahead:,}",
            watch.column.name,
        )
    rows = watch.jumped
    if not rows:
        return
    refusal = refuse_jump(rows, watch.column.name)
    if batch.spec.cursor_jumps == "error":
        raise refusal
    get_run_logger().warning("%s: %s", batch, refusal.problem)


def log_ids_begun_anew(batch: Batch, watch: CursorWatch, known: Watermark, source: Source) -> None:
    """Say that the source's ids end below the watermark, as after a TRUNCATE or a restored backup.

    Rows that get ids below it are in no batch. It is a word, no refusal, so that no failure of the
    look is one either: a source that was archived looks alike, and loses nothing.
    """
    if not counts_no_time(batch.spec, watch.column):
        return
    highest: CursorValue | None = watch.highest
    if highest is None:
        with suppress(FerryError):
            there = source.bounds(batch.spec.source_name, watch.column.name)
            highest = there[1] if there else None
    if highest is not None and highest < known.value:  # type: ignore[operator]  # numbers
        get_run_logger().warning(
            "%s: the source's highest %s is below what was read before: if its ids have begun "
            "anew, rows are not carried until they pass it; mode full carries them all, and takes "
            "out what the source no longer has",
            batch,
            watch.column.name,
        )
