"""The canonical text of a value and of a row, and the number that is made of it: the definition.

What stands here in Python is what every engine computes in its own SQL (`dialect`); a test holds
each of them against it.

- A value's text: whole numbers and decimals as digits without needless zeros, booleans as 0 and 1,
  times as `2023-01-31 23:59:59.000000`, moments so in UTC, binary as hexadecimal after an `x`, text
  after its length in bytes and a colon. NULL is nothing at all, which no value is.
- A row's text: its values' in their order, with a bar between them. A bar within a text is no end
  of it, since the length stands before, so that no two rows have one text.
- A row's number: the first 60 bits of the digest of its text: of its MD5 or, where a side has none,
  as MySQL from 9.6 on, of its SHA-256. What travels in a column too long for a row's text to be
  short goes into it as its own digest.
- A table's, or a part's, fingerprint: how many rows, and the sum of their numbers. Rows that are
  there twice count twice, in whatever order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any, Literal

Digest = Literal["md5", "sha256"]
DIGESTS: tuple[Digest, ...] = ("md5", "sha256")
"""What a row's number can be made by, the cheaper one first."""

BITS = 60
HEX_DIGITS = BITS // 4
SEPARATOR = "|"
BINARY_PREFIX = "x"


@dataclass(frozen=True)
class Fingerprint:
    """How many rows, and the sum of their numbers.

    Attributes:
        rows: How many.
        total: The sum of the rows' numbers.
    """

    rows: int = 0
    total: int = 0

    def __add__(self, other: Fingerprint) -> Fingerprint:
        return Fingerprint(self.rows + other.rows, self.total + other.total)

    def __str__(self) -> str:
        return f"{self.rows}:{self.total:x}"


NOTHING = Fingerprint()
"""The fingerprint of no rows."""


def value_text(value: Any) -> str:  # noqa: PLR0911  # one return for each kind
    """The canonical text of a value that is not NULL, before text gets its length.

    Args:
        value: As Python has it: bool, int, Decimal, date, time, datetime, str or bytes. A datetime
            with a zone is a moment.

    Raises:
        TypeError: Anything else, such as a float, which engines write differently.
    """
    match value:
        case bool():
            return "1" if value else "0"
        case int():
            return str(value)
        case Decimal() if value.is_finite():
            digits = format(value, "f")
            if "." in digits:
                digits = digits.rstrip("0").rstrip(".")
            return "0" if digits in ("-0", "") else digits
        case datetime():
            moment = value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
            return moment.isoformat(sep=" ", timespec="microseconds")
        case date():
            return value.isoformat()
        case time():
            return value.isoformat(timespec="microseconds")
        case bytes():
            return BINARY_PREFIX + value.hex()
        case str():
            return value
    raise TypeError(f"no canonical text for a {type(value).__name__}")


def digest(content: str | bytes, algorithm: Digest) -> str:
    """Its digest in lower-case hexadecimal digits: no secret, but something to compare."""
    content = content.encode() if isinstance(content, str) else content
    return hashlib.new(algorithm, content, usedforsecurity=False).hexdigest()


def item(value: Any, *, hashed: bool = False, algorithm: Digest = "md5") -> str:
    """A value as it stands in a row's text; nothing for NULL.

    Args:
        value: As for `value_text`, or None.
        hashed: Whether its column goes in as a digest.
        algorithm: Which.
    """
    if value is None:
        return ""
    if hashed and isinstance(value, bytes):
        return digest(value, algorithm)
    text = value_text(value)
    if hashed:
        text = digest(text, algorithm)
    return f"{len(text.encode())}:{text}" if isinstance(value, str) else text


def number(text: str, algorithm: Digest) -> int:
    """The first 60 bits of the text's digest."""
    return int(digest(text, algorithm)[:HEX_DIGITS], 16)


def row_number(
    values: Sequence[Any], hashed: Iterable[bool] | None = None, algorithm: Digest = "md5"
) -> int:
    """The number of a row.

    Args:
        values: Its values, in the order of its columns.
        hashed: For each, whether it goes in as a digest; by default none.
        algorithm: The digest.
    """
    flags = hashed or [False] * len(values)
    items = [
        item(value, hashed=flag, algorithm=algorithm)
        for value, flag in zip(values, flags, strict=True)
    ]
    return number(SEPARATOR.join(items), algorithm)
