"""CREATE TABLE and ALTER TABLE: Redshift's text in, PostgreSQL's text out.

What only steers Redshift's storage (DISTKEY, SORTKEY, ENCODE, BACKUP) is accepted and dropped.
Keys are accepted and not enforced; a primary key still makes its columns NOT NULL. Each is kept as
a CHECK that holds for every row: the catalog tells its name and columns, and it can be dropped.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from deployments.local.redshift_double.errors import Refusal, syntax_error, unsupported
from deployments.local.redshift_double.session import literal
from deployments.local.redshift_double.sql.column_types import read_type, rewrite_type
from deployments.local.redshift_double.sql.keys import quoted
from deployments.local.redshift_double.sql.tokens import Edits, Statement

MAX_COLUMNS = 1600
_KEYS = {"PRIMARY", "PRIMARY KEY", "UNIQUE", "FOREIGN", "FOREIGN KEY", "CONSTRAINT", "CHECK"}
_TAIL = re.compile(
    r"(BACKUP (YES|NO)|DISTSTYLE (KEY|ALL|EVEN|AUTO)|DISTKEY \( [^()]* \)|ENCODE AUTO"
    r"|((COMPOUND|INTERLEAVED) )?SORTKEY (\( [^()]* \)|AUTO))( |$)"
)
_ALTER_STORAGE = re.compile(
    r"^ALTER TABLE (?:[^ ]+)(?: \. [^ ]+)* "
    r"(ALTER (DISTKEY|DISTSTYLE|(COMPOUND )?SORTKEY|ENCODE)\b"
    r"|ALTER (COLUMN )?[^ ]+ ENCODE\b)"
)


def rewrite_create_table(statement: Statement, edits: Edits) -> None:
    """Notes the changes that make a CREATE TABLE one of PostgreSQL.

    Raises:
        Refusal: A type, constraint or attribute that Redshift does not take.
    """
    index = statement.qualified_name(_words_before_name(statement))
    table = statement.tokens[index - 1].name
    if statement.word(index) == "(":
        closing = statement.closing(index)
        if statement.word(index + 1) not in {"SELECT", "WITH"}:
            _rewrite_columns(statement, edits, index, table)
            index = closing + 1
    end = next(
        (i for i in range(index, len(statement.tokens)) if statement.word(i) == "AS"),
        len(statement.tokens),
    )
    tail = " ".join(token.text for token in statement.tokens[index:end])
    rest = tail
    while rest and (match := _TAIL.match(rest)):
        rest = rest[match.end() :]
    if rest:
        raise syntax_error(rest.split(" ", 1)[0].lower())
    edits.replace(index, end, "")


def _words_before_name(statement: Statement) -> int:
    index = [statement.word(i) for i in range(4)].index("TABLE") + 1
    return index + 3 if statement.word(index) == "IF" else index


def _rewrite_columns(statement: Statement, edits: Edits, opening: int, table: str) -> None:
    items = statement.items(opening)
    if len(items) > MAX_COLUMNS:
        raise Refusal(f"tables can have at most {MAX_COLUMNS} columns", "54011")
    if all(last - first == 1 for first, last in items):  # CREATE TABLE t (a, b) AS SELECT
        return
    required: set[str] = set()
    columns: list[tuple[str, int]] = []
    for first, last in items:
        word = statement.word(first)
        if word in _KEYS and statement.tokens[first].kind == "word":
            key = _table_constraint(statement, first, last)
            required |= set(key.columns) if key.kind == "p" else set()
            edits.replace(first, last, _kept_key(statement, first, key, table))
        elif word != "LIKE":
            type_end = rewrite_column(statement, edits, first, last, table)
            columns.append((statement.tokens[first].name, type_end))
    for name, type_end in columns:
        if name in required:
            edits.after(type_end - 1, " NOT NULL")


@dataclass(frozen=True)
class _Key:
    """A key: `p`, `u` or `f`, its columns, and the table that a foreign one points to."""

    kind: str
    columns: list[str]
    references: str = ""


def _table_constraint(statement: Statement, first: int, last: int) -> _Key:
    """Returns the key that a constraint of a table declares."""
    words = [statement.word(i) for i in range(first, last)]
    if "CHECK" in words:
        raise unsupported("CHECK constraint")
    begin = first + 2 if words[0] == "CONSTRAINT" else first
    kind = statement.word(begin)[:1].lower()
    opening = next(i for i in range(begin, last) if statement.word(i) == "(")
    columns = [statement.tokens[start].name for start, _ in statement.items(opening)]
    if kind != "f":
        return _Key(kind, columns)
    return _Key(kind, columns, _referenced(statement, first + words.index("REFERENCES")))


def _referenced(statement: Statement, references: int) -> str:
    """Returns the table after REFERENCES, quoted."""
    end = statement.qualified_name(references + 1)
    names = [t.name for t in statement.tokens[references + 1 : end] if t.word != "."]
    return ".".join(quoted(name) for name in names)


def _kept_key(statement: Statement, first: int, key: _Key, table: str) -> str:
    """Returns the CHECK, of the constraint's own name or of the one that Redshift would give it."""
    of_kind = {"p": "pkey", "u": f"{key.columns[0]}_key", "f": f"{key.columns[0]}_fkey"}
    end = of_kind[key.kind][-40:]
    named = statement.word(first) == "CONSTRAINT"
    name = statement.tokens[first + 1].name if named else f"{table[: 62 - len(end)]}_{end}"
    terms = " AND ".join(f"{quoted(column)} IS NOT NULL" for column in key.columns)
    kept = "true" if key.kind == "p" else f"'' <> {literal(f'{key.kind}:{key.references}')}"
    return f"CONSTRAINT {quoted(name)} CHECK (({terms}) OR {kept})"


