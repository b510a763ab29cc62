"""What the double can be told to do wrong, what it logs, and how clients may connect."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time

import asyncpg
import psycopg2
import pytest

from deployments.local.redshift_double import Fault, RedshiftDouble

COPY = "COPY {} FROM '{}' IAM_ROLE 'r' MANIFEST CSV"


def rows(cursor, sql):
    cursor.execute(sql)
    return cursor.fetchall()


def eventually(check, seconds=5.0):
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture
def table(redshift):
    """A table that other sessions can name."""
    redshift.execute("CREATE TABLE t (id int)")
    name = rows(redshift, "SELECT current_schema()")[0][0] + ".t"
    return redshift, name


def test_serialization_conflict_is_error_1023_with_sqlstate_xx000(double, table):
    cursor, name = table
    double.inject(Fault("serialization", pattern="insert into", nth=2, times=2))
    cursor.execute(f"INSERT INTO {name} VALUES (1)")
    for _ in range(2):
        with pytest.raises(psycopg2.InternalError, match="1023") as caught:
            cursor.execute(f"INSERT INTO {name} VALUES (2)")
        assert caught.value.pgcode == "XX000"
        assert "Serializable isolation violation" in str(caught.value)
    cursor.execute(f"INSERT INTO {name} VALUES (3)")
    assert rows(cursor, f"SELECT id FROM {name} ORDER BY id") == [(1,), (3,)]


def test_an_injected_error_fails_the_transaction(double, table):
    cursor, name = table
    double.inject(Fault("serialization"))
    cursor.execute("BEGIN")
    cursor.execute(f"INSERT INTO {name} VALUES (1)")
    with pytest.raises(psycopg2.InternalError):
        cursor.execute("COMMIT")
    cursor.execute("ROLLBACK")
    assert rows(cursor, f"SELECT count(*) FROM {name}") == [(0,)]


def test_ddl_can_conflict_with_a_concurrent_transaction(double, table):
    cursor, name = table
    double.inject(Fault("ddl_conflict", pattern="drop table"))
    with pytest.raises(psycopg2.InternalError, match="conflict with concurrent transaction"):
        cursor.execute(f"DROP TABLE {name}")
    cursor.execute(f"DROP TABLE {name}")


@pytest.mark.parametrize(("kind", "landed"), [("cut_after", 1), ("cut_before", 0)])
def test_a_connection_cut_at_commit_leaves_the_outcome_unknown(
    double, table, connect, kind, landed
):
    cursor, name = table
    other = connect(autocommit=False)
    other.cursor().execute(f"INSERT INTO {name} VALUES (1)")
    double.inject(Fault(kind))
    with pytest.raises(psycopg2.OperationalError):
        other.commit()
    eventually(lambda: rows(cursor, f"SELECT count(*) FROM {name}") == [(landed,)])
    assert double.statements()[-1].sql.startswith("SELECT")
    assert "cut" in [s.outcome for s in double.statements() if s.sql == "COMMIT"]


def test_a_stall_is_within_the_reach_of_statement_timeout(double, table):
    cursor, name = table
    double.inject(Fault("stall", pattern="insert into", seconds=0.3, times=2))
    started = time.monotonic()
    cursor.execute(f"INSERT INTO {name} VALUES (1)")
    assert time.monotonic() - started >= 0.3
    cursor.execute("SET statement_timeout TO 100")
    with pytest.raises(psycopg2.errors.QueryCanceled):
        cursor.execute(f"INSERT INTO {name} VALUES (2)")


def test_cancel_requests_reach_the_backend(double, table):
    cursor, _ = table
    double.inject(Fault("stall", pattern="select 'slow'", seconds=20))
    timer = threading.Timer(0.3, cursor.connection.cancel)
    timer.start()
    with pytest.raises(psycopg2.errors.QueryCanceled):
        cursor.execute("SELECT 'slow'")
    timer.join()


CLIENT = """
import sys, psycopg2, threading, os, time
c = psycopg2.connect(host="127.0.0.1", port=int(sys.argv[1]))
c.autocommit = True
k = c.cursor()
if sys.argv[2] == "inside":
    k.execute("BEGIN")
