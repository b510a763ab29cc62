"""Where a table is cut into ranges: evenly, whatever its key is, and each row is in one of them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from blocks.source import Reading
from blocks.sources.mysql.cuts import conditions, cut, even_cuts
from ferry.batch import PIECE_NUMBER, ExtractQuery
from ferry.errors import StaleReadError
from ferry.resume.cuts import Cuts
from ferry.schema import TableName, arrow_schema
from tests.harness.embedded import examples

if TYPE_CHECKING:
    from tests.harness.mysql_shop import MySQLShop

ROWS = 20_000


def query_of(shop: MySQLShop, table: str, **query: Any) -> ExtractQuery:
    return ExtractQuery(shop.source.describe(TableName("", table)), **query)


def _cuts(shop: MySQLShop, query: ExtractQuery, count: int = 4, key: Sequence[str] = ()) -> Cuts:
    with shop.source._server.cursor() as cursor:
        return cut(cursor, shop.source._select(cursor, query), shop.database, key, count)


def _conditions(
    shop: MySQLShop, query: ExtractQuery, count: int = 4, key: Sequence[str] = ()
) -> list[str]:
    cuts = _cuts(shop, query, count, key)
    with shop.source._server.cursor() as cursor:
        return conditions(cursor, query.schema.name, shop.database, key, cuts) or [""]


def _sizes(shop: MySQLShop, query: ExtractQuery, key: Sequence[str] = ()) -> list[int]:
    """How many rows each range has, by the server itself."""
    name, where = query.schema.name.name, ""
    if query.cursor:
        where = f" AND {query.cursor} >= '{query.start:%F}' AND {query.cursor} < '{query.end:%F}'"
    return [
        int(shop.run(f"SELECT COUNT(*) FROM `{name}` WHERE {condition or 'TRUE'}{where}")[0][0])
        for condition in _conditions(shop, query, key=key)
    ]


def analyzed(shop: MySQLShop, table: str) -> None:
    shop.run(f"ANALYZE TABLE `{table}`")


KEYS = {
    "dense": ("id INT", "seq"),
    "sparse": ("id BIGINT", "seq * 1000000007"),
    "unsigned": (
        "id BIGINT UNSIGNED",
        "18446744073709551615 - CAST(seq AS UNSIGNED) * 400000000000000",
    ),
    "negative": ("id INT", "seq - 10000"),
    "skewed": (
        "id BIGINT",
        "IF(seq <= 19000, seq, seq * seq * seq * 100000)",
    ),
    "text": (
        "id VARCHAR(40) COLLATE utf8mb4_general_ci",
        "CONCAT(ELT(1 + seq % 3, 'Ab', 'aB', 'é'), '-', SUBSTR(CRC32(seq), 1, 4), '-', seq)",
    ),
    "latin1": (
        "id VARCHAR(40) CHARACTER SET latin1",
        "CONCAT(_latin1 X'E4', CHAR(65 + seq % 26 USING latin1), seq)",
    ),
    "binary": ("id BINARY(8)", "UNHEX(LPAD(HEX(seq * 2654435761 % 4294967296), 16, '0'))"),
    "uuid as text": ("id CHAR(36)", "CONCAT(LPAD(HEX(CRC32(seq)), 8, '0'), '-0000-', seq)"),
    "decimal": ("id DECIMAL(20,4)", "seq * 1.0001"),
    "a moment": ("id DATETIME(6)", "TIMESTAMP'2023-01-01 00:00:00' + INTERVAL seq SECOND"),
}


@pytest.mark.parametrize("kind", KEYS)
def test_the_parts_are_even_whatever_the_key_is(shop: MySQLShop, kind: str) -> None:
    definition, value = KEYS[kind]
    shop.run(f"CREATE TABLE t ({definition} PRIMARY KEY, v CHAR(20))")
    shop.run(f"INSERT INTO t SELECT {value}, seq FROM {shop.numbers(1, ROWS)}")
    analyzed(shop, "t")

    sizes = _sizes(shop, query_of(shop, "t"))

    assert len(sizes) == 4
    assert sum(sizes) == ROWS
    assert max(sizes) < 1.35 * ROWS / 4, sizes


@pytest.mark.parametrize(
    ("first", "columns"),
    [
        ("seq DIV 100", 1),  # many values of about as many rows each: the first column does
        ("IF(seq % 10 = 0, seq, 7)", 2),  # one of them has nearly all rows
    ],
)
@pytest.mark.parametrize("tenant", ["INT", "VARCHAR(20)"])
def test_a_composite_key_is_cut_by_as_few_columns_as_make_it_even(
    shop: MySQLShop, tenant: str, first: str, columns: int
) -> None:
    shop.run(f"CREATE TABLE t (a {tenant}, b INT, PRIMARY KEY (a, b))")
    shop.run(f"INSERT INTO t SELECT {first}, seq FROM {shop.numbers(1, ROWS)}")
    analyzed(shop, "t")
    query = query_of(shop, "t")

    sizes, told = _sizes(shop, query), _conditions(shop, query)

    assert sum(sizes) == ROWS
    assert max(sizes) < 1.35 * ROWS / 4, sizes
    assert ("`b`" in told[1]) == (columns == 2)
    (plan,) = shop.run(f"EXPLAIN FORMAT=TRADITIONAL SELECT * FROM t WHERE {told[1]}")
    assert "range" in plan


def test_a_window_is_cut_where_its_own_rows_are(shop: MySQLShop) -> None:
    shop.run("CREATE TABLE t (id INT PRIMARY KEY, at DATETIME, v CHAR(50), KEY (at))")
    shop.run(
        "INSERT INTO t SELECT seq, TIMESTAMP'2023-01-01 00:00:00' + INTERVAL seq MINUTE, 'x' "
        f"FROM {shop.numbers(1, 90_000)}"
    )
    analyzed(shop, "t")
    query = query_of(
        shop,
        "t",
        cursor="at",
        start=datetime(2023, 1, 20, tzinfo=UTC),
        end=datetime(2023, 2, 9, tzinfo=UTC),
    )

    sizes = _sizes(shop, query)

    assert sum(sizes) == 20 * 24 * 60
    assert max(sizes) < 1.35 * sum(sizes) / 4, sizes


def test_without_a_primary_key_an_index_over_the_spec_s_key_does(shop: MySQLShop) -> None:
    shop.run("CREATE TABLE t (code VARCHAR(20) NOT NULL, v INT, n INT, KEY (code), KEY (n))")
    shop.run(f"INSERT INTO t SELECT CRC32(seq % 15000), seq, NULL FROM {shop.numbers(1, ROWS)}")
    query = query_of(shop, "t")

    assert _cuts(shop, query).why == "it has no primary key by which it can be cut"
    assert _cuts(shop, query, key=("n",)).pieces == 1  # it takes NULL
    sizes = _sizes(shop, query, key=("CODE",))
    assert sum(sizes) == ROWS
    assert max(sizes) < 1.35 * ROWS / 4, sizes


@pytest.mark.parametrize(
    "definition",
    ["id ENUM('b','a') PRIMARY KEY", "id DOUBLE PRIMARY KEY", "id VARCHAR(9), PRIMARY KEY (id(3))"],
)
def test_what_has_no_exact_order_in_its_index_is_read_by_one(
    shop: MySQLShop, definition: str
) -> None:
    shop.run(f"CREATE TABLE t ({definition})")
    reading = shop.source.read_at_once(query_of(shop, "t"), 4)

    assert (reading.connections, reading.snapshot) == (1, None)
    assert reading.why == "it has no primary key by which it can be cut"


def test_a_view_and_an_empty_table_are_read_by_one(shop: MySQLShop) -> None:
    shop.run("CREATE TABLE t (id INT PRIMARY KEY)")
    shop.run("CREATE VIEW w AS SELECT * FROM t")
    for name in "tw":
        reading = shop.source.read_at_once(query_of(shop, name), 4)
        assert reading.connections == 1
        assert sum(batch.num_rows for batch in reading.batches) == 0


_words = st.text(alphabet="aAbBéÉ zZß'\\", max_size=4)


@given(
    keys=st.lists(st.tuples(_words, st.integers(-3, 3)), min_size=1, max_size=60),
    count=st.integers(2, 5),
)
@settings(max_examples=examples(25), suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_row_is_in_exactly_one_range(
    shop: MySQLShop, keys: list[tuple[str, int]], count: int
) -> None:
    shop.run("DROP TABLE IF EXISTS t")
    shop.run(
        "CREATE TABLE t (a VARCHAR(9) COLLATE utf8mb4_unicode_ci, b INT, n INT, PRIMARY KEY (a, b))"
    )
    for n, (a, b) in enumerate(keys):
        shop.run("INSERT IGNORE INTO t VALUES (%s, %s, %s)", (a, b, n))
    query = query_of(shop, "t")
    told = _conditions(shop, query, count)
    found = [n for each in told for (n,) in shop.run(f"SELECT n FROM t WHERE {each or 'TRUE'}")]

    assert sorted(found) == sorted(n for (n,) in shop.run("SELECT n FROM t"))


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 50)), max_size=200), st.integers(2, 9))
def test_cuts_of_a_sample_grow_and_stand_within_it(rows: list[tuple[int, int]], count: int) -> None:
    sample = [(f"{a:02}", f"{b:02}") for a, b in sorted(rows)]

    cuts = even_cuts(sample, count)

    assert len(cuts) < count
    assert cuts == sorted(set(cuts))
    assert all(any(row[: len(cut)] == cut for row in sample) for cut in cuts)


# --- Pieces, each whole before the next one begins ---

FEW = 5000
TYPES = {
    "a": ("ENUM('x', 'y', 'é')", "ELT(1 + seq % 3, 'x', 'y', 'é')"),
    "b": ("SET('p', 'q')", "ELT(1 + seq % 3, '', 'p', 'p,q')"),
    "c": ("BIT(9)", "seq % 512"),
    "d": ("YEAR", "2000 + seq % 50"),
    "e": ("JSON", "CONCAT('{\"n\": ', seq, '}')"),
    "f": ("FLOAT", "seq / 7"),
    "g": ("DOUBLE", "seq / 7"),
    "h": ("DECIMAL(30,10)", "seq / 7"),
    "i": ("TIME(6)", "SEC_TO_TIME(seq)"),
    "j": ("TIMESTAMP(3) NULL", "TIMESTAMP'2023-01-01 00:00:00' + INTERVAL seq SECOND"),
    "k": ("DATETIME(6)", "TIMESTAMP'2023-01-01 00:00:00' + INTERVAL seq SECOND"),
    "l": ("DATE", "DATE'2023-01-01' + INTERVAL seq % 400 DAY"),
    "m": ("TINYINT(1)", "seq % 2"),
    "n": ("BIGINT UNSIGNED", "18446744073709551615 - seq"),
    "o": ("VARCHAR(20) CHARACTER SET latin1", "CONCAT(_latin1 X'E4', seq)"),
    "p": ("LONGTEXT", "CONCAT('ü', seq)"),
    "q": ("BLOB", "UNHEX(LPAD(HEX(seq), 8, '0'))"),
    "r": ("BINARY(4)", "UNHEX(LPAD(HEX(seq), 8, '0'))"),
    "s": ("SMALLINT", "seq % 100 - 50"),
}


def pieces_of(
    shop: MySQLShop, query: ExtractQuery, cuts: Cuts, pieces: Sequence[int], connections: int = 1
) -> tuple[Reading, pa.Table]:
    reading = shop.source.read_pieces(query, connections, cuts, pieces)
    schema = arrow_schema((*query.schema.columns, PIECE_NUMBER))
    return reading, pa.Table.from_batches(list(reading.batches), schema=schema)


@pytest.mark.parametrize("connections", [1, 3])
def test_pieces_hold_what_the_whole_holds_whatever_the_types(
    shop: MySQLShop, connections: int
) -> None:
    columns = ", ".join(f"{name} {definition}" for name, (definition, _) in TYPES.items())
    values = ", ".join(f"IF(seq % 11 = 0, NULL, {value})" for _, value in TYPES.values())
    shop.run(f"CREATE TABLE t (id INT PRIMARY KEY, {columns})")
    shop.run(f"INSERT INTO t SELECT seq, {values} FROM {shop.numbers(1, FEW)}")
    query = query_of(shop, "t")
    cuts = shop.source.cut(query, 7)

    reading, together = pieces_of(shop, query, cuts, range(cuts.pieces), connections)

    assert cuts.pieces == 7
    assert [n for share in reading.shares for n in share] == list(range(7))
    assert len(reading.shares) == reading.connections == connections
    assert reading.snapshot == (None if connections == 1 else "one")
    assert together.drop([PIECE_NUMBER.name]).sort_by("id").equals(shop.read("t").sort_by("id"))


@pytest.mark.parametrize("kind", KEYS)
def test_each_piece_comes_whole_and_some_make_up_for_the_others(shop: MySQLShop, kind: str) -> None:
    definition, value = KEYS[kind]
    shop.run(f"CREATE TABLE t ({definition}, n INT, PRIMARY KEY (id, n))")
    shop.run(f"INSERT INTO t SELECT {value}, seq FROM {shop.numbers(1, FEW)}")
    shop.run("ANALYZE TABLE t")
    query = query_of(shop, "t")
    cuts = shop.source.cut(query, 6)

    _, some = pieces_of(shop, query, cuts, (1, 2, 5))
    _, others = pieces_of(shop, query, cuts, (0, 3, 4))

    numbers = some[PIECE_NUMBER.name].to_pylist()
    assert numbers == sorted(numbers)
    assert set(numbers) == {1, 2, 5}
    both = pa.concat_tables([some, others]).drop([PIECE_NUMBER.name])
    assert both.sort_by("n").equals(shop.read("t").sort_by("n"))


@pytest.mark.parametrize("primary", ["", ", PRIMARY KEY (v, id)", ", PRIMARY KEY (id, v)"])
def test_pieces_come_in_order_though_another_index_has_all_columns(
    shop: MySQLShop, primary: str
) -> None:
    shop.run(f"CREATE TABLE t (id INT NOT NULL, v CHAR(9) NOT NULL, UNIQUE (v, id) {primary})")
    shop.run(f"INSERT INTO t SELECT seq, CRC32(seq) % 97 FROM {shop.numbers(1, FEW)}")
    shop.run("ANALYZE TABLE t")
    query = query_of(shop, "t")
    cuts = shop.source.cut(query, 8)
    assert cuts.pieces == (8 if primary else 1)  # a unique key is none that is read in order
    if primary:
        _, found = pieces_of(shop, query, cuts, (0, 1, 4, 6, 7))
        numbers = found[PIECE_NUMBER.name].to_pylist()
        assert numbers == sorted(numbers)
        _, others = pieces_of(shop, query, cuts, (2, 3, 5))
        assert found.num_rows + others.num_rows == FEW


@pytest.mark.parametrize("name", ["c0", "C1", "p", "z0", "q0"])
@pytest.mark.parametrize("definition", ["INT", "DECIMAL(20,4)", "DATE", "VARCHAR(20)"])
def test_a_key_named_as_a_column_of_the_result_is_read_in_its_own_order(
    shop: MySQLShop, name: str, definition: str
) -> None:
    shop.run(
        f"CREATE TABLE t (v INT NOT NULL, w DATE, d DATE, `{name}` {definition} NOT NULL, "
        f"PRIMARY KEY (`{name}`))"
    )
    value = "DATE'2000-01-01' + INTERVAL seq DAY" if definition == "DATE" else "seq"
    shop.run(
        f"INSERT INTO t SELECT CRC32(seq) % 1000, DATE'2001-01-01' + INTERVAL CRC32(seq) % 900 DAY,"
        f" NULL, {value} FROM {shop.numbers(1, FEW)}"
    )
    shop.run("ANALYZE TABLE t")
    query = query_of(shop, "t")
    cuts = shop.source.cut(query, 6)
    assert cuts.pieces == 6

    _, found = pieces_of(shop, query, cuts, range(6))

    numbers = found[PIECE_NUMBER.name].to_pylist()
    assert numbers == sorted(numbers)
    assert len(numbers) == FEW


def test_only_what_innodb_keeps_in_the_key_s_order_is_read_in_pieces(shop: MySQLShop) -> None:
    shop.run("CREATE TABLE t (id INT PRIMARY KEY) ENGINE=MyISAM")
    shop.run(f"INSERT INTO t SELECT seq FROM {shop.numbers(1, FEW)}")
    cuts = shop.source.cut(query_of(shop, "t"), 3)
    assert (cuts.values, cuts.why) == ((), "only a table of InnoDB is kept in the key's order")


def test_a_table_in_the_place_of_another_is_not_cut_as_that_was(shop: MySQLShop) -> None:
    shop.run("CREATE TABLE t (id INT PRIMARY KEY)")
    shop.run(f"INSERT INTO t SELECT seq FROM {shop.numbers(1, FEW)}")
    shop.run("ANALYZE TABLE t")
    query = query_of(shop, "t")
    cuts = shop.source.cut(query, 3)
    shop.run("DELETE FROM t WHERE id % 7 = 0")
    shop.run("UPDATE t SET id = id + 1000000 WHERE id % 5 = 0")
    time.sleep(1.1)  # tables tell their age in seconds
    assert shop.source.still_cut(query, cuts)  # rows are not the table

    shop.run("CREATE TABLE other LIKE t")
    shop.run("INSERT INTO other SELECT * FROM t")
    shop.run("RENAME TABLE t TO gone, other TO t")
    assert not shop.source.still_cut(query, cuts)


def test_a_key_in_another_order_is_not_cut_as_it_was(shop: MySQLShop) -> None:
    shop.run("CREATE TABLE t (id VARCHAR(20) COLLATE utf8mb4_general_ci PRIMARY KEY)")
    shop.run(f"INSERT INTO t SELECT CONCAT('k', seq) FROM {shop.numbers(1, FEW)}")
    query = query_of(shop, "t")
    cuts = shop.source.cut(query, 3)
    assert shop.source.still_cut(query, cuts)

    shop.run("ALTER TABLE t MODIFY id VARCHAR(20) COLLATE utf8mb4_bin")

    assert not shop.source.still_cut(query, cuts)
    with pytest.raises(StaleReadError, match="key was altered"):
        shop.source.read_pieces(query, 1, cuts, (0, 1))


def test_pieces_that_another_server_has_cut_are_refused_and_the_reason_names_it(
    shop: MySQLShop,
) -> None:
    """As behind an address of several servers: its rows would stand beside those of the other."""
    shop.run("CREATE TABLE t (id INT PRIMARY KEY)")
    shop.run(f"INSERT INTO t SELECT seq FROM {shop.numbers(1, FEW)}")
    query = query_of(shop, "t")
    cuts = shop.source.cut(query, 3)
    elsewhere = replace(cuts, of=f"another-{cuts.of}")

    assert not shop.source.still_cut(query, elsewhere)
    with pytest.raises(StaleReadError, match="another server has answered") as refused:
        shop.source.read_pieces(query, 1, elsewhere, (0, 1))
    assert "resume_rows: 0" in str(refused.value)


def test_a_cut_that_is_no_value_is_never_read_as_sql(shop: MySQLShop) -> None:
    shop.run("CREATE TABLE t (id VARCHAR(20) PRIMARY KEY)")
    shop.run(f"INSERT INTO t SELECT CONCAT('k', seq) FROM {shop.numbers(1, FEW)}")
    query = query_of(shop, "t")
    cuts = shop.source.cut(query, 2)

    for value in ("41' OR '1'='1", "4", "k7"):
        assert not shop.source.still_cut(query, replace(cuts, values=((value,),)))
