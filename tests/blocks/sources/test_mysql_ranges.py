"""A table read by several connections at once, each a range of its key."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from blocks.sources import MySQLSource
from blocks.sources.mysql import snapshot
from blocks.sources.mysql.reader_process import READERS
from ferry.errors import ConnectionLostError, DataError, FerryError, StaleReadError
from ferry.schema import arrow_schema
from tests.blocks.sources.test_mysql_cuts import KEYS, analyzed, query_of
from tests.harness.api import eventually
from tests.harness.mysql_shop import only_on

if TYPE_CHECKING:
    from blocks.source import Reading
    from ferry.batch import ExtractQuery
    from tests.harness.mysql_shop import MySQLShop


ROWS = 40_000


def _table(reading: Reading, query: ExtractQuery) -> pa.Table:
    batches = list(reading.batches)
    return pa.Table.from_batches(batches, schema=arrow_schema(query.schema.columns))


@pytest.fixture
def wide(shop: MySQLShop) -> MySQLShop:
    shop.run("CREATE TABLE t (id INT PRIMARY KEY, v CHAR(200), n INT NOT NULL)")
    shop.run(f"INSERT INTO t SELECT seq, REPEAT('x', 200), 0 FROM {shop.numbers(1, ROWS)}")
    analyzed(shop, "t")
    return shop


def test_all_connections_read_the_same_rows_as_one(wide: MySQLShop) -> None:
    query = query_of(wide, "t")

    reading = wide.source.read_at_once(query, 4)
    together = _table(reading, query).sort_by("id")

    assert (reading.connections, reading.snapshot, reading.why) == (4, "one", "")
    assert together.equals(wide.read("t").sort_by("id"))


@pytest.mark.parametrize("kind", ["text", "latin1", "binary", "decimal", "a moment"])
def test_so_they_do_whatever_the_key_is(shop: MySQLShop, kind: str) -> None:
    definition, value = KEYS[kind]
    shop.run(f"CREATE TABLE t ({definition}, n INT, PRIMARY KEY (id, n))")
    shop.run(f"INSERT INTO t SELECT {value}, seq FROM {shop.numbers(1, 5000)}")
    query = query_of(shop, "t")

    reading = shop.source.read_at_once(query, 3)
    together = _table(reading, query).sort_by("n")

    assert reading.connections == 3
    assert together.equals(shop.read("t").sort_by("n"))


@pytest.mark.parametrize(
    "first",
    [
        "DATE",
        "DATETIME(6)",
        "TIMESTAMP(3)",
        "DECIMAL(9,2)",
        "CHAR(12) CHARACTER SET latin1",
        pytest.param("UUID", marks=only_on("mariadb")),
    ],
)
def test_so_they_do_by_text_behind_a_column_of_any_type(shop: MySQLShop, first: str) -> None:
    values = {"DE": "-12.5", "CH": "'ä'", "UU": "'01234567-89ab-7def-8123-456789abcdef'"}
    value = values.get(first[:2], "'2023-01-05'")
    shop.run(f"CREATE TABLE t (a {first}, b VARCHAR(30), n INT, PRIMARY KEY (a, b))")
    shop.run(f"INSERT INTO t SELECT {value}, CONCAT('b', seq), seq FROM {shop.numbers(1, 3000)}")
    query = query_of(shop, "t")

    reading = shop.source.read_at_once(query, 3)
    together = _table(reading, query).sort_by("n")

    assert reading.connections == 3, reading.why
    assert together.equals(shop.read("t").sort_by("n"))


@pytest.mark.parametrize(
    ("key", "alike"),
    [("VARCHAR(700) COLLATE utf8mb4_unicode_ci", 600), ("VARBINARY(2000)", 1200)],
)
def test_keys_that_are_alike_for_longer_than_the_server_sorts_are_read_once_each(
    shop: MySQLShop, key: str, alike: int
) -> None:
    shop.run(f"CREATE TABLE t (id {key} PRIMARY KEY, n INT, KEY (n))")
    shop.run(
        f"INSERT INTO t SELECT CONCAT(REPEAT('x', {alike}), LPAD(HEX(CRC32(seq)), 8, '0')), seq "
        f"FROM {shop.numbers(1, 3000)}"
    )
    analyzed(shop, "t")
    query = query_of(shop, "t")

    reading = shop.source.read_at_once(query, 4)

    assert sorted(_table(reading, query)["n"].to_pylist()) == list(range(1, 3001))
    assert reading.connections == 4 or "alike for so long" in reading.why


class Writer:
    """Changes a row in each half of the table, again and again, in one transaction."""

    def __init__(self, shop: MySQLShop) -> None:
        self.written = 0
        self._stop = threading.Event()
        self._connection = shop.source._server.connect()
        self._thread = threading.Thread(target=self._write, daemon=True)

    def __enter__(self) -> Writer:
        self._thread.start()
        assert eventually(lambda: self.written > 3)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(30)
        self._connection.close()

    def _write(self) -> None:
        with self._connection.cursor() as cursor:
            while not self._stop.is_set():
                cursor.execute("BEGIN")
                cursor.execute("UPDATE t SET n = n + 1 WHERE id = 10")
                cursor.execute(f"UPDATE t SET n = n + 1 WHERE id = {ROWS - 10}")
                cursor.execute(f"UPDATE t SET n = n + 1 WHERE id = {ROWS // 2}")
                cursor.execute("COMMIT")
                self.written += 1


def _numbers(table: pa.Table) -> list[int]:
    ids = table["id"].to_pylist()
    return [table["n"][ids.index(id)].as_py() for id in (10, ROWS // 2, ROWS - 10)]


def test_a_transaction_over_two_ranges_is_seen_wholly_or_not_at_all(wide: MySQLShop) -> None:
    query = query_of(wide, "t")
    snapshots = []
    with Writer(wide) as writer:
        for _ in range(8):
            before = writer.written
            reading = wide.source.read_at_once(query, 4)
            seen = _numbers(_table(reading, query))
            snapshots.append(reading.snapshot)
            if reading.snapshot == "one":
                assert len(set(seen)) == 1
                assert seen[0] >= before - 1  # what was committed before is there
    assert "one" in snapshots


def test_what_is_committed_while_they_wait_is_seen_by_all(
    wide: MySQLShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The snapshot is of the moment at which the gate opens, not of each connection's coming."""
    begin = snapshot.Gate._begin

    def write_first(gate: snapshot.Gate, connection: Any) -> bool:
        wide.run("UPDATE t SET n = 7")
        begun = begin(gate, connection)
        wide.run("UPDATE t SET n = 8")
        return begun

    monkeypatch.setattr(snapshot.Gate, "_begin", write_first)
    query = query_of(wide, "t")
    reading = wide.source.read_at_once(query, 3)

    assert set(_table(reading, query)["n"].to_pylist()) == {7}
    assert reading.snapshot == "one"


