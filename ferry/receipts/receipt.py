"""Receipts: the record of what has been loaded, written with the rows themselves.

One row of `ferry.receipts` for each window, or for a batch without windows, in the transaction that
changes the target. Prefect's own state is never the record.

A receipt of status `void` says the opposite: what receipts before it say is not there any more,
since the target was made anew, had lost its rows, or lacks in older rows the values of a column
that it gained, or that the table began to carry.
"""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Container, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import ferry
from ferry.fingerprints.sums import TEXT_BYTES
from ferry.schema import OWN_SCHEMA, Column, DataType, Kind, TableName

RECEIPTS = TableName(OWN_SCHEMA, "receipts")

_TEXT = DataType(Kind.TEXT, max_bytes=256)
_LONG_TEXT = DataType(Kind.TEXT, max_bytes=2048)
_LONGEST_TEXT = DataType(Kind.TEXT, max_bytes=TEXT_BYTES)
_COUNT = DataType(Kind.INT64)
_MOMENT = DataType(Kind.TIMESTAMPTZ)
_NEXT_MOMENT = timedelta(microseconds=1)
"""The least that every warehouse tells apart."""


@dataclass(frozen=True)
class Receipt:
    """The proof that one batch arrived.

    Attributes:
        batch_id: The same for every attempt of one run at one window, so a batch lands once;
            another one (`id_after`) where it landed once more because the first became void.
        table_name: The target, `schema.table`.
        mode: full, window or watermark; void, or reconcile, for what is no batch.
        window_start: First moment of the window, or of a watermark of times; None if all was read,
            and of a watermark over ids or dates.
        window_end: First moment after the window; None for full and for a watermark.
        window_label: The window as people say it; `full`; of a watermark `from …`, or `watermark`
            if all was read; of what is void, why.
        status: `loaded`, or `partial` where the batch is not all of its window: it was asked for
            a part, or a part could not be read. `void`: what was before is not there any more.
            `emptied`: a repair has taken the last rows out, as the source has them no more.
        rows_extracted: Rows read from the source.
        rows_staged: Rows in the staged files.
        rows_copied: Rows the warehouse loaded into the staging table.
        rows_inserted: Rows whose key was new (all rows, for full).
        rows_updated: Rows that replaced another version.
        rows_deleted: Rows taken out of the target.
        rows_unchanged: Rows the target had already, as they are or newer.
        checksum: SHA-256 of the part files.
        manifest_uri: Where the batch was staged; None if it went by INSERT or was empty.
        code_version: Ferry's version.
        flow_run_id: Prefect's id of the run.
        started_at: When the batch was begun, before it was planned.
        finished_at: When the receipt was written.
        cursor_name: The cursor column that bounded what was read; None if all was read.
        read_at: The source's clock when it was read; None in older receipts.
        complete_until: Up to when the source's rows were certainly read: `read_at`, less the
            table's `settle` (or `lag`, of a watermark). None in older receipts.
        rows_superseded: Rows of which the batch itself had another one of the same key that won.
        read_as: What of the table's spec decided which rows these are (`ferry.receipts.read_as`).
            None in older receipts.
        sums_read: For each column, how many values were read, and a digest of their sum
            (`ferry.fingerprints.sums`), as JSON. None in older receipts, and of empty batches.
        sums_staged: The same of the staging table, where the warehouse computed the sums.
        text_sums: By what text and binary were summed: `digests` or `lengths`.
        source_snapshot: Where several connections read at once (`read_ranges`), or several attempts
            of a run (`resume_rows`): `one` if all read the same snapshot of the source's table,
            else `not one`. None where one connection of one attempt read all, which is one.
        columns_carried: The columns that the batch gave values to, as the target names them, as
            JSON (`ferry.receipts.columns_carried`). None in older receipts, and of what is no
            batch.
    """

    batch_id: str
    table_name: str
    mode: str
    window_start: datetime | None
    window_end: datetime | None
    window_label: str
    status: str
    rows_extracted: int
    rows_staged: int
    rows_copied: int
    rows_inserted: int
    rows_updated: int
    rows_deleted: int
    rows_unchanged: int
    checksum: str
    manifest_uri: str | None
    code_version: str
    flow_run_id: str
    started_at: datetime
    finished_at: datetime

    cursor_name: str | None = None
    read_at: datetime | None = None
    complete_until: datetime | None = None
    rows_superseded: int | None = None
    read_as: str | None = None
    sums_read: str | None = None
    sums_staged: str | None = None
    text_sums: str | None = None
    source_snapshot: str | None = None
    columns_carried: str | None = None

    @property
    def changed(self) -> int:
        """Rows of the target that this batch changed."""
        return self.rows_inserted + self.rows_updated + self.rows_deleted

    @property
    def counts_line(self) -> str:
        """What became of its rows, for people. A full copy has none that were there before it."""
        left_out = self.mode == "full" and self.rows_unchanged
        parts = [
            f"{self.rows_inserted:,} inserted",
            f"{self.rows_updated:,} updated",
            f"{self.rows_deleted:,} deleted",
            f"{self.rows_unchanged:,} "
            + ("marked as deleted and left out" if left_out else "unchanged"),
        ]
        if self.rows_superseded:
            parts.append(f"{self.rows_superseded:,} superseded")
        return ", ".join(parts)


