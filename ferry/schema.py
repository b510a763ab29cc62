"""Tables as Ferry sees them: names, columns, and the types that travel.

A source maps its native types to these, a warehouse maps these to its own. Whatever has no mapping
is an error with the column's name, never text by accident.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from decimal import Context
from enum import StrEnum

import pyarrow as pa

from ferry.errors import SchemaError

OWN_SCHEMA = "ferry"
"""The schema of Ferry's own tables, in the warehouse: staging tables, receipts and the others."""


class Kind(StrEnum):
    """The kinds of value that travel."""

    BOOLEAN = "boolean"
    INT16 = "int16"
    INT32 = "int32"
    INT64 = "int64"
    DECIMAL = "decimal"
    FLOAT32 = "float32"
    FLOAT64 = "float64"
    DATE = "date"
    TIME = "time"  # a time of day; durations travel as text
    TIMESTAMP = "timestamp"  # a wall clock without a zone
    TIMESTAMPTZ = "timestamptz"  # a moment
    TEXT = "text"
    BINARY = "binary"
    JSON = "json"
    OTHER = "other"  # a native type that Ferry does not load, in a column that people added


TIMES = (Kind.DATE, Kind.TIMESTAMP, Kind.TIMESTAMPTZ)
"""Kinds that tell a day."""

NUMBERS = (Kind.INT16, Kind.INT32, Kind.INT64, Kind.DECIMAL)
"""Kinds of numbers that are held exactly."""

WHOLE_DIGITS = {Kind.INT16: 5, Kind.INT32: 10, Kind.INT64: 19}
"""How many digits a whole number has at most, by its kind, the narrowest first."""

EXACT = Context(prec=1000)
"""Arithmetic of decimals that rounds none of theirs: Python's own keeps 28 digits."""


@dataclass(frozen=True)
class DataType:
    """A kind with its size.

    Attributes:
        kind: The kind of value.
        precision: Digits in all, of a decimal.
        scale: Digits after the point, of a decimal.
        max_bytes: The most bytes in UTF-8 (text) or at all (binary); None when there is no limit.
    """

    kind: Kind
    precision: int | None = None
    scale: int | None = None
    max_bytes: int | None = None

    def __str__(self) -> str:
        if self.kind is Kind.DECIMAL:
            return f"decimal({self.precision},{self.scale})"
        return f"{self.kind}({self.max_bytes} bytes)" if self.max_bytes else str(self.kind)


@dataclass(frozen=True)
class TableName:
    """A table's name in a schema: `raw_data.nps`. `schema` is empty for the connection's own."""

    schema: str
    name: str

    @classmethod
    def parse(cls, text: str) -> TableName:
        """The table of this full name, `schema.table`."""
        schema, _, name = text.partition(".")
        return cls(schema, name)

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}" if self.schema else self.name


@dataclass(frozen=True)
class Column:
    """A column: its name as that system spells it, its type, and how the system declares it.

    Attributes:
        name: Its name.
        type: Its type.
        nullable: Whether a value can be missing.
        native: How the system declares it.
        read_time: Whether it tells when the row was read, which no source holds: rows that differ
            in it alone are the same.
        spelled: Of a value that travels as text or bytes, in which spelling the declared type
            writes it, such as `uuid` or `time(3)`; empty where it is as it was put in.
    """

    name: str
    type: DataType
    nullable: bool = True
    native: str = ""
    read_time: bool = False
    spelled: str = field(default="", compare=False)


@dataclass(frozen=True)
class TableSchema:
    """A table's columns in their order, and its primary key (empty when it has none).

    Attributes:
        name: Its name.
        columns: Its columns.
        key: The names of the primary key's columns.
        unique: Whether no two rows have the same primary key as it is carried: a database that
            keeps times as text may tell two spellings of one moment apart.
    """

    name: TableName
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()
    unique: bool = True

    @property
    def column_names(self) -> tuple[str, ...]:
        """The columns' names in their order."""
        return tuple(column.name for column in self.columns)

    def column(self, name: str) -> Column | None:
        """The column of that name, upper and lower case being one; None if there is none."""
        return next((c for c in self.columns if c.name.lower() == name.lower()), None)


