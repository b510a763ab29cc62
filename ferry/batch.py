"""A batch, and what one task hands to the next: small frozen values, never rows.

extract ─`Extract`▶ stage ─`Staged`▶ copy ─`Copied`▶ upsert ─`Receipt`▶

Each holds what its step made; what was known before is in the batch's plan, which rides beside it
(`ferry.plan.BatchPlan`).
"""

from __future__ import annotations

import hashlib
import os
import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ferry.schema import OWN_SCHEMA, Column, DataType, Kind, TableName, TableSchema
from ferry.windows import Window, read_stretch, same_clock

if TYPE_CHECKING:
    from ferry.fingerprints.sums import ValueSums
    from ferry.specs.tables import Mode, TableSpec

STAGING_NAME = re.compile(r"stg_(\d{8})_[0-9a-f]{12}_[0-9a-f]{6}_")
"""How the names of staging tables begin: the day they were made, the batch, the attempt."""


def staging_table(made_on: date, made_by: str, token: str, name: str) -> TableName:
    """A table for one attempt at a batch or at a summary's build; its name tells its age.

    Within 56 bytes, so that the table of the newest versions can follow (`newest_table`).

    Args:
        made_on: The warehouse's day.
        made_by: The id of the batch or build: names that begin alike are of different tables.
        token: The attempt's, six hexadecimal digits.
        name: The table's or summary's.
    """
    short = made_by.replace("-", "")[:12]
    return TableName(OWN_SCHEMA, f"stg_{made_on:%Y%m%d}_{short}_{token}_{name[:23]}")


WINDOW_NUMBER = Column("ferry__window", DataType(Kind.INT32), nullable=False)
"""In the files and the staging table of windows that travel together: the number of a row's window
among them, from 0 on. No source has such a name."""

PIECE_NUMBER = Column("ferry__piece", DataType(Kind.INT32), nullable=False)
"""In the batches of a table that is read in pieces: the number of the row's piece, from 0 on. It is
the last column, and no file has it."""

Snapshot = Literal["one", "not one"]
"""Whether the connections that read a table at once all read the same snapshot of it."""

CursorValue = int | Decimal | date | datetime | str


class StageFormat(StrEnum):
    """How rows are written to the stage."""

    CSV = "csv"  # RFC 4180, zstd-compressed, no header
    PARQUET = "parquet"  # zstd-compressed