def test_the_lock_is_held_for_a_moment_and_given_back(wide: MySQLShop) -> None:
    query = query_of(wide, "t")
    reading = wide.source.read_at_once(query, 4)
    longest, written, stop = 0.0, 0, threading.Event()

    def write() -> None:
        nonlocal longest, written
        connection = wide.source._server.connect()
        with connection, connection.cursor() as cursor:
            while not stop.is_set():
                began = time.monotonic()
                cursor.execute("UPDATE t SET n = n + 1 WHERE id = 5")
                longest = max(longest, time.monotonic() - began)
                written += 1

    thread = threading.Thread(target=write)
    thread.start()
    assert eventually(lambda: written > 2)
    list(reading.batches)
    stop.set()
    thread.join()

    assert reading.snapshot == "one"
    assert longest < 0.5  # 1 to 3 ms on a machine that has nothing else to do


def test_behind_a_long_transaction_there_is_no_snapshot_and_nobody_waits(wide: MySQLShop) -> None:
    query, connection = query_of(wide, "t"), wide.source._server.connect()
    with connection, connection.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("UPDATE t SET n = 1 WHERE id = 5")
        began = time.monotonic()
        reading = wide.source.read_at_once(query, 2)
        table = _table(reading, query)

    assert time.monotonic() - began < 30
    assert table.num_rows == ROWS
    assert reading.snapshot == "not one"
    assert reading.why == "a transaction that writes to the table was under way"


def test_without_the_right_to_lock_it_is_read_and_the_receipt_says_so(
    wide: MySQLShop, poor: dict[str, Any]
) -> None:
    query = query_of(wide, "t")
    reading = wide.make_source(**poor).read_at_once(query, 4)

    assert _table(reading, query).num_rows == ROWS
    assert (reading.connections, reading.snapshot) == (4, "not one")
    assert reading.why == "the user may not LOCK TABLES"


def test_where_only_one_snapshot_will_do_one_connection_reads_without_it(
    wide: MySQLShop, poor: dict[str, Any]
) -> None:
    query = query_of(wide, "t")
    reading = wide.make_source(**poor).read_at_once(query, 4, only_one_snapshot=True)

    assert _table(reading, query).num_rows == ROWS
    assert (reading.connections, reading.snapshot) == (1, None)


