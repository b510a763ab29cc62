"""How an engine writes, in its own SQL, what `canonical` defines."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from ferry.fingerprints.canonical import BINARY_PREFIX, HEX_DIGITS, SEPARATOR, Digest
from ferry.schema import Column, Kind, TableName
from ferry.statements import quoted, table_sql

_DIGITS: dict[Digest, int] = {"md5": 32, "sha256": 64}


@dataclass(frozen=True)
class FingerprintDialect(ABC):
    """One engine's expressions; each takes and gives SQL text.

    An engine gives the canonical text of each kind, and a few functions. What is the same in all
    of them stands here.

    Attributes:
        algorithm: By which digest rows get their numbers; both sides' has to be one.
        ignored: A column of which values that have no place in its order count as NULL, where an
            engine can hold such; None for none. Of other columns they are refused.
    """

    algorithm: Digest = "md5"
    ignored: str | None = None

    def quoted(self, name: str) -> str:
        """The name as an identifier."""
        return quoted(name)

    def table(self, table: TableName) -> str:
        """The table's full name."""
        return table_sql(table)

    def value(self, column: Column) -> str:
        """The column's value, as Ferry reads it."""
        return self.quoted(column.name)

    def ordered(self, column: Column) -> str:
        """What stands for the column where it is compared with bounds."""
        return self.quoted(column.name)

    def bound(self, value: object, column: Column) -> object:  # noqa: ARG002  # engines differ
        """A bound, as `ordered` is compared with it."""
        return value

    @abstractmethod
    def text(self, column: Column) -> str:
        """The canonical text of the column's value, and NULL for NULL."""

    def concat(self, parts: Sequence[str]) -> str:
        """The parts, one after the other; NULL if one of them is."""
        return f"({' || '.join(parts)})"

    def text_length(self, text: str) -> str:
        """How many bytes a text has in UTF-8."""
        return f"OCTET_LENGTH({text})"

    def octets(self, text: str) -> str:
        """The same, as text."""
        return f"CAST({self.text_length(text)} AS VARCHAR)"

    @abstractmethod
    def digest(self, text: str) -> str:
        """The digest of a text, by `algorithm`, in lower-case hexadecimal digits."""

    def bytes_digest(self, name: str) -> str:
        """The digest of a binary column's bytes, where the engine can (`Capabilities`)."""
        return self.digest(name)

    def byte_length(self, name: str) -> str:
        """How many bytes a binary column's value has."""
        return f"OCTET_LENGTH({name})"

    @abstractmethod
    def has_json(self, column: Column) -> str:
        """The condition that a JSON column holds something else than JSON's own `null`.

        Warehouses do not agree whether that is a value.
        """

    def double(self, literal: str) -> str:
        """A number in double precision."""
        return literal

    @abstractmethod
    def whole(self, hexadecimal: str) -> str:
        """What 15 hexadecimal digits are as a whole number."""

    def number(self, text: str) -> str:
        """The first 60 bits of the text's digest, as a whole number."""
        return self.whole(self.beginning(self.digest(text)))

    def beginning(self, digest: str) -> str:
        """The first 15 of a digest's digits.

        Not by SUBSTR, which only Redshift's leader node knows: it refuses it of a table's columns.
        https://docs.aws.amazon.com/redshift/latest/dg/c_SQL_functions_leader_node_only.html
        """
        return f"SUBSTRING({digest}, 1, {HEX_DIGITS})"

    @abstractmethod
    def floating(self, column: Column) -> str:
        """The value of a float column in double precision."""

    def summable(self, column: Column) -> str:
        """What is summed of a float: very large and very small ones within what sums can hold.

        PostgreSQL refuses a sum that overflows, and a product that vanishes.
        """
        value = self.floating(column)
        large, small, less, more = map(self.double, ("1e290", "1e-290", "1e-200", "1e200"))
        return (
            f"CASE WHEN ABS({value}) >= {large} THEN {value} * {less} WHEN {value} <> 0 "
            f"AND ABS({value}) <= {small} THEN {value} * {more} ELSE {value} END"
        )

    def total(self, number: str, *, scaled: bool = False) -> str:  # noqa: ARG002  # engines differ
        """The sum of whole numbers of up to 64 bits, which has more, or of decimals with a scale.

        NULL of none.
        """
        return f"SUM({number})"

    def modulo(self, number: str, divisor: int) -> str:
        """The remainder of a number that is not negative."""
        return f"MOD({number}, {divisor})"

    def item(self, column: Column, *, hashed: bool) -> str:
        """The column's value as it stands in a row's text; nothing for NULL."""
        text = self.text(column)
        length = f"'{_DIGITS[self.algorithm]}'" if hashed else self.octets(text)
        if hashed and column.type.kind is Kind.BINARY:
            return f"COALESCE({self.bytes_digest(self.quoted(column.name))}, '')"
        if hashed:
            text = self.digest(text)
        if column.type.kind is Kind.TEXT:
            text = self.concat([length, "':'", text])
        return f"COALESCE({text}, '')"

    def row(self, columns: Sequence[tuple[Column, bool]]) -> str:
        """The row's text: each column with whether it goes in hashed."""
        parts: list[str] = []
        for column, hashed in columns:
            parts += [f"'{SEPARATOR}'", self.item(column, hashed=hashed)]
        return self.concat(parts[1:]) if len(parts) > 2 else parts[1]

    def binary(self, hexadecimal: str) -> str:
        """The canonical text of a binary value, from its digits."""
        return self.concat([f"'{BINARY_PREFIX}'", hexadecimal])


@dataclass(frozen=True)
class SumDialect(FingerprintDialect):
    """What an engine writes beside it for sums over the values of a column: each warehouse."""

    @abstractmethod
    def days(self, column: Column) -> str:
        """A date as days since 1970."""

    @abstractmethod
    def microseconds(self, column: Column) -> str:
        """A time as microseconds since 1970, or since midnight."""
