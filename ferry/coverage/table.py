"""`ferry.coverage`: the days of every table, for whoever would rather ask the warehouse.

It is worked out from the receipts and the failures, and can be made again at any time: nothing
reads it to decide what to carry.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ferry import statements as sql
from ferry.coverage.days import TableDays
from ferry.receipts.receipt import RECEIPTS_SCHEMA
from ferry.schema import Column, DataType, Kind, TableName
from ferry.statements import Transaction

COVERAGE = TableName(RECEIPTS_SCHEMA, "coverage")
REASON_BYTES = 1024
ROWS_AT_ONCE = 500

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
known; `happened_at` when it was loaded or failed, NULL if nothing happened; `as_of` when that was
told; `audited_at` when the day was compared with the source last, NULL if it never was.
"""


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

    Args:
        tx: A transaction that keeps other runs out: of two, the later one's rows stay, once.
        table: The days.
        as_of: When they were told.
    """
    tx.execute(sql.delete_where(COVERAGE, "table_name", str(table.spec.target)))
    rows = to_rows(table, as_of)
    for begin in range(0, len(rows), ROWS_AT_ONCE):
        some = rows[begin : begin + ROWS_AT_ONCE]
        tx.execute(sql.insert_rows(COVERAGE, COVERAGE_COLUMNS, some))
