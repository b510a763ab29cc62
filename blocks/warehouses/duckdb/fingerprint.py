"""Fingerprints in DuckDB's SQL."""

from __future__ import annotations

from ferry.fingerprints.dialect import SumDialect
from ferry.schema import Column, Kind

_DATE = "%Y-%m-%d"
_CLOCK = "%H:%M:%S.%f"
_TEXTS = {
    Kind.BOOLEAN: "CAST(CAST({0} AS TINYINT) AS VARCHAR)",
    Kind.DATE: f"strftime({{0}}, '{_DATE}')",
    Kind.TIME: f"strftime(DATE '2000-01-01' + {{0}}, '{_CLOCK}')",
    Kind.TIMESTAMP: f"strftime({{0}}, '{_DATE} {_CLOCK}')",
    # Without the session's zone, and without an extension for zones.
    Kind.TIMESTAMPTZ: f"strftime(make_timestamp(epoch_us({{0}})), '{_DATE} {_CLOCK}')",
    Kind.TEXT: "{0}",
}


class DuckDBFingerprint(SumDialect):
    """What DuckDB computes. https://duckdb.org/docs/stable/sql/functions/overview."""

    def text(self, column: Column) -> str:
        """The canonical text of the column's value, and NULL for NULL."""
        kind, name = column.type.kind, self.quoted(column.name)
        if kind is Kind.BINARY:
            return self.binary(f"lower(hex({name}))")
        if kind is Kind.DECIMAL and column.type.scale:
            digits = f"rtrim(rtrim(CAST({name} AS VARCHAR), '0'), '.')"
            if column.type.scale < (column.type.precision or 0):
                return digits
            # Of such a type DuckDB writes no zero before the point.
            return (
                f"CASE WHEN {name} = 0 THEN '0' WHEN {name} < 0 THEN '-0' || substr({digits}, 2) "
                f"ELSE '0' || {digits} END"
            )
        return _TEXTS.get(kind, "CAST({0} AS VARCHAR)").format(name)

    def text_length(self, text: str) -> str:
        """How many bytes a text has in UTF-8."""
        return f"strlen({text})"

    def digest(self, text: str) -> str:
        """The digest of a text, in lower-case hexadecimal digits."""
        return f"{self.algorithm}({text})"

    def has_json(self, column: Column) -> str:
        """The condition that a JSON column holds something else than JSON's own `null`."""
        blanks = "' ' || chr(9) || chr(10) || chr(13)"
        return f"trim(CAST({self.quoted(column.name)} AS VARCHAR), {blanks}) <> 'null'"

    def whole(self, hexadecimal: str) -> str:
        """What 15 hexadecimal digits are as a whole number."""
        return f"CAST('0x' || {hexadecimal} AS BIGINT)"

    def days(self, column: Column) -> str:
        """A date as days since 1970."""
        return f"({self.quoted(column.name)} - DATE '1970-01-01')"

    def microseconds(self, column: Column) -> str:
        """A time as microseconds since 1970, or since midnight."""
        name = self.quoted(column.name)
        value = f"DATE '1970-01-01' + {name}" if column.type.kind is Kind.TIME else name
        return f"epoch_us({value})"

    def floating(self, column: Column) -> str:
        """The value of a float column in double precision."""
        return f"CAST({self.quoted(column.name)} AS DOUBLE)"
