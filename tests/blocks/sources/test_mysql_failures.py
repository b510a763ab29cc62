"""What goes wrong between Ferry and a MySQL server, and what is said of it."""

from __future__ import annotations

import logging
import os
import re
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pymysql
import pytest

from blocks.sources.mysql.errors import error_of_code, no_answer_in_time, tell_lock
from blocks.sources.mysql.reader_process import MySQLReader
from ferry.batch import ExtractQuery
from ferry.errors import (
    AccessError,
    BusyError,
    ConfigurationError,
    ConnectionLostError,
    DataError,
    FerryError,
    SchemaError,
)
from ferry.schema import TableName
from tests.harness.mysql_shop import only_on, read_in_part

if TYPE_CHECKING:
    from tests.harness.mysql_shop import MySQLShop


@pytest.fixture
def stalled(many: MySQLShop, proxy: Callable[..., Any]) -> Iterator[Any]:
    """The batches of a server that has stalled after the first; it is given five seconds."""
    between = proxy()
    source = many.make_source(
        port=between.port, read_timeout_seconds=5, connect_timeout_seconds=1, batch_rows=1000
    )
    batches = read_in_part(source, many)
    next(batches)
    between.stalled.set()
    return batches


@only_on("mysql")
def test_a_server_that_stalls_is_given_up_in_time_and_other_threads_go_on(
    stalled: Iterator[Any],
) -> None:
    ticks = 0
    done = threading.Event()

    def tick() -> None:
        nonlocal ticks
        while not done.wait(0.05):
            ticks += 1

    thread = threading.Thread(target=tick)
    thread.start()
    began = time.monotonic()
    with pytest.raises(ConnectionLostError, match=r"many.*no rows.*5 seconds") as caught:
        list(stalled)
    took = time.monotonic() - began
    done.set()
    thread.join()

    assert took < 60
    assert caught.value.table == "many"
    assert ticks > 20


@only_on("mysql")
def test_a_catalog_that_stalls_is_given_up_in_time(
    many: MySQLShop, proxy: Callable[..., Any]
) -> None:
    between = proxy()
    source = many.make_source(port=between.port, read_timeout_seconds=1, connect_timeout_seconds=1)
    between.stalled.set()
    began = time.monotonic()

    with pytest.raises(ConnectionLostError):
        source.describe(TableName("", "many"))

    assert time.monotonic() - began < 9  # of 10 by default


@only_on("mysql")
def test_a_connection_that_is_cut_is_retriable(
    many: MySQLShop, capfd: pytest.CaptureFixture[str], proxy: Callable[..., Any]
) -> None:
    between = proxy()
    source = many.make_source(port=between.port, batch_rows=1000)
    batches = read_in_part(source, many)
    next(batches)
    between.cut()

    with pytest.raises(ConnectionLostError, match=str(between.port)):
        list(batches)

    assert capfd.readouterr().err == ""


def _left_running(shop: MySQLShop, text: str) -> int:
    """How many statements with this text the server has left, a moment after they were killed.

    It finds by itself after 5 s of a SLEEP that nobody is there any more.
    """
    running = 0
    for _ in range(20):
        ((running,),) = shop.run(
            "SELECT COUNT(*) FROM information_schema.PROCESSLIST "
            "WHERE INFO LIKE %s AND ID <> CONNECTION_ID()",
            (f"%{text}%",),
        )
        if not running:
            break
        time.sleep(0.1)
    return int(running)


def test_a_statement_that_waits_too_long_is_ended_on_the_server_too(shop: MySQLShop) -> None:
    shop.run("CREATE TABLE many (id INT PRIMARY KEY)")
    shop.run("INSERT INTO many VALUES (1)")
    schema = shop.source.describe(TableName("", "many"))
    shop.run("CREATE VIEW slow AS SELECT id + SLEEP(30) AS id FROM many")
    slow = shop.source.describe(TableName("", "slow"))
    source = shop.make_source(read_timeout_seconds=2)

    with pytest.raises(ConnectionLostError, match="index on the cursor column"):
        list(source.read(ExtractQuery(slow)))

    assert _left_running(shop, "ferry-") == 0
    assert schema.key == ("id",)


@pytest.mark.parametrize("question", ["count_uncarried", "bounds", "fetch"])
def test_a_question_that_waits_too_long_is_ended_on_the_server_too(
    shop: MySQLShop, question: str
) -> None:
    shop.run("CREATE TABLE t (id INT PRIMARY KEY)")
    shop.run("INSERT INTO t VALUES (1)")
    shop.run("CREATE VIEW slow AS SELECT NULLIF(id + SLEEP(30), 0) AS id FROM t")
    source, slow = shop.make_source(read_timeout_seconds=2), TableName("", "slow")
    ask: Callable[[], object] = {
        "count_uncarried": lambda: source.count_uncarried(slow, "id"),
        "bounds": lambda: source.bounds(slow, "id"),
        "fetch": lambda: source.fetch("SELECT MIN(id) FROM slow"),
    }[question]

    with pytest.raises(ConnectionLostError, match=r"no answer came.* for 2 seconds") as caught:
        ask()

    assert "index" in str(caught.value.todo)
    assert "`read_timeout_seconds`" in str(caught.value.todo)
    assert "firewall" not in str(caught.value)
    assert caught.value.table == (None if question == "fetch" else "slow")
    assert _left_running(shop, "slow") == 0


