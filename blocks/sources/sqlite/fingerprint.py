"""Fingerprints in SQLite's SQL, which has no digests: by functions of ours, in this process."""

from __future__ import annotations

import sqlite3
from datetime import date, time
from decimal import Decimal
from typing import Any

from blocks.sources.sqlite.cursors import add_carries, carried_condition
from blocks.sources.sqlite.names import quoted
from blocks.sources.sqlite.types import (
    as_parameter,
    from_storage,
    made_text_of,
    type_arguments,
)
from ferry.fingerprints.canonical import HEX_DIGITS, Digest, digest, value_text
from ferry.fingerprints.dialect import FingerprintDialect
from ferry.schema import Column, DataType, Kind

_TIMES = (Kind.DATE, Kind.TIME, Kind.TIMESTAMP)


class SQLiteFingerprint(FingerprintDialect):
    """Values are read as Ferry reads them, whatever they are stored as."""

    def quoted(self, name: str) -> str:
        """The name as an identifier, and never as a text."""
        return quoted(name)

    def value(self, column: Column) -> str:
        """The column's value; a time as its canonical text, since it can be stored in many ways."""
        return self.text(column) if column.type.kind in _TIMES else self._stored(column)

    def ordered(self, column: Column) -> str:
        """What is compared with bounds: of a time, its canonical text."""
        return self.value(column)

    def bound(self, value: object, column: Column) -> object:
        """A bound, as `ordered` is compared with it."""
        if isinstance(value, date | time) and column.type.kind in _TIMES:
            return value_text(value)
        return as_parameter(value) if isinstance(value, int | Decimal) else value

    def text(self, column: Column) -> str:
        """The canonical text of the column's value, and NULL for NULL."""
        return f"ferry_text({type_arguments(column.type)}, {self._stored(column)})"

    def text_length(self, text: str) -> str:
        """How many bytes a text has in UTF-8, whatever the file's encoding: a BLOB is in that."""
        return f"ferry_octets({text})"

    def octets(self, text: str) -> str:
        """The same, which `||` makes text of."""
        return self.text_length(text)

    def digest(self, text: str) -> str:
        """The digest of a text, in lower-case hexadecimal digits."""
        return f"ferry_digest('{self.algorithm}', {text})"

    def has_json(self, column: Column) -> str:
        """The condition that a JSON column holds something else than JSON's own `null`."""
        return f"TRIM({self.quoted(column.name)}, CHAR(9, 10, 13, 32)) <> 'null'"

    def byte_length(self, name: str) -> str:
        """How many bytes a binary column's value has."""
        return f"LENGTH({name})"

    def beginning(self, digest: str) -> str:
        """The first 15 of a digest's digits: SUBSTRING is known from SQLite 3.34 on."""
        return f"SUBSTR({digest}, 1, {HEX_DIGITS})"

    def whole(self, hexadecimal: str) -> str:
        """What 15 hexadecimal digits are as a whole number."""
        return f"ferry_whole({hexadecimal})"

    def total(self, number: str, *, scaled: bool = False) -> str:  # noqa: ARG002  # one for both
        """The sum of numbers of 60 bits, as text: it has more than SQLite's numbers can."""
        return f"ferry_total({number})"

    def modulo(self, number: str, divisor: int) -> str:
        """The remainder of a number that is not negative."""
        return f"({number} % {divisor})"

    def floating(self, column: Column) -> str:
        """The value of a float column in double precision."""
        return f"CAST({self.quoted(column.name)} AS REAL)"

    def _stored(self, column: Column) -> str:
        name = self.quoted(column.name)
        declared = made_text_of(column)
        if declared:
            read = f"ferry_text({type_arguments(declared)}, {name})"
            if declared.kind is Kind.JSON:
                read = f"CASE typeof({name}) WHEN 'text' THEN {name} ELSE {read} END"
            return read
        if column.name == self.ignored:
            return f"CASE WHEN {carried_condition(name, column.type)} THEN {name} END"
        return name


class _Total:
    """A sum without an end. SQLite's own fails above 63 bits: https://sqlite.org/lang_aggfunc.html."""

    def __init__(self) -> None:
        self._sum = 0

    def step(self, value: int | None) -> None:
        self._sum += value or 0

    def finalize(self) -> str:
        return str(self._sum)


def add_functions(connection: sqlite3.Connection) -> None:
    """Let statements on this connection call what `SQLiteFingerprint` writes."""
    for name, arguments, function in (
        ("ferry_text", 4, _text),
        ("ferry_octets", 1, _octets),
        ("ferry_digest", 2, _digest),
        ("ferry_whole", 1, lambda digits: int(digits, 16)),
    ):
        connection.create_function(name, arguments, function, deterministic=True)
    add_carries(connection)
    connection.create_aggregate("ferry_total", 1, _Total)  # type: ignore[arg-type]  # typeshed


def _text(kind: str, precision: int, scale: int, raw: Any) -> str | None:
    value = from_storage(raw, DataType(Kind(kind), precision, scale))
    return None if value is None else value_text(value)


def _octets(text: str | None) -> int | None:
    return None if text is None else len(text.encode())


def _digest(algorithm: Digest, content: str | bytes | None) -> str | None:
    return None if content is None else digest(content, algorithm)