RECEIPT_COLUMNS: tuple[Column, ...] = (
    Column("batch_id", _TEXT, nullable=False),
    Column("table_name", _TEXT, nullable=False),
    Column("mode", _TEXT, nullable=False),
    Column("window_start", _MOMENT),
    Column("window_end", _MOMENT),
    Column("window_label", _TEXT, nullable=False),
    Column("status", _TEXT, nullable=False),
    Column("rows_extracted", _COUNT, nullable=False),
    Column("rows_staged", _COUNT, nullable=False),
    Column("rows_copied", _COUNT, nullable=False),
    Column("rows_inserted", _COUNT, nullable=False),
    Column("rows_updated", _COUNT, nullable=False),
    Column("rows_deleted", _COUNT, nullable=False),
    Column("rows_unchanged", _COUNT, nullable=False),
    Column("checksum", _TEXT, nullable=False),
    Column("manifest_uri", _LONG_TEXT),
    Column("code_version", _TEXT, nullable=False),
    Column("flow_run_id", _TEXT, nullable=False),
    Column("started_at", _MOMENT, nullable=False),
    Column("finished_at", _MOMENT, nullable=False),
    Column("cursor_name", _TEXT),
    Column("read_at", _MOMENT),
    Column("complete_until", _MOMENT),
    Column("rows_superseded", _COUNT),
    Column("read_as", _LONG_TEXT),
    Column("sums_read", _LONGEST_TEXT),
    Column("sums_staged", _LONGEST_TEXT),
    Column("text_sums", _TEXT),
    Column("source_snapshot", _TEXT),
    Column("columns_carried", _LONGEST_TEXT),
)
"""A table that an older Ferry made lacks the last of them, which `tasks.own_tables.make_missing`
adds: so each new column is nullable and stands at the end."""


LOADED = "loaded"
PARTIAL = "partial"
"""The status of a batch of some symbols alone, or that left rows out."""

VOID = "void"
TARGET_MADE_ANEW = "the target was made anew"
TARGET_LOST_ROWS = "the target had lost its rows"
"""Why a target had no rows any more, as the labels of voids say it."""

EMPTIED = "emptied"
"""The status of a repair after which the target has no row."""

RECONCILE = "reconcile"
"""The mode of what is no batch, but rows that a repair took out, marked or aligned."""


@dataclass(frozen=True)
class ReceiptTimes:
    """What a receipt tells of the time that it covers: its attributes of these names.

    Coverage asks for no more: a table of many years has many receipts.
    """

    mode: str
    window_start: datetime | None
    window_end: datetime | None
    window_label: str
    status: str
    started_at: datetime
    finished_at: datetime
    cursor_name: str | None = None
    read_at: datetime | None = None
    complete_until: datetime | None = None
    read_as: str | None = None


TimeOfReceipt = Receipt | ReceiptTimes
"""Whatever coverage can be told from."""


def void_receipt(
    table: TableName,
    reason: str,
    *,
    flow_run_id: str,
    started_at: datetime,
    at: datetime,
    rows_lost: int = 0,
) -> Receipt:
    """What says that nothing of what earlier receipts say is sure to be there.

    Args:
        table: The target.
        reason: Why, in words that do for a label.
        flow_run_id: The run that found it.
        started_at: When its batch began.
        at: When it was found: receipts up to then are void.
        rows_lost: How many rows the target had by its receipts, if it has none any more; less than
            nothing where more were deleted than any receipt has brought.
    """
    return Receipt(
        batch_id=str(uuid.uuid4()),
        table_name=str(table),
        mode=VOID,
        window_start=None,
        window_end=None,
        window_label=reason,
        status=VOID,
        rows_extracted=0,
        rows_staged=0,
        rows_copied=0,
        rows_inserted=max(0, -rows_lost),
        rows_updated=0,
        rows_deleted=max(0, rows_lost),
        rows_unchanged=0,
        checksum="",
        manifest_uri=None,
        code_version=ferry.__version__,
        flow_run_id=flow_run_id,
        started_at=started_at,
        finished_at=at,
    )


def moment_after(last: datetime | None, now: datetime) -> datetime:
    """When something is dated that tells more than what was before it, by whatever clock that was.

    Args:
        last: The latest date of what was before; None if there was nothing.
        now: The clock's moment, which counts where it is later.
    """
    return max(now, last + _NEXT_MOMENT) if last else now


def id_after(batch_id: str) -> str:
    """The id under which a batch lands once more when the receipt of this id has become void.

    Another one, so that a summary that took the first in takes this one in as well.
    """
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"ferry:{batch_id}/once more"))


def last_by_id(receipts: Iterable[Receipt], void: datetime) -> dict[str, Receipt]:
    """The last receipt of each batch, void or not, by the ids of the batches.

    Args:
        receipts: All that some batches have left, void ones too.
        void: Up to when receipts are void.
    """
    last = {each.batch_id: each for each in sorted(receipts, key=lambda each: each.finished_at)}
    found = {}
    for batch_id in last:
        own = batch_id
        while last[own].finished_at <= void and id_after(own) in last:
            own = id_after(own)
        found[batch_id] = last[own]
    return found


def times_columns(there: Container[str]) -> list[Column]:
    """The columns of `ReceiptTimes` among those that a receipts table has."""
    names = [field.name for field in dataclasses.fields(ReceiptTimes)]
    by_name = {column.name: column for column in RECEIPT_COLUMNS}
    return [by_name[name] for name in names if name in there]


def to_row(receipt: Receipt) -> tuple[Any, ...]:
    """The receipt's values in the order of `RECEIPT_COLUMNS`."""
    return tuple(getattr(receipt, column.name) for column in RECEIPT_COLUMNS)


def from_row(row: tuple[Any, ...]) -> Receipt:
    """The receipt of a row selected in the order of `RECEIPT_COLUMNS`, or of the first of them."""
    names = [column.name for column in RECEIPT_COLUMNS]
    return Receipt(**dict(zip(names, row, strict=False)))
