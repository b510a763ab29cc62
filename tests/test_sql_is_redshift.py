"""All the SQL that Ferry sent to the Redshift double in this session parses as Redshift's.

The double's own tests, and what they let other programs send, are in a database of their own, so
what is in ``warehouse`` came through Ferry's block.
"""

from __future__ import annotations

import re
from typing import Any

import pytest

from deployments.local.redshift_double import LoggedStatement, RedshiftDouble
from deployments.local.redshift_double.grammar import violations
from deployments.local.servers import Postgres
from flows.sync_table import sync_table

MADE_UP = re.compile(r"\b(t|test|stg_\d{8})_[0-9a-f]{10,12}(?=\b|_)")
BROKEN_ON_PURPOSE = "s3cret-row-value"
"""Stands in the statements that the warehouses' tests break, to see what is said of it."""

LITERAL = re.compile(r"'(?:[^']|'')*'|\b\d+\b")


def shape(statement: LoggedStatement) -> str:
    """The statement without the names and values that differ from run to run."""
    return LITERAL.sub("1", MADE_UP.sub("name", statement.sql))


@pytest.mark.parametrize("road", ["mysql-s3-redshift"], indirect=True)
def test_every_statement_that_ferry_sent_parses_as_redshift_s(
    journey: Any, redshift_double: RedshiftDouble, postgres: Postgres
) -> None:
    journey.sql("CREATE TABLE orders (id INT NOT NULL PRIMARY KEY, modified DATETIME)")
    journey.sql("INSERT INTO orders VALUES (?, ?)", [(1, "2023-01-05 10:00:00")])
    journey.write_specs(orders={"mode": "window", "key": ["id"], "insert_rows": 0})
    sync_table(table="orders", run_date="2023-01-05")

    sent = [
        statement
        for statement in redshift_double.statements()
        if statement.database == postgres.database
        and not (statement.outcome == "error 42601" and BROKEN_ON_PURPOSE in statement.sql)
    ]
    distinct = {shape(statement): statement.sql for statement in sent}

    first_words = {sql.split()[0] for sql in distinct}
    assert {"BEGIN", "COMMIT", "COPY", "CREATE", "DROP", "INSERT", "LOCK"} <= first_words
    assert {sql: found for sql in distinct.values() if (found := violations(sql))} == {}
