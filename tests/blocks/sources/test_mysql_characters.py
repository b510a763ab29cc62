"""No character and no row is lost on its way out of MySQL, whatever the server is set to."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pymysql
import pytest

from blocks.sources import MySQLSource
from blocks.sources.mysql.connection import session_of
from blocks.sources.mysql.reader_process import MySQLReader
from ferry.batch import ExtractQuery
from ferry.errors import DataError
from ferry.schema import TableName
from tests.harness.mysql_shop import only_on

if TYPE_CHECKING:
    from tests.blocks.sources.conftest import MySQLShop

T = TableName("", "words")


def read(source: MySQLSource, **query: Any) -> list[tuple[Any, ...]]:
    schema = source.describe(T)
    batches = list(source.read(ExtractQuery(schema, **query)))
    return [tuple(row.values()) for batch in batches for row in batch.to_pylist()]


@pytest.mark.parametrize(
    ("character_set", "lost", "kept"),
    [
        ("cp1251", "98", "CFF0E82C3F3F"),
        ("gbk", "A2E3", "B0A13F"),
        ("hebrew", "D9", "E03F"),
        ("cp1257", "A1", "413F"),
        ("ascii", None, "413F"),
        ("cp932", None, "ED40FA5C3F"),  # one character, spelled in two ways
        ("latin1", None, "813FE4"),
        ("utf8mb4", None, "F09F9A803F"),
        ("ucs2", None, "003F00E4"),
    ],
)
def test_a_character_without_unicode_is_refused_by_column_and_question_marks_pass(
    shop: MySQLShop, character_set: str, lost: str | None, kept: str
) -> None:
    source, run = shop.make_source(), shop.run
    types = {"t": "VARCHAR(30)", "u": "TEXT", "v": "LONGTEXT"}
    texts = ", ".join(
        f"{name} {type} CHARACTER SET {character_set}" for name, type in types.items()
    )
    run(f"CREATE TABLE words (id INT PRIMARY KEY, a VARCHAR(9), day DATE, {texts})")
    good = f"'?', '2023-01-05'{f', _{character_set} X{kept!r}' * 3})"
    run(f"INSERT INTO words VALUES (1, {good}, (2, {good}")
    run("INSERT INTO words VALUES (3, NULL, NULL, NULL, NULL, NULL), (4, '', NULL, '', '', '')")
    rows = read(source)
    assert [row[0] for row in rows] == [1, 2, 3, 4]
    assert [row[3:] for row in rows][2:] == [(None,) * 3, ("",) * 3]
    assert [text.count("?") for text in rows[0][3:]] == [kept.count("3F")] * 3
    if lost is None:
        return

    lost_ones = f", _{character_set} X'{lost}3F'" * 3
    run(f"INSERT INTO words VALUES (5, '', NULL{lost_ones}), (6, '', NULL{lost_ones})")
    with pytest.raises(DataError, match="put \\? in their place") as caught:
        read(source)
    message = str(caught.value)
    told = [f"2 rows in '{name}'" for name in types]
    for part in ("words", *told, "within the first 6", "`target_only`", "USING utf8mb4)"):
        assert part in message
    assert len(read(source, cursor="id", end=5)) == 4  # other windows are not affected


def test_many_columns_are_told_apart(shop: MySQLShop) -> None:
    source, run = shop.make_source(), shop.run
    names = [f"c{n}" for n in range(40)]
    declared = ", ".join(f"{name} VARCHAR(5) CHARACTER SET cp1251" for name in names)
    run(f"CREATE TABLE words (id INT PRIMARY KEY, day DATE, {declared})")
    values = ["'x'"] * 40
    run(f"INSERT INTO words VALUES (1, NULL, {', '.join(values)})")
    assert len(read(source)) == 1
    for n in (0, 29, 30, 39):
        values[n] = "_cp1251 X'98'"
    run(f"INSERT INTO words VALUES (2, '2023-01-05', {', '.join(values)})")
    with pytest.raises(DataError) as caught:
        read(source)
    assert "1 rows in 'c0', 1 rows in 'c29', 1 rows in 'c30', 1 rows in 'c39'" in str(caught.value)


@pytest.mark.parametrize(
    ("character_set", "value"),
    [
        # MySQL stores none of these, but for ucs2, of which it reads `?`.
        pytest.param("utf8mb3", "61EDA08062", marks=only_on("mariadb")),
        pytest.param("utf8mb4", "EDA080", marks=only_on("mariadb")),
        ("ucs2", "D83D0041"),
    ],
)
def test_text_that_is_no_unicode_is_told_by_column_with_a_way_to_find_and_to_carry_it(
    shop: MySQLShop, character_set: str, value: str
) -> None:
    source, run = shop.make_source(), shop.run
    run(
        "CREATE TABLE words (id INT PRIMARY KEY, a VARCHAR(9) CHARACTER SET utf8mb4, "
        f"t VARCHAR(30) CHARACTER SET {character_set}, u TEXT CHARACTER SET {character_set})"
    )
    run("INSERT INTO words VALUES (1, 'ok', 'ok', 'ok'), (2, NULL, NULL, NULL)")
    bad = f"_{character_set} X'{value}'"
    run(f"INSERT INTO words VALUES (3, '', {bad}, {bad}), (4, '', {bad}, '')")
    with pytest.raises(DataError) as caught:
        read(source)
    message = str(caught.value)
    for part in (
        "words",
        "2 rows in 't'",
        "1 rows in 'u'",
        "`target_only`",
        "CONVERT(CONVERT(`t` USING",
    ):
        assert part in message

    search = message.partition("SELECT * FROM ")[2].partition(";")[0]
    with source._server.cursor() as cursor:
        cursor.execute(f"SELECT id FROM {search} ORDER BY id")
        assert cursor.fetchall() == ((3,), (4,))
    assert len(read(source, cursor="id", end=3)) == 2

    made = ", ".join(f"CONVERT(CONVERT({c} USING utf16) USING utf8mb4) AS {c}" for c in "tu")
    run(f"CREATE VIEW seen AS SELECT id, {made} FROM words")
    schema = source.describe(TableName("", "seen"))
    (batch,) = source.read(ExtractQuery(schema))
    assert "?" in batch.to_pylist()[2]["t"]


@pytest.fixture
def ruled(
    shop: MySQLShop, poor: dict[str, str]
) -> Iterator[tuple[Callable[[str, Any], None], MySQLSource]]:
    """Sets a setting for the whole server, and a source whose user it holds for, who may SELECT."""
    before = dict[str, Any]()
    with shop.as_root() as cursor:

        def rule(setting: str, value: Any) -> None:
            cursor.execute(f"SELECT @@GLOBAL.{setting}")
            ((was,),) = cursor.fetchall()
            before.setdefault(setting, was)
            cursor.execute(f"SET GLOBAL {setting} = %s", (value,))

        yield rule, shop.make_source(**poor)
        for setting, value in before.items():
            cursor.execute(f"SET GLOBAL {setting} = %s", (value,))


@pytest.mark.parametrize("names", ["latin1", "utf8mb3", "cp1251"])
def test_every_character_arrives_whatever_the_server_says_to_who_connects(
    shop: MySQLShop, ruled: Any, names: str
) -> None:
    rule, source = ruled
    shop.run("CREATE TABLE words (id INT PRIMARY KEY, t VARCHAR(30), j JSON) CHARSET utf8mb4")
    shop.run("INSERT INTO words VALUES (1, '🚢 Ж é', '[\"🚢 Ж é\"]')")
    rule("init_connect", f"SET NAMES {names}")
    ((_, text, document),) = read(source)
    assert (text, json.loads(document)) == ("🚢 Ж é", ["🚢 Ж é"])


def test_every_row_arrives_whatever_the_server_allows_a_select(many: MySQLShop, ruled: Any) -> None:
    rule, source = ruled
    rule("sql_select_limit", 10)
    query = ExtractQuery(source.describe(TableName("", "many")))
    assert sum(batch.num_rows for batch in source.read(query)) == 100_000
    assert len(source.fetch(f"SELECT id FROM `{many.database}`.many LIMIT 500")) == 500


@pytest.mark.parametrize("length", [400, 1024])  # as a VARCHAR, and as MySQL has it by default
def test_a_list_in_a_view_arrives_whole_whatever_length_the_server_cuts_lists_at(
    shop: MySQLShop, ruled: Any, length: int
) -> None:
    rule, source = ruled
    rule("group_concat_max_len", length)
    shop.run("CREATE TABLE tags (id INT PRIMARY KEY, tag VARCHAR(9))")
    shop.run(f"INSERT INTO tags SELECT seq, CONCAT('é', seq) FROM {shop.numbers(1, 1000)}")
    lists = "GROUP_CONCAT(tag ORDER BY id) AS tags, JSON_ARRAYAGG(tag) AS j"
    shop.run(f"SET SESSION group_concat_max_len = {length}")  # who made it had no more, either
    shop.run(f"CREATE VIEW words AS SELECT 1 AS id, {lists} FROM tags")
    whole = ",".join(f"é{n}" for n in range(1, 1001))

    ((_, tags, documents),) = read(source)
    assert tags == whole
    assert len(json.loads(documents)) == 1000
    asked = source.fetch("SELECT tags FROM words")  # as fingerprints and rows of a part are
    assert asked == [(whole,)]


@pytest.mark.parametrize("length", [2**30, pytest.param(2**32, marks=only_on("mysql"))])
def test_each_server_behind_an_address_lets_lists_be_as_long_as_the_one_that_was_asked(
    shop: MySQLShop, ruled: Any, length: int
) -> None:
    """Where that one needs no lifting, the one that the reader comes to may."""
    rule, source = ruled
    rule("group_concat_max_len", length)
    with source._server.cursor() as cursor:
        session = session_of(cursor)
    rule("group_concat_max_len", 1024)
    ask = "SELECT @@group_concat_max_len AS c0"
    reader = MySQLReader(source._server.url(), ask, session, 9, 9, "another")
    assert [batch.to_pylist() for batch in reader.batches()] == [[{"c0": length}]]


LIMITS = {"mysql": ("max_execution_time", 20), "mariadb": ("max_statement_time", 0.02)}
"""A fiftieth of a second, a small part of what the read takes."""


@pytest.mark.parametrize(
    "by", ["the server", "init_connect", pytest.param("the user", marks=only_on("mariadb"))]
)
def test_a_long_read_is_not_ended_by_the_time_that_the_server_allows_a_statement(
    many: MySQLShop, ruled: Any, poor: dict[str, str], by: str
) -> None:
    many.run(
        "CREATE VIEW hard AS SELECT id, SHA2(REPEAT(c, 50), 512) AS h FROM many WHERE id <= 30000"
    )
    rule, source = ruled
    name, limit = LIMITS[many.server.name]
    if by == "the server":
        rule(name, limit)
    elif by == "init_connect":
        rule("init_connect", f"SET SESSION {name} = {limit}")
    else:
        with many.as_root() as cursor:
            cursor.execute(f"ALTER USER %s@'%%' WITH MAX_STATEMENT_TIME {limit}", (poor["user"],))
    hard = f"SELECT COUNT(*) FROM `{many.database}`.hard WHERE h <> ''"
    with (
        pymysql.connect(
            host=many.server.host, port=many.server.port, ssl_disabled=False, **poor
        ) as limited,
        limited.cursor() as cursor,
        pytest.raises(pymysql.OperationalError) as ended,
    ):
        cursor.execute(hard)
    assert ended.value.args[0] in {3024, 1969}

    query = ExtractQuery(source.describe(TableName("", "hard")))
    assert sum(batch.num_rows for batch in source.read(query)) == 30_000
    assert source.fetch(hard) == [(30_000,)]
