"""Names of columns and tables in SQLite's SQL."""

from __future__ import annotations


def quoted(name: str) -> str:
    """The identifier in backticks, any in it doubled.

    Not in double quotes: SQLite takes a name in these for a text, if there is no such column, and
    each row of a column that was dropped since would have the column's name for its value.
    https://sqlite.org/quirks.html#double_quoted_string_literals_are_accepted
    """
    return "`" + name.replace("`", "``") + "`"
