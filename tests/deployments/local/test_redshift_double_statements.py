"""Statements through the double: each fact about Redshift, and the test that stands for it."""

from __future__ import annotations

import datetime
import json
from decimal import Decimal
from pathlib import Path

import psycopg2
import pytest

from deployments.local.redshift_double.sql.rules import RULES


def rows(cursor, sql):
    cursor.execute(sql)
    return cursor.fetchall()


MERGE = (
    "MERGE INTO t USING s ON t.id = s.id WHEN MATCHED THEN UPDATE SET name = s.name "
    "WHEN NOT MATCHED THEN INSERT (id, name) VALUES (s.id, s.name)"
)


@pytest.mark.parametrize(
    ("fact", "sql"),
    [
        ("no COPY FROM STDIN", "COPY t FROM STDIN"),
        ("no ON CONFLICT", "INSERT INTO t VALUES (1, 'a') ON CONFLICT DO NOTHING"),
        ("no RETURNING", "INSERT INTO t VALUES (1, 'a') RETURNING id"),
        ("no DISTINCT ON", "SELECT DISTINCT ON (id) id, name FROM t"),
        ("no FILTER", "SELECT count(*) FILTER (WHERE id > 1) FROM t"),
        ("no LATERAL", "SELECT * FROM t, LATERAL (SELECT 1) x"),
        ("no IS DISTINCT FROM", "SELECT * FROM t WHERE id IS DISTINCT FROM 1"),
        ("no IS NOT DISTINCT FROM", "SELECT * FROM t WHERE id IS NOT DISTINCT FROM 1"),
        ("no STRING_AGG", "SELECT string_agg(name, ',') FROM t"),
        ("no SUBSTR beside a table", "SELECT substr(name, 1, 2) FROM t"),
        ("no function of the leader node beside a table", "SELECT id FROM t WHERE now() > '2023'"),
        ("no function of the leader node beside a table",
         "SELECT 1 FROM svv_columns WHERE table_schema = current_schema()"),
        ("no generate_series", "SELECT * FROM generate_series(1, 3)"),
        ("no advisory locks", "SELECT pg_advisory_lock(1)"),
        ("no advisory locks", "SELECT pg_try_advisory_xact_lock(1)"),
        ("no savepoints", "SAVEPOINT a"),
        ("no savepoints", "ROLLBACK TO SAVEPOINT a"),
        ("no savepoints", "RELEASE SAVEPOINT a"),
        ("no CREATE INDEX", "CREATE INDEX i ON t (id)"),
        ("no CREATE INDEX", "CREATE UNIQUE INDEX i ON t (id)"),
        ("one table per TRUNCATE", "TRUNCATE TABLE t, s"),
        ("one ADD COLUMN per ALTER", "ALTER TABLE t ADD COLUMN a int, ADD COLUMN b int"),
        ("no ADD COLUMN IF NOT EXISTS", "ALTER TABLE t ADD COLUMN IF NOT EXISTS a int"),
        ("DELETE without alias", "DELETE FROM t AS x USING s WHERE x.id = s.id"),
        ("DELETE without alias", "DELETE FROM t x WHERE x.id = 1"),
        ("MERGE without WITH", "WITH q AS (SELECT 1) " + MERGE),
        ("MERGE without subquery", MERGE.replace("USING s", "USING (SELECT * FROM s) s")),
        ("MERGE without target alias", MERGE.replace("INTO t", "INTO t AS x")),
        ("MERGE without target alias", MERGE.replace("INTO t", "INTO t x")),
        ("MERGE without condition", MERGE.replace("WHEN MATCHED", "WHEN MATCHED AND s.id > 1")),
        ("MERGE with both clauses", MERGE[: MERGE.index("WHEN NOT")]),
        ("MERGE with both clauses",
         MERGE.replace(MERGE[MERGE.index("WHEN MATCHED"):MERGE.index("WHEN NOT")], "")),
        ("no BYTEA", "CREATE TABLE x (a bytea)"),
        ("no JSON", "CREATE TABLE x (a json)"),
        ("no JSONB", "CREATE TABLE x (a jsonb)"),
        ("no UUID", "CREATE TABLE x (a uuid)"),
        ("no ENUM", "CREATE TYPE e AS ENUM ('a')"),
        ("no arrays", "CREATE TABLE x (a int[])"),
        ("no SERIAL", "CREATE TABLE x (a serial)"),
        ("no JSON", "ALTER TABLE t ADD COLUMN a json"),
        ("no system columns", 'CREATE TABLE x (id int, "OID" int)'),
        ("no system columns", "ALTER TABLE t ADD COLUMN oid int"),
        ("no system columns", "CREATE TABLE x (xmin int)"),
        ("no CHECK", "CREATE TABLE x (a int CHECK (a > 1))"),
        ("VARCHAR to 65535", "CREATE TABLE x (a varchar(65536))"),
        ("DECIMAL to 38", "CREATE TABLE x (a decimal(39, 2))"),
        ("ALTER TYPE only of VARCHAR", "ALTER TABLE t ALTER COLUMN id TYPE bigint"),
        ("1,600 columns",
         "CREATE TABLE x (" + ", ".join(f"c{i} int" for i in range(1601)) + ")"),
        ("names between 64 and 127 bytes are not imitated", f"SELECT 1 AS {'a' * 64}"),
        ("unknown table attribute", "CREATE TABLE x (a int) WITH (fillfactor = 70)"),
        ("names always fold", "SET enable_case_sensitive_identifier TO true"),
        ("unterminated literal", "SELECT 'abc"),
    ],
)  # fmt: skip
def test_refuses(tables, fact, sql):
    with pytest.raises(psycopg2.Error) as caught:
        tables.execute(sql)
    assert caught.value.pgcode in {"42601", "0A000", "42883", "22023", "54011", "42622", "42701"}, (
        fact
    )
    assert rows(tables, "SELECT count(*) FROM t") == [(2,)]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 'ON CONFLICT; RETURNING' /* LATERAL */ -- DISTINCT ON (\n",
        "SELECT E'it\\'s', 'two''quotes', 'back\\\\slash'",
        "CREATE TABLE a (id bigint DISTKEY ENCODE az64, d date SORTKEY) DISTSTYLE KEY BACKUP NO",
        "CREATE TABLE a (id bigint) DISTKEY (id) COMPOUND SORTKEY (id, id)",
        "CREATE TABLE a (id bigint) DISTSTYLE AUTO SORTKEY AUTO ENCODE AUTO",
        "CREATE TABLE a DISTKEY (id) SORTKEY (id) AS SELECT id FROM t",
        "CREATE TABLE a (id int, CONSTRAINT k FOREIGN KEY (id) REFERENCES t (id))",
        "CREATE TEMP TABLE a (LIKE t)",
        "ALTER TABLE t ALTER DISTKEY id",
        "ALTER TABLE t ALTER SORTKEY (id)",
        "ALTER TABLE t ADD PRIMARY KEY (id)",
        "ALTER TABLE t ADD COLUMN more varchar(10) DEFAULT 'x' ENCODE lzo",
        "ALTER TABLE t RENAME COLUMN name TO title",
        "DELETE FROM t USING s WHERE t.id = s.id",
        "ANALYZE t",
        "VACUUM t",
        "VACUUM DELETE ONLY t TO 99 PERCENT",
        "SET query_group TO 'ferry'",
        "SET enable_result_cache_for_session TO off",
        "SET statement_timeout TO 60000",
        "CREATE VIEW v AS SELECT id FROM t WITH NO SCHEMA BINDING",
        "BEGIN; LOCK TABLE t; COMMIT",
        "BEGIN; LOCK t; DELETE FROM t; COMMIT",
        MERGE,
        "CREATE TABLE a (" + ", ".join(f"c{i} int" for i in range(1600)) + ")",
    ],
)
def test_accepts(tables, sql):
    tables.execute(sql)


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT round(2.345::float8, 2)", 2.35),
        ("SELECT round(2.5::numeric, 0)::int", 3),
        ("SELECT nvl(NULL, 7)", 7),
        ("SELECT dateadd(day, 1, '2026-02-28'::date)::date", datetime.date(2026, 3, 1)),
        ("SELECT dateadd(month, -1, '2026-03-31'::timestamp)::date", datetime.date(2026, 2, 28)),
        ("SELECT datediff(day, '2026-02-05', '2026-02-07')", 2),
        ("SELECT datediff(month, '2026-01-31', '2026-02-01')", 1),
        ("SELECT datediff('hour', '2026-01-31 01:59', '2026-01-31 02:00')", 1),
        ("SELECT listagg(id, ',') WITHIN GROUP (ORDER BY id DESC) FROM t", "2,1"),
        ("SELECT listagg(name) FROM t WHERE id = 1", "a"),
        ("SELECT getdate() > '2020-01-01'", True),
        ("SELECT SYSDATE > '2020-01-01'", True),
        ("SELECT trunc(SYSDATE) > '2020-01-01'", True),
        ("SELECT len('äb')", 2),
        ("SELECT strtol('ff', 16)", 255),
        ("SELECT json_parse('{\"a\": 1}')", {"a": 1}),
        ("SELECT convert_timezone('Europe/Rome', '2026-02-05 12:00'::timestamp)",
         datetime.datetime(2026, 2, 5, 13)),
        ("SELECT left(version(), 16)", "PostgreSQL 8.0.2"),
        ("SELECT version() LIKE '%Redshift 1.0.%'", True),
        ("SELECT STRTOL('0fffffffffffffff', 16)", (1 << 60) - 1),
        ("SELECT STRTOL('fffffffffffffff', 16)", (1 << 60) - 1),
        ("SELECT STRTOL('z', 36)", 35),
        ("SELECT TO_HEX(TO_VARBYTE('00ff', 'hex'))", "00ff"),
        ("SELECT JSON_TYPEOF(JSON_PARSE('null'))", "null"),
        ("SELECT CAST(JSON_PARSE('{\"a\": 1}') AS VARCHAR(100))", None),
        ("SELECT CAST(JSON_PARSE('\"a\"') AS VARCHAR(100))", "a"),
        ("SELECT db_collation()", "case_sensitive"),
    ],
)  # fmt: skip
def test_functions_of_redshift(tables, sql, expected):
    assert rows(tables, sql) == [(expected,)]


