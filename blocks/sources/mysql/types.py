"""MySQL's and MariaDB's types: what each becomes, and the expression that reads it unchanged.

ConnectorX, which reads the rows, panics on zero dates, on TIME outside a day, on DECIMAL of more
than 28 digits or 9 decimals and on spatial types, and it shortens the scale of decimals to 10. So
those columns are turned into something that it carries exactly, by SQL; all others are read as
they are.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime

from ferry.errors import SchemaError
from ferry.schema import Column, DataType, Kind, TableName

_INTEGERS: dict[str, tuple[DataType, DataType]] = {  # for each, signed and unsigned
    "tinyint": (DataType(Kind.INT16), DataType(Kind.INT16)),
    "smallint": (DataType(Kind.INT16), DataType(Kind.INT32)),
    "mediumint": (DataType(Kind.INT32), DataType(Kind.INT32)),
    "int": (DataType(Kind.INT32), DataType(Kind.INT64)),
    "bigint": (DataType(Kind.INT64), DataType(Kind.DECIMAL, 20, 0)),
}

_FIXED = {
    "float": DataType(Kind.FLOAT32),
    "double": DataType(Kind.FLOAT64),
    "date": DataType(Kind.DATE),
    "datetime": DataType(Kind.TIMESTAMP),
    "timestamp": DataType(Kind.TIMESTAMPTZ),
    # A duration from -838:59:59.000000 to 838:59:59.000000, not a time of day.
    # https://dev.mysql.com/doc/refman/8.4/en/time.html
    "time": DataType(Kind.TEXT, max_bytes=17),
    "year": DataType(Kind.INT16),
    "json": DataType(Kind.JSON),
    # MariaDB's own, in their longest spelling. https://mariadb.com/kb/en/inet6/
    "uuid": DataType(Kind.TEXT, max_bytes=36),
    "inet6": DataType(Kind.TEXT, max_bytes=45),
    "inet4": DataType(Kind.TEXT, max_bytes=15),
}

_CHARACTERS = ("char", "varchar", "enum", "set")
_TEXTS = {"tinytext": 255, "text": 65_535, "mediumtext": 16_777_215, "longtext": None}
_BINARIES = ("binary", "varbinary")
_BLOBS = {"tinyblob": 255, "blob": 65_535, "mediumblob": 16_777_215, "longblob": None}

# Bytes in UTF-8 of one character of a character set, at most; 4 for those that are not here.
_SINGLE_BYTE = [
    "armscii8", "cp1250", "cp1251", "cp1256", "cp1257", "cp850", "cp852", "cp866", "dec8",
    "geostd8", "greek", "hebrew", "hp8", "keybcs2", "koi8r", "koi8u", "latin1", "latin2", "latin5",
    "latin7", "macce", "macroman", "swe7", "tis620",
]  # fmt: skip
_CHARACTER_BYTES = {"ascii": 1, **dict.fromkeys([*_SINGLE_BYTE, "utf8", "utf8mb3", "ucs2"], 3)}

_CONVERTED_WHOLE = {"latin1", "utf8", "utf8mb3", "utf8mb4", "utf16", "utf16le", "utf32", "binary"}
"""Character sets of which the server can turn every character into utf8mb4."""

ZERO_DATE_TYPES = ("date", "datetime", "timestamp")
"""The types that can hold 0000-00-00, a month or day of 0, or (by a mode of MySQL) 31 February."""

_LOWEST_TIMES: dict[str, date] = {
    "date": date.min,
    "datetime": datetime.min,
    # In UTC, as the session is. https://dev.mysql.com/doc/refman/8.4/en/datetime.html
    "timestamp": datetime(1970, 1, 1, 0, 0, 1),
}

_SPELLED = ("time", "uuid", "inet6", "inet4", "binary")
"""Types of text and bytes whose values are written anew where a column becomes one of them."""

_AS_TEXT = ("decimal", "time", "json", "uuid", "inet6", "inet4")


@dataclass(frozen=True)
class CatalogColumn:
    """A column as `information_schema.COLUMNS` tells it.

    Attributes:
        name: Its name.
        data_type: The type's bare name: `decimal`.
        column_type: The type in full: `decimal(12,2) unsigned`.
        nullable: Whether it takes NULL.
        max_length: The most characters, or bytes of binary types.
        character_set: The character set of text.
        precision: Digits of a number, bits of BIT.
        scale: Digits after the point.
        is_json: Whether a MariaDB LONGTEXT is declared JSON (`CHECK (json_valid(...))`).
    """

    name: str
    data_type: str
    column_type: str
    nullable: bool
    max_length: int | None = None
    character_set: str | None = None
    precision: int | None = None
    scale: int | None = None
    is_json: bool = False

    def mapped(self, table: TableName) -> Column:
        """The column with the type in which its values travel.

        Raises:
            SchemaError: A spatial, vector or unknown type, by the column's name.
        """
        data_type = self._data_type()
        if data_type is None:
            raise SchemaError(
                f"column {self.name!r} is of type {self.column_type}, which has no mapping",
                table=str(table),
                todo="Leave it out with `exclude` in the table's spec, or read a view that turns "
                "it into text.",
            )
        native, character_set = self.column_type, (self.character_set or "utf8mb4").lower()
        if character_set not in _CONVERTED_WHOLE:  # how `characters` knows it
            native += f" character set {character_set}"
        return Column(self.name, data_type, self.nullable, native, spelled=self._spelled())

    def _spelled(self) -> str:
        """A BINARY is filled up with zeros, and a UUID, say, gets its dashes."""
        kind = self.data_type.lower()
        if kind == "decimal":
            return f"decimal of scale {self.scale}"
        return self.column_type.lower() if kind in _SPELLED else ""

    def _data_type(self) -> DataType | None:  # noqa: PLR0911  # one return for each family
        kind = self.data_type.lower()
        if kind in _INTEGERS:
            return _INTEGERS[kind]["unsigned" in self.column_type.lower()]
        if kind == "bit":
            bits = self.precision or 1
            if bits == 1:
                return DataType(Kind.BOOLEAN)
            return DataType(Kind.INT64) if bits < 64 else DataType(Kind.DECIMAL, 20, 0)
        if kind == "decimal":
            return DataType(Kind.DECIMAL, self.precision, self.scale)
        if kind == "longtext" and self.is_json:
            return DataType(Kind.JSON)
        if kind in _CHARACTERS or kind in _TEXTS:
            return DataType(Kind.TEXT, max_bytes=self._text_bytes(kind))
        if kind in _BINARIES:
            return DataType(Kind.BINARY, max_bytes=self.max_length)
        if kind in _BLOBS:
            return DataType(Kind.BINARY, max_bytes=_BLOBS[kind])
        return _FIXED.get(kind)

    def _text_bytes(self, kind: str) -> int | None:
        """The most bytes in UTF-8, whatever character set the column has."""
        character_set = (self.character_set or "utf8mb4").lower()
        character_bytes = _CHARACTER_BYTES.get(character_set, 4)
        if kind in _CHARACTERS:
            return (self.max_length or 0) * character_bytes
        limit = _TEXTS[kind]  # of TEXT the limit is bytes in the column's own character set
        if limit is None or character_set.startswith("utf8") or character_set == "ascii":
            return limit
        return limit * 3  # no set turns one of its own bytes into more than three


def quote(name: str) -> str:
    """The name as an identifier.

    https://dev.mysql.com/doc/refman/8.4/en/identifiers.html
    """
    return "`" + name.replace("`", "``") + "`"


def bare_type(column: Column) -> str:
    """The bare name of the type that the source declares: `decimal` of `decimal(12,2)`."""
    return re.split(r"[\s(]", column.native.lower(), maxsplit=1)[0]


def lowest_time(column: Column) -> date | None:
    """The first date or time that a window can reach; zero dates lie before it. None: no time."""
    return _LOWEST_TIMES.get(bare_type(column))


def select_expression(column: Column) -> str:
    """The expression that reads the column so that ConnectorX carries it exactly.

    Dates that are none become NULL: by MySQL's manual, arithmetic on incomplete dates and LAST_DAY
    of a date that does not exist give NULL. Decimals and JSON go as the server writes them.
    https://dev.mysql.com/doc/refman/8.4/en/date-and-time-functions.html
    """
    name, native = quote(column.name), bare_type(column)
    if native in ZERO_DATE_TYPES:
        return (
            f"IF(DAYOFMONTH({name}) <= DAYOFMONTH(LAST_DAY({name})), {name} + INTERVAL 0 DAY, NULL)"
        )
    if native == "bit":
        return f"{name} + 0"
    if native == "decimal" and "zerofill" in column.native.lower():
        return f"CAST({name} + 0 AS CHAR)"
    if native in _AS_TEXT:
        # The character set that the connection has when ConnectorX prepares it may be another one.
        return f"CAST({name} AS CHAR CHARACTER SET utf8mb4)"
    return name
