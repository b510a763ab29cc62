"""`ferry.receipts`: which windows were read otherwise, and what nobody has read before another."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from ferry import statements as sql
from ferry.receipts.receipt import RECEIPTS, RECONCILE, VOID
from ferry.schema import TableName
from ferry.statements import PARAM, Statement, Transaction

_RECEIPTS = sql.table_sql(RECEIPTS)


@dataclass(frozen=True)
class ReadAlike:
    """Windows that were read alike.

    Attributes:
        cursor: The cursor they were read by.
        read_as: As what they were read, as their receipts say; None in older receipts.
        windows: How many they are.
        first: The first moment of them.
        last: The first moment after them.
        landed_at: When the last of them landed.
    """

    cursor: str
    read_as: str | None
    windows: int
    first: datetime
    last: datetime
    landed_at: datetime


def read_by_others(
    tx: Transaction, table: TableName, cursor: str, read_as: str, start: datetime | None = None
) -> tuple[list[ReadAlike], datetime | None, bool]:
    """The windows that were read by another cursor, or as what receipts say in other words.

    A repair is none of them: it carries no rows.

    Args:
        tx: Where to ask.
        table: The target.
        cursor: The cursor that the table has now.
        read_as: As what it is read now, by a window.
        start: Where a window begins, to ask for that by the way.

    Returns:
        The windows; when the last one that was read just like this landed, if any did; and whether
        any, however it was read, holds the moment just before that start.
    """
    reaches, moments = "1 = 0", []
    if start:
        reaches = f"(window_start < {PARAM} AND window_end >= {PARAM})"
        moments = [start, start]
    select = Statement(
        "SELECT cursor_name, read_as, COUNT(*), MIN(window_start), MAX(window_end), "  # noqa: S608
        f"MAX(finished_at), MAX(CASE WHEN {reaches} THEN 1 ELSE 0 END) FROM {_RECEIPTS} "
        f"WHERE table_name = {PARAM} AND (cursor_name <> {PARAM} OR read_as <> {PARAM} "
        f"OR {reaches}) AND window_end IS NOT NULL AND mode <> {PARAM} "
        "GROUP BY cursor_name, read_as",
        (*moments, str(table), cursor, read_as, *moments, RECONCILE),
    )
    found = [(ReadAlike(*row[:-1]), bool(row[-1])) for row in tx.fetch(select)]
    reached = any(each for _, each in found)
    others = [
        each for each, _ in found if each.cursor != cursor or each.read_as not in (None, read_as)
    ]
    if not others:
        return [], None, reached
    select = Statement(
        f"SELECT MAX(finished_at) FROM {_RECEIPTS} WHERE table_name = {PARAM} "  # noqa: S608
        f"AND cursor_name = {PARAM} AND COALESCE(read_as, {PARAM}) = {PARAM} "
        f"AND window_end IS NOT NULL AND mode <> {PARAM}",
        (str(table), cursor, read_as, read_as, RECONCILE),
    )
    return others, tx.fetch(select)[0][0], reached


def carried_up_to(tx: Transaction, table: TableName, start: datetime) -> datetime | None:
    """Up to which moment anything was carried that begins before this one; None if nothing was."""
    select = Statement(
        f"SELECT MAX(COALESCE(window_end, read_at, started_at)) FROM {_RECEIPTS} "  # noqa: S608
        f"WHERE table_name = {PARAM} AND status <> {PARAM} AND mode <> {PARAM} "
        f"AND (window_start IS NULL OR window_start < {PARAM})",
        (str(table), VOID, RECONCILE, start),
    )
    moment: datetime | None = tx.fetch(select)[0][0]
    return moment
