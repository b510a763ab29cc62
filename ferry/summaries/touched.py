"""Which partitions of a summary a change in a table has touched."""

from __future__ import annotations

from dataclasses import dataclass

from ferry.receipts.read_as import by_another_cursor, read_otherwise
from ferry.receipts.receipt import Receipt
from ferry.schema import TIMES, Kind
from ferry.specs.tables import TableSpec
from ferry.summaries.moments import moments
from ferry.summaries.partitions import EVERYTHING, LAST, Span, whole_partitions
from ferry.summaries.specs import SummarySpec
from ferry.windows import wall_clock_bounds


@dataclass(frozen=True)
class Change:
    """A change in something that a summary reads.

    Attributes:
        id: The batch's or the publication's.
        table: What it changed.
        span: The partitions that it touched.
    """

    id: str
    table: str
    span: Span


def touched(
    receipt: Receipt,
    summary: SummarySpec,
    table: TableSpec | None,
    cursor: str | None,
    kind: Kind | None,
) -> Span:
    """The partitions that a batch touched; everything, where the batch does not tell.

    Args:
        receipt: The batch.
        summary: What reads the batch's table.
        table: How that table is carried; None if no spec says so.
        cursor: The table's cursor column.
        kind: That column's kind in the warehouse.
    """
    read = summary.reads[receipt.table_name]
    if summary.publish == "replace" or summary.partition is None or table is None:
        return EVERYTHING
    if read is None or read.column is None or read.column != cursor or kind not in TIMES:
        return EVERYTHING
    # Carried before the spec changed: its window is a stretch of something else.
    otherwise = by_another_cursor(receipt.cursor_name, cursor) or read_otherwise(
        receipt.read_as, table, cursor=receipt.cursor_name
    )
    if receipt.mode == "full" or receipt.window_start is None or otherwise:
        return EVERYTHING
    if (receipt.rows_updated or receipt.rows_deleted) and not read.fixed:
        return EVERYTHING
    zone = summary.zone if kind is Kind.TIMESTAMPTZ else table.wall_clock_zone
    by = summary.partition.by
    ends = receipt.window_end or receipt.window_start
    start, end = wall_clock_bounds(receipt.window_start, ends, zone)
    if receipt.window_end is None:  # a watermark reads on to the end
        return Span(whole_partitions(start, start, by).start, LAST)
    return whole_partitions(start, end, by)


def touched_by_summary(
    upstream: SummarySpec | None, spans: tuple[Span, ...], summary: SummarySpec
) -> list[Span]:
    """The partitions that a publication of another summary touched.

    Args:
        upstream: The summary that was published; None if no spec tells of it any more.
        spans: What of it was published.
        summary: What reads it.
    """
    if upstream is None or upstream.partition is None or EVERYTHING in spans:
        return [EVERYTHING]
    read = summary.reads[str(upstream.target)]
    if summary.publish == "replace" or summary.partition is None:
        return [EVERYTHING]
    if read is None or read.column != upstream.partition.column:
        return [EVERYTHING]
    by = summary.partition.by
    if upstream.kind(read.column) is Kind.TIMESTAMPTZ and upstream.zone != summary.zone:
        wall_clock = [
            wall_clock_bounds(*moments(span, upstream.zone), summary.zone) for span in spans
        ]
        return [whole_partitions(start, end, by) for start, end in wall_clock]
    return [whole_partitions(span.start, span.end, by) for span in spans]
