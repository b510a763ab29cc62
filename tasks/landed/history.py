"""What a warehouse remembers of a table, and of a run: its receipts and failures, read."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from prefect import task

from blocks.warehouse import Warehouse
from ferry import statements as sql
from ferry.coverage.standings import Coverage, coverage_of
from ferry.cursors import find_cursor
from ferry.errors import SchemaError
from ferry.receipts import failures
from ferry.receipts.failures import FAILURES, Failure
from ferry.receipts.receipt import (
    RECEIPT_COLUMNS,
    RECEIPTS,
    VOID,
    Receipt,
    ReceiptTimes,
    last_by_id,
    times_columns,
)
from ferry.receipts.table import BEFORE_ALL, count_of_run, last_void, read_receipts_of
from ferry.schema import Kind, TableName, TableSchema
from ferry.specs.tables import TableSpec
from ferry.windows import Window
from tasks.landed.failures import failures_of_run, read_failures
from tasks.landed.receipts import from_receipts, why_gone
from tasks.step import STEP, explains


@dataclass(frozen=True)
class History:
    """What has happened to a table's time.

    Attributes:
        receipts: What arrived, and what made that void: also that the target is gone, or empty,
            which is found when it is asked for.
        failures: What did not: of each window the last.
        cursor: The cursor that the table has now; None if nobody can tell.
        spec: The table's spec; None if nothing was asked of receipts.
        cursor_kind: Of which kind the cursor is in the target; None if it is not there.
    """

    receipts: list[ReceiptTimes]
    failures: list[Failure]
    cursor: str | None = None
    spec: TableSpec | None = None
    cursor_kind: Kind | None = None

    @property
    def coverage(self) -> Coverage:
        """Which of the table's windows are loaded, failed or missing."""
        return coverage_of(self.receipts, self.failures, self.cursor, self.spec)


@task(name="read history", task_run_name="read history {spec.target}", **STEP)
@explains
def read_history(spec: TableSpec, warehouse: Warehouse, *, look_at_target: bool = True) -> History:
    """What has happened to the table's time, and whether its rows are still there.

    Args:
        spec: The table's spec.
        warehouse: Where.
        look_at_target: Whether to look for the rows; while a batch lands, that waits for its lock.

    Raises:
        ConnectionLostError, BusyError: The warehouse cannot be asked; a retry may help.
    """
    table = spec.target
    found = times_of_receipts(table, warehouse)
    if found is None:
        return History([], read_failures(table, warehouse))
    target = warehouse.describe(table) if look_at_target else None
    gone = _gone(table, found, warehouse) if look_at_target else []
    cursor, kind = _present_cursor(spec, target)
    return History([*found, *gone], read_failures(table, warehouse), cursor, spec, kind)


def look_for_rows(history: History, spec: TableSpec, warehouse: Warehouse) -> History:
    """The history of receipts alone, and whether their rows are still there.

    A cursor that the spec does not name is the one of the last run in its mode: the catalog is
    asked only where there seems to be no target. On Redshift it waits for whoever holds a table
    under a late-binding view.

    Args:
        history: What was read without a look at the target.
        spec: The table's spec.
        warehouse: Where.

    Raises:
        ConnectionLostError, BusyError: The warehouse cannot be asked; a retry may help.
    """
    by_cursor = (each for each in history.receipts if each.mode == spec.mode and each.cursor_name)
    last = max(by_cursor, key=lambda each: each.finished_at, default=None)
    return replace(
        history,
        receipts=[*history.receipts, *_gone(spec.target, history.receipts, warehouse)],
        cursor=history.cursor or (last.cursor_name if last else None),
    )


def times_of_receipts(table: TableName, warehouse: Warehouse) -> list[ReceiptTimes] | None:
    """What receipts tell of the table's time; None if nothing has landed of any.

    The catalog is asked only where an older Ferry has made the receipts' table, or nobody: on
    Redshift it waits for whoever holds a table under a late-binding view.
    """

    def read(names: Container[str]) -> list[ReceiptTimes]:
        columns = times_columns(names)
        select = sql.select_where(RECEIPTS, columns, "table_name", str(table))
        return [ReceiptTimes(*row) for row in warehouse.fetch(select)]

    try:
        return read([column.name for column in RECEIPT_COLUMNS])
    except SchemaError:
        existing = warehouse.describe(RECEIPTS)
        return read(existing.column_names) if existing else None


