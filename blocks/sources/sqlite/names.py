"""Names of columns and tables in SQLite's SQL."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from typing import Any

_ROW_NUMBERS = ("rowid", "oid", "_rowid_")
_NAMES = re.compile(r"""(FROM (?:"main"\.)?)?(?:`((?:[^`]|``)+)`|"((?:[^"]|"")+)")""")
_DECLARED = """
SELECT 1 FROM sqlite_schema AS t JOIN pragma_table_xinfo(t.name) AS c
WHERE t.name = ? COLLATE NOCASE AND c.name = ? COLLATE NOCASE
"""


def quoted(name: str) -> str:
    """The identifier in backticks, any in it doubled.

    Not in double quotes: SQLite takes a name in these for a text, if there is no such column, and
    each row of a column that was dropped since would have the column's name for its value.
    https://sqlite.org/quirks.html#double_quoted_string_literals_are_accepted
    """
    return "`" + name.replace("`", "``") + "`"


def execute(connection: sqlite3.Connection, sql: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
    """Run a query whose columns are in backticks, if each of them is a column of its table.

    SQLite takes `rowid`, `oid` and `_rowid_`, in whatever quotes, for the number of the row where
    the table has no such column. https://sqlite.org/lang_createtable.html#rowid

    Raises:
        sqlite3.OperationalError: No such column.
    """
    names = [
        (bool(table), backticks.replace("``", "`") or quotes.replace('""', '"'))
        for table, backticks, quotes in _NAMES.findall(sql)
    ]
    for name in dict.fromkeys(name for is_table, name in names if not is_table):
        if name.lower() not in _ROW_NUMBERS:
            continue
        if not connection.in_transaction:  # so that it is not dropped meanwhile
            connection.execute("BEGIN")
            connection.execute("SELECT 1 FROM sqlite_schema").fetchone()
        for table in (each for is_table, each in names if is_table):
            if connection.execute(_DECLARED, (table, name)).fetchone() is None:
                raise sqlite3.OperationalError(f"no such column: {name}")
    return connection.execute(sql, values)
