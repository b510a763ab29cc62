"""Prefect's server gives a page at a time, whatever is asked of it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")

PAGE = 200
"""The most that the server gives at once."""


def all_pages(read: Callable[[int], Sequence[T]]) -> Iterator[T]:
    """All that there is, page by page.

    Args:
        read: Reads up to `PAGE` from an offset on.
    """
    for offset in itertools.count(0, PAGE):
        page = read(offset)
        yield from page
        if len(page) < PAGE:
            return
