"""PostgreSQL's types: how each kind is declared there, and what the catalog's types hold.

https://www.postgresql.org/docs/current/datatype.html
"""

from __future__ import annotations

import re

from ferry.errors import SchemaError
from ferry.schema import DataType, Kind
from ferry.statements import quoted

_MAX_NUMERIC_DIGITS = 1000  # that can be declared

# A numeric without precision holds 131,072 digits before the point and 16,383 after it.
_UNLIMITED_NUMERIC = DataType(Kind.DECIMAL, precision=131_072 + 16_383, scale=16_383)

_NATIVE: dict[Kind, str] = {
    Kind.BOOLEAN: "boolean",
    Kind.INT16: "smallint",
    Kind.INT32: "integer",
    Kind.INT64: "bigint",
    Kind.FLOAT32: "real",
    Kind.FLOAT64: "double precision",
    Kind.DATE: "date",
    Kind.TIME: "time without time zone",
    Kind.TIMESTAMP: "timestamp without time zone",
    Kind.TIMESTAMPTZ: "timestamp with time zone",
    Kind.TEXT: "text",
    Kind.BINARY: "bytea",
    Kind.JSON: "jsonb",
}
_KINDS = {native: kind for kind, native in _NATIVE.items()}
_NUMERIC = re.compile(r"numeric\((\d+),(\d+)\)")
_VARCHAR = re.compile(r"character varying(?:\((\d+)\))?")


def native_type(data_type: DataType) -> str:
    """How PostgreSQL declares the type.

    Text has no limit there, whatever it has in the source. JSON becomes `jsonb`: `json` has no
    equality.

    Raises:
        SchemaError: A decimal without a precision or of more than 1,000 digits, or a type that
            Ferry does not load.
    """
    if data_type.kind is Kind.DECIMAL:
        if not data_type.precision or data_type.precision > _MAX_NUMERIC_DIGITS:
            raise SchemaError(
                "PostgreSQL cannot declare this decimal",
                expected=f"1 to {_MAX_NUMERIC_DIGITS} digits",
                found=str(data_type),
            )
        return f"numeric({data_type.precision},{data_type.scale or 0})"
    if data_type.kind not in _NATIVE:
        raise SchemaError("PostgreSQL has no type for it", found=str(data_type))
    return _NATIVE[data_type.kind]


def declared(native: str, collation: str | None) -> str:
    """The type as CREATE TABLE would declare it, with a collation that is none of the common."""
    return f"{native} COLLATE {quoted(collation)}" if collation else native


def ferry_type(native: str, collation: str | None = None) -> DataType:
    """What a type holds that the catalog's `format_type` names; `Kind.OTHER` if not unchanged.

    `varchar(n)` counts characters; n bytes are sure to fit. `char(n)` (pads), `json` (has no
    equality), times of fewer than six decimals (round) and all other types are `Kind.OTHER`.
    Six decimals are what a time has without a number, too. So is text of a `collation` that is
    nondeterministic: to it, texts that differ can be equal.
    https://www.postgresql.org/docs/current/collation.html#COLLATION-NONDETERMINISTIC
    """
    if collation:
        return DataType(Kind.OTHER)
    if match := _NUMERIC.fullmatch(native):
        return DataType(Kind.DECIMAL, precision=int(match[1]), scale=int(match[2]))
    if native == "numeric":
        return _UNLIMITED_NUMERIC
    if match := _VARCHAR.fullmatch(native):
        return DataType(Kind.TEXT, max_bytes=int(match[1]) if match[1] else None)
    return DataType(_KINDS.get(native.replace("(6)", "", 1), Kind.OTHER))
