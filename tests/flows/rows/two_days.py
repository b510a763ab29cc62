"""Two days of the table `people`: what coverage says of them, and what a backfill carries."""

from __future__ import annotations

from datetime import date
from typing import Any

from flows.backfill_tables import backfill
from flows.show_coverage import show_coverage

FIRST, SECOND, THIRD = (date(2023, 1, day) for day in (5, 6, 7))


def missing() -> dict[date, str]:
    """The days of both that are not loaded, and why."""
    (told,) = show_coverage(table="people", start_date=FIRST, end_date=THIRD).values()
    standing = {each.day: each.standing for each in told.days}
    return {day: each.reason for day, each in standing.items() if each.status != "loaded"}


def fill(**given: Any) -> int:
    """Carry what is missing of them; how many windows that were."""
    carried = backfill(table="people", start_date=FIRST, end_date=THIRD, **given)
    return sum(map(len, carried.values()))
