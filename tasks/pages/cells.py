"""Values as people read them, in markdown that the Prefect UI shows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from ferry.bounded import on_one_line

_LONGEST = 60
"""Characters of a text value; more would push the figures out of sight."""

_LARGE = 1e9

REASON_CHARACTERS = 300

_MARKS = re.compile(r"[\\`*\[\]<>|~&!]|(?<!\w)_|_(?!\w)")
"""What markdown takes for something else than text; `_` only where it begins or ends a word."""


def escaped(text: str) -> str:
    """The text on one line, as it is: neither markdown, nor HTML, nor the end of a cell."""
    return _MARKS.sub(r"\\\g<0>", " ".join(text.split()))


def short(text: str) -> str:
    """A reason as it fits in one cell of a table."""
    return escaped(on_one_line(text, REASON_CHARACTERS))


def cell(value: Any) -> str:
    """A value: numbers with their thousands apart, a midnight as its date, None as `NULL`."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float | Decimal):
        return _number(value)
    if isinstance(value, date):  # a datetime is one
        return str(value).removesuffix(" 00:00:00")
    text = str(value)
    return escaped(text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…")


def increase(before: Any, now: Any) -> str:
    """By how much a number grew or shrank, such as `+1.50`; empty where that is not a number."""
    numbers = (int, float, Decimal)  # a bool is an int, but none to subtract
    if type(before) not in numbers or type(now) not in numbers:
        return ""
    if isinstance(before, float) or isinstance(now, float):
        before, now = float(before), float(now)
    by = now - before
    return f"{'+' if by > 0 else ''}{_number(by)}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[str] = ()) -> str:
    """A markdown table; the columns of `numbers` stand to the right."""
    rules = ["---:" if name in numbers else "---" for name in head]
    lines = [[escaped(name) for name in head], rules, *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _number(value: int | float | Decimal) -> str:
    """Without the noise in a float's last digits, and without an exponent if it is large."""
    if isinstance(value, float):
        large = abs(value) >= _LARGE
        return f"{value:,.2f}".removesuffix(".00") if large else f"{value:,.12g}"
    return f"{value:,f}" if isinstance(value, Decimal) else f"{value:,d}"
