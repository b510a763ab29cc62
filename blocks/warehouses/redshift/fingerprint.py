"""Fingerprints in Redshift's SQL: PostgreSQL's, but for what Redshift lacks."""

from __future__ import annotations

from blocks.postgres.fingerprint import PostgresFingerprint
from ferry.schema import Column, Kind


class RedshiftFingerprint(PostgresFingerprint):
    """Redshift has no bit strings, but STRTOL; no TRIM_SCALE; and TO_HEX for a VARBYTE.

    https://docs.aws.amazon.com/redshift/latest/dg/r_STRTOL.html
    https://docs.aws.amazon.com/redshift/latest/dg/r_TO_HEX.html
    """

    def utf8(self, text: str) -> str:
        """A text's bytes in UTF-8, which all of its texts are in."""
        return text

    def has_json(self, column: Column) -> str:
        """The condition that a SUPER column holds something else than JSON's own `null`."""
        return f"JSON_TYPEOF({self.quoted(column.name)}) <> 'null'"

    def ordered(self, column: Column) -> str:
        """What is compared with bounds: of a binary value, which is bound as no VARBYTE, digits."""
        if column.type.kind is Kind.BINARY:
            return self.hexadecimal(self.quoted(column.name))
        return super().ordered(column)

    def bound(self, value: object, column: Column) -> object:  # noqa: ARG002
        """A bound, as `ordered` is compared with it."""
        return value.hex() if isinstance(value, bytes) else value

    def hexadecimal(self, binary: str) -> str:
        """A binary value in lower-case hexadecimal digits."""
        return f"LOWER(TO_HEX({binary}))"

    def decimal(self, name: str) -> str:
        """A decimal's digits without zeros at the end; it always has all of its scale."""
        return f"RTRIM(RTRIM(CAST({name} AS VARCHAR), '0'), '.')"

    def days(self, column: Column) -> str:
        """A date as days since 1970."""
        return f"DATEDIFF(day, DATE '1970-01-01', {self.quoted(column.name)})"

    def microseconds(self, column: Column) -> str:
        """A time as microseconds since 1970, or since midnight.

        EXTRACT(EPOCH …) of a TIMESTAMP is whole seconds there.
        https://docs.aws.amazon.com/redshift/latest/dg/r_DATEDIFF_function.html
        """
        name = self.quoted(column.name)
        if column.type.kind is Kind.TIME:
            name = f"(DATE '1970-01-01' + {name})"
        elif column.type.kind is Kind.TIMESTAMPTZ:
            name = f"({name} AT TIME ZONE 'UTC')"
        return f"DATEDIFF(microsecond, TIMESTAMP '1970-01-01 00:00:00', {name})"

    def digest(self, text: str) -> str:
        """The digest of a text, in lower-case hexadecimal digits."""
        return f"MD5({text})" if self.algorithm == "md5" else f"SHA2({text}, 256)"

    def total(self, number: str, *, scaled: bool = False) -> str:
        """The sum of numbers: its SUM of a BIGINT is a BIGINT, which 14 digests overflow.

        https://docs.aws.amazon.com/redshift/latest/dg/r_SUM.html
        """
        return super().total(number) if scaled else f"SUM(CAST({number} AS DECIMAL(38, 0)))"

    def whole(self, hexadecimal: str) -> str:
        """What 15 hexadecimal digits are as a whole number."""
        return f"STRTOL({hexadecimal}, 16)"
