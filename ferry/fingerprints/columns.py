"""Which columns of a source and of its target are compared, and how."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from ferry.errors import SchemaError
from ferry.schema import Column, Kind, TableName, TableSchema
from ferry.target.value_advice import EXCLUDE
from ferry.target.value_types import text_of
from ferry.windows import same_clock

_LONGEST_WHOLE = 1024
_LONGEST_BINARY = 512
"""Digits of it go into a row's text as they are."""

_LONGEST_ROW = 30_000
"""Redshift's text ends at 65,535 bytes, a row's text in hexadecimal included."""


class ComparedBy(StrEnum):
    """How the values of a column are compared."""

    EXACTLY = "exactly"  # part of the row's number
    NEARLY = "nearly"  # floats, which engines write differently: within a relative error
    PRESENCE = "presence"  # JSON, which warehouses write anew: whether there is a value
    LENGTH = "length"  # long binary, where a side can make no digest of it


_FAMILIES: dict[Kind, str] = {
    Kind.BOOLEAN: "number",
    Kind.INT16: "number",
    Kind.INT32: "number",
    Kind.INT64: "number",
    Kind.DECIMAL: "number",
    Kind.FLOAT32: "float",
    Kind.FLOAT64: "float",
    Kind.DATE: "date",
    Kind.TIME: "time of day",
    Kind.TIMESTAMP: "time",
    Kind.TIMESTAMPTZ: "moment",
    Kind.TEXT: "text",
    Kind.BINARY: "binary",
    Kind.JSON: "json",
}
_HOW = {"float": ComparedBy.NEARLY, "json": ComparedBy.PRESENCE}
_LENGTHY = (Kind.TEXT, Kind.BINARY)


@dataclass(frozen=True)
class Pair:
    """A column of the source and the one of the target that holds its values.

    Attributes:
        source: The source's.
        target: The target's.
        how: How their values are compared.
        hashed: Whether they go into the row's text as a digest, since they may be long.
    """

    source: Column
    target: Column
    how: ComparedBy
    hashed: bool = False


def pair_columns(
    source: TableSchema,
    target: TableSchema,
    *,
    key: Sequence[str] = (),
    target_only: Sequence[str] = (),
    wall_clock_zone: str = "UTC",
    digests_bytes: bool = True,
) -> tuple[Pair, ...]:
    """The columns of both tables, in the source's order.

    Args:
        source: The source's table, with the columns that the spec carries.
        target: The target.
        key: The columns of the key, which have to be compared exactly.
        target_only: Columns of the target that the source has not.
        wall_clock_zone: The zone of the source's wall-clock columns: in UTC, they are moments.
        digests_bytes: Whether the warehouse can make a digest of a binary value of any length;
            sources can.

    Raises:
        SchemaError: A column on one side only, types that cannot be compared, or a key of floats
            or JSON. No retry helps.
    """
    own = {name.lower() for name in target_only}
    names = {column.name.lower() for column in source.columns}
    ours = [c.name for c in source.columns if target.column(c.name) is None]
    theirs = [
        c.name for c in target.columns if c.name.lower() not in names and c.name.lower() not in own
    ]
    if ours or theirs:
        _refuse_other_columns(ours, theirs, target.name)
    pairs: list[Pair] = []
    length = 0
    keys = {name.lower() for name in key}
    in_utc = same_clock(wall_clock_zone, "UTC")
    for column in source.columns:
        there = target.column(column.name)
        assert there is not None
        how = _how(column, there, target.name, in_utc=in_utc)
        lengthy = column.type.kind in _LENGTHY
        longest = column.type.max_bytes if lengthy else 40
        if column.type.kind is Kind.BINARY and longest is not None:
            longest *= 2
        if is_long_binary(column) and not digests_bytes:
            how = ComparedBy.LENGTH
        if how is not ComparedBy.EXACTLY and column.name.lower() in keys:
            raise SchemaError(
                f"column {column.name!r} of the key cannot be compared exactly",
                table=str(target.name),
                expected="whole or decimal numbers, times, text or short binary",
                found=str(column.type),
                todo="Choose another `key` in the table's spec.",
            )
        hashed = how is ComparedBy.EXACTLY and (
            longest is None or longest > _LONGEST_WHOLE or length + longest > _LONGEST_ROW
        )
        length += 32 if hashed or longest is None else longest
        pairs.append(Pair(column, there, how, hashed))
    return tuple(pairs)


def short_float(pair: Pair) -> bool:
    """Whether a side has floats of seven digits, which another tool may have rounded."""
    return Kind.FLOAT32 in (pair.source.type.kind, pair.target.type.kind)


def is_long_binary(column: Column) -> bool:
    """Whether a binary column's values may be too long to be written in digits."""
    longest = column.type.max_bytes
    return column.type.kind is Kind.BINARY and (longest is None or longest > _LONGEST_BINARY)


def _how(source: Column, target: Column, table: TableName, *, in_utc: bool) -> ComparedBy:
    ours, theirs = _FAMILIES.get(source.type.kind), _FAMILIES.get(target.type.kind)
    if ours and ours == theirs:
        return _HOW.get(ours, ComparedBy.EXACTLY)
    if in_utc and {ours, theirs} == {"time", "moment"}:
        return ComparedBy.EXACTLY
    as_text = theirs == "text" and text_of(source.type) is not None
    way_out = (
        f"say `as_text: [{source.name}]` in the table's spec"
        if as_text
        else "read a view that has it as the target's type"
    )
    raise SchemaError(
        f"column {source.name!r} cannot be compared: it has another kind of type on each side",
        table=str(table),
        expected=f"{source.type} ({source.native})" if source.native else str(source.type),
        found=target.native or str(target.type),
        todo=f"Give the target's column the source's type, {way_out}, or {EXCLUDE}.",
    )


def _refuse_other_columns(ours: Sequence[str], theirs: Sequence[str], table: TableName) -> None:
    sides = [("source", ours), ("target", theirs)]
    raise SchemaError(
        "there are columns on one side only",
        table=str(table),
        found="; ".join(f"in the {side}: {', '.join(names)}" for side, names in sides if names),
        todo="Carry what the target has not yet; leave columns of the source out with `exclude`, "
        "and name the target's own in `target_only`, in the table's spec.",
    )
