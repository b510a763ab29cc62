"""What is not back of a table that had lost its rows."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from ferry.coverage.standings import coverage_of
from ferry.receipts.receipt import LOADED, PARTIAL, RECONCILE, VOID, ReceiptTimes
from ferry.specs.tables import TableSpec
from ferry.windows import union

Interval = tuple[datetime, datetime]


def not_back(
    receipts: Sequence[ReceiptTimes],
    lost_at: datetime,
    bounds: Sequence[Interval],
    cursor: str | None = None,
    spec: TableSpec | None = None,
) -> list[Interval]:
    """The stretches that were carried before a table lost its rows, and not again since.

    What was carried in part alone counts as back when it is in part again.

    Args:
        receipts: All of the table's.
        lost_at: When a run found the loss.
        bounds: Tell of what is within these.
        cursor: The cursor that the table has now.
        spec: The table's spec. What was read otherwise than it says is not back; all of what was
            there counts, however it was read.

    Returns:
        The stretches in order of time; what has no start begins at `standings.ALWAYS`.
    """
    found: list[Interval] = []
    for those in (receipts, [_as_loaded(each) for each in receipts]):
        before = [each for each in those if each.status != VOID and each.finished_at <= lost_at]
        had = union(coverage_of(before, []).loaded)
        has = union(coverage_of(those, [], cursor, spec).loaded)
        found += _less(_within(had, bounds), has)
    return union(found)


def _as_loaded(receipt: ReceiptTimes) -> ReceiptTimes:
    in_part = receipt.status == PARTIAL and receipt.mode != RECONCILE  # a repair brings no rows
    return replace(receipt, status=LOADED) if in_part else receipt


def _within(stretches: Iterable[Interval], bounds: Sequence[Interval]) -> list[Interval]:
    cut = [(max(s, first), min(e, last)) for s, e in stretches for first, last in bounds]
    return [(start, end) for start, end in cut if start < end]


def _less(stretches: Iterable[Interval], taken: Sequence[Interval]) -> list[Interval]:
    """What of the stretches is in none of others, which are in order and do not overlap."""
    left, ends = [], [last for _, last in taken]
    for start, end in stretches:
        after = start
        for first, last in taken[bisect_right(ends, start) :]:
            if first >= end:
                break
            if after < first:
                left.append((after, first))
            after = last
        if after < end:
            left.append((after, end))
    return left
