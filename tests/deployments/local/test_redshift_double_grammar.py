"""The grammar lets Redshift's statements pass and finds fault with others."""

from __future__ import annotations

import pytest

from deployments.local.redshift_double.sql.grammar import violations

MERGE = (
    "MERGE INTO t USING s ON t.id = s.id WHEN MATCHED THEN UPDATE SET a = s.a "
    "WHEN NOT MATCHED THEN INSERT (id, a) VALUES (s.id, s.a)"
)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT a, count(*) FROM t WHERE b >= '2026-02-05' GROUP BY a",
        "BEGIN",
        "COMMIT",
        "ROLLBACK;",
        "LOCK TABLE analytics.orders",
        "SELECT pg_last_copy_count()",
        "CREATE TABLE IF NOT EXISTS a.t (id BIGINT NOT NULL, n VARCHAR(40)) DISTKEY (id)",
        "CREATE TEMP TABLE s (LIKE a.t)",
        "DROP TABLE IF EXISTS a.t",
        "DELETE FROM a.t USING s WHERE a.t.id = s.id",
        "INSERT INTO a.t (id, n) SELECT id, n FROM s",
        "INSERT INTO a.t (id, n) VALUES " + ", ".join(f"({i}, 'x')" for i in range(50)),
        "TRUNCATE TABLE a.t",
        "ALTER TABLE a.t ADD COLUMN b INT",
        "ALTER TABLE a.t APPEND FROM a.s",
        MERGE,
        "SELECT 'LATERAL FILTER (WHERE' -- DISTINCT ON (\n",
        "COPY t (a, b) FROM 's3://b/k' IAM_ROLE 'arn:aws:iam::123456789012:role/r' MANIFEST "
        "FORMAT AS PARQUET",
        "COPY t (a, b) FROM 's3://b/k' IAM_ROLE 'arn:aws:iam::123456789012:role/r' MANIFEST CSV "
        "ZSTD NULL AS '@' TIMEFORMAT 'auto' DATEFORMAT 'auto' COMPUPDATE OFF STATUPDATE OFF",
    ],
)
def test_valid(sql):
    assert violations(sql) == []


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT FROM WHERE",
        "SELEC 1",
        "SELECT 'abc",
        "SELECT 1; SELECT 2",
        "CREATE INDEX i ON t (a)",
        "SELECT DISTINCT ON (a) a FROM t",
        "INSERT INTO t VALUES (1) ON CONFLICT DO NOTHING",
        "INSERT INTO t VALUES (1) RETURNING id",
        "COPY t FROM STDIN",
        "COPY t FROM 's3://b/k' IAM_ROLE 'r' FROBNICATE",
        "SELECT count(*) FILTER (WHERE a > 1) FROM t",
        "SELECT * FROM t, LATERAL (SELECT 1) x",
        "SELECT a IS NOT DISTINCT FROM b FROM t",
        "SELECT string_agg(a, ',') FROM t",
        "SELECT * FROM generate_series(1, 2)",
        "SAVEPOINT x",
        "TRUNCATE a, b",
        "ALTER TABLE t ADD COLUMN a INT, ADD COLUMN b INT",
        "DELETE FROM t AS x USING s WHERE x.id = s.id",
        MERGE.replace("INTO t", "INTO t AS x"),
        MERGE.replace("USING s", "USING (SELECT 1) s"),
        MERGE.replace("WHEN MATCHED", "WHEN MATCHED AND 1 = 1"),
        MERGE[: MERGE.index("WHEN NOT")],
    ],
)
def test_invalid(sql):
    assert violations(sql)


def test_literals_do_not_make_a_statement_new():
    from deployments.local.redshift_double.sql import grammar

    violations("SELECT a FROM t WHERE b = 'one' AND c = 1")
    before = grammar._unparsable_once.cache_info().misses
    violations("SELECT a FROM t WHERE b = 'two' AND c = 2")
    assert grammar._unparsable_once.cache_info().misses == before
