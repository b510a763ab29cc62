"""SQLite's declared types: what each becomes, and its values read exactly or refused.

A column's declared type is a hint to SQLite, which stores any value anywhere
(https://sqlite.org/datatype3.html). Here it is a promise that every value is held against.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import date, datetime, time
from decimal import Decimal
from functools import lru_cache
from math import isfinite
from typing import Any

from ferry.errors import SchemaError
from ferry.fingerprints.canonical import value_text
from ferry.schema import ARROW_DECIMAL_DIGITS, EXACT, Column, DataType, Kind, TableName

_PLAIN = {
    "integer": Kind.INT64,
    "int": Kind.INT64,
    "bigint": Kind.INT64,
    "mediumint": Kind.INT32,
    "smallint": Kind.INT16,
    "tinyint": Kind.INT16,
    "int2": Kind.INT16,
    "int4": Kind.INT32,
    "int8": Kind.INT64,
    "boolean": Kind.BOOLEAN,
    "bool": Kind.BOOLEAN,
    "real": Kind.FLOAT64,
    "double": Kind.FLOAT64,
    "double precision": Kind.FLOAT64,
    "float": Kind.FLOAT64,
    "date": Kind.DATE,
    "datetime": Kind.TIMESTAMP,
    "timestamp": Kind.TIMESTAMP,
    "time": Kind.TIME,
    "text": Kind.TEXT,
    "clob": Kind.TEXT,
    "blob": Kind.BINARY,
    "json": Kind.JSON,
}
_LETTERS = (
    *("varchar", "char", "character", "character varying", "varying character"),
    *("nvarchar", "nchar", "native character"),
)
_UNSIGNED = " unsigned"
_DECLARED = re.compile(r"([a-z]+[248]?(?: [a-z]+)*)\s*(?:\(\s*(\d+)\s*(?:,\s*(\d+)\s*)?\))?")
_CLOCK = r"((?:[01]\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:\.\d{1,6}0*)?)?)"
"""Not 24:00, which Python from 3.14 on takes for the next day's midnight, and SQLite for no time.

https://docs.python.org/3.14/library/datetime.html#datetime.datetime.fromisoformat
"""
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_TIME = re.compile(_CLOCK, re.ASCII)
_DATETIME = re.compile(rf"(\d{{4}}-\d\d-\d\d)(?:[ T]{_CLOCK})?", re.ASCII)
_NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?")
_EXACT_DIGITS = 15
"""Decimal digits that a float always gives back as they were written (IEEE 754 binary64)."""

_ANY_DECIMAL = DataType(Kind.DECIMAL, 2 * ARROW_DECIMAL_DIGITS, ARROW_DECIMAL_DIGITS)
"""A decimal without digits: an integer, or a float of 15 digits, neither very large nor small.

Wider than Arrow's, so that it travels as text, and a warehouse that cannot have it asks for
`as_text` in the table's spec."""

_RANGES = {Kind.INT16: 1 << 15, Kind.INT32: 1 << 31, Kind.INT64: 1 << 63}


def mapped(name: str, declared: str, not_null: bool, table: TableName) -> Column:
    """The column with the type in which its values travel.

    Raises:
        SchemaError: No declared type, or one that is not in the table of types.
    """
    data_type = _data_type(declared)
    if data_type is None:
        raise SchemaError(
            f"column {name!r} has "
            + (f"the unknown type {declared!r}" if declared else "no declared type"),
            table=str(table),
            todo="Declare it as one of the types in docs/engines/sqlite.md, or leave it out with "
            "`exclude` in the table's spec.",
        )
    return Column(name, data_type, not not_null, declared)


def _plain(declared: str) -> str:
    return " ".join(declared.lower().split())


@lru_cache(maxsize=1024)
def _data_type(declared: str) -> DataType | None:
    declared = _plain(declared)
    match = _DECLARED.fullmatch(declared.removesuffix(_UNSIGNED))
    if match is None:
        return None
    word, first, second = match.groups()
    size = int(first) if first else None
    kind = _PLAIN.get(word)
    if declared.endswith(_UNSIGNED):  # at whose sign `column_value` looks
        return DataType(Kind.INT64) if kind in _RANGES else None
    if word in ("decimal", "numeric"):
        return _decimal_type(size, int(second or 0))
    if word in _LETTERS:
        most = None if size is None else size * 4
        return None if size == 0 or second else DataType(Kind.TEXT, max_bytes=most)
    return None if kind is None else DataType(kind)


def _decimal_type(size: int | None, scale: int) -> DataType | None:
    if size is None:
        return _ANY_DECIMAL
    is_known = 0 < size <= ARROW_DECIMAL_DIGITS and scale <= size
    return DataType(Kind.DECIMAL, size, scale) if is_known else None


def from_storage(raw: Any, data_type: DataType) -> Any:
    """The stored value as one of the type, unchanged; None is None.

    Raises:
        ValueError, ArithmeticError: It is not one. The text may hold the value.
    """
    return None if raw is None else _READERS[data_type.kind](raw, data_type)


