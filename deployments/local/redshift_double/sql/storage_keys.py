"""Distribution and sort keys: told by SVV_REDSHIFT_COLUMNS, and not to be dropped."""

from __future__ import annotations

from deployments.local.redshift_double.session import Session, literal
from deployments.local.redshift_double.sql.keys import table_name
from deployments.local.redshift_double.sql.tokens import Statement

_NOTE = """
INSERT INTO redshift_double.storage_keys
SELECT {table}::regclass, {column}, {distkey}, {sortkey}
WHERE to_regclass({table}) IS NOT NULL AND NOT EXISTS (
    SELECT FROM redshift_double.storage_keys
    WHERE relation = {table}::regclass AND "column" = {column})"""


async def note(session: Session, statement: Statement) -> None:
    """Keep the keys that a CREATE TABLE has named, once it has run."""
    first = [statement.word(i) for i in range(4)].index("TABLE") + 1
    first += 3 if statement.word(first) == "IF" else 0
    dist, sort = _keys(statement, statement.qualified_name(first))
    for column in dict.fromkeys([*dist, *sort]):
        values = {
            "table": literal(table_name(statement, first)),
            "column": literal(column),
            "distkey": column in dist,
            "sortkey": sort.index(column) + 1 if column in sort else 0,
        }
        await session.run(_NOTE.format(**values))


def _keys(statement: Statement, opening: int) -> tuple[list[str], list[str]]:
    """The columns of the distribution and of the sort key, also where a column names itself."""
    found: dict[str, list[str]] = {"DISTKEY": [], "SORTKEY": []}
    last = opening
    if statement.word(opening) == "(":
        last = statement.closing(opening) + 1
        for start, end in statement.items(opening):
            for index in range(start, end):
                if statement.word(index) in found:
                    found[statement.word(index)].append(statement.tokens[start].name)
    for index in range(last, len(statement.tokens)):
        if statement.word(index) in found and statement.word(index + 1) == "(":
            between = range(index + 2, statement.closing(index + 1))
            names = [statement.tokens[i].name for i in between if statement.word(i) != ","]
            found[statement.word(index)] += names
    return found["DISTKEY"], found["SORTKEY"]


async def check_drop(session: Session, statement: Statement) -> None:
    """Refuse an ALTER TABLE that drops a column of a key, or the only one.

    Raises:
        Refusal: It does.
    """
    index = statement.qualified_name(2)
    if statement.word(index) != "DROP" or statement.word(index + 1) == "CONSTRAINT":
        return
    column = statement.tokens[index + 1 + (statement.word(index + 1) == "COLUMN")].name
    table = literal(table_name(statement, 2))
    check = f"SELECT redshift_double.require_no_key({table}, {literal(column)})"
    (await session.run(check)).require()