threading.Timer(0.4, lambda: os._exit(9)).start()
k.execute(sys.argv[3])
"""


@pytest.mark.parametrize(("where", "loaded"), [("autocommit", 2), ("inside", 0)])
def test_an_autocommit_copy_goes_on_when_its_client_dies(
    double, table, stage, login, where, loaded
):
    cursor, name = table
    double.inject(Fault("stall", pattern="^copy", seconds=1))
    copy = COPY.format(name, stage(b"1\n2\n"))
    client = [sys.executable, "-c", CLIENT, str(double.port), where, copy]
    env = os.environ | {
        "PGUSER": login["user"], "PGPASSWORD": login["password"], "PGDATABASE": login["dbname"],
    }  # fmt: skip
    assert subprocess.run(client, env=env, check=False).returncode == 9
    assert rows(cursor, f"SELECT count(*) FROM {name}") == [(0,)]
    eventually(lambda: any(s.sql == copy and s.outcome == "ok" for s in double.statements()))
    eventually(lambda: rows(cursor, f"SELECT count(*) FROM {name}") == [(loaded,)])


def test_faults_can_be_taken_back_and_broken_ones_are_refused(double, redshift):
    double.inject(Fault("serialization", pattern="select 42"))
    double.clear()
    assert rows(redshift, "SELECT 42") == [(42,)]
    with pytest.raises(ValueError, match="unterminated"):
        double.inject(Fault("stall", pattern="("))


def test_every_statement_is_logged_without_secrets(double, redshift):
    redshift.execute("SELECT 'here' AS a; SELECT 2")
    with pytest.raises(psycopg2.Error):
        redshift.execute("COPY x FROM 's3://b/k' CREDENTIALS 'aws_secret_access_key=hush' CSV")
    redshift.execute("CREATE USER someone PASSWORD 'Hush123'")
    redshift.execute("DROP USER someone")
    logged = double.statements()[-5:]
    assert [(s.sql, s.outcome) for s in logged[:2]] == [
        ("SELECT 'here' AS a", "ok"), ("SELECT 2", "ok"),
    ]  # fmt: skip
    assert logged[2].outcome == "error 42601"
    assert {s.database for s in logged} == {"double"}
    text = double.log_path.read_text()
    assert "hush" not in text.lower()
    assert 'secret"' not in text


def test_a_wrong_password_is_refused_by_the_backend(connect):
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        connect(password="wrong")


def test_the_extended_protocol_goes_by_the_same_rules(double, login):
    async def session():
        connection = await asyncpg.connect(
            host=double.host, port=double.port, user=login["user"], password=login["password"],
            database=login["dbname"], ssl=False,
        )  # fmt: skip
        try:
            assert await connection.fetchval("SELECT nvl($1::int, 2) + 1", 4) == 5
            with pytest.raises(asyncpg.PostgresSyntaxError):
                await connection.fetch("INSERT INTO x VALUES ($1) RETURNING id", 1)
            async with connection.transaction():
                with pytest.raises(asyncpg.FeatureNotSupportedError):
                    await connection.fetch("SELECT DISTINCT ON (a) $1::int AS a", 1)
                with pytest.raises(asyncpg.InFailedSQLTransactionError):
                    await connection.fetch("SELECT $1::int", 1)
                raise KeyError
        except KeyError:
            assert await connection.fetchval("SELECT $1::int", 1) == 1
        finally:
            await connection.close()

    asyncio.run(session())


def test_tls_is_offered_with_a_certificate(connect, certificates):
    connection = connect(
        host="localhost", sslmode="verify-full", sslrootcert=str(certificates.ca_path)
    )
    assert rows(connection.cursor(), "SELECT repeat('x', 100000)")[0][0] == "x" * 100000
    assert connection.info.ssl_in_use


def test_it_stops_on_a_signal_with_sessions_open(tmp_path, postgres, s3, login):
    double = RedshiftDouble.start(tmp_path, postgres.host, postgres.port, s3.endpoint)
    connection = psycopg2.connect(host=double.host, port=double.port, **login)
    started = time.monotonic()
    double.stop()
    assert double.process.returncode == 0
    assert time.monotonic() - started < 30
    connection.close()


def test_a_start_that_fails_says_why(tmp_path, double, postgres, s3):
    with pytest.raises(RuntimeError, match="address already in use"):
        RedshiftDouble.start(tmp_path, postgres.host, postgres.port, s3.endpoint, port=double.port)
