"""Questions for fingerprints, which either side answers in its own SQL.

A question is about the rows of a table within a range of one column, parted into buckets: ranges
of that column, or the remainders of a number that is made of the key.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

from ferry.fingerprints.canonical import NOTHING, Fingerprint, number
from ferry.fingerprints.columns import ComparedBy, Pair
from ferry.fingerprints.dialect import FingerprintDialect
from ferry.schema import Column, Kind, TableName
from ferry.statements import PARAM, Statement


@dataclass(frozen=True)
class Part:
    """Some of a table's rows.

    Attributes:
        start: Those at or after this value of the ordering column; None for no bound.
        end: Those before this one; None for no bound.
        divisor: Into how many parts the numbers of their keys part them; 0 for not at all.
        remainders: Of these, which.
    """

    start: object = None
    end: object = None
    divisor: int = 0
    remainders: tuple[int, ...] = ()


@dataclass(frozen=True)
class Bucket:
    """What one side says of one bucket.

    Attributes:
        fingerprint: How many rows, and the sum of their numbers.
        nearly: For each column that is compared nearly, how many values, their sum, and the sum
            of their absolute values.
        present: For each column of which only presence or length is compared, the sum of these.
    """

    fingerprint: Fingerprint = NOTHING
    nearly: tuple[tuple[int, float, float], ...] = ()
    present: tuple[int, ...] = ()


@dataclass(frozen=True)
class Row:
    """What one side says of one row.

    Attributes:
        key: Its key's canonical text, the same on both sides.
        number: Its number.
        keys: The key's values.
        ordering: The value of the column that orders the rows; None where there is none.
        version: The value of what tells which version is newer: a column of its own, or the
            ordering one; None where neither does.
        nearly: The values that are compared nearly.
        present: For each column of which only presence or length is compared, that, and 0 for no
            value.
    """

    key: str
    number: int
    keys: tuple[object, ...]
    ordering: Any = None
    version: Any = None
    nearly: tuple[float | None, ...] = ()
    present: tuple[int, ...] = ()


def as_kind(value: Any, kind: Kind) -> Any:
    """A value as Python has those of a kind, from what a driver gives, or the other side's.

    A wall clock that becomes a moment, or the other way round, is UTC's: no other is compared with
    one (`columns.pair_columns`).
    """
    if value is None:
        return None
    if isinstance(value, str) and kind in _PARSED:
        value = _PARSED[kind](value)
    if kind is Kind.TIMESTAMPTZ and isinstance(value, datetime) and value.tzinfo is None:
        return value.replace(tzinfo=UTC)
    if kind is Kind.TIMESTAMP and isinstance(value, datetime) and value.tzinfo:
        return value.astimezone(UTC).replace(tzinfo=None)
    made = _MADE.get(kind)
    return made(value) if made else value


_PARSED: dict[Kind, Callable[[str], Any]] = {
    Kind.DATE: date.fromisoformat,
    Kind.TIME: time.fromisoformat,
    Kind.TIMESTAMP: datetime.fromisoformat,
    Kind.TIMESTAMPTZ: datetime.fromisoformat,
}
_MADE: dict[Kind, Callable[[Any], Any]] = {
    Kind.BOOLEAN: lambda value: bool(int(value)),
    Kind.INT16: int,
    Kind.INT32: int,
    Kind.INT64: int,
    Kind.DECIMAL: lambda value: Decimal(str(value)),
    Kind.BINARY: bytes,
}


@dataclass(frozen=True)
class Side:
    """One side's table, and how its engine writes what is asked of it.

    Attributes:
        dialect: The engine's expressions.
        table: The table.
        exact: The columns of the row's number, in the order that both sides have, with whether
            their values go in hashed.
        key: The columns of the key.
        nearly: Columns that are compared nearly.
        presence: Columns of which only presence is compared.
        ordering: The column that orders the rows; None if no column does.
        version: The column that tells which version of a row is newer, if it is another one.
        only: A condition that its rows meet; the others are left out.
        zero_is_none: Whether 0 in the ordering column counts as no value, as of Unix time: such a
            row is in no range of it.
    """

    dialect: FingerprintDialect
    table: TableName
    exact: tuple[tuple[Column, bool], ...]
    key: tuple[Column, ...]
    nearly: tuple[Column, ...] = ()
    presence: tuple[Column, ...] = ()
    ordering: Column | None = None
    version: Column | None = None
    only: Statement | None = None
    zero_is_none: bool = False

    @classmethod
    def of(
        cls,
        pairs: Sequence[Pair],
        key: Sequence[str],
        ordering: str | None,
        version: str | None,
        dialect: FingerprintDialect,
        table: TableName,
        *,
        is_target: bool,
    ) -> Side:
        """The source's side, or the target's, of these columns."""
        own = [(pair, pair.target if is_target else pair.source) for pair in pairs]
        named = {column.name.lower(): column for _, column in own}
        hashed = {column.name.lower(): pair.hashed for pair, column in own}
        exact = tuple((c, hashed[c.name.lower()]) for p, c in own if p.how is ComparedBy.EXACTLY)
        return cls(
            dialect,
            table,
            exact,
            tuple(named[name.lower()] for name in key),
            tuple(c for p, c in own if p.how is ComparedBy.NEARLY),
            tuple(c for p, c in own if p.how in (ComparedBy.PRESENCE, ComparedBy.LENGTH)),
            named[ordering.lower()] if ordering else None,
            named[version.lower()] if version else None,
        )

    def by_range(self, bounds: Sequence[object]) -> Statement:
        """A bucket for each of the ranges between one bound and the next.

        Gives rows for `bucket`: the range's position, and what is in it; none for empty ranges.
        """
        assert self.ordering is not None
        where = self._where(Part(bounds[0], bounds[-1]))
        position = self._position(bounds, 0, len(bounds) - 1)
        return self._grouped(position, where)

    def by_key(self, part: Part, divisor: int) -> Statement:
        """A bucket for each remainder of the key's number, of a part of the table."""
        key = self.dialect.modulo(self._key_number(), divisor)
        return self._grouped(Statement(key), self._where(part))

    def count(self) -> Statement:
        """How many rows there are."""
        where = self._and([self.only])
        return Statement(
            f"SELECT COUNT(*) FROM {self.dialect.table(self.table)}{where.sql}", where.values
        )

    def rows(self, part: Part) -> Statement:
        """Each row of a part of the table. Gives rows for `row`."""
        return self._rows(self._where(part))

    def rows_of(self, keys: Sequence[Sequence[object]]) -> Statement:
        """The rows of these keys, and perhaps of others that the engine takes for the same."""
        return self._rows(self._and([self._of_keys(keys), self.only]))

    def exactly(self, keys: Sequence[tuple[Sequence[object], str]]) -> Statement:
        """The condition that a row has one of these keys, to the last letter.

        Args:
            keys: Each key's values with its canonical text.
        """
        algorithm = self.dialect.algorithm
        which = self._of_keys([values for values, _ in keys])
        numbers = tuple(number(text, algorithm) for _, text in keys)
        marks = ", ".join([PARAM] * len(numbers))
        sql = f"{which.sql} AND {self._key_number()} IN ({marks})"
        return Statement(sql, (*which.values, *numbers))

    def bucket(self, row: Sequence[Any]) -> tuple[int, Bucket]:
        """What a row of the answer to `by_range` or `by_key` says."""
        position, count, total, *rest = row
        near = tuple(
            (int(rest[n]), float(rest[n + 1] or 0), float(rest[n + 2] or 0))
            for n in range(0, 3 * len(self.nearly), 3)
        )
        present = tuple(int(value or 0) for value in rest[3 * len(self.nearly) :])
        return int(position), Bucket(Fingerprint(int(count), int(total or 0)), near, present)

    def row(self, row: Sequence[Any]) -> Row:
        """What a row of the answer to `rows` or `rows_of` says."""
        key, number, *rest = row
        values = tuple(
            as_kind(value, column.type.kind)
            for value, column in zip(rest[: len(self.key)], self.key, strict=True)
        )
        rest = rest[len(self.key) :]
        ordering, version, *rest = rest
        near = tuple(None if value is None else float(value) for value in rest[: len(self.nearly)])
        present = tuple(int(value) for value in rest[len(self.nearly) :])
        newest = self.version or self.ordering
        found = as_kind(ordering, self.ordering.type.kind) if self.ordering else None
        if self.zero_is_none and found == 0:
            ordering = found = None
        return Row(
            str(key),
            int(number),
            values,
            found,
            as_kind(version if self.version else ordering, newest.type.kind) if newest else None,
            near,
            present,
        )

    def _of_keys(self, keys: Sequence[Sequence[object]]) -> Statement:
        names = [self.dialect.ordered(column) for column in self.key]
        one = "(" + " AND ".join(f"{name} = {PARAM}" for name in names) + ")"
        values = tuple(
            self.dialect.bound(as_kind(value, column.type.kind), column)
            for key in keys
            for value, column in zip(key, self.key, strict=True)
        )
        return Statement("(" + " OR ".join([one] * len(keys)) + ")", values)

    def _grouped(self, bucket: Statement, where: Statement) -> Statement:
        quoted = self.dialect.quoted
        inner = [
            f"{bucket.sql} AS {quoted('ferry_bucket')}",
            f"{self._number()} AS {quoted('ferry_number')}",
        ]
        outer = ["COUNT(*)", self.dialect.total(quoted("ferry_number"))]
        for n, column in enumerate(self.nearly):
            inner.append(f"{self.dialect.summable(column)} AS {quoted(f'ferry_near{n}')}")
            name = quoted(f"ferry_near{n}")
            outer += [f"COUNT({name})", f"SUM({name})", f"SUM(ABS({name}))"]
        for n, column in enumerate(self.presence):
            inner.append(f"{self._is_there(column)} AS {quoted(f'ferry_there{n}')}")
            outer.append(f"SUM({quoted(f'ferry_there{n}')})")
        return Statement(
            f"SELECT {quoted('ferry_bucket')}, {', '.join(outer)} FROM ("
            f"SELECT {', '.join(inner)} FROM {self.dialect.table(self.table)}{where.sql}"
            f") AS {quoted('ferry_rows')} GROUP BY {quoted('ferry_bucket')}",
            (*bucket.values, *where.values),
        )

    def _rows(self, where: Statement) -> Statement:
        items = [
            self.dialect.row([(column, self._hashed(column)) for column in self.key]),
            self._number(),
            *(self.dialect.value(column) for column in self.key),
            *(self.dialect.value(c) if c else "NULL" for c in (self.ordering, self.version)),
            *(self.dialect.floating(column) for column in self.nearly),
            *(self._is_there(column) for column in self.presence),
        ]
        table = self.dialect.table(self.table)
        return Statement(f"SELECT {', '.join(items)} FROM {table}{where.sql}", where.values)

    def _number(self) -> str:
        return self.dialect.number(self.dialect.row(self.exact))

    def _key_number(self) -> str:
        key = [(column, self._hashed(column)) for column in self.key]
        return self.dialect.number(self.dialect.row(key))

    def _hashed(self, column: Column) -> bool:
        return dict(self.exact)[column]

    def _is_there(self, column: Column) -> str:
        name = self.dialect.quoted(column.name)
        if column.type.kind is Kind.BINARY:
            return f"CASE WHEN {name} IS NULL THEN 0 ELSE {self.dialect.byte_length(name)} + 1 END"
        return f"CASE WHEN {self.dialect.has_json(column)} THEN 1 ELSE 0 END"

    def _position(self, bounds: Sequence[object], first: int, last: int) -> Statement:
        """Which of the ranges a row is in, found by halves."""
        if last - first == 1:
            return Statement(str(first))
        assert self.ordering is not None
        middle = (first + last) // 2
        low, high = self._position(bounds, first, middle), self._position(bounds, middle, last)
        bound = self.dialect.bound(bounds[middle], self.ordering)
        return Statement(
            f"CASE WHEN {self.dialect.ordered(self.ordering)} < {PARAM} "
            f"THEN {low.sql} ELSE {high.sql} END",
            (bound, *low.values, *high.values),
        )

    def _where(self, part: Part) -> Statement:
        conditions = [self.only]
        for operator, bound in ((">=", part.start), ("<", part.end)):
            if bound is not None:
                assert self.ordering is not None
                name = self.dialect.ordered(self.ordering)
                value = self.dialect.bound(bound, self.ordering)
                conditions.append(Statement(f"{name} {operator} {PARAM}", (value,)))
        if self.zero_is_none and self.ordering and (part.start, part.end) != (None, None):
            conditions.append(Statement(f"{self.dialect.ordered(self.ordering)} <> 0"))
        if part.divisor:
            found = self.dialect.modulo(self._key_number(), part.divisor)
            which = ", ".join(str(int(each)) for each in part.remainders)
            conditions.append(Statement(f"{found} IN ({which})"))
        return self._and(conditions)

    def _and(self, conditions: Sequence[Statement | None]) -> Statement:
        there = [each for each in conditions if each]
        if not there:
            return Statement("")
        return Statement(
            " WHERE " + " AND ".join(each.sql for each in there),
            tuple(value for each in there for value in each.values),
        )
