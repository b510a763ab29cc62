"""The processes that read from a MySQL server: one waits for the next read, no one for no rows."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

import pytest

from blocks.sources import MySQLSource
from blocks.sources.mysql.connection import session_of
from blocks.sources.mysql.reader_process import MySQLReader
from ferry.batch import ExtractQuery
from ferry.errors import BusyError, SchemaError
from ferry.schema import TableName
from tests.harness.api import eventually
from tests.harness.mysql_shop import only_on, read_in_part

if TYPE_CHECKING:
    from tests.harness.mysql_shop import MySQLShop


class TestReaderThatWaits:
    @only_on("mysql")
    def test_one_process_reads_many_results(
        self, many: MySQLShop, reading_processes: Callable[[], list[Path]]
    ) -> None:
        rows = [sum(batch.num_rows for batch in read_in_part(many.source, many)) for _ in range(3)]

        assert rows == [100_000] * 3
        assert len(reading_processes()) == 1

    def test_each_read_has_its_own_server_and_session(self, shop: MySQLShop) -> None:
        url = shop.source._server.url()
        sets = MySQLReader(url, "SELECT @@net_write_timeout AS c0", ("SET @a = 7",), 9, 9, "a")
        finds = MySQLReader(url, "SELECT @a AS c0", (), 9, 9, "b")

        list(sets.batches())
        (batch,) = finds.batches()

        assert batch.column(0).to_pylist() == [None]

    @only_on("mysql")
    def test_sizes_of_now_are_asked_where_the_catalog_is_read_and_not_where_rows_are(
        self, shop: MySQLShop
    ) -> None:
        server, expiry = shop.source._server, "SELECT @@information_schema_stats_expiry AS c0"
        with server.cursor() as cursor:
            session = session_of(cursor)
            cursor.execute(expiry)
            ((of_the_catalog,),) = cursor.fetchall()

        (batch,) = MySQLReader(server.url(), expiry, session, 9, 9, "a").batches()

        assert of_the_catalog == 0
        assert batch.column(0).to_pylist() == [86_400]

    @only_on("mysql")
    def test_after_an_error_another_process_reads(
        self, many: MySQLShop, reading_processes: Callable[[], list[Path]]
    ) -> None:
        assert sum(batch.num_rows for batch in read_in_part(many.source, many)) == 100_000
        before = reading_processes()
        bad = MySQLReader(
            many.source._server.url(),
            "SELECT * FROM no_such",
            (),
            9,
            9,
            "there",
            many.source.ca_path,
        )
        with pytest.raises(SchemaError):
            list(bad.batches())

        assert reading_processes() == []
        assert sum(batch.num_rows for batch in read_in_part(many.source, many)) == 100_000
        assert before != reading_processes()

    @only_on("mysql")
    def test_one_that_died_while_it_waited_fails_nobody(
        self, many: MySQLShop, reading_processes: Callable[[], list[Path]]
    ) -> None:
        list(read_in_part(many.source, many))
        (child,) = reading_processes()
        os.kill(int(child.name), signal.SIGKILL)
        time.sleep(0.1)

        assert sum(batch.num_rows for batch in read_in_part(many.source, many)) == 100_000

    @only_on("mysql")
    def test_it_waits_without_a_clock(
        self, many: MySQLShop, reading_processes: Callable[[], list[Path]]
    ) -> None:
        source = many.make_source(read_timeout_seconds=2, batch_rows=1000)
        list(read_in_part(source, many))
        time.sleep(2.5)

        assert len(reading_processes()) == 1

    @only_on("mysql")
    @pytest.mark.parametrize("at_work", [False, True])
    def test_it_ends_when_the_process_that_asks_it_is_killed(
        self, many: MySQLShop, at_work: bool
    ) -> None:
        statement = f"SELECT SLEEP({20 if at_work else 0}) AS c0"
        program = """
