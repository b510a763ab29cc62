"""Backfills: which windows of a range are to be carried, and whether it can be asked for at all."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal

from ferry.bounded import MAX_REASONS, first_of
from ferry.coverage.standings import Coverage, Status
from ferry.cursors import counts_no_time, find_cursor
from ferry.day_ranges import DayRange, Granularity, check_ends, check_start_date
from ferry.errors import RequestError, no_window_without_key
from ferry.receipts.read_as import as_it_is_now
from ferry.receipts.receipt import LOADED, Receipt
from ferry.schema import Column, Kind
from ferry.specs.tables import TableSpec
from ferry.windows import Window, local_midnight, zone_info

Reprocess = Literal["missing", "failed", "all"]
Order = Literal["oldest", "newest", "strict"]

LANDED_EARLIER = "landed in an earlier attempt of this run"
"""Why a window is not carried that this very backfill has landed before."""


@dataclass(frozen=True)
class PlannedWindow:
    """One window of a plan.

    Attributes:
        window: The window.
        skipped: Why it is not carried; empty if it is.
        rows: About how many rows it has; None if that is not known.
        again: Whether this very backfill has landed it before, and it is not loaded any more.
    """

    window: Window
    skipped: str = ""
    rows: int | None = None
    again: bool = False


@dataclass(frozen=True)
class TablePlan:
    """What a backfill is going to do with one table.

    Attributes:
        spec: The table's spec.
        windows: All windows of the range, in order of time.
        row_bytes: About how many bytes a row of the source has.
        cursor: The column that tells in which window a row is.
        left_out: Why the table has no such windows, where all tables were asked for.
    """

    spec: TableSpec
    windows: tuple[PlannedWindow, ...]
    row_bytes: int | None = None
    cursor: str = ""
    left_out: str = ""

    @property
    def to_run(self) -> list[PlannedWindow]:
        """The windows that are going to be carried, in order of time."""
        return [planned for planned in self.windows if not planned.skipped]

    @property
    def rows(self) -> int | None:
        """About how many rows are going to be carried; None if any window's are not known."""
        rows = [planned.rows for planned in self.to_run]
        return None if any(count is None for count in rows) else sum(filter(None, rows))


def landed_labels(receipts: Iterable[Receipt], spec: TableSpec, cursor: str) -> frozenset[str]:
    """Labels of the windows that a backfill has landed, as the table is read now.

    Args:
        receipts: Its own that are not void.
        spec: The table's spec.
        cursor: The cursor that the table has now.
    """
    return frozenset(
        receipt.window_label
        for receipt in receipts
        if receipt.status == LOADED and as_it_is_now(receipt, spec, cursor)
    )


def none_left(left_out: Mapping[str, str]) -> RequestError:
    """The error of a run of which no table is left to carry; by table, why each is left out."""
    return RequestError(
        "none of the tables can be backfilled",
        expected="a table of windows, by its key",
        found="; ".join(first_of(map(": ".join, left_out.items()), MAX_REASONS)) or "no table",
        todo="See `mode` and `key` in the table specs; name a table of `every: never`.",
    )


def lost_since(
    plan: TablePlan,
    reprocess: Reprocess,
    coverage: Coverage,
    void: Collection[Window],
    landed: frozenset[str] = frozenset(),
) -> list[PlannedWindow]:
    """The windows that a run took for loaded, or has loaded, and that are not any more.

    The first batch that lands may find that the table has gained a column, or that its target is
    another one or has lost rows; and another run may have failed meanwhile.

    Args:
        plan: The run's plan.
        reprocess: What the run was asked to carry: of what is missing it leaves nothing. What an
            earlier attempt of it has landed is its own, whatever it was asked.
        coverage: How the table stands now.
        void: The windows that the run itself has carried and whose receipts are void since.
        landed: Labels of the windows of which it has a receipt that is not void.
    """
    return [
        replace(planned, skipped="", again=planned.window.label in landed)
        for planned in plan.windows
        if planned.window in void
        or (
            planned.skipped
            and (reprocess == "missing" or planned.skipped == LANDED_EARLIER)
            and coverage.of(planned.window).status is not Status.LOADED
        )
    ]


def check_range(days: DayRange, spec: TableSpec, now: datetime) -> None:
    """Refuse a range that cannot be carried as a whole.

    Args:
        days: The range.
        spec: The table's spec.
        now: The run's scheduled start: a retry tomorrow judges the same.

    Raises:
        RequestError: The end is not after the start, the range is not over, or it begins before
            the table's `start_date`. No retry helps.
    """
    table = str(spec.target)
    check_ends(days.start, days.end, table)
    today = now.astimezone(zone_info(days.zone)).date()
    if days.end > today:
        raise RequestError(
            "the range is not over yet" if days.start < today else "the range is in the future",
            table=table,
            expected=f"an end_date of {today} ({days.zone}) at most",
            found=days.end,
            todo="The end is exclusive; a day can be carried as a whole when it is over.",
        )
    check_start_date("range", days.start, spec.start_date, table)


