"""A batch in its staging table, about to be written, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass

from ferry import statements as sql
from ferry.capabilities import Capabilities
from ferry.errors import CountMismatchError
from ferry.schema import Column, TableName
from ferry.statements import Transaction
from ferry.windows import RepeatedTimes
from ferry.write import merge
from ferry.write.deletions import Deletion


@dataclass(frozen=True)
class Written:
    """What a write algorithm did to the target, in rows.

    Attributes:
        inserted: Rows whose key was new.
        updated: Rows that replaced another version.
        deleted: Rows taken out of the target.
        unchanged: Rows that the target has already, as they are or newer, and deletions of rows
            that it does not have.
        superseded: Rows of which the batch itself had another one of the same key that won.
        undecided_keys: Keys of superseded rows that differed, and of which none was newer.
    """

    inserted: int = 0
    updated: int = 0
    deleted: int = 0
    unchanged: int = 0
    superseded: int = 0
    undecided_keys: int = 0


@dataclass(frozen=True)
class Load:
    """A batch in its staging table, and how it is to be written.

    Attributes:
        target: The table to change.
        staging: The table that holds the batch; None for an empty batch.
        columns: The batch's columns.
        rows: Rows in the staging table.
        into_empty: Whether the target has no rows.
        key: Columns that identify a row; empty if there are none.
        cursor: Column that the batch's bounds are on; None if there is none.
        version: Column that tells which version of a row is newer; None if it is the cursor.
        repeated: Times that the clock of the version shows twice, of those that the batch may hold:
            of two versions within one of these stretches none is older (`VersionClock`).
        unique_key: Whether the source vouches that no key occurs twice in the batch.
        deleted: How a row is marked as deleted, when deletions are to be applied; None to carry
            them over.
        others_landed: Whether other batches of the table have landed since this one was read.
        allow_empty: Whether a copy of no rows may empty a target that has some.
        max_shrink_percent: By how much what replaces rows may shrink the target; None for no limit.
        any_may_win: Whether of rows of one key that differ, and of which none is newer, any one may
            win; else they are refused.
        rows_by_window: How many rows each window has, where several travel together: the staging
            table tells by `WINDOW_NUMBER` which one a row is of. Each is then counted by itself.
    """

    target: TableName
    staging: TableName | None
    columns: tuple[Column, ...]
    rows: int
    into_empty: bool
    key: tuple[Column, ...] = ()
    cursor: str | None = None
    version: str | None = None
    repeated: tuple[RepeatedTimes, ...] = ()
    unique_key: bool = False
    deleted: Deletion | None = None
    others_landed: bool = False
    allow_empty: bool = False
    max_shrink_percent: int | None = None
    any_may_win: bool = False
    rows_by_window: tuple[int, ...] = ()


def insert(tx: Transaction, load: Load, capabilities: Capabilities) -> int:
    """Insert the staging table's rows, but for those to be deleted; returns how many.

    Raises:
        CountMismatchError: The staging table does not hold the rows that were copied.
    """
    if load.staging is None:
        return 0
    if load.deleted is None:
        inserted = tx.execute(sql.insert_all(load.target, load.staging, load.columns))
        expect(load, inserted)
        return inserted
    marked = load.deleted.condition(capabilities.pads_text)
    inserted = tx.execute(sql.insert_all(load.target, load.staging, load.columns, marked))
    left_out = int(tx.fetch(merge.count_deleted(load.staging, marked))[0][0])
    expect(load, inserted + left_out)
    return inserted


def expect(load: Load, found: int) -> None:
    """Refuse a staging table of another number of rows.

    Raises:
        CountMismatchError: It does not hold the rows that were copied.
    """
    if found != load.rows:
        raise CountMismatchError(
            "rows in the staging table are not the rows copied",
            expected=load.rows,
            found=found,
            todo="Another process may have changed the staging table. Nothing is committed and the "
            "target is as it was; run it again.",
        )
