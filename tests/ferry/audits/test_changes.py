"""The statements that change what carrying again does not put right."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest

from blocks.warehouses.duckdb.fingerprint import DuckDBFingerprint
from ferry.audits.changes import align_row, delete_rows, mark_rows
from ferry.audits.outcome import Difference, DifferentRow
from ferry.fingerprints.queries import Side
from ferry.schema import Column, DataType, Kind, TableName
from ferry.statements import PARAM, Statement
from ferry.write.deletions import Deletion

ID = Column("id", DataType(Kind.INT64), nullable=False)
AT = Column("at", DataType(Kind.TIMESTAMP))
SIDE = Side(DuckDBFingerprint(), TableName("raw", "t"), ((ID, False),), (ID,), ordering=AT)
NOW = datetime(2023, 1, 2, 3, tzinfo=UTC)
ROW = DifferentRow(
    Difference.EXTRA, "1", (1,), versions=(datetime(2023, 1, 1), datetime(2023, 1, 5))
)
OTHER = DifferentRow(Difference.MISSING, "2")


def marks(kind: Kind, values: tuple[Any, ...] = (), *, nullable: bool = True) -> Deletion:
    return Deletion(Column("gone", DataType(kind), nullable=nullable), values)


def bound(statement: Statement) -> int:
    """How many values it takes; each has its place."""
    assert statement.sql.count(PARAM) == len(statement.values)
    return len(statement.values)


def test_rows_are_named_by_their_key_and_its_number() -> None:
    statement = delete_rows(SIDE, [ROW, OTHER])
    assert statement.sql.startswith('DELETE FROM "raw"."t" WHERE ')
    assert bound(statement) == 2  # the key that the target has, and its number
    assert statement.values[0] == 1


def test_the_source_s_version_replaces_only_the_one_that_was_found() -> None:
    statement = align_row(SIDE, replace(ROW, ahead=True), None)
    assert statement.sql.startswith('UPDATE "raw"."t" SET "at" = ')
    assert bound(statement) == 4
    assert (statement.values[0], statement.values[-1]) == ROW.versions


def test_a_row_that_is_marked_and_newer_gets_both_in_one_statement() -> None:
    both = align_row(SIDE, replace(ROW, ahead=True, marked=True), marks(Kind.BOOLEAN))
    assert both.sql.startswith(f'UPDATE "raw"."t" SET "gone" = {PARAM}, "at" = {PARAM} WHERE ')
    assert bound(both) == 5
    assert (*both.values[:2], both.values[-1]) == (None, *ROW.versions)


@pytest.mark.parametrize(
    ("kind", "values", "value"),
    [
        (Kind.TEXT, ("Y", "X"), "Y"),
        (Kind.INT16, (0,), 0),
        (Kind.TIMESTAMPTZ, (), NOW),
        (Kind.TIMESTAMP, (), datetime(2023, 1, 1, 22)),  # as the rows beside it have it
        (Kind.DATE, (), date(2023, 1, 1)),
        (Kind.BOOLEAN, (), True),
        (Kind.INT64, (), 1),
    ],
)
def test_what_marks_a_row(kind: Kind, values: tuple[Any, ...], value: object) -> None:
    statement = mark_rows(SIDE, [ROW], marks(kind, values), NOW, "America/New_York")
    assert statement.sql.startswith('UPDATE "raw"."t" SET "gone" = ')
    assert bound(statement) == 3
    assert statement.values[0] == value


@pytest.mark.parametrize(
    ("kind", "values", "nullable", "value"),
    [
        (Kind.TEXT, ("Y",), True, None),
        (Kind.BOOLEAN, (), True, None),
        (Kind.BOOLEAN, (), False, False),
        (Kind.BOOLEAN, (False,), False, True),
        (Kind.INT16, (), False, 0),
        (Kind.INT16, (0,), False, 1),
    ],
)
def test_what_takes_the_mark_from_a_row(
    kind: Kind, values: tuple[Any, ...], nullable: bool, value: object
) -> None:
    marked = replace(ROW, marked=True)
    statement = align_row(SIDE, marked, marks(kind, values, nullable=nullable))
    assert bound(statement) == 3
    assert statement.values[0] is value
