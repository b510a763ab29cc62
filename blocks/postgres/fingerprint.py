"""Fingerprints in PostgreSQL's SQL."""

from __future__ import annotations

from ferry.fingerprints.canonical import BITS
from ferry.fingerprints.dialect import SumDialect
from ferry.schema import Column, Kind

_DATE = "YYYY-MM-DD"
_CLOCK = "HH24:MI:SS.US"
_TEXTS = {
    Kind.BOOLEAN: "CASE WHEN {0} THEN '1' WHEN NOT {0} THEN '0' END",
    Kind.DATE: f"TO_CHAR({{0}}, '{_DATE}')",
    Kind.TIME: f"TO_CHAR(DATE '2000-01-01' + {{0}}, '{_CLOCK}')",
    Kind.TIMESTAMP: f"TO_CHAR({{0}}, '{_DATE} {_CLOCK}')",
    Kind.TIMESTAMPTZ: f"TO_CHAR({{0}} AT TIME ZONE 'UTC', '{_DATE} {_CLOCK}')",
    Kind.TEXT: "{0}",
}


class PostgresFingerprint(SumDialect):
    """What PostgreSQL computes; what is made of it overrides what it lacks."""

    def text(self, column: Column) -> str:
        """The canonical text of the column's value, and NULL for NULL."""
        kind, name = column.type.kind, self.quoted(column.name)
        if kind is Kind.BINARY:
            return self.binary(self.hexadecimal(name))
        if kind is Kind.DECIMAL and column.type.scale:
            return self.decimal(name)
        return _TEXTS.get(kind, "CAST({0} AS VARCHAR)").format(name)

    def hexadecimal(self, binary: str) -> str:
        """A binary value in lower-case hexadecimal digits."""
        return f"ENCODE({binary}, 'hex')"

    def decimal(self, name: str) -> str:
        """A decimal's digits without zeros at the end."""
        return f"CAST(TRIM_SCALE({name}) AS VARCHAR)"

    def utf8(self, text: str) -> str:
        """A text's bytes in UTF-8, whatever the database's own encoding is."""
        return f"CONVERT_TO({text}, 'UTF8')"

    def text_length(self, text: str) -> str:
        """How many bytes a text has in UTF-8."""
        return f"OCTET_LENGTH({self.utf8(text)})"

    def digest(self, text: str) -> str:
        """The digest of a text, in lower-case hexadecimal digits."""
        return self.bytes_digest(self.utf8(text))

    def bytes_digest(self, name: str) -> str:
        """The digest of bytes."""
        return f"MD5({name})" if self.algorithm == "md5" else f"ENCODE(SHA256({name}), 'hex')"

    def has_json(self, column: Column) -> str:
        """The condition that a JSON column holds something else than JSON's own `null`."""
        return f"{self.quoted(column.name)} <> CAST('null' AS jsonb)"

    def double(self, literal: str) -> str:
        """A number in double precision."""
        return f"CAST('{literal}' AS DOUBLE PRECISION)"

    def whole(self, hexadecimal: str) -> str:
        """What 15 hexadecimal digits are as a whole number."""
        return f"CAST(CAST('x' || {hexadecimal} AS BIT({BITS})) AS BIGINT)"

    def days(self, column: Column) -> str:
        """A date as days since 1970."""
        return f"({self.quoted(column.name)} - DATE '1970-01-01')"

    def microseconds(self, column: Column) -> str:
        """A time as microseconds since 1970, or since midnight.

        Days and the time of day apart: doubles are the fastest, and hold the microseconds of a day,
        but not those since 1970.
        """
        name = self.quoted(column.name)
        if column.type.kind is Kind.TIME:
            return self._of_day(name)
        if column.type.kind is Kind.TIMESTAMPTZ:
            name = f"({name} AT TIME ZONE 'UTC')"
        days = f"(CAST({name} AS DATE) - DATE '1970-01-01')"
        return f"({days} * 86400000000 + {self._of_day(f'CAST({name} AS TIME)')})"

    def _of_day(self, time: str) -> str:
        return f"CAST(DATE_PART('epoch', {time}) * 1000000 AS BIGINT)"

    def floating(self, column: Column) -> str:
        """The value of a float column in double precision."""
        return f"CAST({self.quoted(column.name)} AS DOUBLE PRECISION)"