def rewrite_column(statement: Statement, edits: Edits, first: int, last: int, table: str) -> int:
    """Notes the changes of one column definition; returns the index after its type.

    Raises:
        Refusal: Redshift does not take the type or an attribute.
    """
    column = statement.tokens[first].name
    if last - first < 2:
        raise syntax_error(")")
    if column == "oid":  # the others are PostgreSQL's as well
        raise Refusal('column name "oid" conflicts with a system column name', "42701")
    index = end = rewrite_type(statement, edits, column, first + 1)
    while index < last:
        word = statement.word(index)
        after = index + 1
        if word in {"DISTKEY", "SORTKEY"}:
            edits.replace(index, after, "")
        elif word in {"ENCODE", "COLLATE"}:
            after = index + 2
            edits.replace(index, after, "")
        elif word in {"PRIMARY", "PRIMARY KEY", "UNIQUE", "REFERENCES"}:
            after = index + (2 if word == "PRIMARY" else 1)
            key = _Key(word[0].lower(), [column])
            if word == "REFERENCES":
                key = _Key("f", [column], _referenced(statement, index))
                after = statement.qualified_name(index + 1)
                after = statement.closing(after) + 1 if statement.word(after) == "(" else after
            begins = index - 2 if statement.word(index - 2) == "CONSTRAINT" else index
            kept = _kept_key(statement, begins, key, table)
            edits.replace(begins, after, f"NOT NULL {kept}" if key.kind == "p" else kept)
        elif word in {"IDENTITY", "GENERATED"}:
            after = _identity(statement, edits, index)
        elif word == "CHECK":
            raise unsupported("CHECK constraint")
        index = after
    return end


def _identity(statement: Statement, edits: Edits, index: int) -> int:
    first, kind = index, "ALWAYS"
    if statement.word(index) == "GENERATED":
        kind = "BY DEFAULT"
        while statement.word(index) != "IDENTITY":
            index += 1
            if index >= len(statement.tokens):
                raise syntax_error("generated")
    numbers = [t.text for t in statement.tokens[index + 2 : statement.closing(index + 1)]]
    seed, _, step = numbers if len(numbers) == 3 else ("1", ",", "1")
    after = statement.closing(index + 1) + 1
    edits.replace(
        first, after, f"GENERATED {kind} AS IDENTITY (START WITH {seed} INCREMENT BY {step})"
    )
    return after


def is_storage_only(statement: Statement) -> bool:
    """Tells whether an ALTER TABLE changes nothing that PostgreSQL would know of."""
    return bool(_ALTER_STORAGE.match(statement.shape))


def rewrite_alter_table(statement: Statement, edits: Edits, *, in_transaction: bool) -> None:
    """Notes the changes that make an ALTER TABLE one of PostgreSQL.

    Raises:
        Refusal: A type change within a transaction, or to a type other than VARCHAR.
    """
    words = [statement.word(i) for i in range(len(statement.tokens))]
    table = statement.tokens[statement.qualified_name(2) - 1].name
    if "ADD" in words:
        first = words.index("ADD") + 1
        if words[first] in _KEYS:
            key = _table_constraint(statement, first, len(words))
            edits.replace(first, len(words), _kept_key(statement, first, key, table))
            return
        first += words[first] == "COLUMN"
        rewrite_column(statement, edits, first, len(words), table)
    elif "TYPE" in words and "ALTER" in words[1:]:
        if in_transaction:
            raise Refusal("ALTER TABLE ALTER COLUMN cannot run inside a transaction block", "25001")
        first = words.index("TYPE") + 1
        if read_type(statement, first)[0] not in {"VARCHAR", "CHARACTER VARYING", "NVARCHAR"}:
            raise unsupported("ALTER COLUMN TYPE to a type other than VARCHAR")
        rewrite_type(statement, edits, statement.tokens[first - 2].name, first)
