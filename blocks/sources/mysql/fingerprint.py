"""Fingerprints in MySQL's and MariaDB's SQL."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import pymysql
from pymysql.cursors import Cursor

from blocks.sources.mysql.errors import number_of
from blocks.sources.mysql.types import bare_type, quote, select_expression
from ferry.fingerprints.canonical import DIGESTS, Digest
from ferry.fingerprints.dialect import FingerprintDialect
from ferry.schema import Column, Kind, TableName

_NO_SUCH_FUNCTION = 1305
_FORMATS = {
    Kind.DATE: "%Y-%m-%d",
    Kind.TIMESTAMP: "%Y-%m-%d %H:%i:%s.%f",
    Kind.TIMESTAMPTZ: "%Y-%m-%d %H:%i:%s.%f",  # the session is in UTC
}


class MySQLFingerprint(FingerprintDialect):
    """What MySQL and MariaDB compute alike, of values as Ferry reads them."""

    def quoted(self, name: str) -> str:
        """The name as an identifier."""
        return quote(name)

    def table(self, table: TableName) -> str:
        """The table's full name; of one without a schema, the connection's database has it."""
        name = quote(table.name)
        return f"{quote(table.schema)}.{name}" if table.schema else name

    def value(self, column: Column) -> str:
        """The column's value, as Ferry reads it: a date that is none is NULL."""
        return select_expression(column)

    def bound(self, value: object, column: Column) -> object:  # noqa: ARG002
        """A moment as UTC's wall clock, which the session has."""
        if isinstance(value, datetime) and value.tzinfo:
            return value.astimezone(UTC).replace(tzinfo=None)
        return value

    def text(self, column: Column) -> str:
        """The canonical text of the column's value, and NULL for NULL."""
        kind, name = column.type.kind, quote(column.name)
        if kind in _FORMATS:
            return f"DATE_FORMAT({select_expression(column)}, '{_FORMATS[kind]}')"
        if kind is Kind.BINARY:
            return self.binary(f"LOWER(HEX({name}))")
        if kind is Kind.TEXT:
            return f"CONVERT({select_expression(column)} USING utf8mb4)"
        # Whatever is declared ZEROFILL has its zeros in its text, but not in a sum.
        text = f"CAST({name} + 0 AS CHAR)"
        if bare_type(column) == "decimal" and column.type.scale:
            return f"TRIM(TRAILING '.' FROM TRIM(TRAILING '0' FROM {text}))"
        return text

    def concat(self, parts: Sequence[str]) -> str:
        """The parts, one after the other; NULL if one of them is."""
        return f"CONCAT({', '.join(parts)})"

    def text_length(self, text: str) -> str:
        """How many bytes a text has in UTF-8."""
        return f"LENGTH({text})"

    def octets(self, text: str) -> str:
        """The same, which CONCAT makes text of."""
        return self.text_length(text)

    def digest(self, text: str) -> str:
        """The digest of a text, in lower-case hexadecimal digits."""
        return f"MD5({text})" if self.algorithm == "md5" else f"SHA2({text}, 256)"

    def has_json(self, column: Column) -> str:
        """The condition that a JSON column holds something else than JSON's own `null`."""
        return f"{select_expression(column)} NOT REGEXP '^[[:space:]]*null[[:space:]]*$'"

    def byte_length(self, name: str) -> str:
        """How many bytes a binary column's value has."""
        return f"LENGTH({name})"

    def whole(self, hexadecimal: str) -> str:
        """What 15 hexadecimal digits are as a whole number."""
        return f"CAST(CONV({hexadecimal}, 16, 10) AS UNSIGNED)"

    def floating(self, column: Column) -> str:
        """The value of a float column in double precision."""
        return f"({quote(column.name)} + 0e0)"


def digests(cursor: Cursor) -> tuple[Digest, ...]:
    """The digests that the server can make: MySQL has no MD5 from 9.6 on.

    There it is a component that few install.
    https://dev.mysql.com/doc/refman/9.6/en/encryption-functions.html

    Raises:
        pymysql.MySQLError: The caller turns it into Ferry's.
    """
    try:
        cursor.execute("SELECT MD5('')")
    except pymysql.OperationalError as error:
        if number_of(error) != _NO_SUCH_FUNCTION:
            raise
        return ("sha256",)
    return DIGESTS