def check_table(spec: TableSpec) -> None:
    """Refuse a table that has no windows to carry.

    Raises:
        RequestError: It is carried in full, or has no key. No retry helps.
    """
    if spec.mode == "full":
        raise RequestError(
            "a table in mode full cannot be backfilled",
            table=str(spec.target),
            expected="mode window, or watermark with a key",
            found="mode full",
            todo="It has no windows: one run of sync-table reloads all of it.",
        )
    if not spec.key:
        raise no_window_without_key(str(spec.target))


def why_no_windows(spec: TableSpec, columns: tuple[Column, ...], granularity: Granularity) -> str:
    """Why a table that is carried well has no windows of this length; empty if it has some.

    Whoever asks for all tables does without it; for its own name it is refused.

    Raises:
        SchemaError: The spec's cursor is not in the table. No retry helps.
    """
    cursor = find_cursor(spec, columns)
    if cursor is None:
        return ""
    if spec.mode == "watermark" and counts_no_time(spec, cursor):
        return f"a watermark of numbers, {cursor.name!r}, has no time to cut windows by"
    if cursor.type.kind is Kind.DATE and granularity == "hour":
        return f"its cursor {cursor.name!r} has no time of day, so it has no windows by the hour"
    return ""


def check_unchanged(spec: TableSpec, planned: Mapping[str, Any]) -> None:
    """Refuse a spec that is not the one with which the windows were planned.

    Args:
        spec: The table's spec, as the table specs say now.
        planned: What it said then: `TableSpec.as_planned`.

    Raises:
        RequestError: They differ; the message names the fields. No retry helps.
    """
    now = spec.as_planned
    changed = [name for name in planned if planned[name] != now.get(name)]
    if changed:
        raise RequestError(
            "the table's spec is not the one that the backfill was planned with",
            table=f"{planned.get('schema')}.{planned.get('name')}",
            expected=", ".join(f"{name}={planned[name]}" for name in changed)[:500],
            found=", ".join(f"{name}={now.get(name)}" for name in changed)[:500],
            todo="Start the backfill again: it plans with the spec as it is now, and does what is "
            "left.",
        )


def plan_windows(
    windows: Iterable[Window],
    coverage: Coverage,
    reprocess: Reprocess,
    landed: frozenset[str] = frozenset(),
) -> tuple[PlannedWindow, ...]:
    """Which windows are going to be carried, and why the others are not.

    Args:
        windows: All windows of the range.
        coverage: How the table stands.
        reprocess: missing: what is not loaded, whether it failed or was never tried. failed: just
            what failed. all: everything.
        landed: Labels of the windows that this very backfill has landed in an earlier attempt.
            Those that are not loaded any more, as another run has failed since, are not done.
    """
    planned = []
    for window in windows:
        standing = coverage.of(window)
        skipped, own = "", window.label in landed
        if own and standing.status is Status.LOADED:
            skipped = LANDED_EARLIER
        elif reprocess == "missing" and standing.status is Status.LOADED:
            skipped = "loaded"
        elif reprocess == "failed" and standing.status is not Status.FAILED:
            skipped = str(standing.status)
        planned.append(PlannedWindow(window, skipped, again=own and not skipped))
    return tuple(planned)


def in_order(planned: Sequence[PlannedWindow], order: Order) -> list[PlannedWindow]:
    """The windows in the order in which they begin."""
    return list(planned[::-1] if order == "newest" else planned)


def neighbours_merged(windows: Iterable[Window]) -> list[Window]:
    """The windows, those joined that follow on one another."""
    found: list[Window] = []
    for window in windows:
        if found and found[-1].is_before(window):
            found[-1] = Window(found[-1].start, window.end, window.zone)
        else:
            found.append(window)
    return found


def days_label(window: Window) -> str:
    """A window of whole days as people say it: `2023-01-05`, `2023-01-05 to 2023-01-09`.

    The last day is in it. Any other window has its own label.
    """
    first, after = window.start.date(), window.end.date()
    whole = window.start == local_midnight(first, window.zone) and window.end == local_midnight(
        after, window.zone
    )
    if not whole or window.label == first.isoformat():
        return window.label
    return f"{first} to {after - timedelta(days=1)}"
