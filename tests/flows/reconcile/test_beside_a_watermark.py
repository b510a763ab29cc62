"""A watermark run beside a repair of the same table, which makes what it reads stale for long."""

from __future__ import annotations

import sys
import threading
import time
from contextvars import copy_context
from datetime import date
from types import SimpleNamespace
from typing import Any

import pytest
from prefect.logging import disable_run_logger

from flows.backfill_tables import backfill
from flows.reconcile_tables import reconcile
from flows.sync_table import sync_table
from tasks.audits.remove import remove_rows
from tasks.landed import quiet
from tests.harness.api import eventually

pytestmark = pytest.mark.usefixtures("plain_runs")

DAYS = {"start_date": date(2023, 1, 1), "end_date": date(2023, 1, 31)}
SPEC = {"mode": "watermark", "key": ["id"], "cursor": "modified", "hard_deletes": "delete"}


@pytest.fixture
def shop(journey: Any) -> Any:
    """Two orders on each of 30 days, carried; then one of each day was deleted for good."""
    journey.sql(
        "CREATE TABLE orders (id INT NOT NULL PRIMARY KEY, note VARCHAR(9), modified DATETIME)"
    )
    rows = [
        (10 * day + n, note, f"2023-01-{day:02} 12:00:00")
        for day in range(1, 31)
        for n, note in ((1, "stays"), (2, "goes"))
    ]
    journey.sql("INSERT INTO orders VALUES (?, ?, ?)", rows)
    journey.write_specs(orders=SPEC)
    backfill(table="orders", **DAYS)
    journey.sql("DELETE FROM orders WHERE note = 'goes'")
    return journey


@pytest.mark.parametrize("route", ["sqlite-folder-duckdb", "mysql-folder-postgres"], indirect=True)
def test_a_watermark_run_waits_for_a_long_repair_that_makes_it_stale_again_and_again(
    shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, kind, removed = sys.modules[remove_rows.fn.__module__], type(shop.source), list[int]()
    still_gone, read, states = module._still_gone, kind.read, list[Any]()

    def slowly(sides: Any, rows: Any) -> Any:
        time.sleep(0.2)
        removed.append(len(rows))
        return still_gone(sides, rows)

    def reads_for_longer(*args: Any) -> Any:
        reads.append(count := len(removed))  # and meanwhile the repair goes on
        assert eventually(lambda: len(removed) >= count + 5 or not repairing.is_alive(), 60)
        yield from read(*args)

    def repair() -> None:
        states.append(
            reconcile(
                table="orders", **DAYS, repair="all", max_delete_percent=50, return_state=True
            )
        )

    reads = list[int]()
    monkeypatch.setattr(module, "_still_gone", slowly)
    repairing = threading.Thread(target=copy_context().run, args=(repair,))
    repairing.start()
    assert eventually(lambda: bool(removed), 60)
    monkeypatch.setattr(kind, "read", reads_for_longer)
    shop.sql("INSERT INTO orders VALUES (999, 'new', '2023-01-31 12:00:00')")
    receipt = sync_table(table="orders")
    repairing.join()
    assert states[0].is_completed(), states[0].message
    assert receipt.rows_inserted == 1
    assert shop.target("orders", "id") == [*((10 * day + 1,) for day in range(1, 31)), (999,)]
    assert len(reads) <= 4 and reads[1] < len(removed), reads  # it was there while that went on


@pytest.mark.parametrize("stops", [False, True])
def test_what_never_becomes_quiet_is_waited_for_up_to_a_bound(
    monkeypatch: pytest.MonkeyPatch, stops: bool
) -> None:
    clock, landings = [0.0], list[int]()

    def landed(*_: Any) -> tuple[int, ...]:
        landings.append(1)
        return (len(landings),)

    monkeypatch.setattr(quiet, "_landed", landed)
    watch = SimpleNamespace(
        monotonic=lambda: clock[0], sleep=lambda seconds: clock.append(clock.pop() + seconds)
    )
    monkeypatch.setattr(quiet, "time", watch)
    any_: Any = None
    with disable_run_logger():
        quiet.wait_until_quiet(any_, any_, 300, lambda: stops and clock[0] >= 60)
    assert clock[0] == (60 if stops else quiet.MOST_WAIT_SECONDS)
