"""Types that a warehouse cannot hold as they are, and text as a way out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from ferry.errors import SchemaError
from ferry.schema import (
    ARROW_DECIMAL_DIGITS,
    Column,
    DataType,
    Kind,
    TableName,
    TableSchema,
    named_columns,
)


def carried_as_text(schema: TableSchema, names: Sequence[str]) -> TableSchema:
    """The table with the columns that the spec's `as_text` names as text.

    Their values are the text that the source writes, digit for digit.

    Raises:
        SchemaError: No such column, or one whose values do not travel as text already.
    """
    wanted = set(named_columns(names, schema.column_names, schema.name, "as_text"))
    columns = tuple(
        replace(c, type=_text_type(c, schema.name)) if c.name.lower() in wanted else c
        for c in schema.columns
    )
    return replace(schema, columns=columns)


def text_of(data_type: DataType) -> DataType | None:
    """The type of text in which `as_text` carries such values; None if it does not take them."""
    if data_type.kind in (Kind.JSON, Kind.TEXT, Kind.TIME):
        return DataType(Kind.TEXT, max_bytes=data_type.max_bytes)
    precision = data_type.precision or 0
    if data_type.kind is Kind.DECIMAL and precision > ARROW_DECIMAL_DIGITS:
        return DataType(Kind.TEXT, max_bytes=precision + len("-0."))
    return None


def _text_type(column: Column, table: TableName) -> DataType:
    if text := text_of(column.type):
        return text
    raise SchemaError(
        f"column {column.name!r} does not become text",
        table=str(table),
        expected=f"JSON, a time of day, or a decimal of more than {ARROW_DECIMAL_DIGITS} digits",
        found=column.native or str(column.type),
        todo="Take it out of `as_text` in the table's spec, or read a view that makes text of it.",
    )


def check_types(
    target: TableName, columns: Sequence[Column], native_type: Callable[[DataType], str]
) -> None:
    """Refuse columns for which the warehouse has no type that holds their values unchanged.

    Raises:
        SchemaError: The message names all of them.
    """
    refused: list[Column] = []
    first: SchemaError | None = None
    for column in columns:
        try:
            native_type(column.type)
        except SchemaError as error:
            refused.append(column)
            first = first or error
    if first is None:
        return
    names = ", ".join(column.name for column in refused)
    way_out = "`exclude` them in the table's spec"
    if all((column.type.precision or 0) > ARROW_DECIMAL_DIGITS for column in refused):
        way_out = f"Say `as_text: [{names}]` in the table's spec to carry their digits as text, or "
        way_out += "leave them out with `exclude`"
    raise SchemaError(
        f"{first.problem}: {names}",
        table=str(target),
        expected=first.expected,
        found=", ".join(f"{c.name} {c.native or c.type}" for c in refused),
        todo=f"{way_out}.",
    ) from first
