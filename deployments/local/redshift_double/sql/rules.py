"""What Redshift refuses: one line for each rule, over the statement's shape.

Sources: the Amazon Redshift Developer Guide, "Unsupported PostgreSQL features", and the pages of
the single commands. docs/redshift-double.md maps every line to its test.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from deployments.local.redshift_double.errors import Refusal
from deployments.local.redshift_double.sql.tokens import Statement

STATEMENT_BYTES = 16 * 1024 * 1024
"""The longest statement Redshift takes."""

IDENTIFIER_BYTES = 127
"""Longer names are cut by Redshift."""

BACKEND_IDENTIFIER_BYTES = 63
"""Longer names are cut by PostgreSQL; the double refuses what lies between the two."""


@dataclass(frozen=True)
class Rule:
    """A shape that Redshift refuses.

    Attributes:
        name: What it is called in tests and in the grammar's findings.
        pattern: Regular expression, searched in the shape.
        message: The answer.
        sqlstate: 42601 for what its parser does not know, 0A000 for what it knows and lacks.
    """

    name: str
    pattern: str
    message: str
    sqlstate: str = "0A000"


_TABLE = r"(?:\"i\"|\w+)(?: \. (?:\"i\"|\w+))*"

RULES = (
    Rule("create index", r"^CREATE (UNIQUE )?INDEX\b", "SQL command CREATE INDEX not supported"),
    Rule("on conflict", r"\bON CONFLICT\b", 'syntax error at or near "on"', "42601"),
    Rule("returning", r"\bRETURNING\b", 'syntax error at or near "returning"', "42601"),
    Rule("distinct on", r"\bDISTINCT ON \(", "SELECT DISTINCT ON is not supported"),
    Rule("filter", r"\) FILTER \( WHERE\b", 'syntax error at or near "("', "42601"),
    Rule("lateral", r"\bLATERAL\b", 'syntax error at or near "lateral"', "42601"),
    Rule(
        "is distinct from",
        r"\bIS (NOT )?DISTINCT FROM\b",
        'syntax error at or near "distinct"',
        "42601",
    ),
    Rule("string_agg", r"\bSTRING_AGG \(", "function string_agg does not exist", "42883"),
    Rule(
        "substr beside a table",
        r"\bSUBSTR \(.*\bFROM (?!PG_)",
        "SUBSTR() function is not supported (Hint: use SUBSTRING instead)",
    ),
    # https://docs.aws.amazon.com/redshift/latest/dg/c_SQL_functions_leader_node_only.html
    Rule(
        "leader node beside a table",
        r"^(?=.*\bFROM (?!PG_|INFORMATION_SCHEMA)).*"
        r"\b(CURRENT_SCHEMAS?|HAS_(DATABASE|SCHEMA|TABLE)_PRIVILEGE|FACTORIAL|NOW|AGE) \(",
        "Specified types or functions (one per INFO message) not supported on Redshift tables.",
    ),
    Rule(
        "generate_series",
        r"\bGENERATE_SERIES \(",
        "Specified types or functions (one per INFO message) not supported on Redshift tables.",
    ),
    Rule(
        "advisory locks",
        r"\bPG_(TRY_)?ADVISORY_\w+ \(",
        "function pg_advisory_lock does not exist",
        "42883",
    ),
    Rule(
        "savepoints",
        r"^(SAVEPOINT\b|RELEASE\b|ROLLBACK (WORK |TRANSACTION )?TO\b)",
        "SQL command SAVEPOINT not supported",
    ),
    Rule(
        "truncate several",
        rf"^TRUNCATE (TABLE )?{_TABLE} ,",
        'syntax error at or near ","',
        "42601",
    ),
    Rule("copy from stdin", r"^COPY .*\bFROM STDIN\b", "COPY FROM STDIN is not supported"),
    Rule("copy to", r"^COPY .*\bTO STDOUT\b", 'syntax error at or near "to"', "42601"),
    Rule(
        "create of other objects",
        r"^CREATE (TYPE|DOMAIN|SEQUENCE|EXTENSION|TRIGGER|RULE)\b",
        "CREATE of this object is not supported",
    ),
    Rule(
        "several add column",
        r"^ALTER TABLE .*\bADD\b.* , ADD\b",
        'syntax error at or near ","',
        "42601",
    ),
    Rule(
        "add column if not exists",
        r"^ALTER TABLE .*\bADD (COLUMN )?IF NOT EXISTS\b",
        'syntax error at or near "not"',
        "42601",
    ),
    Rule(
        "delete alias",
        rf"^DELETE FROM {_TABLE} (AS )?(?!USING\b|WHERE\b)(\"i\"|\w+)",  # noqa: S608
        "syntax error: DELETE takes no alias for its target",
        "42601",
    ),
    Rule("merge with", r"^WITH .*\) MERGE INTO\b", 'syntax error at or near "merge"', "42601"),
    Rule(
        "merge target alias",
        rf"^MERGE INTO {_TABLE} (?!USING\b)(AS )?(\"i\"|\w+) USING\b",
        "syntax error: MERGE takes no alias for its target",
        "42601",
    ),
    Rule("merge subquery", r"^MERGE INTO .*\bUSING \(", 'syntax error at or near "("', "42601"),
    Rule(
        "merge condition",
        r"^MERGE .*\bWHEN (NOT )?MATCHED AND\b",
        'syntax error at or near "and"',
        "42601",
    ),
    Rule("merge do nothing", r"^MERGE .*\bDO NOTHING\b", 'syntax error at or near "do"', "42601"),
    Rule(
        "merge both clauses",
        r"^MERGE (?!.*\bREMOVE DUPLICATES$)"
        r"(?!.*\bWHEN MATCHED THEN\b.*\bWHEN NOT MATCHED THEN\b)",
        "syntax error: MERGE needs WHEN MATCHED and WHEN NOT MATCHED, or REMOVE DUPLICATES",
        "42601",
    ),
)
"""Every statement is held against each of these."""

_COMPILED = [(rule, re.compile(rule.pattern)) for rule in RULES]


@lru_cache(maxsize=4096)
def broken(shape: str) -> tuple[Rule, ...]:
    """Returns the rules that a statement of this shape breaks; there are few shapes."""
    return tuple(rule for rule, pattern in _COMPILED if pattern.search(shape))


def check(statement: Statement) -> None:
    """Lets a statement pass, or refuses it as Redshift would.

    Raises:
        Refusal: A rule is broken, the statement is too long, or a name cannot be imitated.
    """
    if len(statement.text.encode()) > STATEMENT_BYTES:
        raise Refusal("Statement is too large. Maximum statement size is 16777216 bytes", "54000")
    for rule in broken(statement.shape):
        raise Refusal(rule.message, rule.sqlstate)
    for token in statement.tokens:
        is_name = token.kind in {"word", "quoted"}
        size = len(token.text.encode()) if is_name and len(token.text) > 15 else 0
        if size > BACKEND_IDENTIFIER_BYTES:
            raise Refusal(
                f"a name of {size} bytes cannot be imitated: Redshift cuts at {IDENTIFIER_BYTES}, "
                f"the PostgreSQL behind this double at {BACKEND_IDENTIFIER_BYTES}",
                "42622",
            )
