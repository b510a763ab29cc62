"""What a backfill shows on its run's page: the plan, before a row moves, and what became of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

from prefect.artifacts import create_markdown_artifact
from prefect.logging import get_run_logger

from ferry.backfills.outcomes import Outcome
from ferry.backfills.plan import PlannedWindow, TablePlan, days_label, neighbours_merged
from ferry.bounded import MAX_REASONS, MAX_ROWS, first_of, on_one_line
from ferry.cursors import cursor_line
from tasks.pages.artifacts import cosmetic
from tasks.pages.cells import escaped, short

MAX_LINES, MIN_LINES = 500, 5
"""Lines on the page about the windows of all tables, and about those of one of very many."""


def show_plan(
    plans: Sequence[TablePlan], left_out: Mapping[str, str], unplanned: Mapping[str, str]
) -> None:
    """Show which windows are going to be carried, and which not, and why.

    Args:
        plans: The tables' plans.
        left_out: Tables that are not backfilled, with the reason.
        unplanned: Tables whose planning failed, with the reason.
    """
    for plan in plans:
        get_run_logger().info("%s", plan_line(plan))
    for line in left_out_lines(left_out):
        get_run_logger().info("%s", line)
    parts = [
        "| table | windows | to carry | skipped | rows, about | bytes, about |\n"
        "| --- | ---: | ---: | ---: | ---: | ---: |\n"
        + "\n".join(first_of(map(_plan_row, plans), MAX_LINES, "| and {:,} more | | | | | |"))
    ]
    listed = (f"- {name} is left out: {short(reason)}" for name, reason in left_out.items())
    parts += first_of(listed, MAX_ROWS, "- and {:,} more are left out")
    listed = (f"- **{name} could not be planned**: {short(why)}" for name, why in unplanned.items())
    parts += first_of(listed, MAX_ROWS, "- and {:,} more could not be planned")
    each = max(MIN_LINES, MAX_LINES // max(1, len(plans)))
    parts += [
        f"### {plan.spec.target}\n\nBy {escaped(cursor_line(plan.spec, plan.cursor))}.\n\n"
        + _windows_table(plan.windows, each)
        for plan in plans[: MAX_LINES // MIN_LINES]
    ]
    with cosmetic("the plan"):
        create_markdown_artifact(key="backfill-plan", markdown="\n\n".join(parts))


def show_carried(
    lines: Sequence[str], failures: Sequence[Outcome], unplanned: Mapping[str, str]
) -> None:
    """Show what became of the windows.

    Args:
        lines: What was carried, a line for each table, and what else is to be told.
        failures: The windows that did not arrive, or the table, where it failed though they did.
        unplanned: Tables whose planning failed, with the reason.
    """
    entries = [f"- {line}" for line in lines]
    entries += [
        f"- **{table} could not be planned**: {short(why)}" for table, why in unplanned.items()
    ]
    markdown = "\n".join(first_of(entries, MAX_ROWS, "- and {:,} more"))
    if failures:
        rows = (
            f"| {each.table} | {each.window or 'the table'} | {short(each.reason)} |"
            for each in failures
        )
        markdown += "\n\n| table | window | why it failed |\n| --- | --- | --- |\n" + "\n".join(
            first_of(rows, MAX_ROWS, "| and {:,} more | | |")
        )
    with cosmetic("what was carried"):
        create_markdown_artifact(key="backfill", markdown=markdown)


def left_out_lines(left_out: Mapping[str, str]) -> list[str]:
    """Which tables are not backfilled, and why, a line each, as the log and the message say it."""
    lines = (f"{name} is left out: {why}" for name, why in left_out.items())
    return first_of(lines, MAX_REASONS, "and {:,} more are left out")


def unplanned_lines(unplanned: Mapping[str, str]) -> list[str]:
    """Why tables could not be planned, a line each, after one that says how many."""
    if not unplanned:
        return []
    each = (f"{table}: {on_one_line(reason)}" for table, reason in unplanned.items())
    return [
        f"{len(unplanned)} tables could not be planned, and were not carried:",
        *first_of(each, MAX_REASONS),
    ]


def plan_line(plan: TablePlan) -> str:
    """One line: `raw_data.nps: 28 of 31 windows to carry, about 135,483 rows`."""
    rows = "" if plan.rows is None else f", about {plan.rows:,} rows"
    return f"{plan.spec.target}: {len(plan.to_run)} of {len(plan.windows)} windows to carry{rows}"


def _plan_row(plan: TablePlan) -> str:
    run, rows = len(plan.to_run), plan.rows
    size = None if rows is None or plan.row_bytes is None else rows * plan.row_bytes
    return (
        f"| {plan.spec.target} | {len(plan.windows):,} | {run:,} | {len(plan.windows) - run:,} | "
        f"{_count(rows)} | {_count(size)} |"
    )


def _count(number: int | None) -> str:
    return "unknown" if number is None else f"{number:,}"


def _windows_table(windows: Iterable[PlannedWindow], limit: int) -> str:
    """The windows; those that follow on one another and are to have the same fate, in one line."""
    lines = []
    for skipped, group in groupby(windows, key=lambda planned: planned.skipped):
        members = list(group)
        rows = [planned.rows for planned in members]
        known = None if any(count is None for count in rows) else sum(filter(None, rows))
        (stretch,) = neighbours_merged(planned.window for planned in members)
        lines.append(
            f"| {days_label(stretch)} | {len(members):,} | {skipped or 'carry'} | "
            f"{'' if skipped else _count(known)} |"
        )
    lines = first_of(lines, limit, "| and {:,} more lines | | | |")
    return "| windows | number | | rows, about |\n| --- | ---: | --- | ---: |\n" + "\n".join(lines)
