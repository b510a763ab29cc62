"""extract: one window of one table, from the source into part files on the local disk."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime

import pyarrow as pa
from prefect import task
from prefect.logging import get_run_logger

from blocks.source import Source
from blocks.stages.parts.files import write_parts
from blocks.warehouse import Warehouse
from ferry.batch import Batch, CursorValue, Extract, StageFormat
from ferry.capabilities import Capabilities
from ferry.cursors import cursor_line, find_cursor
from ferry.errors import ConfigurationError, FerryError, IncompleteReadError
from ferry.lookback import own_window
from ferry.plan import plan_query, stored_bound
from ferry.receipts.read_as import refuse_rows_of_others
from ferry.schema import Column, TableSchema, target_columns
from ferry.specs.tables import TableSpec
from ferry.target.changes import TargetPlan, within_limits
from ferry.target.value_types import carried_as_text, check_types
from ferry.unix_time import to_unix
from ferry.watermark import NUMBERS, CursorWatch, Watermark, refuse_jump
from tasks.landed import (
    counts_no_time,
    in_older_rows,
    landings,
    readings,
    tell_of_other_readings,
    watermark,
)
from tasks.pages.progress import Progress
from tasks.places.readers import place_among_readers
from tasks.step import STEP, explains, located, tell
from tasks.target.retype import plan_columns
from tasks.target.target_only import refuse_emptying
from tasks.uncarried import refuse_uncarried


@task(name="extract", task_run_name="extract {batch}", **STEP)
@explains
def extract(batch: Batch, source: Source, warehouse: Warehouse) -> Extract:
    """Read the batch's rows into compressed part files; refuse early what cannot land.

    Safe to repeat: the files belong to this run alone and are written anew.

    Args:
        batch: What to carry.
        source: Where from.
        warehouse: Where to: it tells the formats it takes, the target's columns, the watermark.

    Raises:
        SchemaError: The table or a column that the spec names is missing, or does not fit the
            target. No retry helps.
        DataError: A value that cannot travel unchanged, or rows that no window and no watermark
            would ever carry. No retry helps.
        ConnectionLostError, BusyError: A retry may help.
    """
    spec = batch.spec
    with located(batch, "extract", source):
        schema = source.describe(spec.source_name, spec.exclude)
        schema = carried_as_text(schema, spec.as_text)
        capabilities = warehouse.capabilities
        columns = within_limits(target_columns(schema.columns, batch.target), capabilities)
        before = landings(batch, find_cursor(spec, schema.columns, batch.mode), warehouse)
        existing = warehouse.describe(batch.target)
        plan = plan_columns(batch, existing, columns, warehouse)
        check_types(batch.target, columns, warehouse.native_type)
        known = watermark(batch, schema, existing, warehouse)
        query = plan_query(
            spec,
            batch.mode,
            batch.window,
            schema,
            known.value if known else None,
            batch.window and own_window(spec, batch.window, batch.scheduled_start),
        )
        if not batch.backfill:  # whoever planned many past windows has looked
            refuse_uncarried(spec, query, source)
            refuse_rows_of_others(readings(batch.target, warehouse), spec, batch.mode, query.cursor)
            if query.cursor and (cursor := schema.column(query.cursor)):
                tell_of_other_readings(batch, cursor, warehouse)
        with place_among_readers(spec.source, backfill=batch.backfill):
            older = in_older_rows(batch, _gained(schema, plan), query, source, warehouse)
            if older and batch.mode == "watermark":
                query, known = dataclasses.replace(query, start=None), None  # all get the value
            refuse_emptying(batch, existing, columns, query.start, warehouse)
            shutil.rmtree(batch.folder, ignore_errors=True)
            watch = _watch(batch, schema)
            reading = WholeOrPart(
                source.read(query),
                in_parts=batch.mode == "window",
                see=watch.see if watch else None,
            )
            progress = Progress(
                f"extract {batch}", f"extract-{batch.id[:8]}", lambda: source.estimate_rows(query)
            )
            read_at = source.now()
            if watch:
                watch.begin(_clock(read_at, watch.column, batch))
            result = write_parts(
                reading,
                columns,
                batch.folder,
                format=stage_format(spec, capabilities),
                part_size_bytes=spec.part_size_mb * 1_000_000,
                hex_prefix=capabilities.hex_prefix,
                capabilities=capabilities,
                on_batch=progress,
            )
            if watch and known:
                _tell_ids_begun_anew(batch, watch, known, source)
        progress.done()
        if watch:
            _tell_what_is_ahead(batch, watch, known)
        tell(
            "extract %s: %s rows, %s bytes in %s files%s",
            batch,
            f"{result.rows:,}",
            f"{result.size_bytes:,}",
            len(result.parts),
            f", by {cursor_line(spec, query.cursor)}" if query.cursor else "",
        )
        return dataclasses.replace(
            result,
            cursor=query.cursor.lower() if query.cursor else None,
            start=query.start if batch.mode == "watermark" else None,
            unique_key=is_unique(spec, schema),
            batches_before=before.batches,
            voids_before=before.voids,
            left_out=reading.left_out,
            in_older_rows=older,
            read_at=read_at,
        )


class WholeOrPart:
    """A source's batches, and what the source says it had to leave out.

    Args:
        batches: The source's.
        in_parts: Whether the rest may land. Only in a window: a full copy would delete what was
            left out, and a watermark would pass it by.
        see: Shown each batch.
    """

    def __init__(
        self,
        batches: Iterator[pa.RecordBatch],
        *,
        in_parts: bool,
        see: Callable[[pa.RecordBatch], None] | None = None,
    ) -> None:
        self.left_out = ""
        self._batches = batches
        self._in_parts = in_parts
        self._see = see

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """The batches, to the last that there is."""
        try:
            for batch in self._batches:
                if self._see:
                    self._see(batch)
                yield batch
        except IncompleteReadError as error:
            if not self._in_parts:
                raise
            self.left_out = error.problem


def stage_format(spec: TableSpec, capabilities: Capabilities) -> StageFormat:
    """The format of the staged files: the spec's, else what the warehouse prefers.

    Raises:
        ConfigurationError: The warehouse does not take the spec's format.
    """
    chosen = spec.stage_format or capabilities.stage_formats[0]
    if chosen not in capabilities.stage_formats:
        raise ConfigurationError(
            f"the warehouse does not load {chosen} files",
            expected=" or ".join(capabilities.stage_formats),
            todo="Correct `stage_format` in the table's spec.",
        )
    return chosen


def is_unique(spec: TableSpec, schema: TableSchema) -> bool:
    """Whether the spec's key is the source's primary key: never NULL, never twice."""
    key = [schema.column(name) for name in spec.key]
    whole = {c.name for c in key if c} == set(schema.key)
    return bool(key) and whole and not any(c.nullable for c in key if c)


def _gained(schema: TableSchema, plan: TargetPlan) -> list[Column]:
    """The source's columns that the target is going to gain."""
    names = {column.name for column in plan.add}
    return [column for column in schema.columns if column.name.lower() in names]


