"""What a summary has yet to take in: changes in the tables it reads, told by their receipts."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from prefect import task
from prefect.logging import get_run_logger

from blocks.warehouse import Warehouse
from ferry import statements as sql
from ferry.cursors import find_cursor
from ferry.errors import StaleReadError
from ferry.receipts.losses import last_replaced
from ferry.receipts.receipt import RECEIPT_COLUMNS, RECEIPTS, Receipt
from ferry.schema import TableName
from ferry.specs.tables_file import TableSpecs
from ferry.statements import Transaction
from ferry.summaries.build import Build
from ferry.summaries.files import Summaries
from ferry.summaries.partitions import EVERYTHING, Span, covered, from_text, merged
from ferry.summaries.publications import (
    OWN_TABLES,
    new_receipt_of,
    select_definition,
    select_new_publications,
    select_new_receipts,
    select_new_voids,
)
from ferry.summaries.publish import count_publications, rows_held
from ferry.summaries.specs import SummarySpec
from ferry.summaries.touched import Change, touched, touched_by_summary
from tasks.landed.losses import refuse_lost_inputs
from tasks.own_tables import make_missing
from tasks.step import STEP, explains


@task(name="missing tables", **STEP)
@explains
def missing_tables(spec: SummarySpec, warehouse: Warehouse) -> list[str]:
    """The tables that the summary reads and the warehouse does not have yet.

    Raises:
        ConnectionLostError, BusyError: The warehouse cannot be asked; a retry may help.
    """
    return [name for name in spec.reads if warehouse.describe(TableName.parse(name)) is None]


@task(name="is there", **STEP)
@explains
def is_there(spec: SummarySpec, warehouse: Warehouse) -> bool:
    """Whether the summary has a table.

    Raises:
        ConnectionLostError, BusyError: The warehouse cannot be asked; a retry may help.
    """
    return warehouse.describe(spec.target) is not None


def make_own_tables(warehouse: Warehouse) -> None:
    """Make the receipts and the tables of the publications, and their columns, that are missing."""
    for table, columns in ((RECEIPTS, RECEIPT_COLUMNS), *OWN_TABLES):
        make_missing(table, columns, warehouse)


@task(name="plan summary", **STEP)
@explains
def plan_summary(
    spec: SummarySpec,
    asked: Span | None,
    summaries: Summaries,
    tables: TableSpecs,
    warehouse: Warehouse,
    flow_run_id: str,
    accepted: Collection[str] = (),
    *,
    by_person: bool = True,
) -> Build | None:
    """What to build of a summary; None if it has nothing to take in.

    All of it, if it was never published, or its table is not there or has lost its rows; and at the
    next change, if it was not published with the query and the columns that it has now.

    Args:
        spec: The summary.
        asked: What is asked for; None to build just what changes have touched.
        summaries: All summaries.
        tables: All table specs.
        warehouse: Where.
        flow_run_id: Prefect's id of the run.
        accepted: Labels of checks that may fail this once.
        by_person: Whether somebody asks who may have what they ask for, and no more, built of
            whatever is there; with a check that is let pass, they may not.

    Raises:
        CheckFailedError: A table that it reads has lost its rows, and they are not carried again:
            what is published stays. No retry helps.
        ConnectionLostError, BusyError: The warehouse cannot be asked; a retry may help.
    """
    make_own_tables(warehouse)
    with warehouse.transaction() as tx:
        # In this order: what is published after it was counted makes the publication fail as
        # stale, and what has landed after the changes were read stays to be taken in.
        published_before = count_publications(tx, spec.target)
        built_with = tx.fetch(select_definition(str(spec.target)))
        replaced = last_replaced(tx, spec.reads)
        voids = [own for (own,) in tx.fetch(select_new_voids(spec.reads, str(spec.target)))]
        unread = _read_unread(spec, tx)
        rows = rows_held(tx, spec.target)
    changes = _changes(spec, unread, summaries, tables, warehouse)
    gone = _is_gone(spec.target, rows, warehouse)
    if asked is None and not changes and not gone and published_before:
        return None
    new = not built_with or built_with[0][0] != spec.definition
    if spec.publish == "replace" or new or gone:
        spans: tuple[Span, ...] = (EVERYTHING,)
    elif asked is not None:
        spans = (asked,)
    else:
        spans = merged(change.span for change in changes)
    if spec.publish == "by_window" and EVERYTHING in spans and asked != EVERYTHING and not gone:
        why = (
            "its query, its columns or its zone are new"
            if new
            else _why_whole(spec, changes, tables)
        )
        get_run_logger().info("%s is built whole: %s", spec.target, why)
    build = Build(
        spec=spec,
        spans=spans,
        covers=(*_covers(changes, spans), *(voids if EVERYTHING in spans else ())),
        published_before=published_before,
        flow_run_id=flow_run_id,
        accepted=tuple(accepted),
        known=_ids(unread),
        replaced=replaced,
        # What a person asks for; not what has to be built beyond that, nor where they answer for a
        # check alone.
        of_what_is_left=by_person and asked is not None and spans == (asked,) and not accepted,
    )
    _refuse_lost_inputs(build, tables, warehouse)
    return build


@task(name="changed since", **STEP)
@explains
def changed_since(build: Build, tables: TableSpecs, warehouse: Warehouse) -> bool:
    """Whether something has landed in the tables that a summary reads since it was planned.

    Raises:
        CheckFailedError: One of them has lost its rows meanwhile. No retry helps.
        StaleReadError: One was emptied and filled again, or copied as a whole, while it was built.
        ConnectionLostError, BusyError: The warehouse cannot be asked; a retry may help.
    """
    _refuse_lost_inputs(build, tables, warehouse)
    with warehouse.transaction() as tx:
        since = last_replaced(tx, build.spec.reads) - build.replaced
        if since:
            raise StaleReadError(
                "a table that it reads was emptied or copied as a whole since it was planned",
                found=", ".join(sorted(table for table, _ in since)),
                todo="Build it again.",
            )
        return not _ids(_read_unread(build.spec, tx)) <= build.known


def _refuse_lost_inputs(build: Build, tables: TableSpecs, warehouse: Warehouse) -> None:
    if build.published_before and not build.of_what_is_left:
        refuse_lost_inputs(build.spec, build.spans, tables, warehouse)


def _why_whole(spec: SummarySpec, changes: list[Change], tables: TableSpecs) -> str:
    """Which tables do not tell what was touched."""
    cursors = {str(table.target): table.cursor for table in tables.values()}
    found = []
    for name in dict.fromkeys(each.table for each in changes if each.span == EVERYTHING):
        read, cursor = spec.reads[name], cursors.get(name)
        text = f"which days changed in {name} is not known"
        if read and read.column and cursor and read.column != cursor:
            text += f", of which `reads` names the column {read.column}, and which is carried by "
            text += cursor
        found.append(text)
    return "; ".join(found)


def _is_gone(target: TableName, rows: int, warehouse: Warehouse) -> bool:
    """Whether what was published is not there any more, by the rows that publications tell of.

    An empty table is also what a run leaves behind that made it and died before it published.
    """
    if warehouse.describe(target) is None:
        return True
    if rows <= 0 or warehouse.fetch(sql.any_row(target)):
        return False
    get_run_logger().warning(
        "%s is empty, and was published with %s rows: it is built whole", target, f"{rows:,}"
    )
    return True


def _covers(changes: list[Change], spans: tuple[Span, ...]) -> tuple[str, ...]:
    """The changes that are wholly within what is built."""
    left = {change.id for change in changes if not covered(change.span, spans)}
    return tuple(dict.fromkeys(change.id for change in changes if change.id not in left))


@dataclass(frozen=True)
class _Unread:
    """What has changed one of the tables that a summary reads, and is not in it."""

    name: str
    publications: list[tuple[str, str]]
    receipts: list[Receipt]


def _read_unread(spec: SummarySpec, tx: Transaction) -> list[_Unread]:
    found = []
    for name in spec.reads:
        published = tx.fetch(select_new_publications(name, str(spec.target)))
        publications = [(publication_id, spans) for publication_id, spans in published]
        landed = tx.fetch(select_new_receipts(name, str(spec.target)))
        batches = [new_receipt_of(row) for row in landed]
        found.append(_Unread(name, publications, batches))
    return found


def _ids(unread: list[_Unread]) -> frozenset[str]:
    published = {publication_id for each in unread for publication_id, _ in each.publications}
    return frozenset(published | {receipt.batch_id for each in unread for receipt in each.receipts})


def _changes(
    spec: SummarySpec,
    unread: list[_Unread],
    summaries: Summaries,
    tables: TableSpecs,
    warehouse: Warehouse,
) -> list[Change]:
    by_target = {str(s.target): s for s in summaries.values() if s.warehouse == spec.warehouse}
    carried = {str(t.target): t for t in tables.values() if t.warehouse == spec.warehouse}
    found = []
    for each in unread:
        for publication_id, spans in each.publications:
            touches = touched_by_summary(by_target.get(each.name), from_text(spans), spec)
            found += [Change(publication_id, each.name, span) for span in touches]
        if not each.receipts:
            continue
        table, schema = carried.get(each.name), warehouse.describe(TableName.parse(each.name))
        cursor = find_cursor(table, schema.columns) if table and schema else None
        name, kind = (cursor.name, cursor.type.kind) if cursor else (None, None)
        for receipt in each.receipts:
            span = touched(receipt, spec, table, name, kind)
            found.append(Change(receipt.batch_id, each.name, span))
    return found
