"""Staging tables: the day that names them, and how they go, also those that killed runs left."""

from __future__ import annotations

import secrets
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from prefect.logging import get_run_logger

from blocks.warehouse import Warehouse
from ferry import statements as sql
from ferry.batch import STAGING_NAME, staging_table
from ferry.errors import FatalError, FerryError, SchemaError
from ferry.schema import OWN_SCHEMA, TableName
from tasks.stage import FORGOTTEN_DAYS

DAY_IS_KNOWN_SECONDS = 600


def new_staging_table(made_by: str, name: str, warehouse: Warehouse) -> TableName:
    """A name for a table of one attempt, which nobody else makes (`ferry.batch.staging_table`).

    Args:
        made_by: The id of the batch or build.
        name: The name of its table or summary.
        warehouse: It tells the day.
    """
    return staging_table(today(warehouse), made_by, secrets.token_hex(3), name)


def drop_quietly(warehouse: Warehouse, *tables: TableName) -> int:
    """Drop staging tables, each on its own; returns how many were.

    A failure is only logged: `drop_forgotten` drops them later.
    """
    dropped = 0
    for table in tables:
        try:
            warehouse.execute(sql.drop_table(table))
            dropped += 1
        except FerryError as error:
            get_run_logger().warning("%s could not be dropped yet: %s", table, error)
    return dropped


@contextmanager
def emptied_is_told(
    table: TableName | None, rows: int, warehouse: Warehouse, kind: type[FerryError]
) -> Iterator[None]:
    """Let a failure over a staging table that has lost its rows say so, and be no failure for good.

    An unlogged table is emptied when its server recovers from a crash, or a standby takes over:
    https://www.postgresql.org/docs/current/sql-createtable.html#SQL-CREATETABLE-UNLOGGED

    Args:
        table: The staging table, if there is one.
        rows: How many rows it had.
        warehouse: Where it is.
        kind: The error that lets the rows come again.

    Raises:
        FerryError: Of that kind, where the table has no rows any more, or is not there.
    """
    try:
        yield
    except FatalError as error:
        if table is None or not rows or not _has_no_rows(table, warehouse):
            raise
        raise kind(
            "the staging table has lost its rows, as an unlogged one does when the server crashes",
            expected=f"{rows:,} rows",
            found="none",
            todo="Run it again; the target is as it was. If it comes back, read the server's log.",
        ) from error


def _has_no_rows(table: TableName, warehouse: Warehouse) -> bool:
    try:
        return not warehouse.fetch(sql.any_row(table))
    except SchemaError:
        return True
    except FerryError:  # what is told is the first failure
        return False


@dataclass(frozen=True)
class _KnownDay:
    """The warehouse's day, the process's own when it asked for it, and when that was."""

    day: date
    own_day: date
    asked_at: float


_known_days: dict[str, _KnownDay] = {}
_asking: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
"""By the blocks' names."""


def today(warehouse: Warehouse) -> date:
    """The day by the warehouse's clock, in UTC: it names staging tables and tells their age.

    The machines' own clocks would not do: one that is late would make tables which another one
    holds for forgotten. The process remembers the answer until its own clock passes midnight, and
    for `DAY_IS_KNOWN_SECONDS` at most: where the two clocks differ, it is no older than that.
    """
    if warehouse.slug is None:
        return warehouse.today()
    with _asking[warehouse.slug]:  # the threads of a backfill all want to know at once
        own_day, known = datetime.now(UTC).date(), _known_days.get(warehouse.slug)
        if (
            known is None
            or known.own_day != own_day
            or time.monotonic() - known.asked_at >= DAY_IS_KNOWN_SECONDS
        ):
            known = _KnownDay(warehouse.today(), own_day, time.monotonic())
            _known_days[warehouse.slug] = known
        return known.day


def drop_forgotten(warehouse: Warehouse) -> int:
    """Drop staging tables that killed runs left behind a week ago; returns how many."""
    found = warehouse.tables_in(OWN_SCHEMA)
    matches = [match for name in found if (match := STAGING_NAME.match(name))]
    if not matches:
        return 0
    oldest = f"{today(warehouse) - timedelta(days=FORGOTTEN_DAYS):%Y%m%d}"
    forgotten = [TableName(OWN_SCHEMA, match.string) for match in matches if match[1] < oldest]
    return drop_quietly(warehouse, *forgotten)
