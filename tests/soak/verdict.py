"""One thing that was checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """Whether it holds, and what was found; None for what is counted, and is neither."""

    name: str
    holds: bool | None
    told: str

    def __str__(self) -> str:
        mark = "count" if self.holds is None else "ok" if self.holds else "BROKEN"
        return f"{mark:<7}{self.name}: {self.told}"


def first(found: Sequence[object], most: int = 6) -> str:
    """How many there are, and the first of them."""
    if not found:
        return "none"
    more = ", …" if len(found) > most else ""
    return f"{len(found):,} ({', '.join(map(str, found[:most]))}{more})"
