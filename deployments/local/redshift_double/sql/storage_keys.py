"""Distribution and sort keys, and encodings: told by SVV_REDSHIFT_COLUMNS.

A column of a key is not to be dropped; one of some encodings, with a default or of a declared key
is not to be made longer.
"""

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

_ENCODE = """
INSERT INTO redshift_double.encodings
SELECT attrelid, attnum, {encoding} FROM pg_attribute
WHERE attrelid = to_regclass({table}) AND attname = {column}
ON CONFLICT (relation, attnum) DO UPDATE SET encoding = excluded.encoding"""


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
    await note_encodings(session, statement, first)


async def note_encodings(session: Session, statement: Statement, first: int = 2) -> None:
    """Keep the encodings that a CREATE or ALTER TABLE gives to columns, once it has run.

    Args:
        session: The client's.
        statement: The statement.
        first: Where the table's name begins in it.
    """
    table, column = literal(table_name(statement, first)), ""
    begin = statement.qualified_name(first)
    depth = -1 if statement.word(begin) == "(" else 0
    for index in range(begin, len(statement.tokens)):
        word, before = statement.word(index), statement.word(index - 1)
        if depth == 0 and before in {"(", ",", "ADD", "ALTER", "COLUMN"} and word != "COLUMN":
            column = statement.tokens[index].name
        depth += {"(": 1, ")": -1}.get(word, 0)
        if word == "ENCODE" and statement.word(index + 1) != "AUTO":
            encoding = literal(statement.tokens[index + 1].name)
            values = {"table": table, "column": literal(column), "encoding": encoding}
            await session.run(_ENCODE.format(**values))


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


async def check_longer(session: Session, statement: Statement) -> None:
    """Refuse an ALTER TABLE that makes a column longer which Redshift leaves as it is.

    Raises:
        Refusal: It does.
    """
    words = [statement.word(i) for i in range(len(statement.tokens))]
    index = statement.qualified_name(2)
    if words[index] != "ALTER" or "TYPE" not in words:
        return
    column = statement.tokens[words.index("TYPE") - 1].name
    table = literal(table_name(statement, 2))
    check = f"SELECT redshift_double.require_lengthened({table}, {literal(column)})"
    (await session.run(check)).require()
