"""`ferry.audits`: what was compared, when, and what was found; a row for each bucket."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import ferry
from ferry import statements as sql
from ferry.audits.outcome import Audit, AuditedBucket, Difference
from ferry.schema import OWN_SCHEMA, Column, DataType, Kind, TableName
from ferry.statements import PARAM, Statement

AUDITS = TableName(OWN_SCHEMA, "audits")

_TEXT = DataType(Kind.TEXT, max_bytes=256)
_COUNT = DataType(Kind.INT64)
_MOMENT = DataType(Kind.TIMESTAMPTZ)


@dataclass(frozen=True)
class AuditRecord:
    """One bucket of a table, as it was compared.

    Attributes:
        flow_run_id: Prefect's id of the run that compared it.
        table_name: The target, `schema.table`.
        bucket: The day, the month, or `all`.
        window_start: First moment of the bucket; None where the table is one.
        window_end: First moment after it.
        audited_at: When it was compared.
        source_rows: Rows at the source.
        target_rows: Rows in the target.
        source_fingerprint: The rows, a colon, and the sum of their numbers in hexadecimal digits.
        target_fingerprint: The same of the target.
        missing: Rows of the source that the target has not.
        changed: Rows that have other values in the target.
        extra: Rows of the target that the source has no more.
        pending: Rows that the source changed after what has been carried: no difference.
        unclassified: Rows in parts that differ and are too many to be looked at one by one.
        repaired: Rows that differed before this run repaired them; None where it did not try to.
        code_version: Ferry's version.
    """

    flow_run_id: str
    table_name: str
    bucket: str
    window_start: datetime | None
    window_end: datetime | None
    audited_at: datetime
    source_rows: int
    target_rows: int
    source_fingerprint: str
    target_fingerprint: str
    missing: int
    changed: int
    extra: int
    pending: int
    unclassified: int
    repaired: int | None
    code_version: str


AUDIT_COLUMNS: tuple[Column, ...] = (
    Column("flow_run_id", _TEXT, nullable=False),
    Column("table_name", _TEXT, nullable=False),
    Column("bucket", _TEXT, nullable=False),
    Column("window_start", _MOMENT),
    Column("window_end", _MOMENT),
    Column("audited_at", _MOMENT, nullable=False),
    Column("source_rows", _COUNT, nullable=False),
    Column("target_rows", _COUNT, nullable=False),
    Column("source_fingerprint", _TEXT, nullable=False),
    Column("target_fingerprint", _TEXT, nullable=False),
    Column("missing", _COUNT, nullable=False),
    Column("changed", _COUNT, nullable=False),
    Column("extra", _COUNT, nullable=False),
    Column("pending", _COUNT, nullable=False),
    Column("unclassified", _COUNT, nullable=False),
    Column("repaired", _COUNT),
    Column("code_version", _TEXT, nullable=False),
)


def record_of(
    audit: Audit, bucket: AuditedBucket, flow_run_id: str, repaired: int | None = None
) -> AuditRecord:
    """The record of one bucket of an audit."""
    counts = bucket.counts
    return AuditRecord(
        flow_run_id=flow_run_id,
        table_name=audit.table,
        bucket=bucket.label,
        window_start=bucket.window.start if bucket.window else None,
        window_end=bucket.window.end if bucket.window else None,
        audited_at=audit.at,
        source_rows=bucket.source.rows,
        target_rows=bucket.target.rows,
        source_fingerprint=str(bucket.source),
        target_fingerprint=str(bucket.target),
        missing=counts[Difference.MISSING],
        changed=counts[Difference.CHANGED],
        extra=counts[Difference.EXTRA],
        pending=counts[Difference.PENDING],
        unclassified=bucket.unclassified,
        repaired=repaired,
        code_version=ferry.__version__,
    )


def insert_records(records: Iterable[AuditRecord]) -> Iterator[Statement]:
    """Statements that add the records, some hundred rows in each."""
    for rows in sql.rows_at_once(map(dataclasses.astuple, records)):
        yield sql.insert_rows(AUDITS, AUDIT_COLUMNS, rows)


def any_record(audit: Audit, flow_run_id: str, after: datetime) -> Statement:
    """One row if a run has kept anything of the audit's table after a moment; else none."""
    kept = _kept(audit, flow_run_id, after)
    return Statement(f"SELECT 1 {kept.sql} LIMIT 1", kept.values)


def delete_records(audit: Audit, flow_run_id: str, after: datetime) -> Statement:
    """Take out what a run has kept of the audit's table after a moment."""
    kept = _kept(audit, flow_run_id, after)
    return Statement(f"DELETE {kept.sql}", kept.values)


def _kept(audit: Audit, flow_run_id: str, after: datetime) -> Statement:
    return Statement(
        f"FROM {sql.table_sql(AUDITS)} WHERE flow_run_id = {PARAM} "
        f"AND table_name = {PARAM} AND audited_at > {PARAM}",
        (flow_run_id, audit.table, after),
    )


_FOUND = ("window_start", "window_end", "audited_at", "missing", "changed", "extra", "unclassified")


def select_found(table: TableName) -> Statement:
    """What was found last of each part of a table that is a stretch of time. For `read_found`."""
    names = sql.column_list(_FOUND)
    return Statement(
        f"SELECT {names} FROM (SELECT {names}, ROW_NUMBER() OVER ("  # noqa: S608  # names of ours
        "PARTITION BY window_start, window_end ORDER BY audited_at DESC, flow_run_id) AS "
        f"newest_first FROM {sql.table_sql(AUDITS)} WHERE table_name = {PARAM} "
        "AND window_start IS NOT NULL) AS ranked WHERE newest_first = 1",
        (str(table),),
    )


def read_found(row: Sequence[Any]) -> tuple[datetime, datetime, datetime, str]:
    """First moment, first moment after, when it was compared, and what differed, for people."""
    start, end, at, *counts = row
    words = ("missing", "changed", "deleted at the source", "rows in parts that differ")
    parts = [f"{int(n):,} {word}" for n, word in zip(counts, words, strict=True) if n]
    return start, end, at, ", ".join(parts)