import json, sys, time
sys.path.insert(0, sys.argv[1])
from blocks.sources import MySQLSource
from blocks.sources.mysql.reader_process import MySQLReader
source = MySQLSource(**json.load(sys.stdin))
reader = MySQLReader(source._server.url(), sys.argv[2], (), 9, 60, "there", source.ca_path)
list(reader.batches(lambda process: process and print(process.pid, flush=True)))
print("read", flush=True)
time.sleep(60)
"""
        fields = many.source.model_dump(exclude={"password"}, exclude_none=True, mode="json")
        fields = {k: v for k, v in fields.items() if k in MySQLSource.model_fields}
        with subprocess.Popen(
            [sys.executable, "-c", program, str(Path.cwd()), statement],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as parent:
            assert parent.stdin and parent.stdout
            parent.stdin.write(json.dumps({**fields, "password": many.server.password}))
            parent.stdin.close()
            reader = Path("/proc") / parent.stdout.readline().strip()
            assert eventually(lambda: b"mysql/reader" in (reader / "cmdline").read_bytes())
            if at_work:
                _wait_for(many, statement)
            else:
                assert parent.stdout.readline() == "read\n"
            parent.kill()
        deadline = time.monotonic() + 5
        while reader.exists() and time.monotonic() < deadline:
            time.sleep(0.05)

        assert not reader.exists()


def _wait_for(shop: MySQLShop, statement: str) -> None:
    """Wait until the server is at this statement."""
    asked = (
        "SELECT COUNT(*) FROM information_schema.PROCESSLIST "
        "WHERE INFO LIKE %s AND ID <> CONNECTION_ID()"
    )
    assert eventually(lambda: shop.run(asked, [f"%{statement}%"])[0][0])


@pytest.mark.parametrize("number", [errno.ENOMEM, errno.EAGAIN])
def test_a_process_that_the_machine_cannot_start_is_tried_again_and_told_as_that(
    number: int, tmp_path: Path
) -> None:
    own = str(tmp_path / "ca.pem")  # so that none waits for it
    reader = MySQLReader("mysql://shop", "SELECT 1", [], 10, 1.0, "shop", ca_path=own)
    refused = patch("subprocess.Popen", side_effect=OSError(number, os.strerror(number)))
    with refused, pytest.raises(BusyError, match="cannot start the process") as caught:
        list(reader.batches())
    assert os.strerror(number) in str(caught.value)


class TestEmptyWindow:
    def test_it_is_told_without_a_reading_process(
        self, shop: MySQLShop, reading_processes: Callable[[], list[Path]]
    ) -> None:
        shop.run("CREATE TABLE t (id INT PRIMARY KEY, n INT, KEY (n))")
        shop.run(f"INSERT INTO t SELECT seq, seq FROM {shop.numbers(1, 5000)}")
        query = ExtractQuery(shop.source.describe(TableName("", "t")), "n", 6000, 7000)

        assert list(shop.source.read(query)) == []
        assert reading_processes() == []
        found = dataclasses.replace(query, start=4999)
        assert sum(batch.num_rows for batch in shop.source.read(found)) == 2

    def test_where_no_index_tells_it_is_read(
        self, shop: MySQLShop, reading_processes: Callable[[], list[Path]]
    ) -> None:
        shop.run("CREATE TABLE t (id INT PRIMARY KEY, n INT)")
        shop.run(f"INSERT INTO t SELECT seq, seq FROM {shop.numbers(1, 5000)}")
        query = ExtractQuery(shop.source.describe(TableName("", "t")), "n", 6000, 7000)

        assert sum(batch.num_rows for batch in shop.source.read(query)) == 0
        assert len(reading_processes()) == 1


@only_on("mysql")
def test_memory_stays_bounded(many: MySQLShop) -> None:
    many.run(f"INSERT INTO many SELECT seq, REPEAT('x', 200) FROM {many.numbers(100001, 400000)}")
    program = """
import json, resource, sys
sys.path.insert(0, sys.argv[1])
from blocks.sources import MySQLSource
from ferry.batch import ExtractQuery
from ferry.schema import TableName
from tests.harness.mysql_shop import read_in_part
source = MySQLSource(**json.load(sys.stdin))
schema = source.describe(TableName("", "many"))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
rows = sum(batch.num_rows for batch in source.read(ExtractQuery(schema)))
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
child = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print(rows, (after - before) // 1024, child // 1024)
"""
    fields = many.source.model_dump(exclude={"password"}, exclude_none=True, mode="json")
    fields = {k: v for k, v in fields.items() if k in MySQLSource.model_fields}
    done = subprocess.run(
        [sys.executable, "-c", program, str(Path.cwd())],
        input=json.dumps({**fields, "password": many.server.password}),
        capture_output=True,
        text=True,
        check=True,
    )
    rows, grown_mb, child_mb = map(int, done.stdout.split())

    assert rows == 400_000
    assert grown_mb < 150  # the rows are 80 MB; all of them, held, would be more
    assert child_mb < 250


def test_a_view_whose_definer_may_not_read_any_more_is_to_be_made_anew(shop: MySQLShop) -> None:
    """Its columns are in the catalog still, so that only the read is refused: always again."""
    database, definer = shop.database, f"'definer_{os.getpid()}'@'%'"
    shop.run("CREATE TABLE `under` (id INT PRIMARY KEY)")
    with shop.as_root() as cursor:
        cursor.execute(f"CREATE USER {definer}")
        cursor.execute(f"GRANT SELECT, CREATE VIEW ON `{database}`.* TO {definer}")
        cursor.execute(
            f"CREATE DEFINER={definer} VIEW `{database}`.`over` AS "
            f"SELECT id FROM `{database}`.`under`"
        )
        cursor.execute(f"REVOKE SELECT ON `{database}`.* FROM {definer}")
    schema = shop.source.describe(TableName("", "over"))

    with pytest.raises(SchemaError, match=r"broken; found error 1356\..*definer.*made anew"):
        list(shop.source.read(ExtractQuery(schema)))
    with shop.as_root() as cursor:
        cursor.execute(f"DROP USER {definer}")
