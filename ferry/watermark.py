"""The watermark: from where on a table is read, and what would hide rows from it.

A watermark of times continues from the target's highest cursor that is not after the moment up to
which an earlier run has certainly read the source, by its receipt: what is dated after that moment
hides nothing. Whole numbers that count no time have no such moment.
There values far beyond all others would hide every row that comes below them, so they are refused.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, localcontext
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ferry.batch import CursorValue
from ferry.errors import DataError, SchemaError
from ferry.schema import EXACT, Column, arrow_type
from ferry.unix_time import UnixUnit
from ferry.windows import clamped, first_pass, on_clock, zone_info

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


class _Stretch(NamedTuple):
    """Numbers between which there is no jump, and how many rows have them."""

    low: int
    high: int
    rows: int


class CursorWatch:
    """Looks at the cursors of what is read, batch by batch, for what is dated or numbered ahead.

    Args:
        position: Which of the batches' columns is the cursor.
        column: The cursor.
        counts_no_time: Whether it is a number that counts something else than time.
        known: What the target has; None if it has nothing, or all is read.
    """

    def __init__(
        self,
        position: int,
        column: Column,
        *,
        counts_no_time: bool,
        known: Watermark | None = None,
    ) -> None:
        self.column = column
        self.ahead = 0
        """How many rows are dated after the source's clock."""
        self._position, self._counts_no_time = position, counts_no_time
        self._clock: pa.Scalar | None = None
        self.highest: int | None = None
        """The highest number that was seen; None if there was none, or they count time."""
        self._known: int | None = None
        self._lowest: int | None = None
        self._stretches: list[_Stretch] = []
        if known is not None and counts_no_time:
            self._known = high = int(known.value)  # type: ignore[arg-type]  # of numbers it is one
            self._lowest = high if known.lowest is None else int(known.lowest)  # type: ignore[arg-type]
            self._stretches = [_Stretch(high, high, 0)]

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
        """Count what is dated ahead; of other numbers keep between which there is no jump."""
        cursors = batch.column(self._position).drop_null()
        if self._counts_no_time:
            self._see_numbers(_integers(cursors))
        elif self._clock is not None:
            self.ahead += pc.sum(pc.greater(cursors, self._clock)).as_py() or 0

    def _see_numbers(self, values: np.ndarray) -> None:
        if not len(values):
            return
        lowest, highest = int(values.min()), int(values.max())
        self._lowest = lowest = lowest if self._lowest is None else min(self._lowest, lowest)
        self.highest = highest if self.highest is None else max(self.highest, highest)
        if self._known is not None:
            values = values[values > self._known]
        self._stretches = _joined([*self._stretches, *_stretches(values)], lowest)

    @property
    def jumped(self) -> int:
        """How many rows are beyond a gap that is longer than all the range below it; 0 if none.

        Above the target's highest it is such a gap however many rows are beyond it. Where all is
        read, it is one if fewer rows are beyond it than before it.
        """
        rows = sum(stretch.rows for stretch in self._stretches)
        above = rows
        for stretch in self._stretches:
            above -= stretch.rows
            if self._known is not None or above < rows - above:
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
        "allow` in the table's spec until one run has landed: rows that come below them later are "
        "not seen, and while it stands no other jump is refused.",
    )


def _stretches(values: np.ndarray) -> Iterator[_Stretch]:
    """The values, cut where there might be a jump: at each gap as long as all before it.

    Each cut at least doubles the range, so that there are few, however many values there are.
    """
    if not len(values):
        return
    values = np.sort(values, kind="stable")  # which is quick where they come in order
    # Differences of 64-bit numbers may be longer than such a number, but for its sign.
    numbers = values if values.dtype == object else values.astype(np.uint64)
    gaps, before = numbers[1:] - numbers[:-1], numbers[:-1] - numbers[0]
    for part in np.split(values, np.flatnonzero((gaps > JUMP) & (gaps > before)) + 1):
        yield _Stretch(int(part[0]), int(part[-1]), len(part))


def _joined(stretches: Iterable[_Stretch], lowest: int) -> list[_Stretch]:
    """The stretches in order, joined where there is no jump between two.

    What is joined stays so: a lower lowest value, and others between them, make a gap no longer.
    """
    found: list[_Stretch] = []
    for low, high, rows in sorted(stretches):
        last = found[-1] if found else None
        if last and low - last.high <= max(JUMP, last.high - lowest):
            found[-1] = _Stretch(last.low, max(last.high, high), last.rows + rows)
        else:
            found.append(_Stretch(low, high, rows))
    return found


def _integers(values: pa.Array) -> np.ndarray:
    """The values as whole numbers, exactly; those too long for 64 bits as Python's own."""
    try:
        numbers: np.ndarray = values.cast(pa.int64()).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid:
        numbers = np.array([int(value) for value in values.to_pylist()], dtype=object)
    return numbers
