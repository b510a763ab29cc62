"""`ferry.receipts`: what is asked of it, and what is written to it.

Every question names the table whose receipts it is about, and asks for no more than it needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ferry import statements as sql
from ferry.receipts import RECEIPT_COLUMNS, RECEIPTS, VOID, Receipt, from_row, to_row
from ferry.schema import TableName
from ferry.write import Transaction

_RECEIPTS = sql.table_sql(RECEIPTS)
_BEFORE_ALL = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Landings:
    """What has landed in a table before a batch of it is read.

    Attributes:
        batches: How many batches that may hold the same rows: those of the batch's stretch of time.
        by_cursor: For each cursor that windows were read by: how many, the first and the last
            moment of them.
    """

    batches: int = 0
    by_cursor: tuple[tuple[str, int, datetime, datetime], ...] = ()

    def by_another(self, cursor: str) -> list[tuple[str, int, datetime, datetime]]:
        """Those that were read by another cursor than this one."""
        return [each for each in self.by_cursor if each[0] != cursor]


Stretch = tuple[datetime, datetime] | None
"""The moments that bound what a batch reads; None for all, and for what has no end."""


def _overlapping(stretch: Stretch) -> tuple[str, Sequence[Any]]:
    """The condition that a receipt is of a batch that may hold the same rows, and its values."""
    if stretch is None:
        return "1 = 1", ()
    start, end = stretch
    condition = (
        f"(window_start IS NULL OR window_start < {sql.MARK}) "
        f"AND (window_end IS NULL OR window_end > {sql.MARK})"
    )
    return condition, (end, start)


def read_landings(tx: Transaction, table: TableName, stretch: Stretch, mark: str) -> Landings:
    """What has landed in this table."""
    condition, values = _overlapping(stretch)
    text = sql.bound(
        f"SELECT cursor_name, COUNT(CASE WHEN {condition} THEN 1 END), COUNT(window_end), "  # noqa: S608  # names of ours
        f"MIN(window_start), MAX(window_end) FROM {_RECEIPTS} "
        f"WHERE table_name = {sql.MARK} AND status <> {sql.MARK} GROUP BY cursor_name",
        mark,
    )
    found = tx.fetch(text, (*values, str(table), VOID))
    return Landings(
        sum(int(batches) for _, batches, *_ in found),
        tuple(
            (cursor, int(windows), first, last)
            for cursor, _, windows, first, last in found
            if cursor is not None and windows
        ),
    )


def count_landed(
    tx: Transaction, table: TableName, stretch: Stretch, batch_id: str, mark: str
) -> tuple[int, bool]:
    """How many batches have landed that may hold the same rows, and whether this one has."""
    condition, values = _overlapping(stretch)
    text = sql.bound(
        f"SELECT COUNT(CASE WHEN {condition} THEN 1 END), "  # noqa: S608  # names of ours
        f"COUNT(CASE WHEN batch_id = {sql.MARK} THEN 1 END) FROM {_RECEIPTS} "
        f"WHERE table_name = {sql.MARK} AND status <> {sql.MARK}",
        mark,
    )
    ((batches, own),) = tx.fetch(text, (*values, batch_id, str(table), VOID))
    return int(batches), bool(own)


def find_receipt(tx: Transaction, batch_id: str, mark: str) -> Receipt | None:
    """The receipt of this batch, or None if it has not landed."""
    rows = tx.fetch(sql.select_where(RECEIPTS, RECEIPT_COLUMNS, "batch_id", mark), (batch_id,))
    return from_row(rows[0]) if rows else None


def read_receipts_of(tx: Transaction, flow_run_id: str, mark: str) -> list[Receipt]:
    """The receipts of one flow run's batches."""
    select = sql.select_where(RECEIPTS, RECEIPT_COLUMNS, "flow_run_id", mark)
    return [from_row(row) for row in tx.fetch(select, (flow_run_id,))]


def write_receipt(tx: Transaction, receipt: Receipt, mark: str) -> None:
    """Add the receipt, in the transaction that changed the target."""
    tx.execute(sql.insert_values(RECEIPTS, RECEIPT_COLUMNS, 1, mark), to_row(receipt))


def void_moment(tx: Transaction, table: TableName, now: datetime, mark: str) -> datetime:
    """When a void is to be dated that covers all receipts there are, by whatever clock."""
    text = sql.bound(
        f"SELECT MAX(finished_at) FROM {_RECEIPTS} WHERE table_name = {sql.MARK}",  # noqa: S608
        mark,
    )
    last: datetime | None = tx.fetch(text, (str(table),))[0][0]
    return max(now, last) if last else now


def last_void(tx: Transaction, table: TableName, mark: str) -> datetime:
    """The moment up to which the table's receipts are void; long ago if they are not."""
    text = sql.bound(
        f"SELECT MAX(finished_at) FROM {_RECEIPTS} "  # noqa: S608  # names of ours
        f"WHERE table_name = {sql.MARK} AND status = {sql.MARK}",
        mark,
    )
    moment: datetime | None = tx.fetch(text, (str(table), VOID))[0][0]
    return moment or _BEFORE_ALL


def rows_held(tx: Transaction, table: TableName, mark: str) -> int:
    """How many rows the table has by its receipts, those that are void left out."""
    text = sql.bound(
        f"SELECT SUM(rows_inserted - rows_deleted) FROM {_RECEIPTS} "  # noqa: S608  # names of ours
        f"WHERE table_name = {sql.MARK} AND finished_at > {sql.MARK}",
        mark,
    )
    since = last_void(tx, table, mark)
    return int(tx.fetch(text, (str(table), since))[0][0] or 0)


def last_read(tx: Transaction, table: TableName, cursor: str, mark: str) -> datetime | None:
    """Up to when all rows of the source are sure to have been read, by the source's clock.

    A watermark's read, or a full copy, has read all that was there when it began; a window's has
    not. None if none of them has landed, by this cursor, in what the target is now.
    """
    text = sql.bound(
        f"SELECT MAX(COALESCE(read_at, started_at)) FROM {_RECEIPTS} "  # noqa: S608  # names of ours
        f"WHERE table_name = {sql.MARK} AND status = {sql.MARK} AND mode IN ('watermark', 'full') "
        f"AND (cursor_name IS NULL OR cursor_name = {sql.MARK}) AND finished_at > {sql.MARK}",
        mark,
    )
    since = last_void(tx, table, mark)
    moment: datetime | None = tx.fetch(text, (str(table), "loaded", cursor, since))[0][0]
    return moment
