"""Rows that commit after their window was read: a window is complete when it has settled."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from flows.backfill_tables import backfill
from flows.sync_table import sync_table

HOURLY = {"mode": "window", "key": ["id"], "every": "hour"}
TEN, ELEVEN = datetime(2023, 1, 5, 10, tzinfo=UTC), datetime(2023, 1, 5, 11, tzinfo=UTC)


@pytest.fixture
def shop(journey: Any) -> Any:
    """One sale at ten o'clock."""
    journey.sql("CREATE TABLE sales (id INT NOT NULL PRIMARY KEY, modified DATETIME NOT NULL)")
    journey.sql("INSERT INTO sales VALUES (?, ?)", [(1, "2023-01-05 10:00:00")])
    journey.write_specs(sales=HOURLY)
    return journey


@contextmanager
def late_sale(shop: Any, request: pytest.FixtureRequest, at: str) -> Iterator[None]:
    """A sale in a transaction of its own, which commits at the end of the block."""
    insert = f"INSERT INTO sales VALUES (2, '{at}')"
    if hasattr(shop.source, "path"):
        connection: Any = sqlite3.connect(shop.source.path, isolation_level=None)
        connection.execute("BEGIN")
        connection.execute(insert)
    else:
        connection = request.getfixturevalue("mariadb").connect(database=shop.source.database)
        connection.cursor().execute(insert)
    yield
    connection.commit()
    connection.close()


@pytest.fixture
def clock(shop: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[datetime], None]:
    """Sets the source's clock."""

    def set_clock(moment: datetime) -> None:
        monkeypatch.setattr(type(shop.source), "now", lambda _: moment)

    return set_clock


def test_a_row_that_commits_after_its_hour_was_read_is_missing_and_the_backfill_brings_it(
    shop: Any, clock: Any, request: pytest.FixtureRequest
) -> None:
    clock(ELEVEN + timedelta(seconds=10))
    with late_sale(shop, request, at="2023-01-05 10:59:59"):
        receipt = sync_table(table="sales", window_start=TEN, window_end=ELEVEN)
    assert receipt.rows_extracted == 1
    assert receipt.read_at == ELEVEN + timedelta(seconds=10)
    assert receipt.complete_until == receipt.read_at - timedelta(seconds=300)
    assert shop.receipts("sales") == [receipt]

    clock(ELEVEN + timedelta(hours=1))
    days = {"start_date": date(2023, 1, 5), "end_date": date(2023, 1, 6), "step": "hour"}
    backfill(table="sales", **days)

    assert shop.target("sales", "id") == [(1,), (2,)]
    hours = [r.window_start.astimezone(UTC).hour for r in shop.receipts("sales")]
    assert hours.count(10) == 2
    backfill(table="sales", **days)
    again = [r.window_start.astimezone(UTC).hour for r in shop.receipts("sales")]
    assert again.count(10) == 2  # it has settled


def test_what_settles_is_by_the_source_clock_and_by_the_table_s_own_word(
    shop: Any, clock: Any
) -> None:
    now = datetime.now(UTC)
    clock(now - timedelta(days=400))
    shop.write_specs(sales={**HOURLY, "every": "day"})
    daily = sync_table(table="sales", run_date=date(2023, 1, 5))
    shop.write_specs(sales={**HOURLY, "settle": 3600})
    slow = sync_table(table="sales", run_date=date(2023, 1, 5))
    full = sync_table(table="sales", mode="full")
    shop.write_specs(sales={"mode": "full"})
    copied = sync_table(table="sales")
    settled = [r.read_at - r.complete_until for r in (daily, slow, full, copied)]
    assert settled == [timedelta(seconds=s) for s in (0, 3600, 3600, 0)]
    assert {r.read_at for r in (daily, slow, full, copied)} == {now - timedelta(days=400)}
