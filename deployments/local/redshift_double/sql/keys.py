"""A plain index on a declared primary key, where Redshift needs none.

Redshift keeps the bounds of every column of each block (zone maps), so a range of keys is found
without reading the table; PostgreSQL would read all of it. The index stands in for that: it is not
unique, since Redshift does not enforce keys either. It is made at the second INSERT, because a
first load is faster without it, and only for tables that were made since the double started.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployments.local.redshift_double.sql.tokens import Statement

if TYPE_CHECKING:
    from deployments.local.redshift_double.session import Session

_HAS_ROWS = """
SELECT c.oid::regclass FROM pg_class c
WHERE c.oid = to_regclass({name}) AND pg_relation_size(c.oid) > 0
  AND pg_has_role(c.relowner, 'USAGE')"""


class DeclaredKeys:
    """The tables whose CREATE TABLE named a primary key, and that have no index yet."""

    def __init__(self) -> None:
        self._columns: dict[tuple[str, str], str] = {}

    def note(self, database: str, statement: Statement) -> None:
        """Remember the key of a CREATE TABLE, if it has one as a constraint of the table."""
        first = [statement.word(i) for i in range(4)].index("TABLE") + 1
        first += 3 if statement.word(first) == "IF" else 0
        opening = statement.qualified_name(first)
        if statement.word(opening) != "(":
            return
        for start, end in statement.items(opening):
            word = statement.word(start)
            if word in {"PRIMARY", "PRIMARY KEY"}:
                names = [t for t in statement.tokens[start:end] if t.kind in {"word", "quoted"}]
                columns = [quoted(t.name) for t in names if t.word not in {word, "KEY"}]
                self._columns[database, table_name(statement, first)] = ", ".join(columns)

    async def index(self, session: Session, statement: Statement) -> None:
        """Make the index if the statement inserts into a table that waits for it and has rows."""
        name = table_name(statement, 2)
        columns = self._columns.get((session.database, name))
        if columns is None or session.status == "E":
            return
        literal = "'" + name.replace("'", "''") + "'"
        found = await session.run(_HAS_ROWS.format(name=literal))
        if found.rows:
            del self._columns[session.database, name]
            await session.run(f"CREATE INDEX ON {found.rows[0][0]} ({columns})")


def table_name(statement: Statement, first: int) -> str:
    """The table's quoted name, which begins at a token of the statement."""
    end = statement.qualified_name(first)
    return ".".join(quoted(t.name) for t in statement.tokens[first:end] if t.word != ".")


def quoted(name: str) -> str:
    """The name in double quotes."""
    return '"' + name.replace('"', '""') + '"'
