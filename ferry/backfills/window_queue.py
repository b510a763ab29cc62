"""Windows that travel together: how many neighbours of what is left make the next batch.

A window costs a read, a COPY and a transaction, however few rows it has. Neighbours share them, up
to `batch_rows` of the table's spec, by what the source guessed and what has been read so far. The
first batches are small, since a guess can be wrong.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from itertools import pairwise
from threading import Lock

from ferry.batch import Batch
from ferry.windows import read_stretch

MOST_WINDOWS = 1000
"""In one batch: each has a receipt, and they are written one after the other."""

FIRST_WINDOWS = 64
"""In the first batches, where the source has guessed how many rows they have; else one.

With 32 and half the rows to a batch, a year of 5 million rows as days took eight batches, not six:
with 50 ms more a statement 19.1 s, not 17.0 (docs/performance.md).
"""

GROWTH = 16
"""A batch has at most so many times the windows that one before it had."""

MOST_UNGUESSED = 64
"""Windows in a batch where nobody has guessed: those to come may have more rows than any before."""

SMALLEST = 4
"""What is left is shared among the threads, down to this part of `batch_rows` for each.

Smaller ones would end together, and cost more: with 50 ms more a statement, a year of 5 million
rows takes 19.6 s with 4, and took 20.2 with 10 (docs/performance.md).
"""

DOUBT = 10
"""What was read corrects the guesses as if this part of `batch_rows` had been guessed rightly.

And until rows are found, to no less than this part of them.
"""


class WindowQueue:
    """Windows of one table that are still to be carried; several threads take from it.

    Args:
        batches: One for each window, in the order in which they begin.
        at_once: How many are under way at a time.
    """

    def __init__(self, batches: Sequence[Batch], at_once: int) -> None:
        self._left = deque(batches)
        self._newest_first = len(batches) > 1 and _start(batches[0]) > _start(batches[-1])
        self._at_once = max(1, at_once)
        self._lock = Lock()
        self._apart = False
        self._most = 0
        self._windows = self._rows = 0
        self._guessed = self._found = 0
        self._last = 0, 0
        self._ahead = sum(each.estimated_rows or 0 for each in batches)

    def take(self) -> Batch | None:
        """The next batch; None if none is left."""
        with self._lock:
            if not self._left:
                return None
            taken = [self._next()]
            room = taken[0].spec.batch_rows
            if self._apart or not room:
                return taken[0]
            most = self._limit()
            share = math.ceil((len(self._left) + 1) / self._at_once)
            expected = self._expected(taken[0])
            while self._left and len(taken) < most and neighbours([*taken[-2:], self._left[0]]):
                expected += self._expected(self._left[0])
                if expected > room or (len(taken) >= share and expected > room / SMALLEST):
                    break
                taken.append(self._next())
            return Batch.together(sorted(taken, key=_start))

    def read(self, batch: Batch, rows: int) -> None:
        """Learn how many rows a batch has had."""
        with self._lock:
            windows = len(batch.each)
            self._most = max(self._most, windows)
            self._windows += windows
            self._rows += rows
            if batch.estimated_rows is not None:
                self._guessed += batch.estimated_rows
                self._found += rows
                self._last = rows, batch.estimated_rows

    def keep_apart(self) -> None:
        """Let every window travel by itself from here on."""
        with self._lock:
            self._apart = True

    def smaller(self, batch: Batch, at_fault: int | None = None) -> Sequence[Batch]:
        """What a batch that failed is carried in, in the plan's order.

        Its windows, where they are kept apart; the one at fault, those before and those after it,
        where that is known; else halves.

        Args:
            batch: Several windows that travelled together.
            at_fault: The number of the window that they failed by.
        """
        each = batch.each
        cut = [len(each) // 2] if at_fault is None else [at_fault, at_fault + 1]
        cuts = range(len(each) + 1) if self._apart else [0, *cut, len(each)]
        parts = [Batch.together(each[a:b]) for a, b in pairwise(cuts) if a < b]
        return parts[::-1] if self._newest_first else parts

    def _next(self) -> Batch:
        batch = self._left.popleft()
        self._ahead -= batch.estimated_rows or 0
        return batch

    def _limit(self) -> int:
        guessed = bool(self._left) and self._left[0].estimated_rows is not None
        first, most = (FIRST_WINDOWS, MOST_WINDOWS) if guessed else (1, MOST_UNGUESSED)
        return min(most, max(first, GROWTH * self._most))

    def _expected(self, batch: Batch) -> float:
        """About how many rows a window has: as guessed, and corrected by what was read.

        The correction counts for as much as it is told by: a few days without rows say little of
        years to come. It is that of all batches or of the last one, whichever expects more, since
        rows grow denser over the years; and no less than what was guessed and not found demands.
        """
        if batch.estimated_rows is None:
            return self._rows / self._windows if self._windows else 0.0
        room = batch.spec.batch_rows
        doubt = room / DOUBT
        mean, last = (
            (found + doubt) / (guessed + doubt)
            for found, guessed in ((self._found, self._guessed), self._last)
        )
        # What was guessed and not found may be in what is left; the less so, the more was found.
        missing = max(0, self._guessed - self._found) / max(1, self._ahead)
        least = min(1.0, (1 + missing) / DOUBT) * room / (room + self._found)
        corrected = batch.estimated_rows * max(mean, last, least)
        if self._guessed < self._found / DOUBT:  # it guesses none where there are
            return max(corrected, self._rows / self._windows)
        return corrected


def neighbours(batches: Sequence[Batch]) -> bool:
    """Whether these follow on one another, in one direction, and no moment is read for two."""
    ways = (batches, batches[::-1])
    return any(all(_touch(*pair) for pair in pairwise(way)) for way in ways)


def _touch(one: Batch, two: Batch) -> bool:
    if one.window is None or two.window is None or one.subset or two.subset:
        return False
    if one.again != two.again:  # they would all have the id of the first
        return False
    zone = one.spec.wall_clock_zone
    return (
        one.window.is_before(two.window)
        and one.window.zone == two.window.zone
        and read_stretch(one.window, zone)[1] <= read_stretch(two.window, zone)[0]
    )


def _start(batch: Batch) -> float:
    assert batch.window is not None
    return batch.window.start.timestamp()