def made_text_of(column: Column) -> DataType | None:
    """What a column is declared as that the spec's `as_text` makes text of; None for others."""
    declared = _data_type(column.native) if column.type.kind is Kind.TEXT else None
    return declared if declared and declared.kind in (Kind.JSON, Kind.DECIMAL) else None


def is_unsigned(column: Column) -> bool:
    """Whether it is declared to have no number below zero."""
    return _plain(column.native).endswith(_UNSIGNED)


def column_value(raw: Any, column: Column) -> Any:
    """As `from_storage`, and as the declaration says what the type does not.

    Of JSON that is carried as text, a number is read, too; a decimal that is so is written in one
    way, and held against its type; what is UNSIGNED is not below zero.

    Raises:
        ValueError, ArithmeticError: It is not one of the column's type.
    """
    declared = made_text_of(column)
    if declared and declared.kind is Kind.DECIMAL and raw is not None:
        return value_text(_decimal(raw, declared))
    if declared and isinstance(raw, int | float):
        raw = _json_number(raw)
    if isinstance(raw, int) and raw < 0 and is_unsigned(column):
        raise ValueError
    return from_storage(raw, column.type)


def type_arguments(data_type: DataType) -> str:
    """The type, as functions of ours get it in SQLite's SQL: kind, precision and scale."""
    return f"'{data_type.kind}', {data_type.precision or 0}, {data_type.scale or 0}"


def as_parameter(number: int | Decimal) -> int | float:
    """The number as SQLite can compare its own with it: they are integers of 64 bits, and floats.

    A whole number that is no such integer is above or below all of them; its float is so, too, or
    equals the lowest: no `>=` and no `<` tells the two apart.
    """
    if -(2**63) <= number < 2**63 and number == int(number):
        return int(number)  # a float would be another whole number, beyond 2**53
    return float(str(number))


def _boolean(raw: Any, _: DataType) -> bool:
    if type(raw) is int and raw in (0, 1):
        return bool(raw)
    raise ValueError


def _integer(raw: Any, data_type: DataType) -> int:
    limit = _RANGES[data_type.kind]
    if type(raw) is int and -limit <= raw < limit:
        return raw
    raise ValueError


def _float(raw: Any, _: DataType) -> float:
    if isinstance(raw, int | float) and float(raw) == raw:
        return float(raw)
    raise ValueError


def _decimal(raw: Any, data_type: DataType) -> Decimal:
    if isinstance(raw, bytes) or (isinstance(raw, str) and not _NUMBER.fullmatch(raw)):
        raise ValueError
    value = Decimal(repr(raw) if isinstance(raw, float) else raw)
    if not value.is_finite():
        raise ValueError
    _, digits, exponent = value.normalize(EXACT).as_tuple()
    assert isinstance(exponent, int)
    scale = data_type.scale or 0
    before_point = len(digits) + exponent if value else 0  # a zero needs no digit of its own
    if isinstance(raw, float) and len(digits) > _EXACT_DIGITS:
        raise ValueError
    if -exponent > scale or before_point > (data_type.precision or 0) - scale:
        raise ValueError
    return value


def _date(raw: Any, _: DataType) -> date:
    if isinstance(raw, str) and _DATE.fullmatch(raw):
        return date.fromisoformat(raw)
    raise ValueError


def _time(raw: Any, _: DataType) -> time:
    if isinstance(raw, str) and _TIME.fullmatch(raw):
        return time.fromisoformat(raw)
    raise ValueError


def _timestamp(raw: Any, _: DataType) -> datetime:
    if isinstance(raw, str) and _DATETIME.fullmatch(raw):
        return datetime.fromisoformat(raw)
    raise ValueError


def _text(raw: Any, data_type: DataType) -> str:
    if isinstance(raw, str) and (
        data_type.max_bytes is None or len(raw.encode()) <= data_type.max_bytes
    ):
        return raw
    raise ValueError


def _binary(raw: Any, _: DataType) -> bytes:
    if isinstance(raw, bytes):
        return raw
    raise ValueError


def _json(raw: Any, _: DataType) -> str:
    if not isinstance(raw, str):
        return _json_number(raw)
    try:
        json.loads(raw)
    except RecursionError:
        raise ValueError from None
    return raw


def _json_number(raw: Any) -> str:
    """The number that SQLite has made of JSON's text: a column declared JSON is NUMERIC to it.

    https://sqlite.org/datatype3.html#determination_of_column_affinity
    """
    if type(raw) is int:
        return str(raw)
    if isinstance(raw, float) and isfinite(raw):
        text = repr(raw)
        if len(Decimal(text).normalize(EXACT).as_tuple().digits) <= _EXACT_DIGITS:
            return text
    raise ValueError


_READERS: dict[Kind, Callable[[Any, DataType], Any]] = {
    Kind.BOOLEAN: _boolean,
    Kind.INT16: _integer,
    Kind.INT32: _integer,
    Kind.INT64: _integer,
    Kind.DECIMAL: _decimal,
    Kind.FLOAT64: _float,
    Kind.DATE: _date,
    Kind.TIME: _time,
    Kind.TIMESTAMP: _timestamp,
    Kind.TEXT: _text,
    Kind.BINARY: _binary,
    Kind.JSON: _json,
}
