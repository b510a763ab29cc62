"""DuckDB's types: how each kind is declared there, and what the catalog's types hold.

https://duckdb.org/docs/stable/sql/data_types/overview
"""

from __future__ import annotations

import re

from ferry.errors import SchemaError
from ferry.schema import DataType, Kind

_MAX_DECIMAL_DIGITS = 38

_NATIVE: dict[Kind, str] = {
    Kind.BOOLEAN: "BOOLEAN",
    Kind.INT16: "SMALLINT",
    Kind.INT32: "INTEGER",
    Kind.INT64: "BIGINT",
    Kind.FLOAT32: "FLOAT",
    Kind.FLOAT64: "DOUBLE",
    Kind.DATE: "DATE",
    Kind.TIME: "TIME",
    Kind.TIMESTAMP: "TIMESTAMP",
    Kind.TIMESTAMPTZ: "TIMESTAMP WITH TIME ZONE",
    Kind.TEXT: "VARCHAR",
    Kind.BINARY: "BLOB",
    Kind.JSON: "JSON",  # the extension is built into the wheels; nothing is downloaded
}
_KINDS = {native: kind for kind, native in _NATIVE.items()}
_DECIMAL = re.compile(r"DECIMAL\((\d+),(\d+)\)")


def native_type(data_type: DataType) -> str:
    """How DuckDB declares the type. Text and binary have no limit there.

    Raises:
        SchemaError: A decimal of more than 38 digits, or a type that Ferry does not load.
    """
    if data_type.kind is Kind.DECIMAL:
        if not data_type.precision or data_type.precision > _MAX_DECIMAL_DIGITS:
            raise SchemaError(
                "DuckDB cannot declare this decimal",
                expected=f"1 to {_MAX_DECIMAL_DIGITS} digits",
                found=str(data_type),
                todo="Leave the column out with `exclude` in the table's spec.",
            )
        return f"DECIMAL({data_type.precision},{data_type.scale or 0})"
    if data_type.kind not in _NATIVE:
        raise SchemaError("DuckDB has no type for it", found=str(data_type))
    return _NATIVE[data_type.kind]


def ferry_type(native: str) -> DataType:
    """What a type of the catalog holds; `Kind.OTHER` for one that Ferry does not load."""
    if match := _DECIMAL.fullmatch(native):
        return DataType(Kind.DECIMAL, precision=int(match[1]), scale=int(match[2]))
    return DataType(_KINDS.get(native, Kind.OTHER))