def _present_cursor(spec: TableSpec, target: TableSchema | None) -> tuple[str | None, Kind | None]:
    """The cursor that the table has now, and its kind, as far as spec and target tell."""
    there = None
    if target is not None:  # else, and where the target is yet to gain it, the spec's
        there = target.column(spec.cursor) if spec.cursor else find_cursor(spec, target.columns)
    name = there.name if there else spec.cursor
    return name and name.lower(), there.type.kind if there else None


def _gone(
    table: TableName, receipts: Sequence[ReceiptTimes], warehouse: Warehouse
) -> list[ReceiptTimes]:
    """What says that the rows which receipts tell of are there no more; nothing if they are."""
    if not any(receipt.status != VOID for receipt in receipts):
        return []
    why = why_gone(table, warehouse)
    if not why:
        return []
    at = max(datetime.now(UTC), *(receipt.finished_at for receipt in receipts))
    return [ReceiptTimes(VOID, None, None, why, VOID, at, at)]


def read_coverage(spec: TableSpec, warehouse: Warehouse) -> Coverage:
    """Which of the table's windows are loaded, failed or missing.

    Raises:
        ConnectionLostError, BusyError: The warehouse cannot be asked; a retry may help.
    """
    return read_history.fn(spec, warehouse).coverage


@dataclass(frozen=True)
class RunHistory:
    """What one flow run's batches have come to, in whatever process they were carried.

    Attributes:
        receipts: Of those that arrived and are not void since, by the batches' ids.
        failures: Of those that did not, oldest first.
        void: The last receipts of those that arrived and are void since, by the batches' ids.
    """

    receipts: dict[str, Receipt]
    failures: list[Failure]
    void: dict[str, Receipt]


@task(name="read what has landed", task_run_name="read what {flow_run_id} has landed", **STEP)
@explains
def read_run(flow_run_id: str, table: TableName, warehouse: Warehouse) -> RunHistory:
    """What a flow run's batches of this table have come to.

    Raises:
        ConnectionLostError, BusyError: The warehouse cannot be asked; a retry may help.
    """
    there, void = _landed(flow_run_id, table, warehouse)
    failed = failures_of_run(flow_run_id, warehouse)
    of_table = (each for each in failed if each.table_name == str(table))
    return RunHistory(there, sorted(of_table, key=lambda each: each.failed_at), void)


@task(name="read which windows have landed", **STEP)
@explains
def landed_of_run(
    flow_run_id: str, table: TableName, windows: Sequence[Window], warehouse: Warehouse
) -> frozenset[str]:
    """The ids of a flow run's batches that have landed, and are not void since.

    Whoever carries some of very many windows asks for no others' receipts.

    Args:
        flow_run_id: The run.
        table: The target.
        windows: The batches' windows; those between them may be told of, too.
        warehouse: Where.

    Raises:
        ConnectionLostError, BusyError: The warehouse cannot be asked; a retry may help.
    """
    if not windows:
        return frozenset()
    within = min(each.start for each in windows), max(each.end for each in windows)
    return frozenset(_landed(flow_run_id, table, warehouse, within)[0])


def _landed(
    flow_run_id: str,
    table: TableName,
    warehouse: Warehouse,
    within: tuple[datetime, datetime] | None = None,
) -> tuple[dict[str, Receipt], dict[str, Receipt]]:
    """The last receipts of a run's batches by their ids: those that count, and those void since."""
    own = from_receipts(
        lambda: read_receipts_of(warehouse, flow_run_id, table, within), list[Receipt](), warehouse
    )
    void_until = last_void(warehouse, table) if own else BEFORE_ALL
    last = last_by_id(own, void_until)
    return (
        {batch: each for batch, each in last.items() if each.finished_at > void_until},
        {batch: each for batch, each in last.items() if each.finished_at <= void_until},
    )


def count_run(
    flow_run_id: str, table: TableName, since: datetime, warehouse: Warehouse
) -> tuple[int, int, int]:
    """How far a flow run is with this table: batches that landed, those that failed, and rows.

    It is asked again and again while many windows are carried: the warehouse counts.

    Args:
        flow_run_id: The run.
        table: The target.
        since: When this attempt of it began: what was before does not count.
        warehouse: Where.

    Raises:
        ConnectionLostError, BusyError: The warehouse cannot be asked; a retry may help.
    """
    landed, rows = from_receipts(
        lambda: count_of_run(warehouse, flow_run_id, table, since), (0, 0), warehouse
    )
    if warehouse.describe(FAILURES) is None:
        return landed, 0, rows
    some_landed = bool(landed)  # then the table of receipts is there
    count = failures.count_of_run(flow_run_id, table, since, some_landed=some_landed)
    return landed, int(warehouse.fetch(count)[0][0]), rows
