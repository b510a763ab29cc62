"""Sums over the values of each column: what stands in a receipt, of what was read and of what came.

They are cheap, and every engine computes them alike: of numbers as they are, of dates as days, of
times as microseconds since 1970, of text and binary as the numbers of their digests, which
`canonical` defines. Of several columns of short text the lengths are summed, and the numbers of one
digest of them together: a digest for each would cost most of all. Of floats within a relative
error; of JSON, which warehouses write anew, whether there is a value; of long binary, where the
warehouse makes no digest of it, the length.

They do not see values that were exchanged between rows, nor changes that make up for one another.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext
from enum import StrEnum
from typing import Any

from ferry.fingerprints.canonical import SEPARATOR
from ferry.fingerprints.columns import is_long_binary
from ferry.fingerprints.dialect import SumDialect
from ferry.schema import EXACT, Column, Kind, TableName
from ferry.statements import Statement

RELATIVE_ERROR = 1e-9
"""By how much sums of floats may differ, of the sum of their absolute values: each engine adds in
another order, and loses some 1e-16 with each of very many additions."""

_WIDEST_SUMMED = 27
"""Decimals of more digits may overflow a sum of 38 over very many rows: their text is taken."""

_TOGETHER = 30_000
"""Bytes of texts that go into one digest: Redshift's text ends at 65,535."""

TEXT_BYTES = 65_535
"""The longest text of a receipt: as long as one may be in Redshift."""

_AT_ONCE = 500
"""Sums of one SELECT, of up to three items each: PostgreSQL's has 1,664 of them at most.

https://www.postgresql.org/docs/current/limits.html
"""


class Sum(StrEnum):
    """What is summed of a column's values."""

    VALUE = "value"
    DAYS = "days"
    MICROSECONDS = "microseconds"
    DIGEST = "digest"
    FLOAT = "float"
    PRESENCE = "presence"
    LENGTH = "length"


_SUMS: dict[Kind, Sum] = {
    Kind.BOOLEAN: Sum.VALUE,
    Kind.INT16: Sum.VALUE,
    Kind.INT32: Sum.VALUE,
    Kind.INT64: Sum.VALUE,
    Kind.DATE: Sum.DAYS,
    Kind.TIME: Sum.MICROSECONDS,
    Kind.TIMESTAMP: Sum.MICROSECONDS,
    Kind.TIMESTAMPTZ: Sum.MICROSECONDS,
    Kind.TEXT: Sum.DIGEST,
    Kind.BINARY: Sum.DIGEST,
    Kind.FLOAT32: Sum.FLOAT,
    Kind.FLOAT64: Sum.FLOAT,
    Kind.JSON: Sum.PRESENCE,
}


def sum_of(column: Column, *, digests_bytes: bool = True) -> Sum:
    """What is summed of the column's values.

    Args:
        column: The column.
        digests_bytes: Whether the warehouse makes digests of binary values of any length.
    """
    if is_long_binary(column) and not digests_bytes:
        return Sum.LENGTH
    if column.type.kind is Kind.DECIMAL:
        return Sum.DIGEST if (column.type.precision or 0) > _WIDEST_SUMMED else Sum.VALUE
    return _SUMS[column.type.kind]


@dataclass(frozen=True)
class ColumnSum:
    """One column's.

    Attributes:
        count: Values that are not NULL.
        total: Their sum; of floats, within an error; of JSON, 0.
        size: Of floats, the sum of their absolute values; else 0.
    """

    count: int = 0
    total: Decimal | float = Decimal(0)
    size: float = 0.0

    def __add__(self, other: ColumnSum) -> ColumnSum:
        one: Any = self.total
        with localcontext(EXACT):
            total = one + other.total
        return ColumnSum(self.count + other.count, total, self.size + other.size)

    def same(self, other: ColumnSum) -> bool:
        """Whether both are of the same values, as far as sums can tell."""
        if self.count != other.count:
            return False
        if isinstance(self.total, float) or isinstance(other.total, float):
            one, two = float(self.total), float(other.total)
            # What has overflowed, or is no number, has and is so on both sides.
            if not (math.isfinite(one) and math.isfinite(two)):
                return repr(one) == repr(two)
            return abs(one - two) <= RELATIVE_ERROR * max(self.size, other.size)
        return self.total == other.total

    def salted_text(self, salt: str) -> str:
        """The count, and what tells whether a sum is the same, and nothing of the values.

        The sum of a single row is its value; so it is told as a digest, with a salt that nobody
        keeps: two that were told with one can be compared. A float's, which may differ in its last
        digits, is not told.
        """
        if isinstance(self.total, float):
            return str(self.count)
        total = format(self.total.normalize(EXACT), "f")
        return f"{self.count}:{hashlib.sha256(f'{salt}/{total}'.encode()).hexdigest()[:16]}"


