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
        (
            "(a int CONSTRAINT u UNIQUE, b int REFERENCES t, CONSTRAINT f FOREIGN KEY (a)"
            " REFERENCES public.t (id), UNIQUE (a, b))",
            [],
        ),
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


OTHERS = """
SELECT k.contype, k.conname, a.attname, CAST(k.confrelid AS regclass)
FROM pg_catalog.pg_constraint AS k
JOIN pg_catalog.pg_attribute AS a ON a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey)
WHERE k.contype IN ('u', 'f') AND k.conrelid = CAST('k' AS regclass) ORDER BY 1, 2, 3
"""


def test_unique_and_foreign_keys_are_told_by_the_catalog_and_dropped(tables):
    tables.execute(
        "CREATE TABLE k (a int UNIQUE, b int REFERENCES t (id), c int, "
        "CONSTRAINT mine FOREIGN KEY (b, c) REFERENCES t, UNIQUE (b, c))"
    )
    tables.execute("ALTER TABLE k ADD CONSTRAINT later UNIQUE (c)")
    assert rows(tables, OTHERS) == [
        ("f", "k_b_fkey", "b", "t"),
        ("f", "mine", "b", "t"),
        ("f", "mine", "c", "t"),
        ("u", "k_a_key", "a", "-"),
        ("u", "k_b_key", "b", "-"),
        ("u", "k_b_key", "c", "-"),
        ("u", "later", "c", "-"),
    ]
    tables.execute("INSERT INTO k VALUES (1, 7, 8), (1, 7, 8), (NULL, NULL, NULL)")
    for name in ("k_b_fkey", "mine", "k_a_key", "k_b_key", "later"):
        tables.execute(f"ALTER TABLE k DROP CONSTRAINT {name}")
    assert rows(tables, OTHERS) == []


@pytest.mark.parametrize(
    ("declared", "says", "freed"),
    [
        ("a varchar(5) ENCODE text255", "encoding text255", "ALTER COLUMN a ENCODE zstd"),
        ("b decimal(9, 2), a varchar(5) ENCODE bytedict", "bytedict", "ALTER COLUMN a ENCODE lzo"),
        ("a varchar(5) DEFAULT 'x'", "default", ""),
        ("a varchar(5) PRIMARY KEY", "PRIMARY KEY", "DROP CONSTRAINT k_pkey"),
        ("a varchar(5) UNIQUE", "UNIQUE", "DROP CONSTRAINT k_a_key"),
        ("a varchar(5) REFERENCES t (name)", "FOREIGN KEY", "DROP CONSTRAINT k_a_fkey"),
    ],
)
def test_a_varchar_is_not_made_longer_where_redshift_leaves_it(tables, declared, says, freed):
    tables.execute(f"CREATE TABLE k ({declared}, z varchar(5) ENCODE zstd)")
    tables.execute("ALTER TABLE k ALTER COLUMN z TYPE varchar(9)")
    with pytest.raises(psycopg2.errors.FeatureNotSupported, match=says):
        tables.execute("ALTER TABLE k ALTER COLUMN a TYPE varchar(9)")
    if freed:
        tables.execute(f"ALTER TABLE k {freed}")
        tables.execute("ALTER TABLE k ALTER COLUMN a TYPE varchar(9)")
    told = "SELECT column_name, encoding FROM svv_redshift_columns WHERE table_name = 'k'"
    assert dict(rows(tables, told))["z"] == "zstd"
    tables.execute("ALTER TABLE k ADD COLUMN y varchar(5) ENCODE runlength")
    tables.execute("ALTER TABLE k RENAME COLUMN y TO x")
    assert dict(rows(tables, told))["x"] == "runlength"