@dataclass(frozen=True)
class Batch:
    """One table and one window (or all of it, or several neighbouring windows), one run.

    Attributes:
        spec: How the table is carried.
        mode: How it is carried this time.
        window: Which rows; None for full and watermark.
        flow_run_id: Prefect's id of the run.
        scheduled_start: When the run was to start; the same on every attempt.
        work_folder: Where part files may stand, on the local disk.
        attempt: 1 for the run's first attempt.
        subset: What it carries of the window, if not all of it, such as `symbols AAPL, SAP.DE`.
        backfill: Whether it is one of many past windows, a backfill's or those caught up: they make
            way for other readers, and what would refuse the whole table was looked at before.
        again: 0; of a window that the run may have carried before and is to carry once more, the
            run's attempt: it was compared and differed, or has failed in another run since. Of a
            full copy after a comparison: which of the run's it is, from 1.
        compared: Whether it is carried again because it was compared and differed: the attempt may
            have carried it once more before, for another reason.
        windows: The windows that travel together, in order of time, where they are several;
            `window` is then their whole stretch. Each has a receipt of its own.
        estimated_rows: About how many rows it has; None if nobody has guessed.
    """

    spec: TableSpec
    mode: Mode
    window: Window | None
    flow_run_id: str
    scheduled_start: datetime
    work_folder: Path
    attempt: int = 1
    subset: str = ""
    backfill: bool = False
    again: int = 0
    compared: bool = False
    windows: tuple[Window, ...] = ()
    estimated_rows: int | None = None

    @property
    def id(self) -> str:
        """The same for every attempt of one run at one window, another for every other run.

        Another one, too, once the spec says of other rows that they are the batch's, or replace
        one another: what an earlier attempt has landed is not what this one is to land.
        """
        name = f"ferry:{self.flow_run_id}/{self.target}/{self.mode}/{self.label}"
        name += f"/{self.spec.rows_by}"
        name += f"/{len(self.windows)} windows" if self.windows else ""
        name += f"/{self.subset}" if self.subset else ""
        name += f"/repair {self.again}" if self.again else ""
        name += "/compared" if self.compared else ""
        return str(uuid.uuid5(uuid.NAMESPACE_URL, name))

    @property
    def target(self) -> TableName:
        """The table in the warehouse."""
        return self.spec.target

    @property
    def folder(self) -> Path:
        """Where this process keeps the batch's part files."""
        return self.work_folder / f"{self.id}-{os.getpid()}"

    @property
    def label(self) -> str:
        """The window as people say it; the mode where there is none."""
        if self.windows:
            return f"{self.windows[0].label} to {self.windows[-1].label}"
        return self.window.label if self.window else self.mode

    @property
    def label_slug(self) -> str:
        """The label in letters that a file name can have."""
        if self.windows:
            return f"{self.windows[0].slug}--{self.windows[-1].slug}"
        return self.window.slug if self.window else self.mode

    @property
    def each(self) -> tuple[Batch, ...]:
        """The batches of its windows, in order of time: itself, where it has no several."""
        if not self.windows:
            return (self,)
        return tuple(
            replace(self, window=window, windows=(), estimated_rows=None) for window in self.windows
        )

    @classmethod
    def together(cls, batches: Sequence[Batch]) -> Batch:
        """Batches of neighbouring windows, in order of time, as one; a single one as it is."""
        if len(batches) == 1:
            return batches[0]
        windows = tuple(each.window for each in batches if each.window)
        whole = Window(windows[0].start, windows[-1].end, windows[0].zone)
        rows = [each.estimated_rows for each in batches]
        known = [each for each in rows if each is not None]
        return replace(
            batches[0],
            window=whole,
            windows=windows,
            estimated_rows=sum(known) if len(known) == len(rows) else None,
        )

    @property
    def overwrites_newer(self) -> bool:
        """Whether it replaces newer rows, too, so that nothing may land since it was read."""
        return self.mode == "full" or self.spec.soft_deletes == "apply" or not self.spec.key

    @property
    def time_bounds(self) -> tuple[datetime, datetime] | None:
        """The moments between which a batch has to lie to hold rows of this one; None for any."""
        if self.window is None or self.overwrites_newer or self._versions_undecided:
            return None
        return read_stretch(self.window, self.spec.wall_clock_zone)

    @property
    def _versions_undecided(self) -> bool:
        """Whether of two versions in windows far apart perhaps neither can be told to be older.

        A row may have moved to another window meanwhile where its cursor is not its version, and a
        wall clock that is set back tells no version of the repeated hour from another.
        """
        spec = self.spec
        beside = spec.version and spec.version.lower() != (spec.cursor or "").lower()
        return bool(beside) and not same_clock(spec.wall_clock_zone, "UTC")

    def receipt_id(self, left_out: str, checksum: str) -> str:
        """The batch's id; where rows were left out, another one, made from those that are there.

        So another attempt does not take what is there for the whole batch, nor for what it read.
        """
        if not left_out:
            return self.id
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"ferry:{self.id}/{checksum}/incomplete"))

    def __str__(self) -> str:
        return f"{self.target} {self.label}" + (f" ({self.subset})" if self.subset else "")


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
        zero_dates: MySQL's 0000-00-00 and 2023-00-15: "error" refuses them, "null" reads NULL. In
            the cursor, whose order they have no place in, they are refused all the same.
        null_cursors: What becomes of rows with such a cursor: "error" refuses them, "ignore" leaves
            them out.
        unix_time: Whether the cursor counts Unix time: then 0 is such a cursor, too.
    """

    schema: TableSchema
    cursor: str | None = None
    start: CursorValue | None = None
    end: CursorValue | None = None
    zone: str = "UTC"
    zero_dates: str = "error"
    null_cursors: str = "error"
    unix_time: bool = False


@dataclass(frozen=True)
class PartFile:
    """One compressed file of rows on the local disk."""

    path: Path
    rows: int
    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class FileLayout:
    """How rows stand in part files: what whoever reads the files has to know.

    Attributes:
        columns: The columns in the files, in their order, named as in the warehouse; last of them
            `WINDOW_NUMBER`, where several windows travel together.
        format: How the files are written.
        null_marker: In CSV, the unquoted text that means NULL; made for this run and known not to
            occur in the data. Empty for Parquet.
    """

    columns: tuple[Column, ...]
    format: StageFormat
    null_marker: str = ""

    @property
    def values(self) -> tuple[Column, ...]:
        """The table's columns: without the number of a row's window, `WINDOW_NUMBER`."""
        return tuple(column for column in self.columns if column != WINDOW_NUMBER)


@dataclass(frozen=True)
class RowsAndSums:
    """What a step found of the rows of one window, or of one piece.

    Attributes:
        rows: How many.
        sums: The sums of each column's values.
    """

    rows: int
    sums: ValueSums


@dataclass(frozen=True)
class Extract:
    """What extract hands to stage: files of this run alone.

    Attributes:
        parts: The files, in the order they were read.
        layout: How rows stand in them.
        content_bytes: Bytes of all the values as they were in memory, before compression.
        left_out: What could not be read and why, when the rest of the window could.
        read_at: The source's clock just before the rows were read.
        sums: The sums of each column's values, as they were read.
        by_window: The same of each window, where several travel together.
        snapshot: Whether several connections read one snapshot; None where one connection read.
        staged: The same files in the stage, where they went there piece by piece while they were
            read, some perhaps by an earlier attempt; none if they have still to go there.
        record_key: The key under which it is recorded which of them are there.
    """

    parts: tuple[PartFile, ...]
    layout: FileLayout
    content_bytes: int = 0
    left_out: str = ""
    read_at: datetime | None = None
    sums: ValueSums | None = None
    by_window: tuple[RowsAndSums, ...] = ()
    snapshot: Snapshot | None = None
    staged: tuple[StagedFile, ...] = ()
    record_key: str | None = None

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
        layout: How rows stand in the files.
        rows: Rows on their way: in the staged files, or in the parts that go by INSERT.
        record_key: The key under which it is recorded which files of a large full copy are there;
            another attempt of the run goes on from them.
    """

    files: tuple[StagedFile, ...]
    manifest: StagedFile | None
    layout: FileLayout
    rows: int
    record_key: str | None = None

    @property
    def manifest_uri(self) -> str | None:
        """Where the manifest is."""
        return self.manifest.uri if self.manifest else None


@dataclass(frozen=True)
class Copied:
    """What copy hands to upsert.

    Attributes:
        staging_table: The table that holds just this batch; None when the batch is empty.
        rows: Rows that the warehouse says it loaded into it.
        sums: The sums of each column's values there, by the warehouse.
        by_window: The same of each window, where several travel together.
    """

    staging_table: TableName | None
    rows: int
    sums: ValueSums | None = None
    by_window: tuple[RowsAndSums, ...] = ()
