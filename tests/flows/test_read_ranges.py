"""A table that is read in ranges arrives as it does by one connection, and its receipt says how."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from importlib import import_module
from typing import Any

import pytest

import ferry.plan
from blocks.sources import MySQLSource
from blocks.sources.mysql import cuts
from blocks.sources.mysql.snapshot import Gate
from ferry.resume.cuts import Cuts
from flows.backfill_tables import backfill
from flows.sync_table import sync_table
from tests.flows.pipeline.test_together import told
from tests.flows.test_resume import AGAIN, Interrupted

pytestmark = pytest.mark.usefixtures("plain_runs")

MYSQL = pytest.mark.parametrize("route", ["mysql-folder-postgres"], indirect=True)
ROWS, DAYS = 3000, 4
EXTRACT = import_module("tasks.extract")


@pytest.fixture
def shop(journey: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Some days of orders; few rows are worth a range, and what lies between them is counted."""
    monkeypatch.setattr(ferry.plan, "RANGE_ROWS", 100)
    journey.sql(
        "CREATE TABLE orders (id INT NOT NULL PRIMARY KEY, ref INT NOT NULL, note VARCHAR(20), "
        "modified DATETIME)"
    )
    rows = [
        (n, ROWS - n, f"note {n}", f"2023-01-0{1 + n % DAYS} 10:00:00") for n in range(1, ROWS + 1)
    ]
    for first in range(0, ROWS, 500):
        some = rows[first : first + 500]
        values = ", ".join(["(?, ?, ?, ?)"] * len(some))
        journey.sql(f"INSERT INTO orders VALUES {values}", [[v for row in some for v in row]])
    return journey


@dataclass
class Places:
    """How many more places were asked for, and how many there are."""

    free: int
    asked: int = 0
    kept: int = 0
    count: int = 0

    def keep(self, count: int) -> None:
        self.kept = count

    @contextmanager
    def more(self, source: str, count: int, *, backfill: bool) -> Iterator[Places]:
        self.asked = count
        self.count = min(count, self.free)
        yield self


@MYSQL
def test_a_full_copy_in_ranges_is_that_of_one_connection(shop: Any) -> None:
    whole = {"source_table": "orders", "mode": "full", "key": ["id"]}
    shop.write_specs(one=whole, four={**whole, "read_ranges": 4})

    one, four = sync_table(table="one"), sync_table(table="four")

    assert shop.target("one") == shop.target("four")
    assert four.rows_extracted == four.rows_inserted == ROWS
    assert (one.source_snapshot, four.source_snapshot) == (None, "one")
    assert shop.receipts("four")[0].source_snapshot == "one"


@MYSQL
def test_windows_that_travel_together_are_read_in_ranges_too(shop: Any) -> None:
    window = {"source_table": "orders", "mode": "window", "key": ["id"], "insert_rows": 0}
    shop.write_specs(one=window, three={**window, "read_ranges": 3})
    days = {"start_date": date(2023, 1, 1), "end_date": date(2023, 1, 1 + DAYS)}
    for table in ("one", "three"):
        backfill(table=table, **days)

    ones, threes = shop.receipts("one"), shop.receipts("three")

    assert shop.target("one") == shop.target("three")
    assert [told(each) for each in ones] == [told(each) for each in threes]
    assert len({each.checksum for each in threes}) == 1  # they travelled together
    assert {each.source_snapshot for each in threes} == {"one"}


@MYSQL
def test_without_one_snapshot_the_receipt_says_so(
    shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Gate, "_begin", lambda *_: False)
    shop.write_specs(orders={"mode": "full", "key": ["id"], "read_ranges": 3})

    assert sync_table(table="orders").source_snapshot == "not one"
    assert len(shop.target("orders")) == ROWS


@MYSQL
def test_a_watermark_over_ids_is_read_by_one_where_there_is_no_one_snapshot(
    shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two ranges that read at two moments, the later one may see a higher id than the other."""
    monkeypatch.setattr(Gate, "_begin", lambda *_: False)
    growing = {"source_table": "orders", "mode": "watermark", "key": ["id"], "read_ranges": 3}
    shop.write_specs(
        by_id={**growing, "cursor": "ref"},
        by_time={**growing, "cursor": "modified"},
    )

    assert sync_table(table="by_id").source_snapshot is None
    assert (
        sync_table(table="by_id", mode="full").source_snapshot is None
    )  # the next one continues from it
    assert sync_table(table="by_time").source_snapshot == "not one"
    assert shop.target("by_id") == shop.target("by_time")


@MYSQL
def test_each_connection_takes_a_place_and_fewer_read_where_fewer_are_free(
    shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []

    def cut(*args: Any) -> Cuts:
        found.append(cuts.cut(*args))
        return found[-1]

    monkeypatch.setattr("blocks.sources.mysql.source.cut", cut)
    shop.write_specs(orders={"mode": "full", "key": ["id"], "read_ranges": 4})
    for free in (9, 1, 0):
        places = Places(free)
        monkeypatch.setattr(EXTRACT, "more_places", places.more)
        receipt = sync_table(table="orders")
        assert places.asked == 3
        assert places.kept == min(free, 3)
        assert receipt.rows_extracted == ROWS
        assert receipt.source_snapshot == ("one" if free else None)
    assert [each.pieces for each in found] == [4, 2]


@MYSQL
def test_a_range_that_fails_fails_the_step_and_its_retry_reads_all_again(
    shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from blocks.sources.mysql.select import Select
    from ferry.errors import ConnectionLostError

    failures = [ConnectionLostError("cut"), None]
    batch = Select.batch

    def fail_once(self: Select, *args: Any) -> Any:
        if "`id` >=" in self.sql and failures and (error := failures.pop(0)):
            raise error
        return batch(self, *args)

    monkeypatch.setattr(Select, "batch", fail_once)
    shop.write_specs(orders={"mode": "full", "key": ["id"], "read_ranges": 4})

    receipt = sync_table(table="orders")

    assert not failures
    assert receipt.rows_extracted == receipt.rows_inserted == ROWS


@pytest.mark.parametrize("route", ["sqlite-folder-duckdb"], indirect=True)
def test_a_source_that_knows_no_ranges_is_read_by_one_connection(
    shop: Any, caplog: pytest.LogCaptureFixture
) -> None:
    shop.write_specs(orders={"mode": "full", "key": ["id"], "read_ranges": 4})

    assert sync_table(table="orders").source_snapshot is None
    assert "by one connection: such a source is read by one connection" in caplog.text


@MYSQL
def test_a_copy_that_goes_on_is_of_one_table_though_another_takes_its_place(
    shop: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It does so behind the look at which table it is, and before the rest of it is read."""
    time.sleep(1.1)  # tables tell their age in seconds
    shop.sql("CREATE TABLE loaded LIKE orders")
    shop.sql("INSERT INTO loaded SELECT id, ref, 'newer', modified FROM orders")
    shop.write_specs(orders={"mode": "full", "key": ["id"], "resume_rows": 500, "retries": 0})
    stage, rows = Interrupted(monkeypatch, 3), MySQLSource._rows

    def swapped(*given: Any) -> Any:
        if stage.struck:
            monkeypatch.setattr(MySQLSource, "_rows", rows)
            shop.sql("RENAME TABLE orders TO gone, loaded TO orders")
        yield from rows(*given)

    monkeypatch.setattr(MySQLSource, "_rows", swapped)
    assert AGAIN(table="orders").rows_inserted == ROWS

    assert "were staged by an earlier attempt" in caplog.text
    assert "is read again" in caplog.text
    assert shop.target("orders", "DISTINCT note", "note") == [("newer",)]
