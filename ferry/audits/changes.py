"""Changes to rows of a target that carrying again does not put right, as statements.

Each names the rows by their keys, to the last letter: an engine may take two keys for the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from ferry.audits.outcome import DifferentRow
from ferry.fingerprints.queries import Side, as_kind
from ferry.plan import stored_bound
from ferry.schema import NUMBERS, Kind
from ferry.statements import PARAM, Statement, quoted, table_sql
from ferry.write.deletions import Deletion


def delete_rows(target: Side, rows: Sequence[DifferentRow]) -> Statement:
    """Take rows out of the target."""
    which = _these(target, rows)
    return Statement(f"DELETE FROM {table_sql(target.table)} WHERE {which.sql}", which.values)


def mark_rows(
    target: Side, rows: Sequence[DifferentRow], marks: Deletion, now: datetime, zone: str
) -> Statement:
    """Mark rows as deleted: by the first value that marks, else now, true or 1.

    Args:
        target: Where they are.
        rows: The rows.
        marks: The column that marks them, and its values.
        now: The moment that is written where the mark is a time.
        zone: The zone whose wall clock it is written in, where the column has none.
    """
    which, name = _these(target, rows), quoted(marks.column.name)
    return Statement(
        f"UPDATE {table_sql(target.table)} SET {name} = {PARAM} WHERE {which.sql}",
        (_mark(marks, now, zone), *which.values),
    )


def align_row(target: Side, row: DifferentRow, marks: Deletion | None) -> Statement:
    """Let carrying a row again put it right: no upsert replaces a newer one, or takes a mark off.

    Where it is newer in the target it gets the source's version, and where it is marked as deleted
    it loses the mark. The version is changed only where the target still has the very one that was
    found: a row that has landed meanwhile stays.

    Args:
        target: Where it is.
        row: The row.
        marks: What marks deleted rows there, if the source has no such mark.
    """
    which = _these(target, [row])
    names, values = list[str](), list[object]()
    where, found = which.sql, list(which.values)
    if row.marked and marks:
        names.append(quoted(marks.column.name))
        values.append(_no_mark(marks))
    if row.ahead or not names:
        column = target.version or target.ordering
        assert column is not None
        here, there = (as_kind(version, column.type.kind) for version in row.versions)
        names.append(quoted(column.name))
        values.append(here)
        where, found = f"{where} AND {names[-1]} = {PARAM}", [*found, there]
    changes = ", ".join(f"{name} = {PARAM}" for name in names)
    return Statement(
        f"UPDATE {table_sql(target.table)} SET {changes} WHERE {where}", (*values, *found)
    )


def _these(target: Side, rows: Sequence[DifferentRow]) -> Statement:
    return target.exactly([(row.target_key, row.key) for row in rows if row.target_key is not None])


def _mark(marks: Deletion, now: datetime, zone: str) -> object:
    kind = marks.column.type.kind
    if marks.values:
        return marks.values[0]
    if kind in (Kind.TIMESTAMPTZ, Kind.TIMESTAMP, Kind.DATE):
        return stored_bound(now, kind, zone)
    return True if kind is Kind.BOOLEAN else 1


def _no_mark(marks: Deletion) -> object:
    """NULL, which marks no row; where the column takes none, false or 0, unless that marks one."""
    kind, nullable = marks.column.type.kind, marks.column.nullable
    if nullable or kind not in (Kind.BOOLEAN, *NUMBERS):
        return None
    values: tuple[object, ...] = (False, True) if kind is Kind.BOOLEAN else (0, 1)
    return next((value for value in values if value not in marks.values), None)
