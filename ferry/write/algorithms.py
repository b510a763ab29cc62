"""The write algorithms, once for all warehouses.

Each works within one transaction over `Transaction`, counts what it did, and can be repeated:

- `replace_all`: the target becomes the batch.
- `upsert`: rows of the batch replace the target's rows of the same key, unless the target has a
  newer version; the newest row of a key in the batch wins.
- `replace_from`: the target's rows at or after a bound become the batch (append without a key).

`write` chooses among them. A window needs a key: without one, nothing tells which of the target's
rows it replaces.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from ferry import statements as sql
from ferry.batch import CursorValue
from ferry.capabilities import Capabilities
from ferry.errors import CountMismatchError, DataError, no_window_without_key
from ferry.schema import Column, Kind, TableName
from ferry.statements import Statement
from ferry.write import merge, repeated_keys
from ferry.write.deletions import Deletion
from ferry.write.refusals import (
    no_cursor_in_target,
    refuse_emptying,
    refuse_shrinking,
    refuse_stale,
)

_NOT_GROUPED = (Kind.JSON, Kind.BINARY)
"""Kinds that not every engine can group by: Redshift groups by no SUPER."""

_ORDERED = (
    Kind.INT16,
    Kind.INT32,
    Kind.INT64,
    Kind.DECIMAL,
    Kind.DATE,
    Kind.TIMESTAMP,
    Kind.TIMESTAMPTZ,
)


class Transaction(Protocol):
    """An open transaction of a warehouse. Text without values may be a plain `str`."""

    def execute(self, statement: Statement | str) -> int:
        """Run one statement; returns the rows it touched."""
        ...

    def fetch(self, statement: Statement | str) -> list[tuple[Any, ...]]:
        """The rows of one query."""
        ...


@dataclass(frozen=True)
class Landed:
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
        key: Columns that identify a row; empty if there are none.
        cursor: Column that the batch's bounds are on; None if there is none.
        version: Column that tells which version of a row is newer; None if it is the cursor.
        unique_key: Whether the source vouches that no key occurs twice in the batch.
        deleted: How a row is marked as deleted, when deletions are to be applied; None to carry
            them over.
        others_landed: Whether other batches of the table have landed since this one was read.
        into_empty: Whether the target has no rows; None if nobody has looked.
        allow_empty: Whether a copy of no rows may empty a target that has some.
        max_shrink_percent: By how much what replaces rows may shrink the target; None for no limit.
        any_may_win: Whether of rows of one key that differ, and of which none is newer, any one may
            win; else they are refused.
    """

    target: TableName
    staging: TableName | None
    columns: tuple[Column, ...]
    rows: int
    key: tuple[Column, ...] = ()
    cursor: str | None = None
    version: str | None = None
    unique_key: bool = False
    deleted: Deletion | None = None
    others_landed: bool = False
    into_empty: bool | None = None
    allow_empty: bool = False
    max_shrink_percent: int | None = None
    any_may_win: bool = False


def write(
    tx: Transaction,
    load: Load,
    capabilities: Capabilities,
    mode: str,
    start: CursorValue | None = None,
    emptied: Sequence[str] = (),
) -> Landed:
    """Let the batch into its target, by the algorithm that its mode and its key ask for.

    Args:
        tx: The transaction that writes the receipt, too.
        load: The batch.
        capabilities: What the warehouse can do.
        mode: full, window or watermark.
        start: The bound from which a watermark without a key was read; None if all was.
        emptied: Statements to run in a full copy while the target has no rows.

    Raises:
        RequestError: A window of a table without a key.
        DataError, StaleReadError, CountMismatchError: As the algorithms below.
    """
    if mode == "full":
        return replace_all(tx, load, capabilities, emptied)
    if load.key:
        return upsert(tx, load, capabilities)
    if mode == "window":
        raise no_window_without_key(str(load.target))
    return replace_from(tx, load, start, capabilities)


