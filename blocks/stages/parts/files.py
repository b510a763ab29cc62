"""Record batches into compressed part files, and a few rows back out of them.

While the next batch is being read from the source, one thread formats, compresses and hashes the
one before, so extraction is about as fast as reading alone. Memory holds a few slices of batches,
whatever the table's size.
"""

from __future__ import annotations

import hashlib
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.csv as pa_csv
import zstandard

from blocks.private_files import make_private_folder
from blocks.stages.keys import changed_part, open_part
from blocks.stages.parts.csv_lines import CsvLines, new_null_marker
from blocks.stages.parts.pieces import InPieces, OnPiece
from blocks.stages.parts.value_checks import ValueChecks
from blocks.stages.parts.writers import CsvPartWriter, ParquetPartWriter, PartWriter
from ferry.batch import Extract, FileLayout, PartFile, StageFormat
from ferry.capabilities import Capabilities
from ferry.errors import DataError, SchemaError
from ferry.schema import Column, Kind, arrow_schema

_SLICE_BYTES = {StageFormat.CSV: 1 << 20, StageFormat.PARQUET: 32 << 20}
"""How much of a batch, in memory, is formatted at once; for Parquet it becomes a row group."""
_WAITING_SLICES = 4
_CHUNK_ROWS = 65_536
_MIN_PART_BYTES = 1 << 20
_PART_SHARE = 8
_HEX_DIGITS = re.compile(r"[0-9a-f]*\Z")


def write_parts(
    batches: Iterable[pa.RecordBatch],
    columns: tuple[Column, ...],
    folder: Path,
    *,
    format: StageFormat,
    part_size_bytes: int,
    hex_prefix: str = "",
    on_batch: Callable[[int, int], None] | None = None,
    null_marker: str | None = None,
    capabilities: Capabilities | None = None,
    shares: Sequence[Sequence[int]] = (),
    on_piece: OnPiece | None = None,
) -> Extract:
    """The rows of all batches, in compressed part files in this folder.

    Parts grow with what has been written: each is about an eighth of the bytes before it, at least
    1 MiB and at most `part_size_bytes`, so that a warehouse always has several to load at once
    (Redshift wants files of 1 MB to 1 GB). A part ends between slices of about 1 MB in memory, so
    it can be larger by one of these. No rows, no parts.

    Args:
        batches: Batches of `arrow_schema(columns)`, up to the columns' names.
        columns: The columns as the warehouse names them.
        folder: A folder for these parts alone, made if missing, and this user's alone. Parts that
            an earlier attempt left in it are removed first.
        format: CSV (docs/staged-files.md tells the dialect) or Parquet; both zstd-compressed.
        part_size_bytes: Begin another part when one has this many compressed bytes.
        hex_prefix: What the warehouse wants before the hex digits of binary values in CSV.
        on_batch: Called in this thread with the rows and the compressed bytes written so far.
        null_marker: What stands for NULL in CSV; a random one by default.
        capabilities: What the warehouse can hold: any other value is refused. None checks nothing.
        shares: Which pieces come one after the other, where the batches are of several; the last
            column is then the number of a row's piece, and is not written. No part is of two.
        on_piece: Given the parts of each piece as soon as they are complete, in another thread.
            They stay, whatever comes then.

    Raises:
        DataError: A text value equals the null marker: a new attempt makes another marker. Or a
            decimal that travels as text is not one. Or one that the warehouse cannot hold.
        SchemaError: A batch is not of the columns' Arrow types.
        ConfigurationError: The folder is another user's, or others may write to it.
        OSError: The disk is full, or the like.
        Exception: Whatever `batches` or `on_batch` raises. After any error no part is left.
    """
    marker = (null_marker or new_null_marker()) if format is StageFormat.CSV else ""
    make_private_folder(folder)
    for leftover in (*folder.glob("part-[0-9]*"), *folder.glob(".part-[0-9]*.tmp")):
        leftover.unlink()
    lines = CsvLines(columns, marker, hex_prefix)
    checks = ValueChecks(columns, capabilities, format) if capabilities else None

    def new_parts(piece: int | None = None, bytes_before: int = 0) -> Parts:
        prefix = "" if piece is None else f"{piece:05d}-"
        return Parts(folder, prefix, columns, format, part_size_bytes, lines, checks, bytes_before)

    parts = InPieces(new_parts, shares, on_piece) if shares and on_piece else new_parts()
    report = on_batch or (lambda _rows, _bytes: None)
    waiting: deque[Future[None]] = deque()
    try:
        with ThreadPoolExecutor(1, thread_name_prefix="part-writer") as writer:
            for batch in _slices(batches, _SLICE_BYTES[format]):
                waiting.append(writer.submit(parts.write, batch))
                if len(waiting) > _WAITING_SLICES:
                    waiting.popleft().result()
                    report(parts.rows, parts.size_bytes)
            while waiting:
                waiting.popleft().result()
            writer.submit(parts.finish).result()
        report(parts.rows, parts.size_bytes)
    except BaseException:
        parts.abandon()
        raise
    layout = FileLayout(columns, format, marker)
    return Extract(tuple(parts.complete), layout, content_bytes=parts.content_bytes)