def _watch(batch: Batch, schema: TableSchema) -> CursorWatch | None:
    """What looks at the cursors that are read, where they are those of a watermark.

    A full copy of such a table is looked at, too: the next watermark continues from it.
    """
    if "watermark" not in (batch.mode, batch.spec.mode):
        return None
    cursor = find_cursor(batch.spec, schema.columns, "watermark")
    if cursor is None or cursor not in schema.columns:
        return None
    return CursorWatch(
        schema.columns.index(cursor), cursor, counts_no_time=counts_no_time(batch, cursor)
    )


def _clock(read_at: datetime, cursor: Column, batch: Batch) -> CursorValue | None:
    """The source's clock as the cursor column holds it; None if it holds no times."""
    if cursor.type.kind in NUMBERS:
        unit = batch.spec.cursor_unit
        return to_unix(read_at, unit) if unit else None
    return stored_bound(read_at, cursor.type.kind, batch.spec.wall_clock_zone)


def _tell_what_is_ahead(batch: Batch, watch: CursorWatch, known: Watermark | None) -> None:
    """Say what is dated ahead, and refuse what is numbered ahead of all proportion.

    Raises:
        DataError: It would hide what comes below it.
    """
    if watch.ahead:
        get_run_logger().warning(
            "%s: %s rows are dated ahead of the source's clock, by %s: they are carried, and hide "
            "nothing that comes before them",
            batch,
            f"{watch.ahead:,}",
            watch.column.name,
        )
    rows = watch.jumped(known)
    if not rows:
        return
    refusal = refuse_jump(rows, watch.column.name)
    if batch.spec.cursor_jumps == "error":
        raise refusal
    get_run_logger().warning("%s: %s", batch, refusal.problem)


def _tell_ids_begun_anew(
    batch: Batch, watch: CursorWatch, known: Watermark, source: Source
) -> None:
    """Say that the source's ids end below the watermark, as after a TRUNCATE or a restored backup.

    Rows that get ids below it are in no batch. It is a word, no refusal, so that no failure of the
    look is one either: a source that was archived looks alike, and loses nothing.
    """
    if not counts_no_time(batch, watch.column):
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
