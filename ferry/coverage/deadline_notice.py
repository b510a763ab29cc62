"""The messages about tables that are late, and that have arrived after all."""

from __future__ import annotations

from datetime import UTC, datetime

from ferry.bounded import on_one_line
from ferry.coverage.deadlines import Arrival, Deadline
from ferry.runs.notice import Notice, plain
from ferry.runs.watch_notice import RUNBOOK
from ferry.windows import zone_info

MAX_CHARACTERS = 900


def late_table_notice(deadline: Deadline, arrived: Arrival) -> Notice:
    """The table is not loaded, and was due."""
    spec = deadline.spec
    last = arrived.last_receipt
    reason = plain(on_one_line(arrived.reason, MAX_CHARACTERS))
    lines = [
        f"Due: {spec.due} {spec.zone} on {deadline.day}",
        f"Last receipt: {_moment(last, deadline) if last else 'none'}",
        f"Reason: {reason}" if reason else "",
        f"What to look at: {RUNBOOK}, A table is late",
    ]
    return Notice(
        f"Ferry: {_what(deadline)} is not loaded; due {spec.due}",
        "\n".join(line for line in lines if line),
    )


def arrived_notice(deadline: Deadline, arrived: Arrival) -> Notice:
    """The table was told to be late, and is there now.

    Since when it is there is not told: nobody may have looked for days.
    """
    last = arrived.last_receipt
    return Notice(
        f"Ferry: {_what(deadline)} has arrived after all",
        f"It was due {deadline.spec.due} {deadline.spec.zone} on {deadline.day}, and is there "
        "now.\n"
        f"Last receipt: {_moment(last, deadline) if last else 'none'}",
    )


def unjudged_notice(what: str, reason: str) -> Notice:
    """Nobody can tell whether tables are late."""
    return Notice(
        f"Ferry: nobody knows whether tables are late: {plain(what)} cannot be asked",
        f"Reason: {plain(on_one_line(reason, MAX_CHARACTERS))}\n"
        f"What to look at: {RUNBOOK}, A table is late",
    )


def _what(deadline: Deadline) -> str:
    """`orders for 2026-11-25`: of a window the day whose rows it carries, else the day itself."""
    window = deadline.spec.mode == "window"
    return f"{deadline.spec.name} for {deadline.business_day if window else deadline.day}"


def _moment(moment: datetime, deadline: Deadline) -> str:
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return f"{aware.astimezone(zone_info(deadline.spec.zone)):%Y-%m-%d %H:%M} {deadline.spec.zone}"