@only_on("mysql")
def test_a_question_to_a_server_that_stalls_is_given_up_though_nothing_can_be_ended_there(
    many: MySQLShop, proxy: Callable[..., Any]
) -> None:
    between = proxy()
    source = many.make_source(port=between.port, read_timeout_seconds=1, connect_timeout_seconds=1)
    source.now()  # its connection is kept
    between.stalled.set()

    with pytest.raises(ConnectionLostError, match=r"no answer came.* for 1 seconds"):
        source.fetch("SELECT COUNT(*) FROM many")


@pytest.mark.parametrize(
    ("kill", "error"), [("KILL QUERY", BusyError), ("KILL CONNECTION", ConnectionLostError)]
)
def test_a_killed_query_is_retriable_and_quiet(
    shop: MySQLShop, kill: str, error: type[FerryError], capfd: pytest.CaptureFixture[str]
) -> None:
    shop.run("CREATE TABLE t (id INT)")
    shop.run("INSERT INTO t VALUES (1), (2)")
    shop.run("CREATE VIEW slow AS SELECT id, SLEEP(20) AS s FROM t")
    schema = shop.source.describe(TableName("", "slow"))

    def killer() -> None:
        with shop.server.connect(shop.database) as connection, connection.cursor() as cursor:
            for _ in range(100):
                time.sleep(0.1)
                cursor.execute(
                    "SELECT ID FROM information_schema.PROCESSLIST "
                    "WHERE INFO LIKE '%ferry-%' AND ID <> CONNECTION_ID()"
                )
                found = cursor.fetchall()
                for (thread_id,) in found:
                    cursor.execute(f"{kill} {thread_id}")
                if found:
                    return

    thread = threading.Thread(target=killer)
    thread.start()
    try:
        with pytest.raises(error):
            list(shop.source.read(ExtractQuery(schema)))
    finally:
        thread.join()
    assert capfd.readouterr().err == ""


@only_on("mysql")
def test_a_reader_that_is_killed_is_retriable_never_a_short_result(
    many: MySQLShop, reading_processes: Callable[[], list[Path]]
) -> None:
    batches = read_in_part(many.make_source(batch_rows=1000), many)
    next(batches)
    (child,) = reading_processes()
    os.kill(int(child.name), signal.SIGKILL)

    with pytest.raises(ConnectionLostError, match="exit code -9"):
        list(batches)


@only_on("mysql")
def test_an_abandoned_read_ends_its_process(
    many: MySQLShop, reading_processes: Callable[[], list[Path]]
) -> None:
    batches = read_in_part(many.make_source(batch_rows=1000), many)
    next(batches)
    batches.close()  # type: ignore[attr-defined]

    assert reading_processes() == []


@only_on("mysql")
def test_a_slow_consumer_is_not_a_timeout(many: MySQLShop) -> None:
    batches = read_in_part(many.make_source(read_timeout_seconds=5, batch_rows=1000), many)
    rows = next(batches).num_rows
    time.sleep(7)

    assert rows + sum(batch.num_rows for batch in batches) == 100_000