@dataclass(frozen=True)
class ValueSums:
    """Those of all columns.

    Attributes:
        columns: The names of what is summed (`Summed.name`), in order.
        sums: One for each.
    """

    columns: tuple[str, ...]
    sums: tuple[ColumnSum, ...]

    def __add__(self, other: ValueSums) -> ValueSums:
        both = zip(self.sums, other.sums, strict=True)
        return ValueSums(self.columns, tuple(one + two for one, two in both))

    def differing(self, other: ValueSums) -> list[str]:
        """The columns whose values are not the same; of several in one digest, their names."""
        pairs = zip(self.columns, self.sums, other.sums, strict=True)
        return [name for name, one, two in pairs if not one.same(two)]

    def salted_text(self, salt: str) -> str:
        """As a receipt keeps it: JSON, each column's text by its name; of very many, a digest."""
        pairs = zip(self.columns, self.sums, strict=True)
        texts = {name: each.salted_text(f"{salt}/{name}") for name, each in pairs}
        text = json.dumps(texts, ensure_ascii=False, separators=(",", ":"))
        if len(text.encode()) <= TEXT_BYTES:
            return text
        return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


@dataclass(frozen=True)
class Summed:
    """What one sum of a table is of.

    Attributes:
        columns: The column; or columns of short text, of which it is one digest.
        kind: What is summed.
    """

    columns: tuple[Column, ...]
    kind: Sum

    @property
    def name(self) -> str:
        """The columns' names."""
        return ", ".join(column.name for column in self.columns)


def summed(
    columns: Sequence[Column],
    *,
    digests_bytes: bool = True,
    lengths: bool = False,
    apart: bool = False,
) -> list[Summed]:
    """What is summed of these columns: something of each, and of short text one digest more.

    Args:
        columns: The columns.
        digests_bytes: Whether the warehouse makes digests of binary values of any length.
        lengths: Whether the lengths of text and binary are enough, as the table's spec says.
        apart: Whether each column of text gets a digest of its own: to find the one that differs.
    """
    if lengths:
        return [Summed((column,), _by_length(sum_of(column), column)) for column in columns]
    together = () if apart else _together(columns)
    found = [
        Summed(
            (column,),
            Sum.LENGTH if column in together else sum_of(column, digests_bytes=digests_bytes),
        )
        for column in columns
    ]
    return [*found, Summed(together, Sum.DIGEST)] if together else found


def _by_length(kind: Sum, column: Column) -> Sum:
    by_digest = kind is Sum.DIGEST and column.type.kind is not Kind.DECIMAL
    return Sum.LENGTH if by_digest else kind


def _together(columns: Sequence[Column]) -> tuple[Column, ...]:
    """The columns of short text, if they are several."""
    found: list[Column] = []
    length = 0
    for column in columns:
        longest = column.type.max_bytes
        if column.type.kind is Kind.TEXT and longest is not None and length + longest <= _TOGETHER:
            found.append(column)
            length += longest
    return tuple(found) if len(found) > 1 else ()


def in_slices(what: Sequence[Summed]) -> list[Sequence[Summed]]:
    """As much of it at a time as one SELECT can be asked for; `joined` puts the answers together.

    Where the rows may change between two questions, they need a snapshot.
    """
    return [what[n : n + _AT_ONCE] for n in range(0, len(what), _AT_ONCE)]


