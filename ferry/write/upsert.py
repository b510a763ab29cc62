"""Upsert: rows of a batch replace the target's rows of the same key, unless those are newer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from ferry import statements as sql
from ferry.batch import WINDOW_NUMBER
from ferry.capabilities import Capabilities
from ferry.errors import ApartError, CountMismatchError, DataError
from ferry.schema import NUMBERS, TIMES, Column, TableName
from ferry.statements import Statement, Transaction
from ferry.write import merge, repeated_keys
from ferry.write.load import Load, Written, expect, insert
from ferry.write.refusals import refuse_stale

MANY_ROWS = 100_000
"""From so many rows on it is asked first whether the target has all of them already: to take them
all out of the staging table would cost several times the question."""


def upsert(tx: Transaction, load: Load, capabilities: Capabilities) -> list[Written]:
    """Let the batch's rows replace the target's rows of the same key, never an older a newer one.

    Where the version is a wall clock, of two within an hour that its clock repeats none is older
    (`Load.repeated`): what was read last is what the source has.

    Returns:
        What became of the batch; of several windows that travel together, of each.

    Raises:
        DataError: A row without a full key, or rows of one key that differ and none is newer.
        StaleReadError: Another batch has landed since this one was read, and a row of this one
            differs from the target's, with nothing to tell which of them is newer.
        ApartError: Rows of one key, in windows that travel together.
        CountMismatchError: The staging table does not hold the rows that were copied.
    """
    whole = load.rows_by_window or (load.rows,)
    if load.staging is None:
        return [Written()] * len(whole)
    if load.into_empty:
        if load.unique_key and load.deleted is None:
            insert(tx, load, capabilities)
            return [Written(inserted=rows) for rows in whole]
        key_range, is_new = None, True
        _check_keys(tx, load, None)
    else:
        key_range = _check_keys(tx, load, _ranged(load))
        is_new = key_range is not None and not _occupied(tx, load, key_range)
    load, staging, repeated = _newest_only(tx, load, load.staging, capabilities.pads_text)
    prefix = sql.table_sql(staging) + "."
    marked = load.deleted.condition(capabilities.pads_text, prefix) if load.deleted else None
    count = _Counter(tx, load, staging)
    staged = count.all()
    left, removed, gone = staged, count.none(), count.none()
    if not is_new:
        overlap = _Overlap(tx, load, staging, key_range, marked, capabilities)
        if load.rows >= MANY_ROWS and overlap.is_all_known():
            return [replace(repeated, unchanged=rows) for rows in staged]
        unchanged = overlap.take_out_known()
        load = replace(load, rows=load.rows - unchanged)
        left = count.left(staged, unchanged)
        if load.others_landed:
            overlap.refuse_undecided()
        removed, gone = overlap.take_out_replaced(count)
    if load.rows_by_window and marked:
        left = count.left_unmarked(marked)
    inserted = count.agreed(left, insert(tx, load, capabilities))
    counts = zip(staged, inserted, removed, gone, strict=True)
    return [_written(*each, repeated) for each in counts]


def _written(staged: int, inserted: int, removed: int, gone: int, repeated: Written) -> Written:
    """What became of rows.

    Args:
        staged: How many came, of each key one.
        inserted: Rows that went into the target.
        removed: Rows that the target had of their keys.
        gone: Those of them whose deletion was applied.
        repeated: What became of other rows of their keys.
    """
    updated = min(inserted, removed - gone)
    return replace(
        repeated,
        inserted=inserted - updated,
        updated=updated,
        deleted=removed - updated,
        unchanged=staged - inserted - gone,
    )


class _Counter:
    """Counts rows of the staging table: of each window where several travel together, else of all.

    Args:
        tx: The transaction.
        load: The batch, before anything was taken out of its staging table.
        staging: The table.
    """

    def __init__(self, tx: Transaction, load: Load, staging: TableName) -> None:
        self._tx, self._staging = tx, staging
        self._windows = load.rows_by_window
        self._rows = load.rows

    def all(self) -> list[int]:
        """Those that came."""
        return list(self._windows) or [self._rows]

    def none(self) -> list[int]:
        """No rows."""
        return [0] * len(self.all())

    def left(self, staged: list[int], taken_out: int) -> list[int]:
        """Those that are still there."""
        if not self._windows:
            return [self._rows - taken_out]
        if taken_out in (0, self._rows):
            return self.none() if taken_out else staged
        rows = self.of(Statement(f"SELECT {self.item} FROM {sql.table_sql(self._staging)}"))  # noqa: S608  # ours
        return self.agreed(rows, self._rows - taken_out)

    def left_unmarked(self, marked: Statement) -> list[int]:
        """Those that are still there, and whose deletion is not to be applied."""
        return self.of(
            Statement(
                f"SELECT {self.item} FROM {sql.table_sql(self._staging)} WHERE NOT {marked.sql}",  # noqa: S608
                marked.values,
            )
        )

    @property
    def item(self) -> str:
        """What is selected of each row, to be counted."""
        if not self._windows:
            return "1 AS ferry__one"
        return f"{sql.table_sql(self._staging)}.{sql.quoted(WINDOW_NUMBER.name)}"

    def of(self, select: Statement) -> list[int]:
        """Those for which a statement selects the item."""
        if not self._windows:
            question = f"SELECT COUNT(*) FROM ({select.sql}) AS counted"  # noqa: S608  # ours
            return [int(self._tx.fetch(Statement(question, select.values))[0][0])]
        name = sql.quoted(WINDOW_NUMBER.name)
        question = f"SELECT {name}, COUNT(*) FROM ({select.sql}) AS counted GROUP BY {name}"  # noqa: S608
        counted = self.none()
        for window, rows in self._tx.fetch(Statement(question, select.values)):
            counted[int(window)] += int(rows)
        return counted

    def agreed(self, by_window: list[int], rows: int) -> list[int]:
        """The counts, if they are together what a statement says that it touched.

        Raises:
            CountMismatchError: They are not.
        """
        if not self._windows:
            return [rows]
        if sum(by_window) != rows:
            raise CountMismatchError(
                "rows counted by window are not the rows written",
                expected=sum(by_window),
                found=rows,
                todo="Nothing is committed and the target is as it was; run it again.",
            )
        return by_window


@dataclass(frozen=True)
class _KeyRange:
    """The lowest and the highest value of a key column in the batch.

    A row of the target whose key is in the batch has its value between them.
    """

    column: str
    low: Any
    high: Any


@dataclass(frozen=True)
class _Overlap:
    """A batch in its staging table, beside what the target has of its keys.

    Attributes:
        tx: The transaction.
        load: The batch.
        staging: Its table, with one row of each key.
        key_range: Where in the target its keys are; None if that is not known.
        marked: Which of its rows are deletions to be applied; None if there are none.
        capabilities: The warehouse's.
    """

    tx: Transaction
    load: Load
    staging: TableName
    key_range: _KeyRange | None
    marked: Statement | None
    capabilities: Capabilities

    def is_all_known(self) -> bool:
        """Whether the target has all rows already, as they are or newer."""
        unknown = merge.count_unknown(*self._tables, self._known, self.load.key)
        return not self.tx.fetch(unknown)[0][0]

    def take_out_known(self) -> int:
        """Take those rows out of the staging table; returns how many."""
        using = self.capabilities.deletes_using
        return self.tx.execute(merge.delete_joined(*self._tables, self._known, using=using))

    def refuse_undecided(self) -> None:
        """Refuse rows that differ from the target's, with nothing to tell which is newer.

        Raises:
            StaleReadError: There are such.
        """
        undecided = merge.count_undecided(
            *self._tables,
            self.load.key,
            self._version,
            self.capabilities.pads_text,
            self.load.repeated,
        )
        refuse_stale(int(self.tx.fetch(self._narrowed(undecided))[0][0]))

    def take_out_replaced(self, count: _Counter) -> tuple[list[int], list[int]]:
        """Take the rows of the batch's keys out of the target.

        Returns:
            How many these were, and how many of them were deleted at the source.
        """
        given = (*self._tables, self.load.key)
        pads_text = self.capabilities.pads_text
        removed, gone = count.none(), count.none()
        if self.marked:
            deletable = merge.select_deletable(count.item, *given, self.marked, pads_text)
            gone = count.of(self._narrowed(deletable))
        if self.load.rows_by_window:
            matching = merge.select_matching(count.item, *given, pads_text)
            removed = count.of(self._narrowed(matching))
        ours = merge.delete_matching(
            self.load.target,
            self.staging,
            self.load.key,
            pads_text=pads_text,
            using=self.capabilities.deletes_using,
        )
        return count.agreed(removed, self.tx.execute(self._narrowed(ours))), gone

    @cached_property
    def _known(self) -> Statement:
        """The condition that the target has one of its rows already, as it is or newer."""
        known = merge.known(
            *self._tables,
            self.load.columns,
            self.load.key,
            self._version,
            pads_text=self.capabilities.pads_text,
            repeated=self.load.repeated,
            deleted=self.marked,
        )
        return self._narrowed(known)

    @property
    def _tables(self) -> tuple[TableName, TableName]:
        return self.staging, self.load.target

    @property
    def _version(self) -> str | None:
        return self.load.version or self.load.cursor

    def _narrowed(self, statement: Statement | str) -> Statement:
        """The statement, held to where the batch's keys are in the target."""
        if self.key_range is None:
            return Statement.of(statement)
        at = self.key_range
        return sql.only_within(statement, self.load.target, at.column, at.low, at.high)


