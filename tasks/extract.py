"""extract: one batch of one table, from the source into part files on the local disk.

Of a large full copy each piece is staged as soon as it is complete (`tasks/staged_pieces.py`).
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import pyarrow as pa
from prefect import task
from prefect.logging import get_run_logger

from blocks.source import Reading, Source
from blocks.sources.cursors import cursor_bounds
from blocks.stage import Stage
from blocks.stages.parts.batch_sums import BatchSums
from blocks.stages.parts.files import write_parts
from blocks.stages.parts.windows import WindowNumbers
from ferry.batch import PIECE_NUMBER, WINDOW_NUMBER, Batch, CursorValue, Extract, ExtractQuery
from ferry.capabilities import Capabilities
from ferry.cursors import cursor_line
from ferry.errors import ApartError, DataError, IncompleteReadError, SchemaError, StaleReadError
from ferry.fingerprints.sums import summed
from ferry.plan import BatchPlan, range_count, window_bounds
from ferry.specs.tables import TableSpec
from ferry.watermark import CursorWatch
from tasks.landed.cursor_watch import (
    check_ahead,
    clock_as_read,
    goes_on_by_ids,
    log_ids_begun_anew,
    watch_cursor,
)
from tasks.pages.progress import RowsProgress
from tasks.places.readers import more_places, place_among_readers
from tasks.plan_batch import describe_source
from tasks.staged_pieces import StagedPieces, staged_pieces
from tasks.step import STEP, explains, located, log_step


@task(name="extract", task_run_name="extract {batch}", **STEP)
@explains
def extract(
    batch: Batch, plan: BatchPlan, source: Source, stage: Stage, capabilities: Capabilities
) -> Extract:
    """Read the batch's rows into compressed part files.

    A large full copy goes to the stage while it is read (`tasks.staged_pieces`). Safe to
    repeat: the files belong to this run alone and are written anew. The source is described once
    more, before and while it is read: a table that was altered since the batch was planned is
    planned again.

    Args:
        batch: What to carry.
        plan: Its plan.
        source: Where from.
        stage: Where the pieces of a large full copy go.
        capabilities: What the warehouse can hold: any other value is refused.

    Raises:
        StaleReadError: The source's table is not what it was when the batch was planned. The batch
            has to be planned again.
        ApartError: Windows that travel together cannot be told apart.
        DataError: A value that cannot travel unchanged, or ids out of all proportion that would
            hide other rows. No retry helps.
        ConnectionLostError, BusyError: A retry may help.
    """
    spec, query = batch.spec, plan.query
    with located(batch, "extract", source):
        with place_among_readers(spec.source, backfill=batch.backfill):  # may have been waited for
            _refuse_altered(spec, query, source)
            shutil.rmtree(batch.folder, ignore_errors=True)
            watch = watch_cursor(batch, query.schema, plan.watermark)
            pieces = None
            try:
                if not goes_on_by_ids(batch, watch):
                    pieces = staged_pieces(batch, plan, source, stage, capabilities)
                extracted, read = _read_into_parts(batch, plan, source, capabilities, watch, pieces)
            except (SchemaError, DataError):  # as of a column that is not there any more
                _refuse_altered(spec, query, source)
                raise
            if watch and plan.watermark:
                log_ids_begun_anew(batch, watch, plan.watermark, source)
        if watch:
            check_ahead(batch, watch)
        log_step(
            "extract %s: %s rows, %s bytes in %s files%s%s",
            batch,
            f"{extracted.rows:,}",
            f"{extracted.size_bytes:,}",
            len(extracted.parts),
            f", by {cursor_line(spec, query.cursor)}" if query.cursor else "",
            _how_read(read) + (_pieces_read(pieces) if pieces else ""),
        )
        if not extracted.rows:
            extracted = dataclasses.replace(extracted, snapshot=None)
        return extracted


def _refuse_altered(spec: TableSpec, query: ExtractQuery, source: Source) -> None:
    """Look at the source's table once more.

    Raises:
        StaleReadError: It is not what it was when the batch was planned.
    """
    if describe_source(spec, source) != query.schema:
        raise StaleReadError(
            "the table was altered at the source since this batch was planned",
            todo="Run it again: it has to be planned again.",
        )


def _unaltered(reading: Reading, look: Callable[[], None]) -> Iterator[pa.RecordBatch]:
    """The batches, if they are of the table that was looked at before they were asked for.

    Looked at again as soon as all connections read, since from then on an ALTER waits for them; and
    where nothing was found, which may be so of another table alone.

    Args:
        reading: What is read.
        look: Raises where the table is another one.
    """
    looked = False
    for batch in reading.batches:
        if reading.begun and not looked:
            look()
            looked = True
        yield batch
    if not looked:
        look()


def _read_into_parts(
    batch: Batch,
    plan: BatchPlan,
    source: Source,
    capabilities: Capabilities,
    watch: CursorWatch | None,
    pieces: StagedPieces | None,
) -> tuple[Extract, Reading]:
    """The rows in part files, or on the stage by pieces, counted and summed; and how it was read.

    Raises:
        ApartError: Windows that travel together cannot be told apart.
    """
    spec, query = batch.spec, plan.query
    windows = _numbered(batch, query)
    number = [WINDOW_NUMBER] if windows else [PIECE_NUMBER] if pieces else []
    numbered = (*plan.columns, *number)
    what = summed(
        plan.columns,
        digests_bytes=capabilities.digests_bytes,
        lengths=spec.text_sums == "lengths",
    )
    sums = BatchSums(numbered, what, pieces.count if pieces else len(batch.windows))

    def expected() -> int | None:
        rows = source.estimate_rows(query)
        return pieces.to_read(rows) if pieces else rows

    progress = RowsProgress(f"extract {batch}", f"extract-{batch.id[:8]}", expected)
    with _reading(batch, query, source, watch, pieces) as read:
        batches = _unaltered(read, partial(_refuse_altered, spec, query, source))
        reading = WholeOrPart(
            map(windows.add, batches) if windows else batches,
            in_parts=batch.mode == "window" and not windows,
            seen_by=(watch.see, sums.add) if watch else (sums.add,),
        )
        read_at = source.now()
        if watch:
            watch.begin(clock_as_read(read_at, watch.column, batch))
        write = partial(
            write_parts,
            reading,
            folder=batch.folder,
            format=plan.format,
            part_size_bytes=spec.part_size_mb * 1_000_000,
            hex_prefix=capabilities.hex_prefix,
            capabilities=capabilities,
            on_batch=progress,
        )
        if pieces:
            extracted = pieces.extract(write, plan.columns, read, sums)
        else:
            extracted = dataclasses.replace(
                write(columns=numbered),
                read_at=read_at,
                sums=sums.sums,
                by_window=sums.by_group,
                snapshot=read.snapshot,
            )
    progress.done()
    return dataclasses.replace(extracted, left_out=reading.left_out), read


@contextmanager
def _reading(
    batch: Batch,
    query: ExtractQuery,
    source: Source,
    watch: CursorWatch | None,
    pieces: StagedPieces | None,
) -> Iterator[Reading]:
    """The rows, read by as many connections as the spec says and as there are places for.

    Ended, with all that still reads, when the block ends.
    """
    spec = batch.spec
    asked = spec.read_ranges != 1 and source.reads_ranges
    count = range_count(spec, source.estimate_rows(query) if asked else None)
    with more_places(spec.source, count - 1, backfill=batch.backfill) as more:
        if pieces:
            missing = pieces.record.missing
            reading = Reading(iter(()))
            if missing:
                cuts = pieces.record.cuts
                reading = source.read_pieces(query, 1 + more.count, cuts, missing)
        elif more.count:
            reading = source.read_at_once(
                query,
                1 + more.count,
                spec.key,
                only_one_snapshot=goes_on_by_ids(batch, watch),
            )
        else:
            reading = Reading(source.read(query))
        if 1 + more.count < count:
            get_run_logger().info(
                "extract %s: %s of %s places among the source's readers are free",
                batch,
                1 + more.count,
                count,
            )
        more.keep(reading.connections - 1)
        if spec.read_ranges != 1 and not source.reads_ranges:
            reading.why = "such a source is read by one connection"
        try:
            yield reading
        finally:
            reading.close()


def _how_read(read: Reading) -> str:
    """By how many connections, for people; and why by no more, where more were asked for."""
    if read.snapshot is None:
        return f", by one connection: {read.why}" if read.why else ""
    line = f", by {read.connections} connections, {read.snapshot} snapshot"
    return line + (f": {read.why}" if read.why else "")


def _pieces_read(pieces: StagedPieces) -> str:
    """How many of the pieces were read by this attempt, for people."""
    return f"; {pieces.count - pieces.staged_before} of its {pieces.count} pieces were read now"


def _numbered(batch: Batch, query: ExtractQuery) -> WindowNumbers | None:
    """What tells of each row which window it is of, where several travel together.

    Raises:
        ApartError: The cursor does not tell them apart.
    """
    cursor = query.schema.column(query.cursor) if query.cursor else None
    if not batch.windows or cursor is None:
        return None
    bounds: list[CursorValue] = []
    for window in batch.windows:
        start, end = window_bounds(batch.spec, window)
        low, high = cursor_bounds(dataclasses.replace(query, start=start, end=end), cursor)
        assert low is not None
        assert high is not None
        if bounds and bounds[-1] != low:
            raise ApartError("the source's clock repeats an hour, which is in two windows")
        bounds += [high] if bounds else [low, high]
    return WindowNumbers(bounds, query.schema.columns.index(cursor))


class WholeOrPart:
    """A source's batches, and what the source says it had to leave out.

    Args:
        batches: The source's.
        in_parts: Whether the rest may land. Only in a window: a full copy would delete what was
            left out, and a watermark would pass it by.
        seen_by: Shown each batch.
    """

    def __init__(
        self,
        batches: Iterator[pa.RecordBatch],
        *,
        in_parts: bool,
        seen_by: Sequence[Callable[[pa.RecordBatch], None]] = (),
    ) -> None:
        self.left_out = ""
        self._batches = batches
        self._in_parts = in_parts
        self._seen_by = seen_by

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """The batches, to the last that there is."""
        try:
            for batch in self._batches:
                for see in self._seen_by:
                    see(batch)
                yield batch
        except IncompleteReadError as error:
            if not self._in_parts:
                raise
            self.left_out = error.problem
