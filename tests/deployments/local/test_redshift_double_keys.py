"""Keys through the double: declared, told by the catalog, never enforced."""

from __future__ import annotations

import psycopg2
import pytest

DECLARED = """
SELECT k.conname, a.attname FROM pg_catalog.pg_constraint AS k
JOIN pg_catalog.pg_attribute AS a ON a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey)
WHERE k.contype = 'p' AND k.conrelid = CAST('k' AS regclass) ORDER BY a.attnum
"""


def rows(cursor, sql):
    cursor.execute(sql)
    return cursor.fetchall()


def test_keys_are_not_enforced_but_a_primary_key_is_not_null(redshift):
    redshift.execute("CREATE TABLE k (id int PRIMARY KEY, a int UNIQUE)")
    redshift.execute("CREATE TABLE m (a int, b int, PRIMARY KEY (a, b), UNIQUE (b))")
    for table in ("k", "m"):
        redshift.execute(f"INSERT INTO {table} VALUES (1, 1), (1, 1)")
        with pytest.raises(psycopg2.InternalError, match="Cannot insert a NULL value into column"):
            redshift.execute(f"INSERT INTO {table} VALUES (NULL, 1)")


def test_a_declared_key_is_found_by_an_index_from_the_second_insert_on(redshift):
    redshift.execute('CREATE TABLE "Keyed" (a int, "B" int, PRIMARY KEY ("B", a))')
    indexes = "SELECT indexdef FROM pg_indexes WHERE tablename = 'keyed'"
    redshift.execute("INSERT INTO keyed VALUES (1, 1), (1, 1)")
    assert rows(redshift, indexes) == []
    redshift.execute("INSERT INTO keyed VALUES (1, 1)")
    ((index,),) = rows(redshift, indexes)
    assert index.endswith("USING btree (b, a)")
    assert "UNIQUE" not in index
    redshift.execute("INSERT INTO keyed VALUES (2, 2)")
    assert len(rows(redshift, indexes)) == 1


@pytest.mark.parametrize(
    ("declared", "told"),
    [
        ("(a int PRIMARY KEY, b int)", [("k_pkey", "a")]),
        ('(a int, "B" int, PRIMARY KEY ("B", a))', [("k_pkey", "a"), ("k_pkey", "b")]),
        ("(a int, b int, CONSTRAINT mine PRIMARY KEY (b))", [("mine", "b")]),
        ("(a int CONSTRAINT mine PRIMARY KEY, b int)", [("mine", "a")]),
        ("(a int NOT NULL UNIQUE, b int, FOREIGN KEY (a) REFERENCES t (id))", []),
    ],
)
def test_a_declared_primary_key_is_told_by_the_catalog_and_dropped(tables, declared, told):
    tables.execute(f"CREATE TABLE k {declared}")
    assert rows(tables, DECLARED) == told
    for name in {name for name, _ in told}:
        tables.execute(f'ALTER TABLE k DROP CONSTRAINT "{name}"')
    assert rows(tables, DECLARED) == []
    tables.execute("ALTER TABLE k ADD PRIMARY KEY (a)")
    assert rows(tables, DECLARED) == [("k_pkey", "a")]
    tables.execute("INSERT INTO k VALUES (1, 1), (1, 1)")
    tables.execute("CREATE TABLE copied AS SELECT * FROM k")
    assert rows(tables, DECLARED.replace("'k'", "'copied'")) == []


@pytest.mark.parametrize(
    "declared",
    [
        "(a int, b int, c int) DISTSTYLE KEY DISTKEY (a) SORTKEY (c, b)",
        '(a int DISTKEY, "b" int, c int) COMPOUND SORTKEY (c, "b")',
    ],
)
def test_columns_of_distribution_and_sort_keys_are_told_and_not_dropped(redshift, declared):
    redshift.execute(f"CREATE TABLE k {declared}")
    redshift.execute(f"CREATE TABLE IF NOT EXISTS k {declared}")
    told = "SELECT column_name, distkey, sortkey FROM svv_redshift_columns WHERE table_name = 'k'"
    assert sorted(rows(redshift, told)) == [("a", True, 0), ("b", False, 2), ("c", False, 1)]
    for column, key in (("a", "distkey"), ("b", "sortkey"), ("c", "sortkey")):
        with pytest.raises(psycopg2.errors.FeatureNotSupported, match=key):
            redshift.execute(f"ALTER TABLE k DROP COLUMN {column}")