def test_a_value_that_cannot_be_read_is_fatal_and_not_told(
    shop: MySQLShop, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    reader = MySQLReader(
        url=shop.source._server.url(),
        sql="SELECT CAST('12345678901234567890123456789012345.5' AS DECIMAL(65,30)) AS c0",
        session=(),
        batch_rows=10,
        read_timeout_seconds=10,
        address="there",
    )

    with caplog.at_level(logging.DEBUG), pytest.raises(DataError) as caught:
        list(reader.batches())

    told = "".join(traceback.format_exception(caught.value)) + caplog.text + capfd.readouterr().err
    assert "12345678" not in told


def test_a_table_that_is_gone_since_it_was_described_is_a_schema_error(shop: MySQLShop) -> None:
    shop.run("CREATE TABLE t (id INT, c INT)")
    schema = shop.source.describe(TableName("", "t"))
    shop.run("ALTER TABLE t DROP COLUMN c")

    with pytest.raises(SchemaError):
        list(shop.source.read(ExtractQuery(schema)))


@pytest.mark.parametrize(
    ("was", "becomes", "value", "shown"),
    [
        ("SMALLINT", "INT", "70123", "70123"),
        ("FLOAT", "DOUBLE", "1.701230000001", r"1\.7012"),
        ("FLOAT", "DOUBLE", "7.0123e300", r"7\.0123"),
        ("DATE", "DATETIME", "'2023-01-02 07:01:23'", "07:01:23|7, 1, 23"),
        ("BIT(1)", "INT", "70123", "70123"),
        ("BIT(1)", "BIT(16)", "b'1111011110010011'", "1111011110010011|63379|f793|xf7"),
    ],
)
def test_a_column_that_was_widened_since_it_was_described_is_never_cut(
    shop: MySQLShop, was: str, becomes: str, value: str, shown: str
) -> None:
    shop.run(f"CREATE TABLE t (id {was}, c DECIMAL(5,2))")
    schema = shop.source.describe(TableName("", "t"))
    shop.run(f"ALTER TABLE t MODIFY id {becomes}")
    shop.run(f"INSERT INTO t VALUES (NULL, 1), ({value}, 1)")

    with pytest.raises(DataError, match="'id'") as caught:
        list(shop.source.read(ExtractQuery(schema)))
    assert re.search(shown, value)
    assert not re.search(shown, "".join(traceback.format_exception(caught.value)))


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (1045, AccessError),
        (1044, AccessError),
        (1142, AccessError),
        (1698, AccessError),
        (1449, AccessError),
        (3955, AccessError),
        (2003, ConnectionLostError),
        (2006, ConnectionLostError),
        (2013, ConnectionLostError),
        (1053, ConnectionLostError),
        (1927, ConnectionLostError),
        (1158, ConnectionLostError),
        (1205, BusyError),
        (1213, BusyError),
        (1317, BusyError),
        (1461, BusyError),
        (1615, BusyError),
        (9001, ConnectionLostError),
        (9006, ConfigurationError),
        (1146, SchemaError),
        (1064, ConfigurationError),
    ],
)
def test_errors_by_number_have_their_kind_place_and_what_to_do(
    code: int, error: type[FerryError]
) -> None:
    made = error_of_code(code, "db.example:3306/shop")

    assert type(made) is error
    assert "db.example:3306/shop" in str(made)
    assert str(code) in str(made)
    assert made.todo


@pytest.mark.parametrize(
    ("codes", "told"),
    [
        ([3024, 1969], "`max_(execution|statement)_time` .*proxy"),
        ([1021, 1038], "no room left on its disk|`sort_buffer_size`"),
        ([1037, 1041, 1135], "out of memory"),
        ([1040, 1203, 1226], "no connection or query left.*FERRY_READERS"),
        ([1047, 3032], "`wsrep_ready`|`offline_mode`"),
    ],
)
def test_a_limit_or_a_lack_of_the_server_s_is_named(codes: list[int], told: str) -> None:
    for error in (error_of_code(code, "db.example:3306/shop") for code in codes):
        assert type(error) is BusyError
        assert re.search(told + ".*; then retry the run", str(error)), str(error)


@pytest.mark.parametrize("asked", ["estimates.explained_rows", "cuts._by_sample"])
def test_an_error_of_the_driver_s_without_a_number_is_a_lost_connection(
    shop: MySQLShop, monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    shop.run("CREATE TABLE t (id VARCHAR(9) PRIMARY KEY, c TEXT)")
    query = ExtractQuery(shop.source.describe(TableName("", "t")), cursor="id")

    def garbled(*_: object) -> None:
        raise pymysql.InternalError("Packet sequence number wrong - got 1 expected 4")

    monkeypatch.setattr(f"blocks.sources.mysql.{asked}", garbled)

    with pytest.raises(ConnectionLostError, match="no error number"):
        list(shop.source.read_at_once(query, 2).batches)


@pytest.mark.parametrize("cursor", ["id", None], ids=["asked for its plan", "read"])
def test_a_lock_that_is_not_given_is_retriable_and_told_as_one(
    shop: MySQLShop, cursor: str | None
) -> None:
    shop.run("CREATE TABLE t (id INT PRIMARY KEY)")
    schema = shop.source.describe(TableName("", "t"))
    shop.run("LOCK TABLES t WRITE")
    try:
        for _ in range(
            5
        ):  # MariaDB may see sooner that nobody waits any more, and end it by itself
            with pytest.raises(ConnectionLostError) as caught:
                list(shop.make_source(read_timeout_seconds=1).read(ExtractQuery(schema, cursor)))
            if caught.value.found:
                break
    finally:
        shop.run("UNLOCK TABLES")
    assert caught.value.found == "Waiting for table metadata lock"
    assert "ALTER TABLE, a FLUSH, a backup or a long transaction holds" in str(caught.value)
    assert "index" not in str(caught.value)


@pytest.mark.parametrize("state", ["table flush", "table level lock", "backup lock", ""])
def test_each_lock_that_a_statement_waits_for_is_told(state: str) -> None:
    state = f"Waiting for {state}" if state else "Sending data"
    late = no_answer_in_time("db.example:3306/shop", 60)
    tell_lock(late, ["executing", state])
    is_lock = state != "Sending data"
    assert (late.found == state) is is_lock
    assert ("index" in str(late)) is not is_lock
    assert str(late).endswith("; then retry the run.")  # nobody does, once its retries are spent
