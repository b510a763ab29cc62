"""Tables that a summary reads and that have lost their rows: it is not built of what is left."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from blocks.warehouse import Warehouse
from ferry import statements as sql
from ferry.coverage.losses import Interval, not_back
from ferry.coverage.standings import ALWAYS
from ferry.cursors import find_cursor
from ferry.errors import CheckFailedError
from ferry.receipts.losses import last_loss
from ferry.receipts.table import holds_rows
from ferry.schema import TIMES, Kind, TableName
from ferry.specs.tables import TableSpec
from ferry.specs.tables_file import TableSpecs
from ferry.summaries.moments import moments
from ferry.summaries.partitions import EVERYTHING, Span, from_text, spans_label
from ferry.summaries.publications import count_known_voids, select_built_since
from ferry.summaries.publish import rows_held as rows_published
from ferry.summaries.specs import SummarySpec
from tasks.landed.history import times_of_receipts

_ALL: Interval = ALWAYS, datetime.max.replace(tzinfo=UTC)


def refuse_lost_inputs(
    spec: SummarySpec, spans: Sequence[Span], tables: TableSpecs, warehouse: Warehouse
) -> None:
    """Refuse to build from a table that was found without its rows, before they are carried again.

    A partition needs what had been carried of it, where the table's windows tell what that is; all
    else needs all that had been carried. A summary that a person has had built as a whole since is
    built of whatever is there.

    Args:
        spec: The summary.
        spans: What of it is to be built.
        tables: All table specs.
        warehouse: Where.

    Raises:
        CheckFailedError: Something is not back. No retry helps.
        ConnectionLostError, BusyError: The warehouse cannot be asked; a retry may help.
    """
    by_target = {str(t.target): t for t in tables.values() if t.warehouse == spec.warehouse}
    for name in spec.reads:
        target = TableName.parse(name)
        _refuse_emptied(spec, target, spans, warehouse)
        loss = last_loss(warehouse, target)
        if loss is None or _built_whole_since(spec, name, loss.at, warehouse):
            continue
        gone = _not_back(target, by_target.get(name), spec, spans, loss.at, warehouse)
        if not gone:
            continue
        rows = f"{loss.rows:,} rows" if loss.rows else "its rows"
        raise CheckFailedError(
            f"a table that it reads has lost its rows: {name}",
            table=str(spec.target),
            window=spans_label(spans),
            expected=f"all that had been carried of it before {loss.at}, when {rows} were gone",
            found=f"{_said(gone)} not carried again",
            todo="Carry it again: its days, by a backfill with reprocess=missing, or all of it in "
            "mode full. If it is to have fewer rows from now on, build all of this summary by hand "
            "(build-summary, without dates and without `accept`: a check that this fails wants "
            "`severity: warn` meanwhile); what is published stays as it is until then.",
        )


def _refuse_emptied(
    spec: SummarySpec, target: TableName, spans: Sequence[Span], warehouse: Warehouse
) -> None:
    """Refuse what reads a table that has lost its rows before a run of its own has found that."""
    if warehouse.describe(target) is None or warehouse.fetch(sql.any_row(target)):
        return
    if not holds_rows(warehouse, target) and rows_published(warehouse, target) <= 0:
        return
    raise CheckFailedError(
        f"a table that it reads has lost its rows: {target}",
        table=str(spec.target),
        window=spans_label(spans),
        expected="the rows that were carried or published there",
        found="none",
        todo="Carry it again: its days, by a backfill with reprocess=missing, or all of it in "
        "mode full; a summary, by build-summary without dates. If it is to be empty from now on, "
        "copy it in mode full with `allow_empty: true`, or take it out of the query. What is "
        "published stays as it is until then.",
    )


def _built_whole_since(
    spec: SummarySpec, table: str, moment: datetime, warehouse: Warehouse
) -> bool:
    """Whether all of it was built after a loss, whose date may be ahead of all that came after."""
    known = count_known_voids(table, moment, str(spec.target))
    if warehouse.fetch(known)[0][0]:
        return True
    # Publications of before this was recorded.
    since = warehouse.fetch(select_built_since(str(spec.target), moment))
    return any(EVERYTHING in from_text(text) for (text,) in since)


def _not_back(
    target: TableName,
    table: TableSpec | None,
    spec: SummarySpec,
    spans: Sequence[Span],
    lost_at: datetime,
    warehouse: Warehouse,
) -> list[Interval]:
    receipts = times_of_receipts(target, warehouse) or []
    there, read = warehouse.describe(target), spec.reads[str(target)]
    cursor = find_cursor(table, there.columns) if table and there else None
    bounds = [_ALL]
    by_windows = cursor and read and read.column == cursor.name and cursor.type.kind in TIMES
    if table and cursor and by_windows and EVERYTHING not in spans:
        zoned = cursor.type.kind is Kind.TIMESTAMPTZ
        bounds = [moments(span, spec.zone if zoned else table.wall_clock_zone) for span in spans]
    return not_back(receipts, lost_at, bounds, cursor.name.lower() if cursor else None, table)


def _said(stretches: Sequence[Interval]) -> str:
    """The stretches for people; of many, the first ones and how many more."""
    said = [
        f"until {end:%Y-%m-%dT%H:%M%z}"
        if start == ALWAYS
        else f"{start:%Y-%m-%dT%H:%M%z}/{end:%Y-%m-%dT%H:%M%z}"
        for start, end in stretches
    ]
    more = f" and {len(said) - 3} more" if len(said) > 3 else ""
    return ", ".join(said[:3]) + more
