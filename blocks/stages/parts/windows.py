"""Which window each row is of, where several windows are read together."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pyarrow as pa

from ferry.batch import WINDOW_NUMBER, CursorValue
from ferry.errors import ApartError


class WindowNumbers:
    """Adds the number of its window to each row, by its cursor.

    Args:
        bounds: Where each window begins, and where the last one ends, as the cursor holds it.
        position: The cursor's position among the columns.

    Raises:
        ApartError: As the cursor has it, a window ends before it begins, or has no room.
    """

    def __init__(self, bounds: Sequence[CursorValue], position: int) -> None:
        self._bounds, self._position = list(bounds), position
        self._numbers: np.ndarray | None = None
        if any(end <= start for start, end in pairwise(bounds)):  # type: ignore[operator]
            raise ApartError("the cursor does not tell these windows apart")

    def add(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The batch with one column more, `WINDOW_NUMBER`, at its end.

        Raises:
            ApartError: A row is in none of the windows.
        """
        values = _numbers(batch.column(self._position))
        if self._numbers is None:
            self._numbers = self._in_numbers(batch.column(self._position).type)
        found = np.searchsorted(self._numbers, values, side="right") - 1
        if batch.num_rows:
            first, last = int(found.min()), int(found.max())
            if (
                batch.column(self._position).null_count
                or first < 0
                or last >= len(self._bounds) - 1
            ):
                raise ApartError("rows were read that are in none of these windows")
        numbers = pa.array(found.astype(np.int32), pa.int32())
        return pa.RecordBatch.from_arrays(
            [*batch.columns, numbers], names=[*batch.schema.names, WINDOW_NUMBER.name]
        )

    def _in_numbers(self, kind: pa.DataType) -> np.ndarray:
        if pa.types.is_decimal(kind) or pa.types.is_integer(kind):
            return np.array([int(bound) for bound in self._bounds], np.int64)  # type: ignore[arg-type]
        return _numbers(pa.array(self._bounds, kind))


def _numbers(values: pa.Array) -> np.ndarray:
    """Times, days and numbers as whole numbers of one order."""
    if pa.types.is_decimal(values.type) or pa.types.is_integer(values.type):
        whole = values.cast(pa.int64())
    else:
        days = pa.types.is_date32(values.type)
        whole = values.view(pa.int32()).cast(pa.int64()) if days else values.view(pa.int64())
    numbers: np.ndarray = whole.fill_null(0).to_numpy(zero_copy_only=False)
    return numbers
