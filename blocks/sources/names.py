"""Names in a source's catalog: which columns are carried, and what is said of a missing one."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable

from ferry.errors import SchemaError
from ferry.schema import TableName, named_columns


def carried(names: Collection[str], exclude: Collection[str], table: TableName) -> set[str]:
    """The columns less those that are excluded, upper and lower case being one.

    Raises:
        SchemaError: An excluded column is not there, or none is left. A retry does not help.
    """
    excluded = named_columns(exclude, names, table, "exclude")
    kept = {name for name in names if name.lower() not in excluded}
    if not kept:
        raise SchemaError("no column is left to carry", table=str(table))
    return kept


def no_such_table(table: TableName, place: str, names: Iterable[str]) -> SchemaError:
    """The error for a table that the catalog does not show, with names that come close.

    Args:
        table: The table that was asked for.
        place: The database, as its users know it.
        names: The tables and views that are there.
    """
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


def _close(name: str, names: Iterable[str]) -> str | None:
    by_lower_case = {candidate.lower(): candidate for candidate in names}
    close = difflib.get_close_matches(name.lower(), by_lower_case, n=3)
    return "perhaps " + " or ".join(repr(by_lower_case[c]) for c in close) if close else None