def test_a_text_within_super_is_no_longer_than_a_varchar(redshift):
    parse = "SELECT octet_length(JSON_SERIALIZE(JSON_PARSE(%s)))"
    redshift.execute(parse, (json.dumps(["x" * 65_535] * 2),))
    assert redshift.fetchone() == (2 * 65_537 + 4,)
    with pytest.raises(psycopg2.Error, match="String value exceeds the max size of 65535 bytes"):
        redshift.execute(parse, (json.dumps({"k": ["x" * 65_536]}),))


def test_a_sum_of_whole_numbers_is_one_of_64_bits_and_can_be_too_large_for_it(tables):
    of_wide = "SUM(CAST(id AS BIGINT) * 8000000000000000000)"
    assert rows(tables, f"SELECT {of_wide} FROM t WHERE id = 1") == [(8_000_000_000_000_000_000,)]
    assert rows(tables, "SELECT pg_typeof(SUM(id))::text, SUM(id), sum(NULL::int) FROM t") == [
        ("bigint", 3, None)
    ]
    with pytest.raises(psycopg2.DataError, match="out of range"):
        tables.execute("SELECT SUM(5000000000000000000) FROM t")
    exact = "SUM(CAST(5000000000000000000 AS DECIMAL(38, 0)))"
    assert rows(tables, f"SELECT {exact}, SUM(1.5), SUM(0.5::float8) FROM t") == [
        (10**19, Decimal("3.0"), 1.0)
    ]


