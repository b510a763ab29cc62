"""What has happened to a table's windows: its receipts and failures, read and written."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from prefect import task
from prefect.logging import get_run_logger

from blocks.warehouse import Warehouse
from ferry import failures, receipts
from ferry import statements as sql
from ferry.batch import Batch
from ferry.coverage import Coverage, coverage_of
from ferry.errors import FerryError
from ferry.failures import FAILURE_COLUMNS, FAILURES, Failure, failure_of
from ferry.receipts import RECEIPT_COLUMNS, RECEIPTS, Receipt
from ferry.schema import TableName
from tasks.step import STEP
from tasks.target import make_missing


def read_receipts(table: TableName, warehouse: Warehouse) -> list[Receipt]:
    """All receipts of the table."""
    existing = warehouse.describe(RECEIPTS)
    if existing is None:
        return []
    mark = warehouse.capabilities.placeholder
    columns = [column for column in RECEIPT_COLUMNS if existing.column(column.name)]
    select = sql.select_where(RECEIPTS, columns, "table_name", mark)
    return [receipts.from_row(row) for row in warehouse.fetch(select, (str(table),))]


def read_failures(table: TableName, warehouse: Warehouse) -> list[Failure]:
    """All failures of the table."""
    if warehouse.describe(FAILURES) is None:
        return []
    mark = warehouse.capabilities.placeholder
    select = sql.select_where(FAILURES, FAILURE_COLUMNS, "table_name", mark)
    return [failures.from_row(row) for row in warehouse.fetch(select, (str(table),))]


@dataclass(frozen=True)
class History:
    """All that has happened to a table.

    Attributes:
        receipts: What arrived.
        failures: What did not.
    """

    receipts: list[Receipt]
    failures: list[Failure]

    @property
    def coverage(self) -> Coverage:
        """Which of the table's windows are loaded, failed or missing."""
        return coverage_of(self.receipts, self.failures)


@task(name="read history", task_run_name="read history {table}", **STEP)
def read_history(table: TableName, warehouse: Warehouse) -> History:
    """All receipts and failures of the table.

    Raises:
        ConnectionLostError, BusyError: The warehouse cannot be asked; a retry may help.
    """
    return History(read_receipts(table, warehouse), read_failures(table, warehouse))


def read_coverage(table: TableName, warehouse: Warehouse) -> Coverage:
    """Which of the table's windows are loaded, failed or missing.

    Raises:
        ConnectionLostError, BusyError: The warehouse cannot be asked; a retry may help.
    """
    return coverage_of(read_receipts(table, warehouse), read_failures(table, warehouse))


def record_failure(batch: Batch, error: Exception, warehouse: Warehouse) -> None:
    """Write down that the batch did not arrive.

    That the warehouse cannot be reached may be the very reason: then it is only logged, and the
    window counts as missing.
    """
    failure = failure_of(batch, error, datetime.now(UTC))
    try:
        make_missing(FAILURES, FAILURE_COLUMNS, warehouse)
        insert = sql.insert_values(FAILURES, FAILURE_COLUMNS, 1, warehouse.capabilities.placeholder)
        warehouse.execute(insert, failures.to_row(failure))
    except FerryError as unwritten:
        get_run_logger().warning("the failure of %s is not recorded: %s", batch, unwritten)
