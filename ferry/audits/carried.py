"""Which rows of a source had been carried: the others are pending, and no difference."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import Any

from ferry.fingerprints.queries import Row


@dataclass(frozen=True)
class Carried:
    """Stretches of the cursor's values whose rows have been carried.

    Attributes:
        stretches: Each from its first value up to, but without, its last; None for no bound. They
            do not overlap, and are in order. None where nothing tells: then all rows have been.
        until: Versions of rows from this value on have not been; None where that is the cursor.
        unordered: Whether rows without a value have been: a full copy carries them, too.
    """

    stretches: tuple[tuple[Any, Any], ...] | None = None
    until: Any = None
    unordered: bool = False

    def holds(self, row: Row) -> bool:
        """Whether the row has been carried as it is."""
        if self.until is not None and row.version is not None and row.version >= self.until:
            return False
        return self.stretches is None or self._within(row.ordering)

    def any_between(self, start: Any, end: Any) -> bool:
        """Whether any row of these values of the cursor may have been."""
        return self.stretches is None or any(
            (first is None or first < end) and (last is None or start < last)
            for first, last in self.stretches
        )

    def _within(self, value: Any) -> bool:
        assert self.stretches is not None
        if value is None:
            return self.unordered
        firsts = [first for first, _ in self.stretches if first is not None]
        open_start = len(self.stretches) - len(firsts)
        position = open_start + bisect_right(firsts, value) - 1
        if position < 0:
            return False
        end = self.stretches[position][1]
        return bool(end is None or value < end)
