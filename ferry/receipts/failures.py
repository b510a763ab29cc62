"""Failures: windows that were tried and did not arrive, told by the run that tried.

One row in `ferry.failures` for each. A receipt proves that rows arrived; a failure proves nothing
and changes nothing, so the two stand in tables of their own: what is in `ferry.receipts` is there.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ferry import statements as sql
from ferry.batch import Batch
from ferry.errors import CODE_BEGINS
from ferry.lookback import own_window
from ferry.reasons import reason_of
from ferry.receipts.receipt import RECEIPTS
from ferry.schema import OWN_SCHEMA, Column, DataType, Kind, TableName
from ferry.statements import PARAM, Statement

FAILURES = TableName(OWN_SCHEMA, "failures")
REASON_BYTES = 4096

_TEXT = DataType(Kind.TEXT, max_bytes=256)
_MOMENT = DataType(Kind.TIMESTAMPTZ)


@dataclass(frozen=True)
class Failure:
    """A batch that did not arrive; its target is as it was.

    Attributes:
        batch_id: The same for every attempt of one run at one window.
        table_name: The target, `schema.table`.
        mode: full, window or watermark.
        window_start: First moment of the window; None where there is none.
        window_end: First moment after it.
        window_label: The window as people say it.
        error: The kind of error, such as `AccessError`.
        reason: Its message, which begins with its code and holds no secret and no row's values.
        flow_run_id: Prefect's id of the run.
        failed_at: When it was given up.
    """

    batch_id: str
    table_name: str
    mode: str
    window_start: datetime | None
    window_end: datetime | None
    window_label: str
    error: str
    reason: str
    flow_run_id: str
    failed_at: datetime

    @property
    def text(self) -> str:
        """The reason as `ferry.reasons.reason_of` has it.

        One that an older Ferry wrote has no code, and is told with the error's class.
        """
        return (
            self.reason if self.reason.startswith(CODE_BEGINS) else f"{self.error}: {self.reason}"
        )


FAILURE_COLUMNS: tuple[Column, ...] = (
    Column("batch_id", _TEXT, nullable=False),
    Column("table_name", _TEXT, nullable=False),
    Column("mode", _TEXT, nullable=False),
    Column("window_start", _MOMENT),
    Column("window_end", _MOMENT),
    Column("window_label", _TEXT, nullable=False),
    Column("error", _TEXT, nullable=False),
    Column("reason", DataType(Kind.TEXT, max_bytes=REASON_BYTES), nullable=False),
    Column("flow_run_id", _TEXT, nullable=False),
    Column("failed_at", _MOMENT, nullable=False),
)


def failure_of(batch: Batch, error: Exception, failed_at: datetime) -> Failure:
    """The failure of this batch; only errors of ours are quoted, others may hold anything.

    What a scheduled run was to carry again besides its own window is there as it was. A backfill's
    window has no lookback, also where it is as long as one that has.
    """
    window = batch.window
    if window and not batch.backfill:
        window = own_window(batch.spec, window, batch.scheduled_start)
    return Failure(
        batch_id=batch.id,
        table_name=str(batch.target),
        mode=batch.mode,
        window_start=window.start if window else None,
        window_end=window.end if window else None,
        window_label=window.label if window else batch.label,
        error=type(error).__name__,
        reason=reason_of(error).encode()[: REASON_BYTES - 4].decode(errors="ignore"),
        flow_run_id=batch.flow_run_id,
        failed_at=failed_at,
    )


def to_row(failure: Failure) -> tuple[Any, ...]:
    """The failure's values in the order of `FAILURE_COLUMNS`."""
    return tuple(getattr(failure, column.name) for column in FAILURE_COLUMNS)


def from_row(row: tuple[Any, ...]) -> Failure:
    """The failure of a row selected in the order of `FAILURE_COLUMNS`."""
    names = [column.name for column in FAILURE_COLUMNS]
    return Failure(**dict(zip(names, row, strict=True)))


def last_of_windows(table: TableName) -> Statement:
    """The last failure of each window of a table; of all that have no window, the last of them."""
    names = sql.column_list(column.name for column in FAILURE_COLUMNS)
    return Statement(
        f"SELECT {names} FROM (SELECT {names}, ROW_NUMBER() OVER ("  # noqa: S608  # names of ours
        "PARTITION BY window_start, window_end ORDER BY failed_at DESC, batch_id) AS newest_first "
        f"FROM {sql.table_sql(FAILURES)} WHERE table_name = {PARAM}) AS ranked "
        "WHERE newest_first = 1",
        (str(table),),
    )


def count_of_run(
    flow_run_id: str, table: TableName, since: datetime, *, some_landed: bool
) -> Statement:
    """How many batches of one flow run and table have failed since, and not landed after all.

    Args:
        flow_run_id: The run.
        table: The target.
        since: Failures before that do not count.
        some_landed: Whether the run has receipts, among which to look.
    """
    failed = Statement(
        f"SELECT COUNT(DISTINCT batch_id) FROM {sql.table_sql(FAILURES)} AS failed "  # noqa: S608
        f"WHERE flow_run_id = {PARAM} AND table_name = {PARAM} AND failed_at >= {PARAM}",
        (flow_run_id, str(table), since),
    )
    if not some_landed:
        return failed
    landed = (
        f"SELECT 1 FROM {sql.table_sql(RECEIPTS)} AS landed WHERE landed.flow_run_id = {PARAM} "  # noqa: S608
        "AND landed.batch_id = failed.batch_id"
    )
    return Statement(f"{failed.sql} AND NOT EXISTS ({landed})", (*failed.values, flow_run_id))
