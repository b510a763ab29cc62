"""Columns whose type has to change: to what, by which statements, and what stands in the way.

A type grows if every value of the old one and every value of the new one fit into a third, and
none of them changes: that is done. Everything else is a person's decision, for whom the statements
are written out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ferry.capabilities import Capabilities
from ferry.schema import WHOLE_DIGITS, Column, DataType, Kind, TableName, TableSchema, fits
from ferry.statements import NativeType, add_column, column_list, lock, quoted, table_sql

NEW_COLUMN = "ferry_new_type"
"""The column that is made, filled, and then takes the other one's name, all in one transaction."""

_ORDER = tuple(WHOLE_DIGITS)


@dataclass(frozen=True)
class View:
    """A view in the warehouse that is bound to a column: it has to be dropped first.

    Attributes:
        name: Its name.
        definition_query: The query that shows its text, in the warehouse's SQL.
        materialized: Whether it keeps its rows.
    """

    name: TableName
    definition_query: str
    materialized: bool = False

    @property
    def drop(self) -> str:
        """The statement that drops it."""
        kind = "MATERIALIZED VIEW" if self.materialized else "VIEW"
        return f"DROP {kind} {table_sql(self.name)};"


@dataclass(frozen=True)
class LengthHold:
    """What keeps a text column from being made longer in place.

    Attributes:
        what: What it is, after the column's name.
        statement: What takes it off; empty where no statement does.
    """

    what: str
    statement: str = ""


