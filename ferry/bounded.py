"""Lists and texts for people: as long as somebody can read, whatever a run was about.

What is not shown is counted. All of it stands in the warehouse: `ferry.receipts`, `ferry.failures`.
And lists for one statement each, as large as a warehouse takes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

MAX_REASONS = 20
"""Lines of a run's message, which goes wherever the run's state goes."""

MAX_ROWS = 200
"""Rows of a table on a run's page."""

MAX_CHARACTERS = 2_000
"""Of one reason in a message."""


def first_of(lines: Iterable[str], limit: int, more: str = "and {:,} more") -> list[str]:
    """The lines, if they are not more than the limit; else the first ones, and how many more.

    Args:
        lines: What there is to tell.
        limit: How many of them are told.
        more: The line in place of the others, with a place for their number.
    """
    everything = list(lines)
    hidden = len(everything) - limit
    return [*everything[:limit], more.format(hidden)] if hidden > 0 else everything


def shortened(text: str, characters: int = MAX_CHARACTERS) -> str:
    """The text; the middle of a longer one is left out, since its end says what to do."""
    if len(text) <= characters:
        return text
    half = (characters - 3) // 2
    return f"{text[:half]} … {text[-half:]}"


def on_one_line(text: str, characters: int = MAX_CHARACTERS) -> str:
    """The text with single blanks between its words, shortened."""
    return shortened(" ".join(text.split()), characters)


def in_groups(
    sized: Iterable[tuple[T, int]], limit: int, most: int | None = None
) -> Iterator[list[T]]:
    """The items in their order, in lists whose sizes come to no more than the limit.

    Args:
        sized: Each item with its size. One that is larger is a list by itself.
        limit: The most that the sizes of a list come to.
        most: How many items a list has at most; None for any number.
    """
    group: list[T] = []
    total = 0
    for item, size in sized:
        if group and (len(group) == most or total + size > limit):
            yield group
            group, total = [], 0
        group.append(item)
        total += size
    if group:
        yield group