def joined(parts: Iterable[ValueSums]) -> ValueSums:
    """The sums of the same rows, of other columns each."""
    found = list(parts)
    return ValueSums(
        tuple(name for part in found for name in part.columns),
        tuple(each for part in found for each in part.sums),
    )


def no_sums(what: Sequence[Summed]) -> ValueSums:
    """Those of no rows."""
    zeros = (0.0 if each.kind is Sum.FLOAT else Decimal(0) for each in what)
    return ValueSums(_names(what), tuple(ColumnSum(0, zero) for zero in zeros))


def select_sums(dialect: SumDialect, table: TableName, what: Iterable[Summed]) -> Statement:
    """The question for the sums of a table. Gives one row for `read_sums`."""
    items = [item for each in what for item in _items(dialect, each)]
    return Statement(f"SELECT {', '.join(items)} FROM {dialect.table(table)}")


def select_sums_by(
    dialect: SumDialect, table: TableName, what: Iterable[Summed], by: Column
) -> Statement:
    """The same for each value of a column: rows of the value, of how many rows, then the sums."""
    items = [item for each in what for item in _items(dialect, each)]
    name = dialect.quoted(by.name)
    return Statement(
        f"SELECT {name}, {', '.join(['COUNT(*)', *items])} FROM {dialect.table(table)} "
        f"GROUP BY {name}"
    )


def read_sums(what: Sequence[Summed], row: Sequence[Any]) -> ValueSums:
    """What the answer says."""
    values, found = iter(row), []
    for each in what:
        count = int(next(values))
        if each.kind is Sum.PRESENCE:
            found.append(ColumnSum(count))
        elif each.kind is Sum.FLOAT:
            found.append(ColumnSum(count, float(next(values) or 0), float(next(values) or 0)))
        else:
            found.append(ColumnSum(count, Decimal(next(values) or 0)))
    return ValueSums(_names(what), tuple(found))


def _items(dialect: SumDialect, what: Summed) -> list[str]:
    column, kind = what.columns[0], what.kind
    if len(what.columns) > 1:
        return ["COUNT(*)", dialect.total(dialect.number(_joined(dialect, what.columns)))]
    count = f"COUNT({dialect.quoted(column.name)})"
    if kind is Sum.PRESENCE:
        return [f"COUNT(CASE WHEN {dialect.has_json(column)} THEN 1 END)"]
    if kind is Sum.FLOAT:
        value = dialect.summable(column)
        return [count, f"SUM({value})", f"SUM(ABS({value}))"]
    scaled = kind is Sum.VALUE and column.type.kind is Kind.DECIMAL
    return [count, dialect.total(_value(dialect, column, kind), scaled=scaled)]


def _joined(dialect: SumDialect, columns: Sequence[Column]) -> str:
    """Texts with a bar between them; where each of them ends, their lengths and counts tell."""
    parts: list[str] = []
    for column in columns:
        parts += [f"'{SEPARATOR}'", f"COALESCE({dialect.text(column)}, '')"]
    return dialect.concat(parts[1:])


def _value(dialect: SumDialect, column: Column, kind: Sum) -> str:
    """What is summed of a value."""
    if kind is Sum.LENGTH:
        is_text = column.type.kind is Kind.TEXT
        name = dialect.text(column) if is_text else dialect.quoted(column.name)
        return dialect.text_length(name) if is_text else dialect.byte_length(name)
    if kind is Sum.DIGEST and is_long_binary(column):
        digest = dialect.bytes_digest(dialect.quoted(column.name))
        return dialect.whole(dialect.beginning(digest))
    if kind is Sum.DIGEST:
        return dialect.number(dialect.text(column))
    if kind is Sum.DAYS:
        return dialect.days(column)
    if kind is Sum.MICROSECONDS:
        return dialect.microseconds(column)
    name = dialect.quoted(column.name)
    return f"CASE WHEN {name} THEN 1 ELSE 0 END" if column.type.kind is Kind.BOOLEAN else name


def _names(what: Sequence[Summed]) -> tuple[str, ...]:
    return tuple(each.name for each in what)
