"""One Redshift statement in, the statement that PostgreSQL is sent out."""

from __future__ import annotations

import re

from deployments.local.redshift_double.errors import unsupported
from deployments.local.redshift_double.sql.ddl import rewrite_alter_table, rewrite_create_table
from deployments.local.redshift_double.sql.tokens import Edits, Statement

_CREATE_TABLE = re.compile(r"^CREATE (LOCAL |GLOBAL )?(TEMP |TEMPORARY )?TABLE\b")
_LATE_BINDING = " WITH NO SCHEMA BINDING"
_VACUUM_WORDS = {"FULL", "DELETE", "ONLY", "SORT", "REINDEX", "RECLUSTER"}
_OWN_VIEWS = {("INFORMATION_SCHEMA", "columns"), ("PG_CATALOG", "pg_constraint")}
_DATE_FUNCTIONS = {"DATEADD", "DATEDIFF"}
_DATE_PARTS = {
    "Y": "year", "YR": "year", "YEARS": "year", "QTR": "quarter", "MON": "month", "MONS": "month",
    "MONTHS": "month", "W": "week", "WEEKS": "week", "D": "day", "DAYS": "day", "H": "hour",
    "HR": "hour", "HRS": "hour", "HOURS": "hour", "M": "minute", "MIN": "minute",
    "MINS": "minute", "MINUTES": "minute", "S": "second", "SEC": "second", "SECS": "second",
    "SECONDS": "second", "MS": "millisecond", "US": "microsecond",
}  # fmt: skip


def rewrite(statement: Statement, *, in_transaction: bool) -> str:
    """Returns the statement in PostgreSQL's words.

    Names in double quotes are folded to lower case, as Redshift folds them; literals stay.

    Args:
        statement: A statement that no rule refuses.
        in_transaction: Whether the session is inside BEGIN.

    Raises:
        Refusal: The statement is of a kind that Redshift does not take.
    """
    edits = Edits(statement)
    if _CREATE_TABLE.match(statement.shape):
        rewrite_create_table(statement, edits)
    elif statement.shape.startswith("ALTER TABLE"):
        rewrite_alter_table(statement, edits, in_transaction=in_transaction)
    elif statement.shape.startswith("VACUUM"):
        _rewrite_vacuum(statement, edits)
    elif statement.shape.endswith(_LATE_BINDING):
        count = len(statement.tokens)
        edits.replace(count - len(_LATE_BINDING.split()), count, "")
    for index, token in enumerate(statement.tokens):
        if token.kind == "quoted":
            if token.text != token.name:
                edits.replace(index, index + 1, '"' + token.name.replace('"', '""') + '"')
        elif token.kind == "word":
            _rewrite_word(statement, edits, index)
    return edits.apply()


def _rewrite_word(statement: Statement, edits: Edits, index: int) -> None:
    word, following = statement.word(index), statement.word(index + 1)
    before = statement.word(index - 1) if index else ""
    if following == "(":
        if word == "NVL":
            edits.replace(index, index + 1, "COALESCE")
        elif word == "SUM" and before != ".":
            edits.replace(index, index + 1, "redshift_double.sum")
        elif word in _DATE_FUNCTIONS:
            part = statement.tokens[index + 2]
            if part.kind == "word":
                spelled = _DATE_PARTS.get(part.text, part.text.lower())
                edits.replace(index + 2, index + 3, f"'{spelled}'")
        elif word == "LISTAGG":
            _rewrite_listagg(statement, edits, index)
    elif word == "SYSDATE" and before != ".":
        edits.replace(index, index + 1, "sysdate()")
    elif following == "." and (word, statement.tokens[index + 2].name) in _OWN_VIEWS:
        edits.replace(index, index + 1, "redshift_double")
    elif word in {"SUPER", "VARBYTE"} and (before == "::" or (before == "AS" and following == ")")):
        edits.replace(index, index + 1, "jsonb" if word == "SUPER" else "bytea")


def _rewrite_vacuum(statement: Statement, edits: Edits) -> None:
    """VACUUM DELETE ONLY t TO 99 PERCENT becomes VACUUM t."""
    first = 1
    while statement.word(first) in _VACUUM_WORDS:
        first += 1
    edits.replace(1, first, "")
    if first < len(statement.tokens):
        end = statement.qualified_name(first)
        edits.replace(end, len(statement.tokens), "")


def _rewrite_listagg(statement: Statement, edits: Edits, index: int) -> None:
    """LISTAGG(x, ',') WITHIN GROUP (ORDER BY y) becomes STRING_AGG(x::text, ',' ORDER BY y)."""
    arguments = statement.items(index + 1)
    closing = statement.closing(index + 1)
    first, last = arguments[0]
    if statement.word(first) == "DISTINCT":
        raise unsupported("LISTAGG DISTINCT, in this double,")
    edits.replace(index, index + 1, "STRING_AGG")
    edits.before(first, "(")
    edits.after(last - 1, ")::text" + ("" if len(arguments) > 1 else ", ''"))
    after = closing + 1
    while statement.word(after) in {"WITHIN", "GROUP", "WITHIN GROUP"}:
        after += 1
    if after > closing + 1 and statement.word(after) == "(":
        edits.replace(closing, after + 1, " ")