def _ranged(load: Load) -> Column | None:
    """The first column of the key whose order is the same everywhere, and agrees with equality."""
    return next((column for column in load.key if column.type.kind in NUMBERS + TIMES), None)


def _occupied(tx: Transaction, load: Load, key_range: _KeyRange) -> bool:
    """Whether the target has any row within the range."""
    lowest = sql.lowest_within(load.target, key_range.column, key_range.low, key_range.high)
    return tx.fetch(lowest)[0][0] is not None


def _check_keys(tx: Transaction, load: Load, ranged: Column | None) -> _KeyRange | None:
    """Refuse a batch without full keys; returns the range of a column of the key."""
    assert load.staging is not None
    names = [column.name for column in load.key]
    counted = sql.count_keyed_rows(load.staging, names, ranged.name if ranged else None)
    rows, keyed, low, high = tx.fetch(counted)[0]
    expect(load, int(rows))
    if rows != keyed:
        raise DataError(
            f"rows without a full key ({', '.join(names)})",
            expected="no NULL in the key",
            found=f"{rows - keyed} rows",
            todo="Choose a key whose columns are never NULL.",
        )
    return _KeyRange(ranged.name, low, high) if ranged else None


def _newest_only(
    tx: Transaction, load: Load, staging: TableName, pads_text: bool
) -> tuple[Load, TableName, Written]:
    """The load with just one row of each key, the newest; its table; and what became of the rest.

    Raises:
        DataError: Rows of one key differ and none is newer, and not any of them may win.
        ApartError: There are such keys, and several windows, which each have to tell of theirs.
    """
    repeats = repeated_keys.count_repeated_keys(staging, load.key, pads_text)
    if load.unique_key or not tx.fetch(repeats)[0][0]:
        return load, staging, Written()
    if load.rows_by_window:
        raise ApartError("there are rows of one key in windows that were read together")
    newest = newest_table(staging)
    tx.execute(sql.drop_table(newest))
    version = load.version or load.cursor
    rules = (load.columns, load.key, version, pads_text)
    tx.execute(repeated_keys.create_newest(newest, staging, *rules))
    rows = int(tx.fetch(sql.count_rows(newest))[0][0])
    undecided = repeated_keys.count_undecided_keys(newest, staging, *rules, load.repeated)
    keys = int(tx.fetch(undecided)[0][0])
    if keys and not load.any_may_win:
        raise repeated_keys.undecided_keys(load.key, version, keys, repeats=bool(load.repeated))
    repeated = Written(superseded=load.rows - rows, undecided_keys=keys)
    return replace(load, staging=newest, rows=rows), newest, repeated


def newest_table(staging: TableName) -> TableName:
    """The table beside the staging table that holds just the newest row of each key."""
    return TableName(staging.schema, f"{staging.name}_newest")
