"""The watermark: from where on a table is read, and what would hide rows from it.

A watermark of times continues from the target's highest cursor that is not after the moment up to
which an earlier run has certainly read the source, by its receipt: what is dated after that moment
hides nothing. Whole numbers that count no time have no such moment.
There a highest value far beyond all others would hide every row that comes below it, so it is
refused.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, localcontext

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ferry.batch import CursorValue
from ferry.errors import DataError, SchemaError
from ferry.schema import EXACT, Column, arrow_type
from ferry.unix_time import UnixUnit
from ferry.windows import clamped, first_pass, on_clock, zone_info

TOP_VALUES = 100
"""So many of the highest values are looked at: a jump with more rows above it is no stray row."""

JUMP = 10_000
"""No gap up to here is a jump."""

_SECONDS: dict[UnixUnit, int] = {"s": 1, "ms": 1_000, "us": 1_000_000}


@dataclass(frozen=True)
class Watermark:
    """How far a table has been read.

    Attributes:
        value: The target's highest cursor that hides nothing.
        lowest: The target's lowest cursor, of numbers that count no time.
    """

    value: CursorValue
    lowest: CursorValue | None = None


def less_lag(
    watermark: CursorValue | None, lag: int, zone: str, unit: UnixUnit | None = None
) -> CursorValue | None:
    """The watermark less the lag: seconds for times, whole days for dates, ids for numbers.

    The seconds are those that pass, whatever the clocks do: an hour before 03:30 of the night in
    which they go forward is 01:30. A wall-clock time that its zone repeats is moved to where the
    repeated times begin: the second pass is not behind the first. Nothing is before the first
    moment that there is.

    Args:
        watermark: The highest cursor.
        lag: How far to go back; of Unix time, seconds.
        zone: The zone in which the source writes its wall-clock columns.
        unit: What a number counts, if it is Unix time.
    """
    if isinstance(watermark, datetime):
        aware = watermark if watermark.tzinfo else watermark.replace(tzinfo=zone_info(zone))
        earlier = clamped(on_clock(aware, UTC), -timedelta(seconds=lag))
        start = on_clock(earlier, aware.tzinfo or UTC)
        return start if watermark.tzinfo else first_pass(start)
    if isinstance(watermark, date):
        return clamped(watermark, -timedelta(days=math.ceil(lag / 86_400)))
    if isinstance(watermark, int | Decimal):
        with localcontext(EXACT):
            return watermark - lag * (_SECONDS[unit] if unit else 1)
    return watermark


class CursorWatch:
    """Looks at the cursors of what is read, batch by batch, for what is dated or numbered ahead.

    Args:
        position: Which of the batches' columns is the cursor.
        column: The cursor.
        counts_no_time: Whether it is a number that counts something else than time.
    """

    def __init__(self, position: int, column: Column, *, counts_no_time: bool) -> None:
        self.column = column
        self.ahead = 0
        """How many rows are dated after the source's clock."""
        self._position, self._counts_no_time = position, counts_no_time
        self._clock: pa.Scalar | None = None
        self._top: dict[int, int] = {}  # how many rows have each
        self._lowest: int | None = None
        self._rows = 0

    def begin(self, clock: CursorValue | None) -> None:
        """Take the source's clock, as the column holds it; None if it holds no times.

        Raises:
            SchemaError: The column is too narrow for the time of now. No retry helps.
        """
        if clock is None:
            return
        try:
            self._clock = pa.scalar(clock, arrow_type(self.column.type))
        except (pa.ArrowInvalid, OverflowError) as error:
            raise SchemaError(
                f"the column {self.column.name!r} cannot hold the present in its `cursor_unit`",
                expected="numbers wide enough for the time of now",
                found=self.column.native or str(self.column.type),
                todo="Correct `cursor_unit` in the table's spec.",
            ) from error

    def see(self, batch: pa.RecordBatch) -> None:
        """Count what is dated ahead; of other numbers keep the highest, and the lowest."""
        cursors = batch.column(self._position).drop_null()
        if self._counts_no_time:
            self._see_numbers(_integers(cursors))
        elif self._clock is not None:
            self.ahead += pc.sum(pc.greater(cursors, self._clock)).as_py() or 0

    def _see_numbers(self, values: np.ndarray) -> None:
        if not len(values):
            return
        self._rows += len(values)
        lowest = int(values.min())
        self._lowest = lowest if self._lowest is None else min(self._lowest, lowest)
        counts = Counter(self._top)
        counts.update(_highest(values))
        self._top = {value: counts[value] for value in sorted(counts)[-TOP_VALUES:]}

    @property
    def highest(self) -> int | None:
        """The highest number that was seen; None if there was none, or they count time."""
        return max(self._top, default=None)

    def jumped(self, known: Watermark | None) -> int:
        """How many rows are beyond a gap that is longer than all the range below it; 0 if none.

        Args:
            known: What the target has; None if it has nothing.
        """
        if not self._counts_no_time:
            return 0
        values = sorted(self._top)
        lowest = self._lowest
        if known is not None:
            high = int(known.value)  # type: ignore[arg-type]  # of numbers it is one
            values = [value for value in values if value > high]
            if len(values) < TOP_VALUES:  # else there may be more between them and the target's
                values.insert(0, high)
            bounds = [known.lowest, lowest, high]
            lowest = min(int(bound) for bound in bounds if bound is not None)  # type: ignore[arg-type]
        for position in range(len(values) - 1, 0, -1):
            gap = values[position] - values[position - 1]
            above = sum(self._top[value] for value in values[position:])
            few = known is not None or above < self._rows - above
            if few and lowest is not None and gap > max(JUMP, values[position - 1] - lowest):
                return above
        return 0


def refuse_jump(rows: int, cursor: str) -> DataError:
    """Why a batch is not carried whose highest cursors would hide what comes below them."""
    return DataError(
        f"the highest values of the cursor {cursor!r} are out of all proportion, and would hide "
        "every row that comes below them",
        expected="numbers that grow by less than their whole range, or by less than "
        f"{JUMP:,}, at once",
        found=f"{rows:,} row(s) beyond such a gap",
        todo="Correct these rows in the source. If its numbers do jump so, say `cursor_jumps: "
        "allow` in the table's spec: rows that come below them later are then not seen.",
    )


def _highest(values: np.ndarray) -> dict[int, int]:
    """The highest values, as many as are kept, and how many rows have each."""
    if len(values) > TOP_VALUES:
        highest = values[values >= np.partition(values, -TOP_VALUES)[-TOP_VALUES]]
        if len(np.unique(highest)) >= TOP_VALUES:  # else some that are there often crowd others out
            values = highest
    each, rows = np.unique(values, return_counts=True)
    kept = zip(each[-TOP_VALUES:], rows[-TOP_VALUES:], strict=True)
    return {int(value): int(count) for value, count in kept}


def _integers(values: pa.Array) -> np.ndarray:
    """The values as whole numbers, exactly; those too long for 64 bits as Python's own."""
    try:
        numbers: np.ndarray = values.cast(pa.int64()).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid:
        numbers = np.array([int(value) for value in values.to_pylist()], dtype=object)
    return numbers
