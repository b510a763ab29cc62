"""Where a large table is cut into pieces, and who reads which of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

MOST_PIECES = 200
"""Each is a COPY's file at least, and a SELECT within a longer one."""

CutValue = tuple[str, ...]
"""A key, or the beginning of one, as the source's block writes it."""


@dataclass(frozen=True)
class Cuts:
    """Where a table is cut, at values of its key.

    Attributes:
        by: The columns of the key, and what their order follows from, in the source's own words.
        values: Where a piece ends and the next begins; none if the table is not cut.
        why: Why it is not.
        of: Which table of which server it is, in the source's own words.
    """

    by: tuple[str, ...] = ()
    values: tuple[CutValue, ...] = ()
    why: str = ""
    of: str = ""

    @property
    def pieces(self) -> int:
        """How many pieces there are."""
        return len(self.values) + 1


def in_shares(pieces: Sequence[int], count: int) -> tuple[tuple[int, ...], ...]:
    """The pieces in so many shares of about as many each, or fewer, in their order."""
    count = max(1, min(count, len(pieces)))
    bounds = [len(pieces) * n // count for n in range(count + 1)]
    return tuple(tuple(pieces[start:end]) for start, end in pairwise(bounds))
