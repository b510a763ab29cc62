"""What became of windows; and those that failed, as people say it: how many, when, and why.

Windows of a table that failed for the same reason stand in one line, however many they are:

    1,000 windows failed, 2020-01-01 to 2022-09-26: FERRY-DATA: upsert raw_data.nps …: …
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ferry.backfills.plan import days_label, neighbours_merged
from ferry.bounded import MAX_REASONS, first_of, on_one_line
from ferry.receipts.receipt import Receipt
from ferry.windows import Window

NOT_BEGUN = "not begun: one before it failed"
"""Why a window was not tried."""

MAX_STRETCHES = 3
"""So many stretches of neighbouring windows are named; of more, the first and the last window."""

_ITS_OWN = re.compile(
    r"\d{4}-\d{2}-\d{2}([T ][\d:.]+([+-]\d{2}:?\d{2}|Z)?)?"  # a moment
    r"|\b(?=[a-f-]*\d)[0-9a-f-]{8,}\b"  # an id
    r"|\b\d[\d,]*(?= [a-z])"  # a number of something
)
"""What differs in a reason from window to window and leaves it the same reason."""


@dataclass(frozen=True)
class Outcome:
    """What became of a window, whoever carried it: a backfill, its workers, or a run catching up.

    Attributes:
        table: The table, as the warehouse names it.
        window: The window; None where the reason is that of several, or of the whole table.
        receipt: The proof that it arrived; None if it did not.
        reason: Why it did not.
        begun: Whether it was tried at all.
        windows: How many windows it stands for; 0 where it is not known, or is that of the table.
    """

    table: str
    window: Window | None
    receipt: Receipt | None = None
    reason: str = ""
    begun: bool = True
    windows: int = 1


def receipts_of(outcomes: Iterable[Outcome]) -> list[Receipt]:
    """The receipts of those that arrived, in their order."""
    return [outcome.receipt for outcome in outcomes if outcome.receipt]


def failures_of(outcomes: Iterable[Outcome]) -> list[Outcome]:
    """Those that did not arrive, in their order."""
    return [outcome for outcome in outcomes if not outcome.receipt]


def windows_of(outcomes: Iterable[Outcome]) -> int:
    """How many windows they stand for."""
    return sum(outcome.windows for outcome in outcomes)


def failed_lines(failed: Iterable[Outcome], limit: int = MAX_REASONS) -> list[str]:
    """What failed and why: a line for each table and reason, that of the most windows first.

    Args:
        failed: What did not arrive, in any order.
        limit: How many lines there are at most, besides one that counts the others.
    """
    groups: dict[tuple[str, str], list[Outcome]] = {}
    for each in failed:
        groups.setdefault((each.table, _kind(each)), []).append(each)
    ordered = sorted(groups.values(), key=_rank)
    return first_of(map(_line, ordered), limit, "and {:,} more reasons")


def _kind(failed: Outcome) -> str:
    """The reason without what is the window's own."""
    if failed.window is None:
        return failed.reason
    return _ITS_OWN.sub("…", failed.reason.replace(failed.window.label, "…"))


def _rank(group: Sequence[Outcome]) -> tuple[bool, bool, int]:
    """Where a line stands: what is another one's consequence, or no window's, comes last."""
    first = group[0]
    return not first.begun, first.window is None, -len(group)


def _line(group: Sequence[Outcome]) -> str:
    first = group[0]
    if first.window is None:
        return on_one_line(first.reason)
    windows = sorted((each.window for each in group if each.window), key=lambda each: each.start)
    many = "1 window" if len(windows) == 1 else f"{len(windows):,} windows"
    reason = on_one_line(first.reason.replace(first.window.label, "…"))
    return f"{first.table}: {many} failed, {_when(windows)}: {reason}"


def _when(windows: Sequence[Window]) -> str:
    stretches = neighbours_merged(windows)
    if len(stretches) <= MAX_STRETCHES:
        return ", ".join(map(days_label, stretches))
    return f"between {days_label(windows[0])} and {days_label(windows[-1])}"
