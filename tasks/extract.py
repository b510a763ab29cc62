"""extract: one window of one table, from the source into part files on the local disk."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator

import pyarrow as pa
from prefect import task

from blocks.source import Source
from blocks.stages.part_files import write_parts
from blocks.warehouse import Warehouse
from ferry import statements as sql
from ferry.batch import Batch, CursorValue, Extract, ExtractQuery, StageFormat
from ferry.capabilities import Capabilities
from ferry.errors import ConfigurationError, DataError, IncompleteReadError
from ferry.plan import find_cursor, plan_query
from ferry.schema import TableSchema, target_columns
from ferry.specs import TableSpec
from ferry.target import plan_target, within_limits
from tasks.progress import Progress
from tasks.readers import place_among_readers
from tasks.step import STEP, located, tell
from tasks.target import landed_batches


@task(name="extract", task_run_name="extract {batch}", **STEP)
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
        DataError: A value that cannot travel unchanged. No retry helps.
        ConnectionLostError, BusyError: A retry may help.
    """
    spec = batch.spec
    with located(batch, "extract"):
        schema = source.describe(spec.source_name, spec.exclude)
        capabilities = warehouse.capabilities
        columns = within_limits(target_columns(schema.columns, batch.target), capabilities)
        batches_before = landed_batches(batch, warehouse) if batch.overwrites_newer else 0
        existing = warehouse.describe(batch.target)
        plan_target(batch.target, existing, columns, capabilities, spec.target_only)
        for column in columns:
            warehouse.native_type(column.type)
        query = plan_query(
            spec,
            batch.mode,
            batch.window,
            schema,
            batch.scheduled_start,
            _watermark(batch, schema, existing, warehouse),
        )
        _refuse_null_cursors(batch, query, source)
        shutil.rmtree(batch.folder, ignore_errors=True)
        batch.folder.mkdir(parents=True, mode=0o700)
        reading = WholeOrPart(source.read(query), in_parts=batch.mode == "window")
        progress = Progress(
            f"extract {batch}", f"extract-{batch.id[:8]}", lambda: source.estimate_rows(query)
        )
        with place_among_readers(spec.source, backfill=batch.backfill):
            read_at = source.now()
            result = write_parts(
                reading,
                columns,
                batch.folder,
                format=stage_format(spec, capabilities),
                part_size_bytes=spec.part_size_mb * 1_000_000,
                hex_prefix=capabilities.hex_prefix,
                on_batch=progress,
            )
        progress.done()
        tell(
            "extract %s: %s rows, %s bytes in %s files",
            batch,
            f"{result.rows:,}",
            f"{result.size_bytes:,}",
            len(result.parts),
        )
        return dataclasses.replace(
            result,
            cursor=query.cursor.lower() if query.cursor else None,
            start=query.start if batch.mode == "watermark" else None,
            unique_key=is_unique(spec, schema),
            batches_before=batches_before,
            left_out=reading.left_out,
            read_at=read_at,
        )


class WholeOrPart:
    """A source's batches, and what the source says it had to leave out.

    Args:
        batches: The source's.
        in_parts: Whether the rest may land. Only in a window: a full copy would delete what was
            left out, and a watermark would pass it by.
    """

    def __init__(self, batches: Iterator[pa.RecordBatch], *, in_parts: bool) -> None:
        self.left_out = ""
        self._batches = batches
        self._in_parts = in_parts

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """The batches, to the last that there is."""
        try:
            yield from self._batches
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


def _refuse_null_cursors(batch: Batch, query: ExtractQuery, source: Source) -> None:
    """No window and no watermark would ever carry a row whose cursor is NULL."""
    if query.cursor is None or batch.spec.null_cursors == "ignore":
        return
    column = query.schema.column(query.cursor)
    if column and column.nullable and source.has_null(query.schema.name, query.cursor):
        raise DataError(
            f"rows whose cursor {query.cursor!r} is NULL would never be carried",
            expected="no NULL in the cursor column",
            todo="Set another `cursor` in the table's spec, carry it in mode full, or leave these "
            "rows behind with `null_cursors: ignore`.",
        )


def _watermark(
    batch: Batch, schema: TableSchema, existing: TableSchema | None, warehouse: Warehouse
) -> CursorValue | None:
    if batch.mode != "watermark" or existing is None:
        return None
    cursor = find_cursor(batch.spec, schema.columns)
    if cursor is None or existing.column(cursor.name) is None:
        return None
    value: CursorValue | None = warehouse.fetch(sql.highest(batch.target, cursor.name.lower()))[0][
        0
    ]
    return value
