"""Columns of rows as Arrow arrays: all values at once, where every one is stored as usual."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ferry.batch import CursorValue
from ferry.schema import DataType, Kind, arrow_type

_NOTHING = type(None)
_INTEGERS: frozenset[type] = frozenset((int, _NOTHING))
_NUMBERS: frozenset[type] = frozenset((int, float, _NOTHING))
_TEXT: frozenset[type] = frozenset((str, _NOTHING))
_BLOBS: frozenset[type] = frozenset((bytes, _NOTHING))
_FIRST_YEAR = {Kind.DATE: date.min, Kind.TIMESTAMP: datetime.min}
_CLOCK_LENGTHS = (5, 8, *range(10, 16))
_LENGTHS = {
    Kind.DATE: (10,),
    Kind.TIME: _CLOCK_LENGTHS,
    Kind.TIMESTAMP: (10, *(11 + length for length in _CLOCK_LENGTHS)),
}
"""How long the spellings of `types.py` are; Arrow reads others, too, such as an hour alone."""

_ANY_DAY, _BLANK = (pa.scalar(part, pa.large_string()) for part in ("1970-01-01", " "))

_EXACT_DIGITS = 15


def stored_array(values: Sequence[Any], data_type: DataType) -> pa.Array | None:
    """The values as an array of their Arrow type, each as `from_storage` reads it.

    Args:
        values: As SQLite stores them.
        data_type: What they are declared to be.

    Returns:
        None where that is not certain, such as for a text among integers: then they are to be
        looked at one by one.
    """
    known = _CONVERTERS.get(data_type.kind)
    if known is None:
        return None
    storage, convert = known
    if not storage.issuperset(map(type, values)):
        return None
    try:
        return convert(values, data_type)
    except (pa.ArrowException, OverflowError):
        return None


def within(
    array: pa.Array, bounds: tuple[CursorValue | None, CursorValue | None]
) -> pa.BooleanArray | None:
    """Which of a cursor's values are there and within the bounds, half open.

    Returns:
        None where Arrow's comparison might not be exact: then they are to be compared one by one.
    """
    inside = array.is_valid()
    for bound, compare in zip(bounds, (pc.greater_equal, pc.less), strict=True):
        if bound is None:
            continue
        if type(bound) is not _EXACT_BOUNDS.get(array.type):
            return None
        try:
            compared = compare(array, pa.scalar(bound, array.type))
        except (pa.ArrowException, OverflowError):
            return None
        inside = pc.and_kleene(inside, compared)
    return inside


def _plain(values: Sequence[Any], data_type: DataType) -> pa.Array:
    return pa.array(values, arrow_type(data_type))


def _boolean(values: Sequence[Any], _: DataType) -> pa.Array | None:
    integers = pa.array(values, pa.int64())
    found = pc.min_max(integers).as_py()
    if found["min"] is not None and not 0 <= found["min"] <= found["max"] <= 1:
        return None
    return integers.cast(pa.bool_())


def _decimal(values: Sequence[Any], data_type: DataType) -> pa.Array | None:
    """By way of floats, where these have so few digits that nothing is lost.

    A decimal of at most 15 digits is the only one of so few digits that its float stands for
    (IEEE 754 binary64). So it is found if some whole number, divided by the power of ten, gives
    exactly that float.
    """
    precision, scale = data_type.precision or 0, data_type.scale or 0
    if scale > _EXACT_DIGITS:  # what `types.py` has its own rules for
        return None
    floats = pa.array(values, pa.float64())  # refuses integers that no float is equal to
    numbers = floats.fill_null(0).to_numpy()
    power = 10.0**scale
    with np.errstate(over="ignore"):
        whole = np.rint(numbers * power)
    limit = 10 ** min(_EXACT_DIGITS, precision)
    if not (np.abs(whole) < limit).all() or not (whole / power == numbers).all():
        return None
    counted = pa.array(whole.astype(np.int64), mask=floats.is_null().to_numpy(zero_copy_only=False))
    digits = counted.cast(pa.decimal128(19, 0))
    return pa.Array.from_buffers(
        arrow_type(data_type), len(digits), digits.buffers(), digits.null_count
    )


def _time(values: Sequence[Any], data_type: DataType) -> pa.Array | None:
    text = pa.array(values, pa.large_string())
    lengths = pc.unique(pc.binary_length(text).drop_null()).to_pylist()
    if not set(lengths) <= set(_LENGTHS[data_type.kind]):
        return None
    if data_type.kind is Kind.TIME:  # Arrow reads it only behind a day
        text = pc.binary_join_element_wise(_ANY_DAY, text, _BLANK).cast(pa.timestamp("us"))
    times = text.cast(arrow_type(data_type))
    first = _FIRST_YEAR.get(data_type.kind)
    if first and pc.any(pc.less(times, pa.scalar(first, times.type))).as_py():
        return None  # the year 0000, which Python has not
    return times


def _text(values: Sequence[Any], data_type: DataType) -> pa.Array | None:
    text = pa.array(values, pa.large_string())
    longest = pc.max(pc.binary_length(text)).as_py() if data_type.max_bytes is not None else None
    return None if longest is not None and longest > (data_type.max_bytes or 0) else text


_CONVERTERS: dict[
    Kind, tuple[frozenset[type], Callable[[Sequence[Any], DataType], pa.Array | None]]
] = {
    Kind.BOOLEAN: (_INTEGERS, _boolean),
    Kind.INT16: (_INTEGERS, _plain),
    Kind.INT32: (_INTEGERS, _plain),
    Kind.INT64: (_INTEGERS, _plain),
    Kind.FLOAT64: (_NUMBERS, _plain),
    Kind.DECIMAL: (_NUMBERS, _decimal),
    Kind.DATE: (_TEXT, _time),
    Kind.TIME: (_TEXT, _time),
    Kind.TIMESTAMP: (_TEXT, _time),
    Kind.TEXT: (_TEXT, _text),
    Kind.BINARY: (_BLOBS, _plain),
}
"""Storage classes, as Python has them, and what reads values that have no others."""

_EXACT_BOUNDS = {
    pa.int16(): int,
    pa.int32(): int,
    pa.int64(): int,
    pa.date32(): date,
    pa.timestamp("us"): datetime,
}
