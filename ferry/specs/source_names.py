"""Names of tables in a source, as a spec writes them."""

from __future__ import annotations

import re

from ferry.schema import TableName

_IN_BACKTICKS = re.compile(
    r"(?:(?:`(?P<quoted_database>[^`]+)`|(?P<database>[^`.]+))\.)?"
    r"(?:`(?P<quoted_table>[^`]+)`|(?P<table>[^`.]+))"
)


def parse_source_name(text: str) -> TableName:
    """The table that is meant: `table` or `database.table`, with dots of its own in backticks.

    Raises:
        ValueError: Marks that no such name has, or backticks that are not around a whole part.
    """
    if not text or any(mark in text for mark in "\"';\\\0\n"):
        raise ValueError("a source table's name has no quotes, semicolons, backslashes or newlines")
    if "`" not in text:
        database, _, table = text.rpartition(".")
        return TableName(database, table)
    match = _IN_BACKTICKS.fullmatch(text)
    if match is None:
        raise ValueError("backticks stand around a whole name: `app.users`, or `my.db`.`app.users`")
    database = match["quoted_database"] or match["database"] or ""
    return TableName(database, match["quoted_table"] or match["table"])


def written(table: TableName) -> str:
    """The name as a spec writes it, so that no two tables are written alike."""
    parts = [part for part in (table.schema, table.name) if part]
    return ".".join(f"`{part}`" if "." in part else part for part in parts)
