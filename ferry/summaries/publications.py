"""Publications: the record of what was built and published, written with the summary's rows.

Three tables beside the receipts. `ferry.publications` has a row for each time that a summary was
published, in the transaction that changed it. `ferry.summarized` says which receipts, and which
publications of other summaries, are in it: those that are missing there have yet to be built, after
whatever failure. Void receipts stand there once a build of all of it has known them.
`ferry.check_results` has a row for each time that a check of a build was asked, published or not.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from ferry import statements as sql
from ferry.receipts.receipt import RECEIPT_COLUMNS, RECEIPTS, VOID, Receipt
from ferry.schema import OWN_SCHEMA, Column, DataType, Kind, TableName
from ferry.statements import PARAM, Statement
from ferry.summaries.build import Build
from ferry.summaries.checks import CheckResult
from ferry.summaries.partitions import EVERYTHING, to_text

PUBLICATIONS = TableName(OWN_SCHEMA, "publications")
SUMMARIZED = TableName(OWN_SCHEMA, "summarized")
CHECK_RESULTS = TableName(OWN_SCHEMA, "check_results")

_TEXT = DataType(Kind.TEXT, max_bytes=256)
_LONG_TEXT = DataType(Kind.TEXT, max_bytes=4096)
_COUNT = DataType(Kind.INT64)
_MOMENT = DataType(Kind.TIMESTAMPTZ)


@dataclass(frozen=True)
class Publication:
    """The proof that a build was published.

    Attributes:
        publication_id: The build's id.
        summary: The table, `schema.table`.
        window_label: The partitions as people say them.
        spans: All of them, as `partitions.to_text` writes them.
        definition: SHA-256 of the query and the columns that it was built with.
        rows_published: Rows that were built and are there now.
        rows_replaced: Rows that were there before in these partitions.
        checks: How many checks it passed.
        warnings: How many checks only told.
        code_version: Ferry's version.
        flow_run_id: Prefect's id of the run.
        started_at: When it was planned.
        published_at: When it was published; later than all of the summary before it.
    """

    publication_id: str
    summary: str
    window_label: str
    spans: str
    definition: str
    rows_published: int
    rows_replaced: int
    checks: int
    warnings: int
    code_version: str
    flow_run_id: str
    started_at: datetime
    published_at: datetime

    def __str__(self) -> str:
        warned = f", {self.warnings} warned" if self.warnings else ""
        return (
            f"{self.summary} {self.window_label}: {self.rows_published:,} rows published, "
            f"{self.rows_replaced:,} replaced, {self.checks} checks passed{warned}"
        )


PUBLICATION_COLUMNS = (
    Column("publication_id", _TEXT, nullable=False),
    Column("summary", _TEXT, nullable=False),
    Column("window_label", _TEXT, nullable=False),
    Column("spans", _LONG_TEXT, nullable=False),
    Column("definition", _TEXT, nullable=False),
    Column("rows_published", _COUNT, nullable=False),
    Column("rows_replaced", _COUNT, nullable=False),
    Column("checks", _COUNT, nullable=False),
    Column("warnings", _COUNT, nullable=False),
    Column("code_version", _TEXT, nullable=False),
    Column("flow_run_id", _TEXT, nullable=False),
    Column("started_at", _MOMENT, nullable=False),
    Column("published_at", _MOMENT, nullable=False),
)
SUMMARIZED_COLUMNS = (
    Column("summary", _TEXT, nullable=False),
    Column("batch_id", _TEXT, nullable=False),
    Column("publication_id", _TEXT, nullable=False),
)
CHECK_COLUMNS = (
    Column("publication_id", _TEXT, nullable=False),
    Column("summary", _TEXT, nullable=False),
    Column("window_label", _TEXT, nullable=False),
    Column("side", _TEXT, nullable=False),
    Column("name", _TEXT, nullable=False),
    Column("severity", _TEXT, nullable=False),
    Column("outcome", _TEXT, nullable=False),
    Column("expected", _LONG_TEXT, nullable=False),
    Column("found", _LONG_TEXT, nullable=False),
    Column("flow_run_id", _TEXT, nullable=False),
    Column("checked_at", _MOMENT, nullable=False),
)
OWN_TABLES = (
    (SUMMARIZED, SUMMARIZED_COLUMNS),
    (CHECK_RESULTS, CHECK_COLUMNS),
    (PUBLICATIONS, PUBLICATION_COLUMNS),
)


def publication_row(publication: Publication) -> tuple[Any, ...]:
    """The publication's values in the order of `PUBLICATION_COLUMNS`."""
    return tuple(getattr(publication, column.name) for column in PUBLICATION_COLUMNS)


