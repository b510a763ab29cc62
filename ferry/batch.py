"""What one task hands to the next: small frozen values, never rows.

extract ─`Extract`▶ stage ─`Staged`▶ copy ─`Copied`▶ upsert ─`Receipt`▶
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from pathlib import Path

from ferry.schema import Column, TableName, TableSchema

CursorValue = int | Decimal | date | datetime | str


class StageFormat(StrEnum):
    """How rows are written to the stage."""

    CSV = "csv"  # RFC 4180, zstd-compressed, no header
    PARQUET = "parquet"  # zstd-compressed


@dataclass(frozen=True)
class ExtractQuery:
    """Which rows of a source table to read.

    Attributes:
        schema: The table, with just the columns to read, in the order to yield them.
        cursor: The column that `start` and `end` bound; None to read all of the table.
        start: Read rows with `cursor >= start`; None for no lower bound. A datetime is aware; the
            source turns it into what the column holds: UTC for moments, `zone`'s wall clock for
            columns without a zone, the day for dates.
        end: Read rows with `cursor < end`; None for no upper bound.
        zone: The zone in which the source writes its wall-clock columns.
        zero_dates: MySQL's 0000-00-00 and 2023-00-15: "error" refuses them, "null" reads NULL.
    """

    schema: TableSchema
    cursor: str | None = None
    start: CursorValue | None = None
    end: CursorValue | None = None
    zone: str = "UTC"
    zero_dates: str = "error"


@dataclass(frozen=True)
class PartFile:
    """One compressed file of rows on the local disk."""

    path: Path
    rows: int
    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class Extract:
    """What extract hands to stage: files of this run alone.

    Attributes:
        parts: The files, in the order they were read.
        columns: The columns in the files, in their order, named as in the warehouse.
        format: How the files are written.
        null_marker: In CSV, the unquoted text that means NULL; made for this run and known not to
            occur in the data. Empty for Parquet.
    """

    parts: tuple[PartFile, ...]
    columns: tuple[Column, ...]
    format: StageFormat
    null_marker: str = ""

    @property
    def rows(self) -> int:
        """Rows in all the files."""
        return sum(part.rows for part in self.parts)

    @property
    def size_bytes(self) -> int:
        """Compressed bytes in all the files."""
        return sum(part.size_bytes for part in self.parts)

    @property
    def checksum(self) -> str:
        """SHA-256 over the files' own, in order."""
        return hashlib.sha256("".join(part.sha256 for part in self.parts).encode()).hexdigest()


@dataclass(frozen=True)
class StagedFile:
    """One file in the stage."""

    key: str
    uri: str
    size_bytes: int
    rows: int


@dataclass(frozen=True)
class Staged:
    """What stage hands to copy.

    Attributes:
        files: The staged parts. Empty when the rows are few enough to go by INSERT.
        manifest: The manifest, written last; None when nothing was staged.
        extract: What was extracted (the columns, the format, and the parts for an INSERT).
    """

    files: tuple[StagedFile, ...]
    manifest: StagedFile | None
    extract: Extract

    @property
    def rows(self) -> int:
        """Rows on their way: in the staged files, or in the parts that go by INSERT."""
        return sum(file.rows for file in self.files) if self.manifest else self.extract.rows

    @property
    def manifest_uri(self) -> str | None:
        """Where the manifest is."""
        return self.manifest.uri if self.manifest else None


@dataclass(frozen=True)
class Copied:
    """What copy hands to upsert: a staging table and the rows in it.

    `staging_table` is None when the batch is empty and there is nothing to load.
    """

    staging_table: TableName | None
    columns: tuple[Column, ...]
    rows: int