def test_the_server_says_it_is_old(redshift):
    assert redshift.connection.server_version == 80002


def test_varchar_counts_bytes(redshift):
    redshift.execute("CREATE TABLE v (a varchar(4), b char(3))")
    redshift.execute("INSERT INTO v VALUES ('€', 'ab')")
    for value in ("€€", "abcde"):
        with pytest.raises(psycopg2.DataError, match=r"too long for type character varying\(4\)"):
            redshift.execute("INSERT INTO v (a) VALUES (%s)", (value,))
    with pytest.raises(psycopg2.DataError, match="CHAR"):
        redshift.execute("INSERT INTO v (b) VALUES ('é')")


def test_varchar_counts_bytes_in_copies_and_new_columns(tables):
    tables.execute("CREATE TABLE c AS SELECT * FROM t")
    tables.execute("CREATE TEMP TABLE l (LIKE t)")
    tables.execute("ALTER TABLE s ADD COLUMN more varchar(2)")
    for sql in ("INSERT INTO c VALUES (1, '€€')", "INSERT INTO l VALUES (1, '€€')",
                "INSERT INTO s (more) VALUES ('€')"):  # fmt: skip
        with pytest.raises(psycopg2.DataError, match="too long"):
            tables.execute(sql)


def test_widening_a_varchar_works_outside_a_transaction_only(tables):
    tables.execute("BEGIN")
    with pytest.raises(psycopg2.errors.ActiveSqlTransaction):
        tables.execute("ALTER TABLE t ALTER COLUMN name TYPE varchar(9)")
    tables.execute("ROLLBACK")
    tables.execute("ALTER TABLE t ALTER COLUMN name TYPE varchar(9)")
    tables.execute("INSERT INTO t VALUES (3, '€€€')")
    with pytest.raises(psycopg2.DataError, match=r"varying\(9\)"):
        tables.execute("INSERT INTO t VALUES (3, '€€€€')")