_ARROW: dict[Kind, pa.DataType] = {
    Kind.BOOLEAN: pa.bool_(),
    Kind.INT16: pa.int16(),
    Kind.INT32: pa.int32(),
    Kind.INT64: pa.int64(),
    Kind.FLOAT32: pa.float32(),
    Kind.FLOAT64: pa.float64(),
    Kind.DATE: pa.date32(),
    Kind.TIME: pa.time64("us"),
    Kind.TIMESTAMP: pa.timestamp("us"),
    Kind.TIMESTAMPTZ: pa.timestamp("us", tz="UTC"),
    Kind.TEXT: pa.large_string(),
    Kind.BINARY: pa.large_binary(),
    Kind.JSON: pa.large_string(),
}

ARROW_DECIMAL_DIGITS = 38
"""Decimals of more digits travel as text, digit for digit."""


def arrow_type(data_type: DataType) -> pa.DataType:
    """The Arrow type in which values of this type travel: what every source must yield."""
    if data_type.kind is Kind.DECIMAL:
        precision, scale = data_type.precision or 0, data_type.scale or 0
        if precision > ARROW_DECIMAL_DIGITS:
            return pa.large_string()
        return pa.decimal128(precision, scale)
    return _ARROW[data_type.kind]


def arrow_schema(columns: tuple[Column, ...]) -> pa.Schema:
    """The Arrow schema of these columns, all nullable (constraints are the databases' business)."""
    return pa.schema([pa.field(c.name, arrow_type(c.type)) for c in columns])


_WIDENS: dict[Kind, tuple[Kind, ...]] = {
    Kind.INT16: (Kind.INT32, Kind.INT64),
    Kind.INT32: (Kind.INT64,),
    Kind.FLOAT32: (Kind.FLOAT64,),
}


def fits(source: DataType, target: DataType) -> bool:
    """Whether every value of the one type can be held by the other, unchanged."""
    if Kind.OTHER in (source.kind, target.kind):
        return False
    if target.kind in _WIDENS.get(source.kind, ()):
        return True
    if target.kind is Kind.DECIMAL:
        precision, scale = source.precision or 0, source.scale or 0
        whole = WHOLE_DIGITS.get(source.kind, precision - scale)
        known = source.kind in WHOLE_DIGITS or source.kind is Kind.DECIMAL
        roomy = (target.precision or 0) - (target.scale or 0) >= whole
        return known and roomy and (target.scale or 0) >= scale
    if source.kind is not target.kind:
        return False
    if target.max_bytes is None:
        return True
    return source.max_bytes is not None and source.max_bytes <= target.max_bytes


def target_columns(columns: tuple[Column, ...], table: TableName) -> tuple[Column, ...]:
    """The columns as a warehouse names them: in lower case, in the same order.

    Warehouses fold names to lower case (Redshift even quoted ones), so it is done here, once.

    Raises:
        SchemaError: Two names fold to one.
    """
    seen: dict[str, str] = {}
    folded: list[Column] = []
    for column in columns:
        name = column.name.lower()
        if name in seen:
            raise SchemaError(
                f"columns {seen[name]!r} and {column.name!r} fold to one name in the warehouse",
                table=str(table),
                todo="Leave one of them out with `exclude` in the table's spec.",
            )
        seen[name] = column.name
        folded.append(replace(column, name=name))
    return tuple(folded)


def named_columns(
    names: Iterable[str], there: Iterable[str], table: TableName, field: str
) -> tuple[str, ...]:
    """The names that a spec's field gives, in lower case, after a check that they are there.

    Args:
        names: The columns that the spec names.
        there: The columns that the table has.
        table: The table, for the message.
        field: The spec's field: key, cursor, exclude, sort_key, ….

    Raises:
        SchemaError: There is no such column.
    """
    known = {name.lower() for name in there}
    for name in names:
        if name.lower() not in known:
            raise SchemaError(
                f"the table has no column {name!r}, which `{field}` names",
                table=str(table),
                expected=f"one of {', '.join(sorted(known))}",
                todo=f"Correct `{field}` in the table's spec.",
            )
    return tuple(name.lower() for name in names)