def replace_all(
    tx: Transaction, load: Load, capabilities: Capabilities, emptied: Sequence[str] = ()
) -> Landed:
    """Make the target hold just the batch.

    Args:
        tx: The transaction.
        load: The batch.
        capabilities: What the warehouse can do.
        emptied: Statements to run while the target has no rows.

    Raises:
        DataError: The target would be emptied, or shrink by more than it may.
        CountMismatchError: The staging table does not hold the rows that were copied.
    """
    deleted = tx.execute(sql.delete_all(load.target))
    for statement in emptied:
        tx.execute(statement)
    inserted = _insert(tx, load, capabilities)
    refuse_emptying(inserted, deleted, allowed=load.allow_empty, some_deleted=bool(load.deleted))
    refuse_shrinking(inserted, deleted, load.max_shrink_percent)
    return Landed(inserted=inserted, deleted=deleted, unchanged=load.rows - inserted)


def replace_from(
    tx: Transaction, load: Load, start: CursorValue | None, capabilities: Capabilities
) -> Landed:
    """Make the target's rows at or after `start` be the batch.

    Without `start`, those at or after the batch's lowest cursor: what the target has before it, and
    where the batch is empty all that it has, the source has forgotten. Rows that are there before
    and after are counted as unchanged, the others as deleted and inserted; where a column's values
    cannot be grouped, all are.

    Raises:
        DataError: The target would shrink by more than it may, or has rows, and none with a cursor:
            nothing tells which of them the batch replaces.
        CountMismatchError: The staging table does not hold the rows that were copied.
    """
    if load.staging is None:
        return Landed()
    if load.cursor is None:
        return replace_all(tx, load, capabilities)
    if start is None and not load.into_empty and tx.fetch(sql.any_row(load.target)):
        start = tx.fetch(sql.lowest_and_highest(load.staging, load.cursor))[0][0]
        comparable = tx.fetch(sql.any_row(load.target, with_value_in=load.cursor))
        if start is None or not comparable:
            raise no_cursor_in_target(load.cursor)
    if start is None:
        return Landed(inserted=_insert(tx, load, capabilities))
    before = 0
    if load.max_shrink_percent is not None:
        before = int(tx.fetch(sql.count_rows(load.target))[0][0])
    same = 0
    if not any(column.type.kind in _NOT_GROUPED for column in load.columns):
        count = merge.count_equal_rows(
            load.staging, load.target, load.columns, load.cursor, start, capabilities.pads_text
        )
        same = int(tx.fetch(count)[0][0] or 0)
    deleted = tx.execute(sql.delete_from(load.target, load.cursor, start))
    inserted = _insert(tx, load, capabilities)
    refuse_shrinking(before - deleted + inserted, before, load.max_shrink_percent)
    return Landed(inserted=inserted - same, deleted=deleted - same, unchanged=same)


def upsert(tx: Transaction, load: Load, capabilities: Capabilities) -> Landed:
    """Let the batch's rows replace the target's rows of the same key, never an older a newer one.

    Raises:
        DataError: A row without a full key, or rows of one key that differ and none is newer.
        StaleReadError: Another batch has landed since this one was read, and a row of this one
            differs from the target's, with nothing to tell which of them is newer.
        CountMismatchError: The staging table does not hold the rows that were copied.
    """
    if load.staging is None:
        return Landed()
    empty = load.into_empty
    if empty is None:
        empty = not tx.fetch(sql.any_row(load.target))
    if empty:
        if load.unique_key and load.deleted is None:
            return Landed(inserted=_insert(tx, load, capabilities))
        span, is_new = None, True
        _check_keys(tx, load, None)
    else:
        span = _check_keys(tx, load, _ranged(load))
        is_new = span is not None and not _occupied(tx, load, span)
    pads_text = capabilities.pads_text
    load, staging, repeated = _newest_only(tx, load, load.staging, pads_text)
    if is_new:
        inserted = _insert(tx, load, capabilities)
        return replace(repeated, inserted=inserted, unchanged=load.rows - inserted)

    def narrowed(statement: Statement | str) -> Statement | str:
        if span is None:
            return statement
        return sql.only_within(statement, load.target, span.column, span.low, span.high)

    prefix = sql.table_sql(staging) + "."
    marked = load.deleted.condition(pads_text, prefix) if load.deleted else None
    known = merge.delete_known(
        staging,
        load.target,
        load.columns,
        load.key,
        load.version or load.cursor,
        pads_text=pads_text,
        deleted=marked,
    )
    unchanged = tx.execute(narrowed(known))
    load = replace(load, rows=load.rows - unchanged)
    if load.others_landed:
        undecided = merge.count_undecided(
            staging, load.target, load.key, load.version or load.cursor, pads_text
        )
        refuse_stale(int(tx.fetch(narrowed(undecided))[0][0]))
    gone = 0
    if marked:
        count = merge.count_deletable(staging, load.target, load.key, marked, pads_text)
        gone = int(tx.fetch(narrowed(count))[0][0])
    matching = merge.delete_matching(load.target, staging, load.key, pads_text)
    removed = tx.execute(narrowed(matching))
    inserted = _insert(tx, load, capabilities)
    updated = min(inserted, removed - gone)
    return replace(
        repeated,
        inserted=inserted - updated,
        updated=updated,
        deleted=removed - updated,
        unchanged=unchanged + load.rows - inserted - gone,
    )


