"""What is looked for in all that a session's servers were told, by whichever tests, at its end.

Each process of a test run has servers of its own, so these are asked of each when it stops.
What one process has parsed, the others need not parse again.
"""

from __future__ import annotations

import hashlib
import random
import re
import sqlite3
from contextlib import closing

from deployments.local.redshift_double import RedshiftDouble
from deployments.local.redshift_double.sql import rules
from deployments.local.redshift_double.sql.grammar import violations
from deployments.local.redshift_double.sql.tokens import split
from deployments.local.servers import PrefectServer
from tests.harness.shared import Noted

PLANTED = "p1anted"
"""Stands in every secret of the servers, and in every row value that must not be told."""

BROKEN_ON_PURPOSE = "s3cret-row-value"
"""Stands in the statements that the warehouses' tests break, to see what is said of it."""

_MADE_UP = re.compile(r"\b(t|test|stg_\d{8})_[0-9a-f]{10,12}(_[0-9a-f]{6})?(?=\b|_)")
_LITERAL = re.compile(r"'(?:[^']|'')*'|\b\d+\b")
_QUOTED = re.compile(r'"(?:[^"]|"")*"(?:\."(?:[^"]|"")*")?')
_REPEATED = re.compile(r"(?P<term>[^\s,()][^,()]*|\([^()]*\))(?:, (?P=term))+")


def tables_with_secrets(server: PrefectServer) -> tuple[set[str], set[str]]:
    """The tables of the Prefect server that hold rows, and those of them that hold a secret."""
    filled, leaking = set(), set()
    with closing(sqlite3.connect(f"file:{server.home}/prefect.db?mode=ro", uri=True)) as db:
        db.text_factory = lambda raw: raw.decode(errors="replace")
        names = [
            name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type='table'")
        ]
        for name in names:
            for row in db.execute(f'SELECT * FROM "{name}"'):
                filled.add(name)
                if PLANTED in str(row):
                    leaking.add(name)
    if PLANTED in server.process.log_path.read_text(errors="replace"):
        leaking.add("the server's log")
    return filled, leaking


def statements_with_secrets(double: RedshiftDouble) -> list[str]:
    """The beginnings of the statements to the double that hold a secret or a row's value."""
    return [each.sql[:200] for each in double.statements() if PLANTED in each.sql]


def distinct_statements(double: RedshiftDouble, database: str) -> list[str]:
    """What Ferry sent to a database of the double, each but once.

    The double's own tests, and what they let other programs send, are in a database of their own,
    so what is in ``warehouse`` came through Ferry's block.
    """
    sent = [
        statement
        for statement in double.statements()
        if statement.database == database
        and not (statement.outcome == "error 42601" and BROKEN_ON_PURPOSE in statement.sql)
    ]
    return list({_shape(statement.sql): statement.sql for statement in sent}.values())


def not_redshift(double: RedshiftDouble, database: str, parsed: Noted) -> dict[str, list[str]]:
    """The statements that do not parse as Redshift's, with what is wrong about each.

    Args:
        double: Where they were sent to.
        database: The one of its databases that is looked at.
        parsed: The shapes that some process of this test run has parsed without a complaint, each
            in a tenth of a second. Every process begins somewhere else, so that those that end at
            the same time share the work.
    """
    sent = distinct_statements(double, database)
    found = {}
    for sql in random.SystemRandom().sample(sent, len(sent)):
        shape = hashlib.sha256(_grammar(sql).encode()).hexdigest()
        known = shape in parsed
        if wrong := _broken_rules(sql) if known else violations(sql):
            found[sql] = wrong
        elif not known:
            parsed.add(shape)
    return found


def _broken_rules(sql: str) -> list[str]:
    """What the grammar does not know, and what depends on the values as well."""
    return [
        f"{rule.name}: {rule.message}" for each in split(sql) for rule in rules.broken(each.shape)
    ]


def _grammar(sql: str) -> str:
    """The shape with names in quotes alike, and lists of terms that are alike cut to two of them.

    Neither which name nor how many terms can make a difference to whether it parses.
    """
    return _REPEATED.sub(r"\g<term>, \g<term>", _QUOTED.sub("named", _shape(sql)))


def _shape(sql: str) -> str:
    """The statement without the names and values that differ from run to run."""
    return _LITERAL.sub("1", _MADE_UP.sub("name", sql))
