"""That a table was found without its rows, as its receipts tell."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from ferry import statements as sql
from ferry.receipts.receipt import RECEIPTS, TARGET_LOST_ROWS, TARGET_MADE_ANEW, VOID
from ferry.receipts.table import last_known
from ferry.schema import TableName
from ferry.statements import PARAM, Statement, Transaction

_RECEIPTS = sql.table_sql(RECEIPTS)


@dataclass(frozen=True)
class Loss:
    """That a table had lost all of its rows.

    Attributes:
        rows: How many it had by its receipts; of several losses, the most. None are counted where
            others had brought them, and receipts tell only that they were there.
        at: When a run found the last one.
    """

    rows: int
    at: datetime


def last_replaced(tx: Transaction, tables: Collection[str]) -> frozenset[tuple[str, datetime]]:
    """Tables that were found without rows, or copied as a whole, each with when that was last."""
    select = Statement(
        f"SELECT table_name, MAX(finished_at) FROM {_RECEIPTS} "  # noqa: S608  # names of ours
        f"WHERE (mode = 'full' OR status = {PARAM}) "
        f"AND table_name IN ({', '.join(PARAM for _ in tables)}) GROUP BY table_name",
        (VOID, *tables),
    )
    return frozenset((table, moment) for table, moment in tx.fetch(select))


def last_loss(tx: Transaction, table: TableName) -> Loss | None:
    """When the table was last found without its rows; None if never, or not since a full copy.

    One that was made anew had some, where a receipt had found them there.
    """
    # Not correlated, which Redshift does not do for a comparison like this.
    found = (
        f"(SELECT MIN(finished_at) FROM {_RECEIPTS} WHERE table_name = {PARAM} "  # noqa: S608
        f"AND status <> {PARAM} AND finished_at > {PARAM} AND rows_updated + rows_unchanged > 0)"
    )
    select = Statement(
        f"SELECT MAX(rows_deleted), MAX(finished_at) FROM {_RECEIPTS} "  # noqa: S608
        f"WHERE table_name = {PARAM} AND status = {PARAM} AND finished_at > {PARAM} "
        f"AND (rows_deleted > 0 OR window_label = {PARAM} "
        f"OR window_label = {PARAM} AND finished_at >= {found})",
        (
            *(str(table), VOID, last_known(tx, table, ""), TARGET_LOST_ROWS, TARGET_MADE_ANEW),
            *(str(table), VOID, last_known(tx, table)),
        ),
    )
    ((rows, at),) = tx.fetch(select)
    return None if at is None else Loss(int(rows), at)
