"""A table that is told as a whole, not by days: what its receipts and failures tell of all of it.

What counts are runs that carried all of it, or all that was new: a full copy, and of a table in
mode `watermark` its watermark's runs. A backfill's window, a repair and what left rows out make the
table no newer. What was read as its spec does not say any more is of another table, or not all of
this one: it counts as little as what is not there any more, and nothing before it does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ferry.coverage.standings import read_as_not_now
from ferry.receipts.failures import Failure
from ferry.receipts.read_as import replaced_others
from ferry.receipts.receipt import LOADED, VOID, TimeOfReceipt
from ferry.specs.tables import TableSpec


@dataclass(frozen=True)
class WholeLoads:
    """What has landed of a table as a whole.

    Attributes:
        last: The last of it, whether it counts or not; None if nothing has.
        counting: What counts: as the table's spec says, and not void since.
        void: Why nothing from before counts, if anything says so; empty if nothing does.
    """

    last: TimeOfReceipt | None
    counting: tuple[TimeOfReceipt, ...]
    void: str


def whole_loads(
    receipts: Sequence[TimeOfReceipt], spec: TableSpec, cursor: str | None
) -> WholeLoads:
    """What has landed of a table as a whole, as its receipts tell.

    Args:
        receipts: All its receipts.
        spec: The table's spec.
        cursor: The cursor that the table has now, if that is known.
    """
    whole = [each for each in receipts if each.status == LOADED and _is_of_all(each.mode, spec)]
    voids = [(each, why) for each in receipts if (why := _why_void(each, spec, cursor))]
    last = max(whole, key=lambda each: each.finished_at, default=None)
    if not voids:
        return WholeLoads(last, tuple(whole), "")
    void, why = max(voids, key=lambda found: found[0].finished_at)
    return WholeLoads(
        last, tuple(each for each in whole if each.finished_at > void.finished_at), why
    )


def last_whole_failure(failures: Iterable[Failure], spec: TableSpec) -> Failure | None:
    """The last failure of a run that was to carry the table as a whole; None if there is none."""
    whole = (each for each in failures if _is_of_all(each.mode, spec))
    return max(whole, key=lambda each: each.failed_at, default=None)


def _is_of_all(mode: str, spec: TableSpec) -> bool:
    return mode == "full" or mode == spec.mode == "watermark"


def _why_void(receipt: TimeOfReceipt, spec: TableSpec, cursor: str | None) -> str:
    """Why neither what the receipt tells nor what was before it counts; empty if it may."""
    if receipt.status == VOID:
        return receipt.window_label
    of_all = receipt.status == LOADED and _is_of_all(receipt.mode, spec)
    if of_all or replaced_others(receipt.read_as, spec):
        return read_as_not_now(receipt, cursor, spec)
    return ""