def read_rows(extract: Extract) -> Iterator[tuple[Any, ...]]:
    """The rows of a small extract as Python values, fit to be bound to an INSERT.

    None for NULL; int, float, bool, str and bytes; Decimal, or str for one of more than 38 digits;
    date and time; datetime, aware (UTC) for moments. One part at a time is held in memory.

    Raises:
        FatalError: A part is not on this machine any more.
        DataError: A part is not as it was written; extract has to run again.
    """
    for part in extract.parts:
        table = _read(part, extract.layout)
        columns = enumerate(extract.layout.columns)
        values = [_python_values(column, table[i]) for i, column in columns]
        yield from zip(*values, strict=True)


def read_batches(extract: Extract) -> Iterator[pa.RecordBatch]:
    """The rows of the parts as record batches of `arrow_schema(extract.layout.columns)`.

    Raises:
        FatalError: A part is not on this machine any more.
        DataError: A part is not as it was written; extract has to run again.
    """
    schema = arrow_schema(extract.layout.columns)
    for part in extract.parts:
        for batch in _read(part, extract.layout).to_batches(max_chunksize=_CHUNK_ROWS):
            arrays = [
                pa.array(_python_values(column, pa.chunked_array([batch.column(i)])), field.type)
                if column.type.kind is Kind.BINARY
                else batch.column(i).cast(field.type)
                for i, (column, field) in enumerate(
                    zip(extract.layout.columns, schema, strict=True)
                )
            ]
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)


def _read(part: PartFile, layout: FileLayout) -> pa.Table:
    try:
        with open_part(part) as file:
            content = file.read()
        if hashlib.sha256(content).hexdigest() != part.sha256:
            raise changed_part(part)
        if layout.format is StageFormat.CSV:
            table = _read_csv(BytesIO(content), layout)
        else:
            import pyarrow.parquet as pq  # noqa: PLC0415  # 5 MB, and CSV is the rule

            table = pq.ParquetFile(BytesIO(content)).read()
        if table.num_rows == part.rows:
            return table
        found = f"{table.num_rows} rows"
    except (pa.ArrowException, zstandard.ZstdError, OSError) as error:
        found = type(error).__name__  # the text of Arrow's errors holds values
    raise DataError(
        f"the part file {part.path.name} is not as it was written",
        expected=f"{part.rows} rows",
        found=found,
        todo="Start the run again: it is read anew. If it comes back, check the disk.",
    )


def _read_csv(file: BinaryIO, layout: FileLayout) -> pa.Table:
    with zstandard.ZstdDecompressor().stream_reader(file) as content:
        text = content.read()
    schema = arrow_schema(layout.columns)
    as_text = {c.name: pa.large_string() for c in layout.columns if c.type.kind is Kind.BINARY}
    return pa_csv.read_csv(
        pa.py_buffer(text),
        # One block: a row must not be larger than a block.
        pa_csv.ReadOptions(
            use_threads=False, block_size=len(text) + 1, column_names=list(schema.names)
        ),
        pa_csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False),
        pa_csv.ConvertOptions(
            column_types={f.name: as_text.get(f.name, f.type) for f in schema},
            null_values=[layout.null_marker],
            true_values=["true"],
            false_values=["false"],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )


def _python_values(column: Column, values: pa.ChunkedArray) -> list[Any]:
    if column.type.kind is Kind.TIMESTAMPTZ:
        moments = values.cast(pa.timestamp("us")).to_pylist()
        return [moment and moment.replace(tzinfo=UTC) for moment in moments]
    if column.type.kind is Kind.BINARY and values.type == pa.large_string():
        return [None if text is None else _bytes(text) for text in values.to_pylist()]
    rows: list[Any] = values.to_pylist()
    return rows


def _bytes(text: str) -> bytes:
    """Of hex digits after any prefix."""
    digits = _HEX_DIGITS.search(text)
    return bytes.fromhex(digits.group() if digits else "")


def _slices(batches: Iterable[pa.RecordBatch], size_bytes: int) -> Iterator[pa.RecordBatch]:
    """The batches in slices of about this size; small batches as they are, empty ones left out."""
    for batch in batches:
        rows = batch.num_rows
        step = max(1, rows * size_bytes // max(batch.nbytes, 1))
        for start in range(0, rows, step):
            yield batch.slice(start, step)


class Parts:
    """The parts of one extract, or of a piece: the complete ones, and the one being written."""

    def __init__(
        self,
        folder: Path,
        prefix: str,
        columns: tuple[Column, ...],
        format: StageFormat,
        part_size_bytes: int,
        lines: CsvLines,
        checks: ValueChecks | None,
        bytes_before: int,
    ) -> None:
        self.complete: list[PartFile] = []
        self.rows = 0
        self.content_bytes = 0
        self._open: PartWriter | None = None
        self._folder = folder
        self._prefix = prefix
        self._bytes_before = bytes_before
        self._checks = checks
        self._schema = arrow_schema(columns)
        self._format = format
        self._part_size_bytes = part_size_bytes
        self._lines = lines

    @property
    def size_bytes(self) -> int:
        """Compressed bytes in all parts so far."""
        complete = sum(part.size_bytes for part in self.complete)
        return complete + (self._open.size_bytes if self._open else 0)

    def write(self, batch: pa.RecordBatch) -> None:
        """Append the batch's rows, and begin another part if this one has become large enough."""
        self._check(batch)
        if self._open is None:
            self._open = self._begin()
        if self._checks:
            self._checks.refuse(batch, self._open.name, self._open.rows)
        self._open.write(batch)
        self.rows += batch.num_rows
        self.content_bytes += batch.nbytes
        before = self._bytes_before + self.size_bytes - self._open.size_bytes
        share = max(_MIN_PART_BYTES, before // _PART_SHARE)
        if self._open.size_bytes >= min(self._part_size_bytes, share):
            self.finish()

    def finish(self) -> None:
        """End the part being written."""
        if self._open is not None:
            self.complete.append(self._open.close())
            self._open = None

    def abandon(self) -> None:
        """Leave nothing behind."""
        if self._open is not None:
            self._open.abandon()
            self._open = None
        for part in self.complete:
            part.path.unlink(missing_ok=True)

    def _check(self, batch: pa.RecordBatch) -> None:
        if len(self._schema) != batch.num_columns:
            raise SchemaError(
                "a batch has not the table's columns",
                expected=f"{len(self._schema)} columns",
                found=batch.num_columns,
            )
        for field, found in zip(self._schema, batch.schema.types, strict=True):
            if field.type != found:
                raise SchemaError(
                    f"column {field.name!r} did not arrive in the type in which it travels",
                    expected=field.type,
                    found=found,
                )

    def _begin(self) -> PartWriter:
        name = f"part-{self._prefix}{len(self.complete):05d}"
        if self._format is StageFormat.CSV:
            return CsvPartWriter(self._folder / f"{name}.csv.zst", self._lines)
        return ParquetPartWriter(self._folder / f"{name}.parquet", self._schema)