def test_a_table_that_is_swapped_before_all_ranges_have_begun_is_not_read_in_halves(
    wide: MySQLShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    time.sleep(1.1)  # tables tell their age in seconds
    wide.run("CREATE TABLE loaded LIKE t")
    wide.run("INSERT INTO loaded SELECT id, v, 1 FROM t")
    rows, first, done = MySQLSource._rows, threading.Lock(), threading.Event()

    def one_after_the_other(*given: Any) -> Any:
        if first.acquire(blocking=False):
            yield from rows(*given)
            done.set()
        else:
            assert done.wait(30)
            wide.run("RENAME TABLE t TO gone, loaded TO t")
            yield from rows(*given)

    monkeypatch.setattr(MySQLSource, "_rows", one_after_the_other)
    monkeypatch.setattr(snapshot, "READY_SECONDS", 0.1)
    query = query_of(wide, "t")

    with pytest.raises(StaleReadError, match="another table has taken its place"):
        list(wide.source.read_at_once(query, 2).batches)


def test_a_table_without_snapshots_says_so(shop: MySQLShop) -> None:
    shop.run("CREATE TABLE t (id INT PRIMARY KEY, v INT) ENGINE=MyISAM")
    shop.run(f"INSERT INTO t SELECT seq, seq FROM {shop.numbers(1, ROWS)}")
    query = query_of(shop, "t")
    reading = shop.source.read_at_once(query, 3)

    assert _table(reading, query).num_rows == ROWS
    assert (reading.snapshot, reading.why) == ("not one", "MyISAM has no snapshots")


@only_on("mysql")
def test_one_that_is_killed_ends_all(
    wide: MySQLShop, reading_processes: Callable[[], list[Path]]
) -> None:
    source = wide.make_source(batch_rows=100)
    reading = source.read_at_once(query_of(wide, "t"), 4)
    next(reading.batches)
    processes = reading_processes()
    assert len(processes) == 4
    os.kill(int(processes[2].name), signal.SIGKILL)

    with pytest.raises(ConnectionLostError, match="ended before its result did"):
        list(reading.batches)
    assert _none_reads(reading_processes)
    assert eventually(lambda: _connections(wide) == 0)


def test_a_value_that_cannot_travel_in_one_range_ends_all(
    wide: MySQLShop, reading_processes: Callable[[], list[Path]]
) -> None:
    wide.run("ALTER TABLE t ADD COLUMN d DATE")
    wide.run(f"UPDATE t SET d = '2023-02-31' WHERE id = {ROWS - 1}")
    reading = wide.make_source(batch_rows=100).read_at_once(query_of(wide, "t"), 4)

    with pytest.raises(DataError, match="impossible dates"):
        list(reading.batches)
    assert _none_reads(reading_processes)


def test_an_iterator_that_is_left_ends_all(
    wide: MySQLShop, reading_processes: Callable[[], list[Path]]
) -> None:
    source, before = wide.make_source(batch_rows=100), threading.active_count()
    reading = source.read_at_once(query_of(wide, "t"), 4)
    next(reading.batches)
    reading.close()

    assert _none_reads(reading_processes)
    assert eventually(lambda: threading.active_count() <= before)
    assert eventually(lambda: _connections(wide) == 0)


@only_on("mysql")
def test_all_processes_end_when_the_one_that_asks_them_is_killed(wide: MySQLShop) -> None:
    program = """
import json, sys, time
sys.path.insert(0, sys.argv[1])
from blocks.sources import MySQLSource
from ferry.batch import ExtractQuery
from ferry.schema import TableName
import subprocess
started, begin = [], subprocess.Popen.__init__
def note(self, *args, **kwargs):
    begin(self, *args, **kwargs)
    started.append(self.pid)
subprocess.Popen.__init__ = note
source = MySQLSource(**json.load(sys.stdin))
reading = source.read_at_once(ExtractQuery(source.describe(TableName("", "t"))), 4)
next(reading.batches)
print(json.dumps(started), flush=True)
time.sleep(60)
"""
    source = wide.make_source(batch_rows=100)
    fields = {name: getattr(source, name) for name in MySQLSource.model_fields}
    with subprocess.Popen(
        [sys.executable, "-c", program, str(Path.cwd())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdin and parent.stdout
        parent.stdin.write(json.dumps({**fields, "password": wide.server.password}))
        parent.stdin.close()
        readers = [Path(f"/proc/{pid}") for pid in json.loads(parent.stdout.readline())]
        assert len(readers) == 4
        parent.kill()

    assert eventually(lambda: not any(reader.exists() for reader in readers), 10)


@only_on("mysql")
def test_a_server_that_refuses_the_connections_says_so(
    wide: MySQLShop, reading_processes: Callable[[], list[Path]]
) -> None:
    query = query_of(wide, "t")
    source = wide.make_source(password="wrong")
    with pytest.raises(FerryError):
        list(source.read_at_once(query, 4).batches)
    assert _none_reads(reading_processes)


def _none_reads(reading_processes: Callable[[], list[Path]]) -> bool:
    """Whether there is no process left but those that wait for another read."""
    READERS.close_all()
    return not reading_processes()


def _connections(shop: MySQLShop) -> int:
    """How many connections run a statement over the table."""
    return int(
        shop.run(
            "SELECT COUNT(*) FROM information_schema.PROCESSLIST "
            "WHERE DB = DATABASE() AND ID <> CONNECTION_ID() AND INFO LIKE '%ferry-%'"
        )[0][0]
    )
