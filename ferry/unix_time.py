"""Unix time: moments as whole numbers since 1970-01-01 UTC, for cursors that are such numbers.

Arithmetic is of whole microseconds, which is what a `datetime` counts, so nothing is rounded but a
bound to the column's unit, and that is rounded up: of the numbers, those at or after `to_unix(m)`
are the moments at or after `m`, and those below it the moments before `m`. So half-open windows
that follow each other have every number in exactly one of them.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Literal

from ferry.errors import DataError

UnixUnit = Literal["s", "ms", "us"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_MICROSECONDS = {"s": 1_000_000, "ms": 1_000, "us": 1}
_NAMES = {"s": "seconds", "ms": "milliseconds", "us": "microseconds"}


def to_unix(moment: datetime, unit: UnixUnit) -> int:
    """The first whole number of the unit that is not before the moment.

    Args:
        moment: A moment with its zone.
        unit: s, ms or us.

    Raises:
        ValueError: The moment has no zone.
    """
    if moment.tzinfo is None:
        raise ValueError("a moment has a zone")
    return -((_EPOCH - moment.astimezone(UTC)) // _MICROSECOND // _MICROSECONDS[unit])


def from_unix(value: int | Decimal, unit: UnixUnit) -> datetime:
    """The moment of a number of the unit, in UTC, exactly.

    Args:
        value: The number; of a Decimal, what stands behind the point counts down to microseconds.
        unit: s, ms or us.

    Raises:
        DataError: No such moment exists: the column counts something else. No retry helps.
    """
    try:
        return _EPOCH + _MICROSECOND * int(value * _MICROSECONDS[unit])
    except (OverflowError, ArithmeticError, ValueError):
        # Python's text tells the value, so it does not go on.
        raise DataError(
            f"the cursor holds a number that is no Unix time in {_NAMES[unit]}",
            expected="a moment between the years 1 and 9999",
            found="a number beyond them",
            todo="Correct `cursor_unit` in the table's spec, or that row in the source.",
        ) from None