def publication_of(row: tuple[Any, ...]) -> Publication:
    """The publication of a row selected in the order of `PUBLICATION_COLUMNS`."""
    names = [each.name for each in fields(Publication)]
    return Publication(**dict(zip(names, row, strict=True)))


def outcome(build: Build, result: CheckResult) -> str:
    """`passed`, `warned`, `accepted` (failed, and a person let it pass) or `failed`."""
    if result.passed:
        return "passed"
    if result.severity == "warn":
        return "warned"
    return "accepted" if result.label in build.accepted else "failed"


def check_rows(build: Build, results: Iterable[CheckResult], at: datetime) -> list[tuple[Any, ...]]:
    """A row for each of these results, in the order of `CHECK_COLUMNS`."""
    return [
        (
            build.id,
            str(build.spec.target),
            build.label,
            result.side,
            _cut(result.label, 256),
            result.severity,
            outcome(build, result),
            _cut(result.expected, 4096),
            _cut(result.found, 4096),
            build.flow_run_id,
            at,
        )
        for result in results
    ]


def _cut(text: str, size_bytes: int) -> str:
    return text.encode()[:size_bytes].decode(errors="ignore")


_NOT_READ = ("sums_read", "sums_staged", "columns_carried")
"""Of a receipt that a summary takes in: long texts, and there may be years of receipts."""

_READ = [column.name for column in RECEIPT_COLUMNS if column.name not in _NOT_READ]


def new_receipt_of(row: tuple[Any, ...]) -> Receipt:
    """The receipt of a row of `select_new_receipts`."""
    return Receipt(**dict(zip(_READ, row, strict=True)))


def select_new_receipts(table: str, summary: str) -> Statement:
    """The receipts of a table that changed it and are not in a summary, without their long texts.

    Where the table had lost its rows, or they had become void for another reason, so did the first
    receipt since of a window of before, whatever it brought, and a read of everything that found
    nothing: there may have been other rows.
    """
    names, done = sql.column_list(_READ), _taken_in(summary)
    receipts = sql.table_sql(RECEIPTS)
    void = (
        f"(SELECT MAX(finished_at) FROM {receipts} WHERE table_name = {PARAM} AND status = {PARAM})"  # noqa: S608
    )
    first = (
        f"(SELECT MIN(finished_at) FROM {receipts} WHERE table_name = {PARAM} "  # noqa: S608
        f"AND status <> {PARAM} AND finished_at > {void} GROUP BY window_start, window_end)"
    )
    again = (
        f"finished_at > {void} AND (rows_extracted = 0 AND window_label = mode "
        f"OR window_end IS NOT NULL AND window_start < {void} AND finished_at IN {first})"
    )
    return Statement(
        f"SELECT {names} FROM {receipts} AS made "  # noqa: S608  # names of ours
        f"WHERE table_name = {PARAM} AND status <> {PARAM} "
        f"AND (rows_inserted + rows_updated + rows_deleted > 0 OR {again}) "
        f"AND NOT EXISTS ({done.sql} AND done.batch_id = made.batch_id) ORDER BY finished_at",
        (*(table, VOID) * 5, *done.values),
    )


