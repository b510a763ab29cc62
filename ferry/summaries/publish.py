"""How a summary is published: in one transaction, so that a reader sees the old or the new one.

The published table is never dropped or renamed: views over it, and the rights of its readers, stay.
Rows are taken out by DELETE, which is rolled back with everything else (TRUNCATE would commit on
Redshift), and a reader goes on seeing them until the transaction commits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from ferry import statements as sql
from ferry.errors import CountMismatchError, SchemaError
from ferry.receipts.receipt import moment_after
from ferry.schema import Column, Kind, TableName, TableSchema, fits
from ferry.statements import Transaction
from ferry.summaries.build import Build, Built
from ferry.summaries.moments import moments
from ferry.summaries.publications import (
    PUBLICATION_COLUMNS,
    PUBLICATIONS,
    SUMMARIZED,
    SUMMARIZED_COLUMNS,
    Publication,
    publication_of,
    publication_row,
    select_last_published,
    sum_published,
    summarized_rows,
)

SUMMARIZED_AT_ONCE = 1000
"""Rows of one INSERT of ids."""


@dataclass(frozen=True)
class Replaced:
    """What publishing did, in rows."""

    published: int
    replaced: int


def replace(tx: Transaction, built: Built) -> Replaced:
    """Let the table hold just the rows that were built.

    Raises:
        CountMismatchError: They are not as many as were checked.
    """
    removed = tx.execute(sql.delete_all(built.build.spec.target))
    return Replaced(_insert(tx, built), removed)


def by_window(tx: Transaction, built: Built) -> Replaced:
    """Let the partitions that were built hold just the rows that were built; leave the others.

    Raises:
        CountMismatchError: They are not as many as were checked.
    """
    spec = built.build.spec
    assert spec.partition is not None
    column = spec.partition.column
    has_zone = spec.kind(column) is Kind.TIMESTAMPTZ
    removed = 0
    for span in built.build.spans:
        start, end = moments(span, spec.zone) if has_zone else (span.start, span.end)
        removed += tx.execute(sql.delete_between(spec.target, column, start, end))
    return Replaced(_insert(tx, built), removed)


def _insert(tx: Transaction, built: Built) -> int:
    spec = built.build.spec
    rows = tx.execute(sql.insert_all(spec.target, built.table, spec.schema_columns))
    if rows != built.rows:
        raise CountMismatchError(
            "the rows that were built are not the rows that were checked",
            expected=built.rows,
            found=rows,
            todo="Nothing is published; build it again.",
        )
    return rows


def write_publication(tx: Transaction, publication: Publication, build: Build) -> None:
    """Write down what is published, and what it takes in, with the rows themselves."""
    tx.execute(sql.insert_rows(PUBLICATIONS, PUBLICATION_COLUMNS, [publication_row(publication)]))
    for first in range(0, len(build.covers), SUMMARIZED_AT_ONCE):
        some = summarized_rows(build, build.covers[first : first + SUMMARIZED_AT_ONCE])
        tx.execute(sql.insert_rows(SUMMARIZED, SUMMARIZED_COLUMNS, some))


def find_publication(tx: Transaction, publication_id: str) -> Publication | None:
    """The publication of that id, or None if it was not committed."""
    select = sql.select_where(PUBLICATIONS, PUBLICATION_COLUMNS, "publication_id", publication_id)
    rows = tx.fetch(select)
    return publication_of(rows[0]) if rows else None


def count_publications(tx: Transaction, target: TableName) -> int:
    """How often the summary has been published."""
    return int(tx.fetch(sql.count_where(PUBLICATIONS, "summary", str(target)))[0][0])


def publication_moment(tx: Transaction, target: TableName, now: datetime) -> datetime:
    """When a publication is dated: after those before it, by whatever clock they were."""
    return moment_after(tx.fetch(select_last_published(str(target)))[0][0], now)


def rows_held(tx: Transaction, target: TableName) -> int:
    """How many rows the summary has by its publications, since all of it was published last."""
    return int(tx.fetch(sum_published(str(target)))[0][0] or 0)


def missing_columns(
    target: TableName, existing: TableSchema, columns: Sequence[Column]
) -> list[Column]:
    """The columns that the summary has gained since its table was made.

    Raises:
        SchemaError: Others do not fit, or the summary has lost one; a person has to decide.
    """
    problems, missing = [], []
    for column in columns:
        there = existing.column(column.name)
        if there is None:
            missing.append(column)
        elif not fits(column.type, there.type):
            problems.append(
                f"{column.name} is to be {column.type} and is {there.native or there.type}"
            )
    names = {column.name for column in columns}
    gone = [column.name for column in existing.columns if column.name.lower() not in names]
    if gone:
        problems.append(f"{', '.join(gone)} is not in the summary")
    if problems:
        raise SchemaError(
            "the table's columns are not the summary's: " + "; ".join(problems),
            table=str(target),
            todo="Alter or drop these columns of the table, after a look at what reads them, or "
            "change them in summary.yaml.",
        )
    return missing
