"""`ferry.receipts`: what is asked of it, and what is written to it.

A question names the table, the batch or the run whose receipts it is about, and asks for no more
than it needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from ferry import statements as sql
from ferry.receipts.columns_carried import ColumnsCarried, names_of
from ferry.receipts.read_as import PastReading
from ferry.receipts.receipt import (
    EMPTIED,
    LOADED,
    RECEIPT_COLUMNS,
    RECEIPTS,
    RECONCILE,
    TARGET_LOST_ROWS,
    TARGET_MADE_ANEW,
    VOID,
    Receipt,
    from_row,
    id_after,
    moment_after,
    to_row,
)
from ferry.schema import TableName
from ferry.statements import PARAM, Statement, Transaction

_RECEIPTS = sql.table_sql(RECEIPTS)
_REMOVES = "mode IN ('full', 'reconcile')"
"""What takes rows out, whoever brought them: no window's and no watermark's own."""

BEFORE_ALL = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class LandedBefore:
    """What has landed in a table before a batch of it is read.

    Attributes:
        batches: How many batches that may hold the same rows: those of the batch's stretch of time.
        removals: How many of them may have taken rows out that the source had no more: full copies,
            and what was repaired since it was compared.
        voids: How often what had landed was said to be void.
        otherwise: How many batches of the table, of whatever time, brought other columns.
    """

    batches: int = 0
    removals: int = 0
    voids: int = 0
    otherwise: int = 0


@dataclass(frozen=True)
class LandedNow:
    """What has landed in a table when a batch of it is about to land.

    Attributes:
        batches: How many batches that may hold the same rows.
        removals: How many of them may have taken rows out.
        voids: How often what had landed was said to be void.
        last_void: When that was said last; None if it was not.
        last: The latest date of them all; None if there are none.
        this_one: Whether the batch itself has landed, or any window of it.
        otherwise: How many batches of the table, of whatever time, brought other columns.
    """

    batches: int
    removals: int
    voids: int
    last_void: datetime | None
    last: datetime | None
    this_one: bool
    otherwise: int


TimeBounds = tuple[datetime, datetime] | None
"""The moments that bound what a batch reads; None for all, and for what has no end."""


def _overlapping(bounds: TimeBounds, cursor: str | None) -> Statement:
    """The condition that a receipt is of a batch that may hold the same rows.

    One that was read by another cursor may hold them whatever its window: that is a stretch of
    another column.
    """
    if bounds is None or cursor is None:
        return Statement("1 = 1")
    start, end = bounds
    return Statement(
        f"((window_start IS NULL OR window_start < {PARAM}) "
        f"AND (window_end IS NULL OR window_end > {PARAM}) OR cursor_name <> {PARAM})",
        (end, start, cursor),
    )


def _otherwise(table: TableName, columns: str | None) -> Statement:
    """How many receipts of the table have other columns than these; none where nobody asks."""
    if columns is None:
        return Statement("0")
    return Statement(
        f"(SELECT COUNT(*) FROM {_RECEIPTS} WHERE table_name = {PARAM} "  # noqa: S608
        f"AND columns_carried <> {PARAM})",
        (str(table), columns),
    )


def read_landed_before(
    tx: Transaction,
    table: TableName,
    bounds: TimeBounds,
    cursor: str | None,
    columns: str | None = None,
) -> LandedBefore:
    """What has landed in this table before a batch between these bounds, by this cursor, is read.

    It is asked for each window of a backfill: only receipts that may hold the same rows are looked
    at, and those that say that others are void, which have no window.

    Args:
        tx: Where to ask.
        table: The target.
        bounds: What bounds the batch.
        cursor: The cursor by which it is going to be read.
        columns: The columns that it brings (`columns_text`), to count who brought others.
    """
    overlapping, otherwise = _overlapping(bounds, cursor), _otherwise(table, columns)
    select = Statement(
        f"SELECT COUNT(CASE WHEN status <> {PARAM} THEN 1 END), "  # noqa: S608  # names of ours
        f"COUNT(CASE WHEN {_REMOVES} THEN 1 END), COUNT(CASE WHEN status = {PARAM} THEN 1 END), "
        f"{otherwise.sql} FROM {_RECEIPTS} WHERE table_name = {PARAM} AND {overlapping.sql}",
        (VOID, VOID, *otherwise.values, str(table), *overlapping.values),
    )
    return LandedBefore(*map(int, tx.fetch(select)[0]))


def read_to(tx: Transaction, table: TableName) -> datetime | None:
    """Up to which moment anything was carried, by a window or otherwise."""
    select = Statement(
        f"SELECT MAX(COALESCE(window_end, read_at, started_at)) FROM {_RECEIPTS} "  # noqa: S608
        f"WHERE table_name = {PARAM} AND status <> {PARAM} AND mode <> {PARAM}",
        (str(table), VOID, RECONCILE),
    )
    moment: datetime | None = tx.fetch(select)[0][0]
    return moment


def read_landed_now(
    tx: Transaction,
    table: TableName,
    bounds: TimeBounds,
    cursor: str | None,
    batch_ids: Sequence[str],
    columns: str | None = None,
) -> LandedNow:
    """What has landed in this table that a batch has to know which is about to land.

    Args:
        tx: Where to ask.
        table: The target.
        bounds: What bounds the batch.
        cursor: The cursor by which the batch was read, whatever the spec says by now.
        batch_ids: The batch's id; those of its windows, where several travel together.
        columns: The columns that it brings (`columns_text`), to count who brought others.
    """
    otherwise = _otherwise(table, columns)
    ids = ", ".join([PARAM] * len(batch_ids))
    overlapping = _overlapping(bounds, cursor)  # so does the batch's own, if it is there
    select = Statement(
        f"SELECT COUNT(CASE WHEN status <> {PARAM} THEN 1 END), "  # noqa: S608  # names of ours
        f"COUNT(CASE WHEN {_REMOVES} THEN 1 END), COUNT(CASE WHEN status = {PARAM} THEN 1 END), "
        f"MAX(CASE WHEN status = {PARAM} THEN finished_at END), MAX(finished_at), "
        f"COUNT(CASE WHEN batch_id IN ({ids}) THEN 1 END), {otherwise.sql} "
        f"FROM {_RECEIPTS} WHERE table_name = {PARAM} AND {overlapping.sql}",
        (VOID, VOID, VOID, *batch_ids, *otherwise.values, str(table), *overlapping.values),
    )
    ((batches, removals, voids, void, last, own, others),) = tx.fetch(select)
    return LandedNow(int(batches), int(removals), int(voids), void, last, bool(own), int(others))


def has_receipts(tx: Transaction, table: TableName) -> bool:
    """Whether there is any receipt of the table: of a batch, a repair, or one that voids others."""
    return bool(tx.fetch(sql.count_where(RECEIPTS, "table_name", str(table)))[0][0])


def find_landing(tx: Transaction, batch_id: str, void: datetime) -> tuple[str, Receipt | None]:
    """The id under which the batch lands, and its receipt if it has landed.

    Args:
        tx: Where to ask.
        batch_id: The batch's id, under which it lands as long as no receipt of it is void.
        void: Up to when the table's receipts are void.
    """
    while True:
        select = sql.select_where(RECEIPTS, RECEIPT_COLUMNS, "batch_id", batch_id)
        found = map(from_row, tx.fetch(select))
        receipt = max(found, key=lambda receipt: receipt.finished_at, default=None)
        if receipt is None or receipt.finished_at > void:
            return batch_id, receipt
        batch_id = id_after(batch_id)


def read_receipts_of(
    tx: Transaction, flow_run_id: str, table: TableName, within: TimeBounds = None
) -> list[Receipt]:
    """The receipts of one flow run's batches of a table, without their sums, which are long.

    Args:
        tx: Where to ask.
        flow_run_id: The run.
        table: The target.
        within: The moments between which the batches' windows lie; None for all batches.
    """
    names = [column.name for column in RECEIPT_COLUMNS if not column.name.startswith("sums_")]
    bounded = f" AND window_start >= {PARAM} AND window_end <= {PARAM}" if within else ""
    select = Statement(
        f"SELECT {sql.column_list(names)} FROM {_RECEIPTS} "  # noqa: S608  # names of ours
        f"WHERE flow_run_id = {PARAM} AND table_name = {PARAM}{bounded}",
        (flow_run_id, str(table), *(within or ())),
    )
    return [Receipt(**dict(zip(names, row, strict=True))) for row in tx.fetch(select)]


def count_of_run(
    tx: Transaction, flow_run_id: str, table: TableName, since: datetime
) -> tuple[int, int]:
    """How many batches of the table one flow run has landed since, and of how many rows.

    One that landed once more, since its first receipt had become void, counts as two.
    """
    select = Statement(
        f"SELECT COUNT(*), SUM(rows_extracted) FROM {_RECEIPTS} "  # noqa: S608  # names of ours
        f"WHERE flow_run_id = {PARAM} AND table_name = {PARAM} AND status <> {PARAM} "
        f"AND finished_at >= {PARAM}",
        (flow_run_id, str(table), VOID, since),
    )
    ((batches, rows),) = tx.fetch(select)
    return int(batches), int(rows or 0)


def write_receipts(tx: Transaction, receipts: Sequence[Receipt]) -> None:
    """Add the receipts, in the transaction that changed the target."""
    for rows in sql.rows_at_once(map(to_row, receipts)):
        tx.execute(sql.insert_rows(RECEIPTS, RECEIPT_COLUMNS, rows))


def void_moment(tx: Transaction, table: TableName, now: datetime) -> datetime:
    """When a void, or a repair, is to be dated, which is about all receipts there are: after."""
    select = Statement(
        f"SELECT MAX(finished_at) FROM {_RECEIPTS} WHERE table_name = {PARAM}",  # noqa: S608
        (str(table),),
    )
    return moment_after(tx.fetch(select)[0][0], now)


def last_void(tx: Transaction, table: TableName, *labels: str) -> datetime:
    """The moment up to which the table's receipts are void; long ago if they are not.

    Args:
        tx: Where to ask.
        table: The target.
        labels: Why they are, as the labels of voids say it; whatever the reason if none is given.
    """
    why = f" AND window_label IN ({', '.join([PARAM] * len(labels))})" if labels else ""
    select = Statement(
        f"SELECT MAX(finished_at) FROM {_RECEIPTS} "  # noqa: S608  # names of ours
        f"WHERE table_name = {PARAM} AND status = {PARAM}{why}",
        (str(table), VOID, *labels),
    )
    moment: datetime | None = tx.fetch(select)[0][0]
    return moment or BEFORE_ALL


def holds_rows(tx: Transaction, table: TableName) -> bool:
    """Whether the table has rows by its receipts: carried into it, or found there."""
    if rows_held(tx, table) > 0:
        return True
    void, known = last_void(tx, table), last_known(tx, table)
    since = f"finished_at >= {PARAM}" if known > void else f"finished_at > {PARAM}"
    select = Statement(
        f"SELECT COUNT(CASE WHEN rows_deleted > 0 AND NOT {_REMOVES} THEN 1 END), "  # noqa: S608
        "SUM(CASE WHEN mode = 'full' THEN rows_inserted ELSE rows_updated + rows_unchanged END) "
        f"FROM {_RECEIPTS} WHERE table_name = {PARAM} AND {since}",
        (str(table), max(void, known)),
    )
    ((deletions, found_there),) = tx.fetch(select)
    return not deletions and bool(found_there)


def rows_held(tx: Transaction, table: TableName) -> int:
    """How many rows the table has by its receipts; a void of an empty table took them all out.

    Since a full copy it has those that this one put in, whatever it had before; since a repair has
    emptied it, none. Where there was neither, the rows that no receipt has brought are not in it,
    so that it can be less than nothing.
    """
    select = Statement(
        f"SELECT SUM(rows_inserted - CASE WHEN mode = 'full' OR status = {PARAM} THEN 0 "  # noqa: S608
        f"ELSE rows_deleted END) FROM {_RECEIPTS} WHERE table_name = {PARAM} "
        f"AND finished_at >= {PARAM}",
        (EMPTIED, str(table), last_known(tx, table)),
    )
    return int(tx.fetch(select)[0][0] or 0)


def last_known(tx: Transaction, table: TableName, emptied: str = EMPTIED) -> datetime:
    """When the table was copied as a whole, or a repair emptied it, last; long ago if never."""
    select = Statement(
        f"SELECT MAX(finished_at) FROM {_RECEIPTS} "  # noqa: S608  # names of ours
        f"WHERE table_name = {PARAM} AND (mode = 'full' OR status = {PARAM})",
        (str(table), emptied),
    )
    moment: datetime | None = tx.fetch(select)[0][0]
    return moment or BEFORE_ALL


def read_columns_carried(tx: Transaction, table: TableName) -> list[ColumnsCarried]:
    """What has landed in what the target is now, once for each set of columns."""
    of_table = f"FROM {_RECEIPTS} WHERE table_name = {PARAM}"
    last_void = f"SELECT MAX(finished_at) {of_table} AND status = {PARAM}"
    select = Statement(
        "SELECT columns_carried, COUNT(*), "
        f"MAX(CASE WHEN status = {PARAM} THEN started_at END), MAX(finished_at) {of_table} "
        f"AND status <> {PARAM} AND columns_carried IS NOT NULL "
        f"AND finished_at > COALESCE(({last_void}), {PARAM}) "
        "GROUP BY columns_carried",
        (LOADED, str(table), VOID, str(table), VOID, BEFORE_ALL),
    )
    return [ColumnsCarried(names_of(text), *found) for text, *found in tx.fetch(select)]


def read_readings(
    tx: Transaction, table: TableName, *, also_void: bool = False
) -> list[PastReading]:
    """What has landed in what the target is now, once for each way in which it was read.

    Args:
        tx: Where to ask.
        table: The target.
        also_void: Also what does not count any more, but whose rows are still there, as of a void
            for a new column: only one that tells that the target had no rows says that they went.
    """
    since = last_void(tx, table, *((TARGET_MADE_ANEW, TARGET_LOST_ROWS) if also_void else ()))
    select = Statement(
        "SELECT read_as, cursor_name, mode, status, MAX(finished_at), "  # noqa: S608
        f"MAX(COALESCE(read_at, started_at)) FROM {_RECEIPTS} WHERE table_name = {PARAM} "
        f"AND status <> {PARAM} AND finished_at > {PARAM} "
        "GROUP BY read_as, cursor_name, mode, status",
        (str(table), VOID, since),
    )
    return [PastReading(*row) for row in tx.fetch(select)]
