"""A table's days as a calendar in plain text: a sign for each day.

A row is a month, the newest one first; its 31 columns are the days. The signs are in every font, so
that they stand below one another, and differ by their shape: squares and coloured signs would be
taken from another font than the digits, of another width.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from itertools import groupby

from ferry.coverage.days import ONE_DAY, Day, TableDays
from ferry.coverage.standings import Status

SIGNS = {Status.LOADED: "#", Status.FAILED: "X", Status.MISSING: "o"}
NOT_OVER = "-"
OUTSIDE = "·"
DRIFTED = "!"

_INDENT = " " * 10
_HEAD = _INDENT + "".join(f"{number:<10}" for number in (1, 6, 11, 16, 21, 26)) + "31"
_LEGEND = (
    "   ".join(f"{sign} {status}" for status, sign in SIGNS.items())
    + f"   {NOT_OVER} not over yet\n{OUTSIDE} before the first day, or not asked for"
)


def calendar(table: TableDays) -> str:
    """The legend and the years, the newest first; of an older year that is whole, just that."""
    blocks = [_legend(table)]
    by_year = [(year, list(days)) for year, days in groupby(table.days, lambda each: each.day.year)]
    for year, days in reversed(by_year):
        whole = all(each.standing.status is Status.LOADED for each in days)
        if whole and year != by_year[-1][0]:
            blocks.append(f"{year}      all {len(days)} days loaded")
        else:
            blocks.append(_year(year, days, table.today))
    return "\n\n".join(blocks)


def _legend(table: TableDays) -> str:
    """What the signs mean; that of days that have drifted, where there are any."""
    if not table.count(Status.DRIFTED):
        return _LEGEND
    return _LEGEND.replace(f"   {NOT_OVER}", f"   {DRIFTED} {Status.DRIFTED}   {NOT_OVER}", 1)


def _year(year: int, days: Sequence[Day], today: date) -> str:
    signs = {each.day: SIGNS.get(each.standing.status, DRIFTED) for each in days}
    months = range(days[-1].day.month, days[0].day.month - 1, -1)
    return "\n".join([_HEAD, *(_month(date(year, month, 1), signs, today) for month in months)])


def _month(first: date, signs: dict[date, str], today: date) -> str:
    days = (first + number * ONE_DAY for number in range(31))
    row = " ".join(
        signs.get(day) or (NOT_OVER if day >= today else OUTSIDE)
        for day in days
        if day.month == first.month
    )
    return f"{first:%b %Y}  {row}"
