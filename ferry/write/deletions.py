"""Rows that the source marks as deleted, and which values mark them."""

from __future__ import annotations

from dataclasses import dataclass

from ferry.errors import SchemaError
from ferry.schema import NUMBERS, TIMES, Column, Kind, TableName
from ferry.statements import PARAM, Statement, quoted

_MARKS = (*NUMBERS, *TIMES, Kind.BOOLEAN)
"""Kinds that tell by themselves whether they mark a row."""


@dataclass(frozen=True)
class Deletion:
    """How a row is marked as deleted.

    Attributes:
        column: The column that marks it.
        values: The values that do, as the column holds them; empty for any but NULL, false and 0.
    """

    column: Column
    values: tuple[str | int | bool, ...] = ()

    def condition(self, pads_text: bool, prefix: str = "") -> Statement:
        """The condition that a row is marked, never NULL.

        Text is compared exactly: where blanks are padded, to the last blank.

        Args:
            pads_text: Whether comparing text ignores trailing blanks.
            prefix: What stands before the column's name.
        """
        name = prefix + quoted(self.column.name)
        if self.values:
            text = self.column.type.kind is Kind.TEXT and pads_text
            one = f"({name} = {PARAM} AND OCTET_LENGTH({name}) = {PARAM})"
            any_of = " OR ".join([one if text else f"{name} = {PARAM}"] * len(self.values))
            bound = [(v, len(str(v).encode())) if text else (v,) for v in self.values]
            return Statement(
                f"({name} IS NOT NULL AND ({any_of}))", tuple(v for each in bound for v in each)
            )
        if self.column.type.kind is Kind.BOOLEAN:
            return Statement(f"({name} IS NOT NULL AND {name} = TRUE)")
        if self.column.type.kind in NUMBERS:
            return Statement(f"({name} IS NOT NULL AND {name} <> 0)")
        return Statement(f"({name} IS NOT NULL)")


def deletion(column: Column, values: tuple[str | int, ...], table: TableName) -> Deletion:
    """How that column marks a row, by these values of the spec's.

    Raises:
        SchemaError: The column cannot tell which rows are deleted, or not by such values. No retry
            helps.
    """
    kind = column.type.kind
    if not values and kind in _MARKS:
        return Deletion(column)
    if values and kind is Kind.TEXT:
        return Deletion(column, tuple(str(value) for value in values))
    if values and kind in NUMBERS and all(isinstance(value, int) for value in values):
        return Deletion(column, values)
    if values and kind is Kind.BOOLEAN and all(value in (0, 1) for value in values):
        return Deletion(column, tuple(bool(value) for value in values))
    expected = {
        Kind.BOOLEAN: "0 or 1 in `deleted_values`",
        **dict.fromkeys(NUMBERS, "whole numbers in `deleted_values`"),
        Kind.TEXT: "the values that mark a row, such as `deleted_values: [Y]`",
    }
    raise SchemaError(
        f"column {column.name!r} cannot tell which rows are deleted"
        + (" by `deleted_values`" if values else ""),
        table=str(table),
        expected=expected.get(
            kind, "text, a whole number" + ("" if values else ", a boolean, a date or a time")
        ),
        found=column.native or str(column.type),
        todo="Correct `deleted_values`, choose another `deleted_column`, or carry deletions as "
        "they are.",
    )
