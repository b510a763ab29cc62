"""What the write algorithms refuse, in words for people."""

from __future__ import annotations

from collections.abc import Sequence

from ferry.errors import DataError, SchemaError, StaleReadError
from ferry.schema import TableName
from ferry.statements import copy_aside, quoted, table_sql


def refuse_emptying(rows: int, before: int, *, allowed: bool, some_deleted: bool) -> None:
    """Refuse a full copy of nothing: a source between TRUNCATE and reload looks like that.

    Args:
        rows: The target's rows after it; none is `refuse_emptying`'s to judge.
        before: The target's rows before.
        allowed: Whether the spec allows it.
        some_deleted: Whether rows that are marked as deleted are left out.

    Raises:
        DataError: The target has rows, and would have none. No retry helps.
    """
    if before and not rows and not allowed:
        left_out = ", leaving out those marked as deleted" if some_deleted else ""
        raise DataError(
            "a full copy of no rows would empty the target",
            expected=f"rows, as the target has {before:,}",
            found=f"none in the source{left_out}",
            todo="Look whether the source is the right one, and whole. If it is really empty, say "
            "`allow_empty: true` in the table's spec.",
        )


def refuse_shrinking(rows: int, before: int, limit: int | None) -> None:
    """Refuse what replaces rows by fewer: the wrong source looks like one that shrank.

    Args:
        rows: The target's rows after it.
        before: The target's rows before.
        limit: By how many per cent it may shrink; None for no limit.

    Raises:
        DataError: It would shrink by more.
    """
    if limit is not None and rows and rows * 100 < before * (100 - limit):
        raise DataError(
            f"it would shrink the target by more than {limit} %",
            expected=f"at least {-(-before * (100 - limit) // 100):,} rows in the target",
            found=f"{rows:,}, and {before:,} before",
            todo="Look whether the source is the right one, and whole. If it is, raise "
            "`max_shrink_percent` in the table's spec.",
        )


def would_empty(
    table: TableName, key: Sequence[str], held: Sequence[str], *, windows: bool
) -> SchemaError:
    """Of what replaces every row, where columns hold values that the source has not.

    Args:
        table: The target.
        key: Its key, as the spec names it.
        held: These columns.
        windows: Whether windows of it can be carried.
    """
    drops = " ".join(f"ALTER TABLE {table_sql(table)} DROP COLUMN {quoted(n)};" for n in held)
    return SchemaError(
        f"it replaces every row, and would empty columns of `target_only`: {', '.join(held)}",
        table=str(table),
        expected="no value in them, as the source has not these columns",
        found="values that are nowhere else",
        todo=(
            "Carry windows instead, which leave them in rows that do not change; or copy them"
            if windows
            else "Copy them"
        )
        + f" to a table of their own: {copy_aside(table, key, held)} Drop them here: {drops} And "
        "take them out of `target_only`.",
    )


def no_cursor_in_target(cursor: str) -> DataError:
    """Of a batch without a key that is all there is, read by a cursor that the target has not."""
    return DataError(
        "nothing tells which rows of the target it replaces: without a key, that is their cursor",
        expected=f"a value of {cursor} in the target's rows",
        found="none in any",
        todo="Carry it once in mode full, which replaces all rows by those that the source has "
        "now; rows that the source has no more are lost by that.",
    )


def refuse_stale(rows: int) -> None:
    """Refuse what was read before another batch landed, and may be older than what that brought.

    Args:
        rows: How many rows differ from the target's, with nothing to tell which is newer.

    Raises:
        StaleReadError: There are some.
    """
    if rows:
        raise StaleReadError(
            "another batch of the table landed since this one was read, and nothing tells which "
            "of two versions of a row is newer",
            expected="rows that the target has not, has alike, or has in a version that differs",
            found=f"{rows:,} rows that differ, and whose version or cursor is equal, or of "
            "one hour that the clocks repeat",
            todo="It has to be read again. A `version` column in the table's spec tells which "
            "version of a row is newer.",
        )