@dataclass(frozen=True)
class HeldColumns:
    """What keeps columns of a table from another type.

    Attributes:
        columns: The columns, each with what it is a part of.
        declared: What follows the columns in a CREATE TABLE of the same keys.
        lengths: Columns that cannot be made longer in place, each with all that keeps it from it.
        freed_by: The statements, without an end, that free a column, where there are such.
        copied_whole: Whether a table that is so declared has all that the table has.
        views: All views that are bound to the table, in the order to drop them.
        shown_by: What shows the definitions of all that the statements of `freed_by` take away, and
            of what a copy leaves behind.
        dropped_first: The statements, without an end, before which the warehouse drops and renames
            no column of the table, and not the table.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    declared: str = ""
    lengths: Mapping[str, Sequence[LengthHold]] = field(default_factory=dict)
    freed_by: Mapping[str, Sequence[str]] = field(default_factory=dict)
    copied_whole: bool = True
    views: Sequence[View] = ()
    shown_by: str = ""
    dropped_first: Sequence[str] = ()


@dataclass(frozen=True)
class Retype:
    """A column of the target, as it is and as it has to become.

    Attributes:
        there: The column as the target has it.
        wanted: The same column with the type that holds what the source has, and what is there.
        source: The type in the source.
        grows: Whether no value changes by it; else `wanted` has the source's type.
    """

    there: Column
    wanted: Column
    source: DataType
    grows: bool = True


def grown(source: DataType, target: DataType) -> DataType | None:
    """The type that holds every value of both, unchanged; None if a person has to choose one.

    A day becomes the moment at which it begins, and a truth value 1 or 0, as the source itself
    makes of them when its column is altered so.
    """
    kinds = (source.kind, target.kind)
    if source.kind in _ORDER and target.kind in _ORDER:
        return DataType(max(kinds, key=_ORDER.index))
    if Kind.DECIMAL in kinds and all(kind in (*_ORDER, Kind.DECIMAL) for kind in kinds):
        scale = max(source.scale or 0, target.scale or 0)
        return DataType(Kind.DECIMAL, max(_whole(source), _whole(target)) + scale, scale)
    if kinds in {(Kind.FLOAT64, Kind.FLOAT32), (Kind.TIMESTAMP, Kind.DATE)}:
        return DataType(source.kind)
    if target.kind is Kind.BOOLEAN and source.kind in _ORDER:
        return source
    if source.kind is target.kind and source.kind in {Kind.TEXT, Kind.BINARY}:
        lengths = (source.max_bytes, target.max_bytes)
        known = [each for each in lengths if each is not None]
        return DataType(source.kind, max_bytes=max(known) if len(known) == len(lengths) else None)
    return source if fits(target, source) else None


def _whole(data_type: DataType) -> int:
    digits = (data_type.precision or 0) - (data_type.scale or 0)
    return WHOLE_DIGITS.get(data_type.kind, digits)


def change_type(
    table: TableName, change: Retype, native_type: NativeType, capabilities: Capabilities
) -> list[str]:
    """The statements, for one transaction, that give a column another type and keep its values.

    Where types cannot be altered in place, a new column is filled and swapped for the old one: it
    is then the table's last.
    """
    name, native = quoted(change.there.name), native_type(change.wanted.type)
    value = _converted(change, native, capabilities)
    if capabilities.alters_types:
        return [f"ALTER TABLE {table_sql(table)} ALTER COLUMN {name} TYPE {native} USING {value}"]
    new = Column(NEW_COLUMN, change.wanted.type)
    return [
        add_column(table, new, native_type),
        f"UPDATE {table_sql(table)} SET {quoted(NEW_COLUMN)} = {value}",  # noqa: S608
        *_swapped(table, name),
    ]


def _swapped(table: TableName, name: str) -> list[str]:
    """The statements that put the new column in the place of the old one, of this quoted name."""
    return [
        f"ALTER TABLE {table_sql(table)} DROP COLUMN {name}",
        f"ALTER TABLE {table_sql(table)} RENAME COLUMN {quoted(NEW_COLUMN)} TO {name}",
    ]


def make_anew(
    table: TableName, change: Retype, native_type: NativeType, capabilities: Capabilities
) -> list[str]:
    """The statements that give a column another type where every row is about to be replaced.

    To be run in the transaction that replaces them: the column's values are gone.
    """
    name, native = quoted(change.there.name), native_type(change.wanted.type)
    if capabilities.alters_types:
        return [
            f"ALTER TABLE {table_sql(table)} ALTER COLUMN {name} DROP DEFAULT",
            f"ALTER TABLE {table_sql(table)} ALTER COLUMN {name} TYPE {native} "
            f"USING CAST(NULL AS {native})",
        ]
    return [  # the old one last: a table's only column cannot be dropped
        add_column(table, Column(NEW_COLUMN, change.wanted.type), native_type),
        *_swapped(table, name),
    ]


def copy_anew(
    table: TableSchema,
    changes: Sequence[Retype],
    native_type: NativeType,
    capabilities: Capabilities,
    declared: str,
) -> list[str]:
    """The statements, for one transaction, that copy the table into one with the other types.

    Args:
        table: The table.
        changes: The columns that have to become others.
        native_type: How the engine declares a type.
        capabilities: What it can do.
        declared: What follows the columns in CREATE TABLE.
    """
    wanted = {change.there.name: change for change in changes}
    copy = TableName(table.name.schema, f"{table.name.name}_retyped")
    items, values = [], []
    for column in table.columns:
        change = wanted.get(column.name)
        native = native_type(change.wanted.type) if change else column.native
        items.append(f"{quoted(column.name)} {native}" + ("" if column.nullable else " NOT NULL"))
        values.append(_converted(change, native, capabilities) if change else quoted(column.name))
    if table.key:
        items.append(f"PRIMARY KEY ({column_list(table.key)})")
    names, mode = column_list(table.column_names), capabilities.lock_mode
    return [
        *([lock(table.name, mode)] if mode is not None else []),
        f"CREATE TABLE {table_sql(copy)} ({', '.join(items)}){declared}",
        f"INSERT INTO {table_sql(copy)} ({names}) SELECT {', '.join(values)} "  # noqa: S608
        f"FROM {table_sql(table.name)}",
        f"DROP TABLE {table_sql(table.name)}",
        f"ALTER TABLE {table_sql(copy)} RENAME TO {quoted(table.name.name)}",
    ]


def _converted(change: Retype, native: str, capabilities: Capabilities) -> str:
    """The old column's value as the new type has it."""
    name, old, new = quoted(change.there.name), change.there.type.kind, change.wanted.type.kind
    if old is Kind.BOOLEAN and new is not Kind.BOOLEAN:  # Redshift casts it to no text
        yes, no = ("'1'", "'0'") if new is Kind.TEXT else ("1", "0")
        return f"CASE WHEN {name} THEN {yes} WHEN NOT {name} THEN {no} END"
    if new is Kind.JSON and capabilities.parses_json:
        return f"{capabilities.parses_json}({name})"
    if old is Kind.JSON and capabilities.writes_json:  # which makes the text `null` of NULL
        return f"CASE WHEN {name} IS NOT NULL THEN {capabilities.writes_json}({name}) END"
    if {old, new} == {Kind.TIMESTAMP, Kind.TIMESTAMPTZ}:
        return f"{name} AT TIME ZONE '<the zone of its times>'"
    return f"CAST({name} AS {native})"
