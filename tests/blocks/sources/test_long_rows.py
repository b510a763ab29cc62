"""Huge rows among short ones come in small batches, whatever the statistics say of them."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from blocks.source import Source
from blocks.sources import SQLiteSource
from ferry.batch import ExtractQuery
from ferry.schema import TableName

if TYPE_CHECKING:
    from tests.harness.mysql_shop import MySQLShop

HUGE, ROWS, SHORT_ROWS = 2_000_000, 110, 1000
PROGRAM = """
import json, resource, sys
sys.path.insert(0, sys.argv[1])
from blocks import sources
from ferry.batch import ExtractQuery
from ferry.schema import TableName
source = getattr(sources, sys.argv[2])(**json.load(sys.stdin))
schema = source.describe(TableName("", "docs"))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
rows = largest = 0
for batch in source.read(ExtractQuery(schema)):
    rows, largest = rows + batch.num_rows, max(largest, batch.nbytes)
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
child = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print(rows, largest // 1_000_000, (after - before) // 1024, child // 1024)
"""


def measured(source: Source, **secrets: Any) -> tuple[int, ...]:
    """Rows, MB of the largest batch, MB by which a process grew that read them, MB of its child."""
    fields = source.model_dump(exclude={"password"}, exclude_none=True, mode="json")
    fields = {k: v for k, v in fields.items() if k in type(source).model_fields}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(Path.cwd()), type(source).__name__],
        input=json.dumps({**fields, **secrets}),
        capture_output=True,
        text=True,
        check=True,
    )
    return tuple(map(int, done.stdout.split()))


@pytest.mark.parametrize(
    "definition",
    [
        "LONGTEXT",
        pytest.param("LONGBLOB", marks=pytest.mark.nights),
        pytest.param("MEDIUMTEXT", marks=pytest.mark.nights),
    ],
)
def test_mysqls_statistics_may_know_nothing_of_them(shop: MySQLShop, definition: str) -> None:
    shop.run(f"CREATE TABLE docs (id INT PRIMARY KEY, c {definition}) STATS_AUTO_RECALC=0")
    shop.run(f"INSERT INTO docs SELECT seq, 'x' FROM {shop.numbers(1, SHORT_ROWS)}")
    shop.run("ANALYZE TABLE docs")
    last = SHORT_ROWS + ROWS
    huge = shop.numbers(SHORT_ROWS + 1, last)
    shop.run(f"INSERT INTO docs SELECT seq, REPEAT('x', {HUGE}) FROM {huge}")
    assert (shop.source.row_bytes(TableName("", "docs")) or 0) < 1000

    rows, largest_mb, grown_mb, child_mb = measured(shop.source, password=shop.server.password)

    assert rows == last
    assert largest_mb < 40  # 16 rows, and what is short
    assert grown_mb < 150  # 220 MB, held
    assert child_mb < 330


def test_short_rows_of_a_table_with_a_long_column_still_come_in_large_batches(
    shop: MySQLShop,
) -> None:
    shop.run("CREATE TABLE docs (id INT PRIMARY KEY, c LONGTEXT)")
    shop.run(f"INSERT INTO docs SELECT seq, REPEAT('x', 100) FROM {shop.numbers(1, 100_000)}")
    query = ExtractQuery(shop.source.describe(TableName("", "docs")))

    sizes = [batch.num_rows for batch in shop.source.read(query)]

    assert sum(sizes) == 100_000
    assert len(sizes) < 20


@pytest.mark.seconds
def test_sqlites_rows_are_counted_by_their_bytes(tmp_path: Path) -> None:
    path = tmp_path / "docs.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE docs (id INTEGER PRIMARY KEY, c TEXT)")
        connection.executemany("INSERT INTO docs (c) VALUES (?)", [("x",)] * SHORT_ROWS)
        connection.executemany("INSERT INTO docs (c) VALUES (?)", [("x" * HUGE,)] * ROWS)

    rows, largest_mb, grown_mb, _ = measured(SQLiteSource(path=str(path)))

    assert rows == SHORT_ROWS + ROWS
    assert largest_mb < 10
    assert grown_mb < 100
