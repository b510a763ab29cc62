"""What did not arrive: written to `ferry.failures`, and read from it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from prefect.logging import get_run_logger

from blocks.warehouse import Warehouse
from ferry import statements as sql
from ferry.batch import Batch
from ferry.errors import FerryError, SchemaError
from ferry.receipts import failures
from ferry.receipts.failures import FAILURE_COLUMNS, FAILURES, Failure, failure_of
from ferry.schema import TableName
from ferry.statements import Statement
from tasks.own_tables import is_made, make_missing


def record_failures(batches: Sequence[Batch], error: Exception, warehouse: Warehouse) -> None:
    """Write down that these batches did not arrive.

    That the warehouse cannot be reached may be the very reason: then it is only logged, and the
    window counts as missing.
    """
    now = datetime.now(UTC)
    rows = [failures.to_row(failure_of(batch, error, now)) for batch in batches]
    try:
        make_missing(FAILURES, FAILURE_COLUMNS, warehouse)
        warehouse.execute(sql.insert_rows(FAILURES, FAILURE_COLUMNS, rows))
    except FerryError as unwritten:
        get_run_logger().warning("the failure of %s is not recorded: %s", batches[0], unwritten)


def read_failures(table: TableName, warehouse: Warehouse) -> list[Failure]:
    """The last failure of each window of the table, and the last that has none.

    It is asked at every look at the table, however often a window has failed before.
    """
    return _failures(failures.last_of_windows(table), warehouse)


def failures_of_run(flow_run_id: str, warehouse: Warehouse) -> list[Failure]:
    """All failures of a flow run's batches."""
    of_run = sql.select_where(FAILURES, FAILURE_COLUMNS, "flow_run_id", flow_run_id)
    return _failures(of_run, warehouse)


def _failures(select: Statement, warehouse: Warehouse) -> list[Failure]:
    try:
        rows = warehouse.fetch(select)
    except SchemaError:  # not made yet, or without a column that it has got since
        if not is_made(FAILURES, FAILURE_COLUMNS, warehouse):
            return []
        rows = warehouse.fetch(select)
    return list(map(failures.from_row, rows))
