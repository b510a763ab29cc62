"""Staged CSV and JSON files as byte chunks for the fast path, and as rows for the slow one."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any, cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from deployments.local.redshift_double.copy.command import CopyCommand
from deployments.local.redshift_double.copy.manifest import StagedFile
from deployments.local.redshift_double.copy.s3 import S3Reader

CHUNK_BYTES = 1 << 20
_SCAN_BLOCK_BYTES = 4 << 20
_LONGEST_SURE = 65_537
"""JSON of so many bytes has no text in it of more than 65,535."""

csv.field_size_limit(sys.maxsize)


@dataclass(frozen=True)
class FileRow:
    """One record of a staged file.

    Attributes:
        file: Index of the file.
        line: Line number within it, from 1.
        values: One text for each field; None is NULL.
    """

    file: int
    line: int
    values: list[str | None]


def _open(command: CopyCommand, s3: S3Reader, file: StagedFile) -> IO[bytes]:
    stream = s3.open(file.uri, command.compression, file.content)
    if command.ignore_header:
        stream = io.BufferedReader(cast(io.RawIOBase, stream), CHUNK_BYTES)
        for _ in range(command.ignore_header):
            stream.readline()
    return stream


def chunks(command: CopyCommand, s3: S3Reader, files: list[StagedFile]) -> Iterator[bytes]:
    """Yields the decompressed bytes of all files, a line break after each file's last line."""
    for file in files:
        last = b"\n"
        with _open(command, s3, file) as stream:
            while chunk := stream.read(CHUNK_BYTES):
                last = chunk[-1:]
                yield chunk
        if last != b"\n":
            yield b"\n"


def has_odd_values(
    command: CopyCommand,
    s3: S3Reader,
    files: list[StagedFile],
    width: int,
    scales: dict[int, int],
    supers: list[int],
) -> bool:
    """Tells whether a decimal has more digits than its column, which COPY cuts off.

    PostgreSQL would round them. Also true for letters (NaN, exponents), where a SUPER may have a
    text that is too long, and for files that cannot be read as CSV, so that the slow path looks at
    them. Runs in a thread beside the load.

    Args:
        command: The COPY.
        s3: Where the files are.
        files: What to look at.
        width: Number of fields in a row.
        scales: Scale of each decimal field, by its index.
        supers: The indexes of the SUPER fields.
    """
    names = [f"f{i}" for i in range(width)]
    wanted = {names[index]: scale for index, scale in scales.items()}
    long = [names[index] for index in supers]
    options = pa_csv.ConvertOptions(
        include_columns=[*wanted, *long],
        column_types=dict.fromkeys([*wanted, *long], pa.string()),
        null_values=[command.null_as],
        strings_can_be_null=True,
    )
    parse = pa_csv.ParseOptions(
        delimiter=command.delimiter, quote_char=command.quote, newlines_in_values=True
    )
    read = pa_csv.ReadOptions(column_names=names, block_size=_SCAN_BLOCK_BYTES, use_threads=False)
    try:
        for file in files:
            with _open(command, s3, file) as stream:
                batches = pa_csv.open_csv(stream, read, parse, options)
                for batch in batches:
                    for name, scale in wanted.items():
                        pattern = rf"\.[0-9]{{{scale}}}[0-9]*[1-9]|[A-Za-z]"
                        found = pc.match_substring_regex(batch.column(name), pattern)
                        if pc.any(found).as_py():
                            return True
                    lengths = [pc.max(pc.binary_length(batch.column(name))) for name in long]
                    if any((length.as_py() or 0) > _LONGEST_SURE for length in lengths):
                        return True
    except pa.ArrowInvalid as error:
        return "Empty CSV file" not in str(error)
    return False


def rows(
    command: CopyCommand, s3: S3Reader, files: list[StagedFile], names: list[str]
) -> Iterator[FileRow]:
    """Yields every record with its file and line, for the slow path.

    Bytes that are no UTF-8 come as lone surrogates.
    """
    for number, file in enumerate(files):
        with _open(command, s3, file) as stream:
            text = io.TextIOWrapper(stream, "utf-8", errors="surrogateescape", newline="")
            reader = (
                _json_rows(text, names) if command.format == "json" else _csv_rows(command, text)
            )
            for line, values in reader:
                yield FileRow(number, line + command.ignore_header, values)


def _csv_rows(command: CopyCommand, text: IO[str]) -> Iterator[tuple[int, list[str | None]]]:
    reader = csv.reader(text, delimiter=command.delimiter, quotechar=command.quote)
    line = 1
    for record in reader:
        if record or "IGNOREBLANKLINES" not in command.flags:
            yield line, [None if value == command.null_as else value for value in record or [""]]
        line = reader.line_num + 1


def _json_rows(text: IO[str], names: list[str]) -> Iterator[tuple[int, list[str | None]]]:
    decoder, rest, line = json.JSONDecoder(), "", 1
    for piece in text:
        rest += piece
        if not rest.strip():
            rest, line = "", line + 1
            continue
        try:
            record = decoder.decode(rest.strip())
        except json.JSONDecodeError:
            if re.match(r"\s*\{", rest) and not rest.rstrip().endswith("}"):
                continue
            raise
        found: dict[str, Any] = {key.lower(): value for key, value in record.items()}
        yield line, [_json_text(found.get(name)) for name in names]
        line, rest = line + rest.count("\n"), ""


def _json_text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value) if isinstance(value, dict | list) else str(value)
