"""Redshift's types: how each kind is declared there, and what the catalog's types hold.

https://docs.aws.amazon.com/redshift/latest/dg/c_Supported_data_types.html
"""

from __future__ import annotations

from blocks.postgres.errors import WIDEST_VARCHAR
from ferry.errors import SchemaError
from ferry.schema import DataType, Kind

MAX_VARCHAR_BYTES = WIDEST_VARCHAR
# The guide says 1,024,000 in older and 16,777,216 in newer editions; a row loaded has 4 MB at most.
MAX_VARBYTE_BYTES = 1_024_000
_MAX_DECIMAL_DIGITS = 38
_MAX_DECIMAL_SCALE = 37

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
    Kind.JSON: "super",
}
_KINDS = {native: kind for kind, native in _NATIVE.items()}
_BINARY = {"binary varying", "varbyte", "varbinary"}


def native_type(data_type: DataType) -> str:
    """How Redshift declares the type.

    Text and binary of no limit, or of a higher one, get the highest that Redshift has; COPY
    refuses longer values.

    Raises:
        SchemaError: A decimal of more than 38 digits, or of more than 37 behind the point, or a
            type that Ferry does not load.
    """
    if data_type.kind is Kind.DECIMAL:
        digits, scale = data_type.precision or 0, data_type.scale or 0
        if not 1 <= digits <= _MAX_DECIMAL_DIGITS or scale > _MAX_DECIMAL_SCALE:
            raise SchemaError(
                "Redshift cannot declare this decimal",
                expected=f"1 to {_MAX_DECIMAL_DIGITS} digits, up to {_MAX_DECIMAL_SCALE} behind "
                "the point",
                found=str(data_type),
                todo="Leave the column out with `exclude` in the table's spec.",
            )
        return f"numeric({_digits(data_type)},{data_type.scale or 0})"
    if data_type.kind is Kind.TEXT:
        return f"varchar({_length(data_type, MAX_VARCHAR_BYTES)})"
    if data_type.kind is Kind.BINARY:
        return f"varbyte({_length(data_type, MAX_VARBYTE_BYTES)})"
    if data_type.kind not in _NATIVE:
        raise SchemaError("Redshift has no type for it", found=str(data_type))
    return _NATIVE[data_type.kind]


def ferry_type(
    native: str, length: int | None, precision: int | None, scale: int | None
) -> DataType:
    """What a column holds that SVV_COLUMNS describes; `Kind.OTHER` if not unchanged.

    Args:
        native: `data_type`. CHAR(n) pads and takes ASCII only: it is `Kind.OTHER`.
        length: `character_maximum_length`, in bytes.
        precision: `numeric_precision`.
        scale: `numeric_scale`.
    """
    if native == "numeric":
        return DataType(Kind.DECIMAL, precision=precision, scale=scale)
    if native == "character varying":
        return DataType(Kind.TEXT, max_bytes=length)
    if native in _BINARY:
        # What SVV_COLUMNS tells of a VARBYTE's length is unproven: a longer value is refused by
        # the statement that writes it, not here.
        return DataType(Kind.BINARY, max_bytes=MAX_VARBYTE_BYTES)
    return DataType(_KINDS.get(native, Kind.OTHER))


def declared(native: str, length: int | None, precision: int | None, scale: int | None) -> str:
    """The type as CREATE TABLE would declare it."""
    if native == "numeric":
        return f"numeric({precision},{scale})"
    if native in {"character varying", "character", *_BINARY} and length:
        return f"{native}({length})"
    return native


def _length(data_type: DataType, limit: int) -> int:
    wanted = limit if data_type.max_bytes is None else data_type.max_bytes
    return max(1, min(wanted, limit))


def _digits(data_type: DataType) -> int:
    """The precision; 19 digits become 20.

    A DECIMAL of up to 19 digits is stored in 64 bits and ends at 9,223,372,036,854,775,807
    https://docs.aws.amazon.com/redshift/latest/dg/r_Numeric_types201.html
    """
    precision = data_type.precision or 0
    return 20 if precision == 19 else precision