def test_a_column_is_filled_and_swapped_for_another_within_a_transaction(tables):
    for end, kind in (("ROLLBACK", "integer"), ("COMMIT", "bigint")):
        tables.execute("BEGIN")
        tables.execute("LOCK TABLE t")
        tables.execute("ALTER TABLE t ADD COLUMN new bigint")
        tables.execute("UPDATE t SET new = CAST(id AS bigint)")
        tables.execute("ALTER TABLE t DROP COLUMN id")
        tables.execute("ALTER TABLE t RENAME COLUMN new TO id")
        tables.execute(end)
        found = "SELECT data_type FROM svv_columns WHERE table_name = 't' AND column_name = 'id'"
        assert rows(tables, found) == [(kind,)]
        assert rows(tables, "SELECT id FROM t ORDER BY id") == [(1,), (2,)]


def test_a_column_under_a_view_is_neither_dropped_nor_widened(tables):
    tables.execute("CREATE VIEW v AS SELECT id, name FROM t")
    with pytest.raises(psycopg2.errors.DependentObjectsStillExist):
        tables.execute("ALTER TABLE t DROP COLUMN id")
    with pytest.raises(psycopg2.errors.FeatureNotSupported, match="used by a view or rule"):
        tables.execute("ALTER TABLE t ALTER COLUMN name TYPE varchar(9)")


def test_the_only_column_is_not_dropped(redshift):
    redshift.execute("CREATE TABLE one (a int, b int)")
    redshift.execute("ALTER TABLE one DROP COLUMN a")
    with pytest.raises(psycopg2.errors.FeatureNotSupported, match="last column"):
        redshift.execute("ALTER TABLE one DROP COLUMN b")


def test_declared_types_appear_in_the_catalog(redshift):
    redshift.execute(
        "CREATE TABLE c (a varchar, b text, c varchar(max), d varchar(7), e super, f varbyte,"
        " g decimal, h decimal(38, 10))"
    )
    found = rows(
        redshift,
        "SELECT column_name, data_type, character_maximum_length, numeric_precision "
        "FROM information_schema.columns WHERE table_name = 'c' AND table_schema = "
        "current_schema() ORDER BY ordinal_position",
    )
    assert found == [
        ("a", "character varying", 256, None), ("b", "character varying", 256, None),
        ("c", "character varying", 65535, None), ("d", "character varying", 7, None),
        ("e", "super", None, None), ("f", "binary varying", 65535, None),
        ("g", "numeric", None, 18), ("h", "numeric", None, 38),
    ]  # fmt: skip
    assert rows(redshift, "SELECT type FROM pg_table_def WHERE \"column\" = 'd'") == [
        ("character varying(7)",)
    ]
    assert rows(redshift, "SELECT count(*) FROM svv_columns WHERE table_name = 'c'") == [(8,)]
    assert rows(redshift, 'SELECT "table", size FROM svv_table_info WHERE "table" = \'c\'')


def test_decimal_19_stops_at_int64(redshift):
    redshift.execute("CREATE TABLE d (a decimal(19, 0))")
    redshift.execute("INSERT INTO d VALUES (9223372036854775807)")
    with pytest.raises(psycopg2.DataError, match="overflow"):
        redshift.execute("INSERT INTO d VALUES (9223372036854775808)")


def test_identity_counts(redshift):
    redshift.execute("CREATE TABLE i (id bigint IDENTITY(10, 5), a int)")
    redshift.execute("INSERT INTO i (a) VALUES (1), (2)")
    assert rows(redshift, "SELECT id FROM i ORDER BY id") == [(10,), (15,)]
    redshift.execute("CREATE TABLE j (id int GENERATED BY DEFAULT AS IDENTITY(1, 1), a int)")
    redshift.execute("INSERT INTO j VALUES (7, 1)")


