"""Names in a source's catalog: which columns are carried, and what is said of a missing one."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterable

from ferry.errors import SchemaError
from ferry.schema import TableName, named_columns


def carried(names: Collection[str], exclude: Collection[str], table: TableName) -> set[str]:
    """The columns less those that are excluded, upper and lower case being one.

    Of columns that only case tells apart, such as `Ä` and `ä` of SQLite, one that is spelled
    exactly is left out alone.

    Raises:
        SchemaError: An excluded column is not there, or none is left. No retry helps.
    """
    excluded = named_columns(exclude, names, table, "exclude")
    exact = {name.lower() for name in names if name in exclude}
    kept = {
        name
        for name in names
        if name not in exclude and (name.lower() not in excluded or name.lower() in exact)
    }
    if not kept:
        raise SchemaError("no column is left to carry", table=str(table))
    return kept


def no_such_table(
    table: TableName,
    place: str,
    names: Iterable[str],
    names_in: Callable[[str], Iterable[str]] = lambda _: (),
) -> SchemaError:
    """The error for a table that the catalog does not show, with names that come close.

    Args:
        table: The table that was asked for.
        place: The database, as its users know it.
        names: The tables and views that are there.
        names_in: Those of any database; of the connection's own for an empty name.
    """
    if dotted := _in_backticks(table, names_in):
        return SchemaError(
            f"there is no table {table.name!r} in {place}",
            table=str(table),
            expected=f"perhaps {dotted}, which is there",
            todo="A name with a dot in it stands in backticks, within quotes for YAML: "
            f'`source_table: "{dotted}"`.',
        )
    return SchemaError(
        f"there is no table {table.name!r} in {place}",
        table=str(table),
        expected=_close(table.name, names),
        todo="Check the spelling and the user's SELECT right on it.",
    )


def no_such_column(column: str, table: TableName, names: Iterable[str]) -> SchemaError:
    """The error for a column that the table does not have, with names that come close."""
    return SchemaError(
        f"there is no column {column!r}",
        table=str(table),
        expected=_close(column, names),
        todo="Check the spelling of `cursor`, `key` and `exclude` in the table's spec.",
    )


def _in_backticks(table: TableName, names_in: Callable[[str], Iterable[str]]) -> str | None:
    """How the table is to be written if there is one whose name has the dot in it."""
    whole = str(table)
    dots = [at for at, letter in enumerate(whole) if letter == "."] if table.schema else []
    asked = [("", whole), *((whole[:at], whole[at + 1 :]) for at in dots[:-1])] if dots else []
    for database, name in asked:
        for there in names_in(database):
            if there.lower() == name.lower():
                return f"`{database}`.`{there}`" if database else f"`{there}`"
    return None


def _close(name: str, names: Iterable[str]) -> str | None:
    by_lower_case = {candidate.lower(): candidate for candidate in names}
    close = difflib.get_close_matches(name.lower(), by_lower_case, n=3)
    return "perhaps " + " or ".join(repr(by_lower_case[c]) for c in close) if close else None