def _insert(tx: Transaction, load: Load, capabilities: Capabilities) -> int:
    """Insert the staging table's rows, but for those to be deleted; returns how many."""
    if load.staging is None:
        return 0
    if load.deleted is None:
        inserted = tx.execute(sql.insert_all(load.target, load.staging, load.columns))
        _expect(load, inserted)
        return inserted
    marked = load.deleted.condition(capabilities.pads_text)
    inserted = tx.execute(sql.insert_all(load.target, load.staging, load.columns, marked))
    left_out = int(tx.fetch(merge.count_deleted(load.staging, marked))[0][0])
    _expect(load, inserted + left_out)
    return inserted


def _expect(load: Load, found: int) -> None:
    if found != load.rows:
        raise CountMismatchError(
            "rows in the staging table are not the rows copied",
            expected=load.rows,
            found=found,
            todo="Another process may have changed the staging table. Nothing is committed and the "
            "target is as it was; run it again.",
        )


@dataclass(frozen=True)
class _Span:
    """The lowest and the highest value of a key column in the batch.

    A row of the target whose key is in the batch has its value between them.
    """

    column: str
    low: Any
    high: Any


def _ranged(load: Load) -> Column | None:
    """The first column of the key whose order is the same everywhere, and agrees with equality."""
    return next((column for column in load.key if column.type.kind in _ORDERED), None)


def _occupied(tx: Transaction, load: Load, span: _Span) -> bool:
    """Whether the target has any row within the span."""
    lowest = sql.lowest_within(load.target, span.column, span.low, span.high)
    return tx.fetch(lowest)[0][0] is not None


def _check_keys(tx: Transaction, load: Load, ranged: Column | None) -> _Span | None:
    """Refuse a batch without full keys; returns the span of a column of the key."""
    assert load.staging is not None
    names = [column.name for column in load.key]
    counted = sql.count_keyed_rows(load.staging, names, ranged.name if ranged else None)
    rows, keyed, low, high = tx.fetch(counted)[0]
    _expect(load, int(rows))
    if rows != keyed:
        raise DataError(
            f"rows without a full key ({', '.join(names)})",
            expected="no NULL in the key",
            found=f"{rows - keyed} rows",
            todo="Choose a key whose columns are never NULL.",
        )
    return _Span(ranged.name, low, high) if ranged else None


def _newest_only(
    tx: Transaction, load: Load, staging: TableName, pads_text: bool
) -> tuple[Load, TableName, Landed]:
    """The load with just one row of each key, the newest; its table; and what became of the rest.

    Raises:
        DataError: Rows of one key differ and none is newer, and not any of them may win.
    """
    repeats = repeated_keys.count_repeated_keys(staging, load.key, pads_text)
    if load.unique_key or not tx.fetch(repeats)[0][0]:
        return load, staging, Landed()
    newest = newest_table(staging)
    tx.execute(sql.drop_table(newest))
    version = load.version or load.cursor
    rules = (load.columns, load.key, version, pads_text)
    tx.execute(repeated_keys.create_newest(newest, staging, *rules))
    rows = int(tx.fetch(sql.count_rows(newest))[0][0])
    undecided = repeated_keys.count_undecided_keys(newest, staging, *rules)
    keys = int(tx.fetch(undecided)[0][0])
    if keys and not load.any_may_win:
        raise repeated_keys.undecided_keys(load.key, version, keys)
    repeated = Landed(superseded=load.rows - rows, undecided_keys=keys)
    return replace(load, staging=newest, rows=rows), newest, repeated


def newest_table(staging: TableName) -> TableName:
    """The table beside the staging table that holds just the newest row of each key."""
    return TableName(staging.schema, f"{staging.name}_newest")