def select_new_publications(read: str, summary: str) -> Statement:
    """The publications of the one summary, which is read, that are not in the other."""
    done = _taken_in(summary)
    return Statement(
        f"SELECT publication_id, spans FROM {sql.table_sql(PUBLICATIONS)} AS made "  # noqa: S608
        f"WHERE summary = {PARAM} "
        f"AND NOT EXISTS ({done.sql} AND done.batch_id = made.publication_id) "
        "ORDER BY published_at",
        (read, *done.values),
    )


def select_new_voids(tables: Collection[str], summary: str) -> Statement:
    """What has declared rows of these tables void, and was not known yet to a build of all."""
    done = _taken_in(summary)
    return Statement(
        f"SELECT batch_id FROM {sql.table_sql(RECEIPTS)} AS made "  # noqa: S608  # names of ours
        f"WHERE table_name IN ({', '.join(PARAM for _ in tables)}) AND status = {PARAM} "
        f"AND NOT EXISTS ({done.sql} AND done.batch_id = made.batch_id)",
        (*tables, VOID, *done.values),
    )


def count_known_voids(table: str, moment: datetime, summary: str) -> Statement:
    """How many voids of the table, of this moment or later, a build of all has known."""
    done = _taken_in(summary)
    return Statement(
        f"SELECT COUNT(*) FROM {sql.table_sql(RECEIPTS)} AS made "  # noqa: S608  # names of ours
        f"WHERE table_name = {PARAM} AND status = {PARAM} AND finished_at >= {PARAM} "
        f"AND EXISTS ({done.sql} AND done.batch_id = made.batch_id)",
        (table, VOID, moment, *done.values),
    )


def _taken_in(summary: str) -> Statement:
    """What is in the summary: never by NOT IN, which PostgreSQL may ask anew for each row."""
    return Statement(
        f"SELECT 1 FROM {sql.table_sql(SUMMARIZED)} AS done WHERE done.summary = {PARAM}",  # noqa: S608
        (summary,),
    )


def select_built_since(summary: str, moment: datetime) -> Statement:
    """Which partitions of a summary were published by builds that began after a moment."""
    return Statement(
        f"SELECT spans FROM {sql.table_sql(PUBLICATIONS)} "  # noqa: S608  # names of ours
        f"WHERE summary = {PARAM} AND started_at > {PARAM}",
        (summary, moment),
    )


def select_definition(summary: str) -> Statement:
    """What a summary was built with when it was last published."""
    return Statement(
        f"SELECT definition FROM {sql.table_sql(PUBLICATIONS)} "  # noqa: S608  # names of ours
        f"WHERE summary = {PARAM} ORDER BY published_at DESC LIMIT 1",
        (summary,),
    )


def select_last_published(summary: str) -> Statement:
    """When a summary was published last."""
    return Statement(
        f"SELECT MAX(published_at) FROM {sql.table_sql(PUBLICATIONS)} WHERE summary = {PARAM}",  # noqa: S608
        (summary,),
    )


def sum_published(summary: str) -> Statement:
    """The rows that came and went, from the summary's last publication as a whole on."""
    table, whole = sql.table_sql(PUBLICATIONS), to_text([EVERYTHING])
    came = f"CASE WHEN spans = {PARAM} THEN rows_published ELSE rows_published - rows_replaced END"
    return Statement(
        f"SELECT SUM({came}) FROM {table} WHERE summary = {PARAM} AND published_at >= "  # noqa: S608
        f"(SELECT MAX(published_at) FROM {table} WHERE summary = {PARAM} AND spans = {PARAM})",
        (whole, summary, summary, whole),
    )


def summarized_rows(build: Build, covers: Sequence[str]) -> list[tuple[str, str, str]]:
    """A row for each thing that the build takes in, in the order of `SUMMARIZED_COLUMNS`."""
    target = str(build.spec.target)
    return [(target, batch_id, build.id) for batch_id in covers]