def test_names_fold_to_lower_case_and_literals_do_not(redshift):
    redshift.execute('CREATE TABLE "Mixed" ("Column" varchar(20))')
    redshift.execute("INSERT INTO mixed VALUES ('\"Quoted\" Text')")
    redshift.execute('SELECT "COLUMN" AS "Alias" FROM MIXED')
    assert redshift.description[0].name == "alias"
    assert redshift.fetchall() == [('"Quoted" Text',)]


def test_merge_updates_and_inserts(tables):
    tables.execute(MERGE)
    assert rows(tables, "SELECT * FROM t ORDER BY id") == [(1, "a"), (2, "B"), (3, "C")]


def test_merge_refuses_duplicate_source_keys(tables):
    tables.execute("INSERT INTO s VALUES (2, 'x')")
    with pytest.raises(psycopg2.Error, match="Found multiple matches to update the same tuple"):
        tables.execute(MERGE)


def test_merge_refuses_a_view_as_source(tables):
    tables.execute("CREATE VIEW v AS SELECT * FROM s")
    with pytest.raises(psycopg2.Error, match="not a table"):
        tables.execute(MERGE.replace("USING s", "USING v").replace("s.", "v."))


def test_merge_remove_duplicates_wants_the_same_columns(tables):
    tables.execute("INSERT INTO s VALUES (2, 'B')")
    tables.execute("MERGE INTO t USING s ON t.id = s.id REMOVE DUPLICATES")
    assert rows(tables, "SELECT * FROM t ORDER BY id") == [(1, "a"), (2, "B"), (3, "C")]
    tables.execute("CREATE TABLE turned (name varchar(5), id int)")
    with pytest.raises(psycopg2.Error, match="same columns in the same order"):
        tables.execute("MERGE INTO t USING turned ON t.id = turned.id REMOVE DUPLICATES")


def test_ctas_drops_constraints_defaults_and_identity(redshift):
    redshift.execute("CREATE TABLE a (id int IDENTITY(1, 1) NOT NULL, x int DEFAULT 5)")
    redshift.execute("CREATE TABLE b AS SELECT * FROM a")
    redshift.execute("INSERT INTO b VALUES (NULL, NULL)")


def test_temp_tables_hide_permanent_ones(tables):
    tables.execute("CREATE TEMP TABLE t AS SELECT 99 AS id")
    assert rows(tables, "SELECT * FROM t") == [(99,)]
    tables.execute("DROP TABLE t")


def test_a_statement_of_more_than_16_mb_is_refused(redshift):
    with pytest.raises(psycopg2.Error, match="too large"):
        redshift.execute("SELECT '" + "x" * (16 * 1024 * 1024) + "'")


def test_results_of_any_size_come_through(redshift):
    redshift.execute(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50000) "
        "SELECT i, repeat('x', 100) FROM n"
    )
    assert len(redshift.fetchall()) == 50000


def test_super_holds_json(redshift):
    redshift.execute("CREATE TABLE j (a super)")
    redshift.execute("INSERT INTO j SELECT json_parse(%s)", (json.dumps({"k": "ü"}),))
    assert rows(redshift, "SELECT a FROM j") == [({"k": "ü"},)]


def test_sessions_need_no_superuser_once_the_database_is_prepared(redshift, connect, stage):
    redshift.execute("CREATE USER loader PASSWORD 'Loader123'")
    redshift.execute("SELECT current_schema()")
    schema = redshift.fetchone()[0]
    redshift.execute(f"GRANT ALL ON SCHEMA {schema} TO loader")
    connection = connect(user="loader", password="Loader123")
    cursor = connection.cursor()
    try:
        cursor.execute(f"CREATE TABLE {schema}.mine (a varchar(2), b int)")
        copy = f"COPY {schema}.mine (a, b) FROM '{{}}' IAM_ROLE 'r' MANIFEST CSV"
        cursor.execute(copy.format(stage(b"a,1\n")))
        with pytest.raises(psycopg2.InternalError, match="failed"):
            cursor.execute(copy.format(stage(b"abc,1\n")))
        found = rows(cursor, "SELECT error_message FROM sys_load_error_detail "
                             "WHERE query_id = pg_last_copy_id()")  # fmt: skip
        assert found == [("String length exceeds DDL length",)]
    finally:
        connection.close()
        redshift.execute(f"DROP TABLE {schema}.mine; DROP OWNED BY loader; DROP USER loader")


def test_every_rule_is_told_in_the_page():
    page = Path("docs/redshift-double.md").read_text(encoding="utf-8")
    assert [rule.name for rule in RULES if f"`{rule.name}`" not in page] == []
