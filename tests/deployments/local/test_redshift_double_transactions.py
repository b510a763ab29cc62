"""Transactions through the double: what Redshift commits, refuses or does outside of them only."""

from __future__ import annotations

import psycopg2
import pytest


def rows(cursor, sql):
    cursor.execute(sql)
    return cursor.fetchall()


def test_truncate_commits_the_open_transaction(tables, connect):
    tables.execute("BEGIN")
    tables.execute("DELETE FROM s")
    tables.execute("TRUNCATE t")
    tables.execute("ROLLBACK")
    assert rows(tables, "SELECT count(*) FROM t UNION ALL SELECT count(*) FROM s") == [(0,), (0,)]


def test_append_moves_rows_outside_a_transaction_only(tables):
    tables.execute("BEGIN")
    with pytest.raises(psycopg2.errors.ActiveSqlTransaction):
        tables.execute("ALTER TABLE t APPEND FROM s")
    tables.execute("ROLLBACK")
    tables.execute("ALTER TABLE t APPEND FROM s")
    assert rows(tables, "SELECT count(*) FROM t UNION ALL SELECT count(*) FROM s") == [(4,), (0,)]


def test_append_wants_the_same_columns_unless_told(tables):
    tables.execute("CREATE TABLE wide (id int, extra int)")
    tables.execute("INSERT INTO wide VALUES (9, 9)")
    for sql in ("ALTER TABLE t APPEND FROM wide", "ALTER TABLE wide APPEND FROM t"):
        with pytest.raises(psycopg2.InternalError, match="column"):
            tables.execute(sql)
    tables.execute("CREATE TABLE narrow (id int)")
    tables.execute("INSERT INTO narrow VALUES (8)")
    tables.execute("ALTER TABLE t APPEND FROM narrow FILLTARGET")
    assert rows(tables, "SELECT count(*) FROM t") == [(3,)]


def test_lock_must_be_the_first_statement_of_its_transaction(tables):
    tables.execute("BEGIN")
    tables.execute("SELECT 1")
    with pytest.raises(psycopg2.NotSupportedError, match="first statement"):
        tables.execute("LOCK TABLE t")
    tables.execute("ROLLBACK")


def test_several_statements_in_one_message_are_one_transaction(tables):
    with pytest.raises(psycopg2.Error):
        tables.execute("DELETE FROM t; SELECT 1/0; SELECT 2")
    assert rows(tables, "SELECT count(*) FROM t") == [(2,)]
    tables.execute("DELETE FROM t; SELECT 5; SELECT 6")
    assert tables.fetchall() == [(6,)]


def test_a_refusal_fails_the_open_transaction(tables):
    tables.execute("BEGIN")
    with pytest.raises(psycopg2.Error):
        tables.execute("SAVEPOINT a")
    with pytest.raises(psycopg2.errors.InFailedSqlTransaction):
        tables.execute("SELECT 1")
    tables.execute("ROLLBACK")
