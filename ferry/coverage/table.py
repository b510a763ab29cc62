"""`ferry.coverage`: the days of every table, for whoever would rather ask the warehouse.

It is worked out from the receipts and the failures, and can be made again at any time: nothing
reads it to decide what to carry.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from ferry import statements as sql
from ferry.coverage.days import TableDays
from ferry.schema import OWN_SCHEMA, Column, DataType, Kind, TableName
from ferry.statements import PARAM, Statement, Transaction

COVERAGE = TableName(OWN_SCHEMA, "coverage")
REASON_BYTES = 1024

_TEXT = DataType(Kind.TEXT, max_bytes=256)
_MOMENT = DataType(Kind.TIMESTAMPTZ)

COVERAGE_COLUMNS: tuple[Column, ...] = (
    Column("table_name", _TEXT, nullable=False),
    Column("day", DataType(Kind.DATE), nullable=False),
    Column("zone", _TEXT, nullable=False),
    Column("status", _TEXT, nullable=False),
    Column("reason", DataType(Kind.TEXT, max_bytes=REASON_BYTES)),
    Column("happened_at", _MOMENT),
    Column("as_of", _MOMENT, nullable=False),
    Column("audited_at", _MOMENT),
)
"""One row for each day of a table.

`status` is loaded, failed, missing or drifted; `reason` why it is not loaded, as far as that is
known; `happened_at` when it was loaded or failed, NULL if nothing happened; `as_of` when the
row was written; `audited_at` when the day was compared with the source last, NULL if it never was.
"""

_DAY, _AS_OF = ([column.name for column in COVERAGE_COLUMNS].index(n) for n in ("day", "as_of"))


def to_rows(table: TableDays, as_of: datetime) -> list[tuple[Any, ...]]:
    """The days' values in the order of `COVERAGE_COLUMNS`."""
    name = str(table.spec.target)
    return [
        (
            name,
            each.day,
            table.zone,
            str(each.standing.status),
            each.standing.reason.encode()[:REASON_BYTES].decode(errors="ignore") or None,
            each.standing.at,
            as_of,
            each.audited_at,
        )
        for each in table.days
    ]


def rewrite(tx: Transaction, table: TableDays, as_of: datetime) -> None:
    """Let the table's rows in `ferry.coverage` be these days; other tables' rows stay.

    Of years of days few change from one run to the next: a day that stands as it did keeps its row.

    Args:
        tx: A transaction that keeps other runs out: of two, the later one's rows stay, once.
        table: The days.
        as_of: When they were told.
    """
    name = str(table.spec.target)
    told = {row[_DAY]: row for row in to_rows(table, as_of)}
    before = tx.fetch(sql.select_where(COVERAGE, COVERAGE_COLUMNS, "table_name", name))
    times = Counter(row[_DAY] for row in before)
    same = {
        row[_DAY]
        for row in before
        if times[row[_DAY]] == 1 and row[_DAY] in told and _says(row) == _says(told[row[_DAY]])
    }
    for days in sql.rows_at_once([(day,) for day in times if day not in same]):
        tx.execute(_delete_days(name, [day for (day,) in days]))
    for rows in sql.rows_at_once([row for day, row in told.items() if day not in same]):
        tx.execute(sql.insert_rows(COVERAGE, COVERAGE_COLUMNS, rows))


def _says(row: Sequence[Any]) -> list[Any]:
    """All that a row tells, but for when that was."""
    return [value for place, value in enumerate(row) if place != _AS_OF]


def _delete_days(table_name: str, days: Sequence[object]) -> Statement:
    return Statement(
        f"DELETE FROM {sql.table_sql(COVERAGE)} WHERE table_name = {PARAM} "  # noqa: S608
        f"AND day IN ({', '.join(PARAM for _ in days)})",
        (table_name, *days),
    )
