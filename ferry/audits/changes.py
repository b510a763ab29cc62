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
    return _set(target, rows, marks, _mark(marks, now, zone))


def unmark_row(target: Side, row: DifferentRow, marks: Deletion) -> Statement:
    """Take the mark of a deleted row from one that the source has."""
    return _set(target, [row], marks, _no_mark(marks))


def take_version_of_source(target: Side, row: DifferentRow) -> Statement:
    """Give a row that is newer in the target the source's version, so that an upsert replaces it.

    Only where the target still has the very version that was found: one that has landed meanwhile
    stays.
    """
    column = target.version or target.ordering
    assert column is not None
    which, name = _these(target, [row]), quoted(column.name)
    here, there = (as_kind(version, column.type.kind) for version in row.versions)
    return Statement(
        f"UPDATE {table_sql(target.table)} SET {name} = {PARAM} "
        f"WHERE {which.sql} AND {name} = {PARAM}",
        (here, *which.values, there),
    )


def _these(target: Side, rows: Sequence[DifferentRow]) -> Statement:
    return target.exactly([(row.target_key, row.key) for row in rows if row.target_key is not None])


def _set(target: Side, rows: Sequence[DifferentRow], marks: Deletion, value: object) -> Statement:
    which, name = _these(target, rows), quoted(marks.column.name)
    return Statement(
        f"UPDATE {table_sql(target.table)} SET {name} = {PARAM} WHERE {which.sql}",
        (value, *which.values),
    )


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
