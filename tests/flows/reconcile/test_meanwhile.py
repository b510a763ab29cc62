"""What lands while a table is compared and repaired is not set back, and is counted once."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import pytest
from prefect.client.schemas.objects import State

from blocks.warehouse import Warehouse
from ferry.errors import OutcomeUnknownError
from ferry.receipts.table import rows_held
from ferry.schema import TableName
from ferry.statements import PARAM, Statement
from flows.backfill_tables import backfill
from flows.reconcile_tables import reconcile
from flows.sync_table import sync_table
from tasks.audits.compare import _Comparison
from tasks.audits.remove import remove_rows
from tasks.audits.sides import End
from tests.harness.api import eventually

pytestmark = pytest.mark.usefixtures("plain_runs")

DAYS = {"start_date": date(2023, 1, 1), "end_date": date(2023, 1, 4)}
SPEC = {"mode": "window", "key": ["id"], "cursor": "modified"}
OWN_MARK = {
    **SPEC,
    "deleted_column": "own",
    "target_only": ["own"],
    "hard_deletes": "mark",
    "max_delete_percent": 50,
}
THIRD = datetime(2023, 1, 3, 15)


@pytest.fixture
def shop(journey: Any) -> Any:
    """Nine orders on three days, carried."""
    journey.sql(
        "CREATE TABLE orders (id INT NOT NULL PRIMARY KEY, note VARCHAR(9), modified DATETIME)"
    )
    rows = [
        (10 * day + n, f"n{n}", f"2023-01-0{day} 12:00:0{n}")
        for day in (1, 2, 3)
        for n in (1, 2, 3)
    ]
    journey.sql("INSERT INTO orders VALUES (?, ?, ?)", rows)
    journey.write_specs(orders=SPEC)
    backfill(table="orders", **DAYS)
    return journey


def run(repair: str) -> State[Any]:
    state: State[Any] = reconcile(table="orders", **DAYS, repair=repair, return_state=True)
    return state


def in_target(shop: Any, statement: str, *values: object) -> None:
    table = f'"{shop.schema}"."orders"'
    shop.warehouse.execute(Statement(statement.format(table), values))


def changed_and_landed(shop: Any) -> None:
    """The row has a newer version, of another day, and it has landed."""
    shop.sql("UPDATE orders SET note = 'new', modified = ? WHERE id = 12", [(str(THIRD),)])
    sync_table(table="orders", run_date=THIRD.date())


def between_the_reads(monkeypatch: pytest.MonkeyPatch, then: Callable[[], None]) -> None:
    """This happens when the source has answered what it has of the rows, and the target has not."""
    rows_of, waiting = End.rows_of, [then]

    def in_turn(comparison: Any, question: Any) -> Any:
        return question(comparison.sides.source), question(comparison.sides.target)

    def asked(end: Any, keys: Any) -> Any:
        if isinstance(end.block, Warehouse) and waiting:
            waiting.pop()()
        return rows_of(end, keys)

    monkeypatch.setattr(_Comparison, "_both", in_turn)
    monkeypatch.setattr(End, "rows_of", asked)


def test_a_newer_row_that_lands_between_the_two_reads_is_not_set_back(
    shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_target(shop, f"UPDATE {{}} SET note = 'x' WHERE id = {PARAM}", 12)
    between_the_reads(monkeypatch, lambda: changed_and_landed(shop))
    state = run("carry")
    assert shop.target("orders", "note, modified")[1] == ("new", THIRD)
    assert state.is_completed(), state.message
    assert not [each for each in shop.receipts("orders") if each.mode == "reconcile"]


def test_a_row_that_goes_again_between_the_two_reads_keeps_its_mark(
    shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_target(shop, "ALTER TABLE {} ADD COLUMN own BOOLEAN")
    shop.write_specs(orders=OWN_MARK)
    shop.sql("DELETE FROM orders WHERE id = 12")
    assert run("all").is_completed()
    shop.sql("INSERT INTO orders VALUES (12, 'n2', '2023-01-01 12:00:02')")
    between_the_reads(monkeypatch, lambda: shop.sql("DELETE FROM orders WHERE id = 12"))
    state = run("all")
    assert shop.target("orders", "own")[:3] == [(None,), (True,), (None,)]
    assert state.is_completed(), state.message


def committed_when_its_answer_is_lost(
    monkeypatch: pytest.MonkeyPatch, shop: Any, others_wait: Callable[[], bool]
) -> list[bool]:
    """The first repair's COMMIT goes on after its answer was lost, until others wait for it."""
    kind, lost, waited = type(shop.warehouse), list[threading.Thread](), list[bool]()
    transaction = kind.transaction

    @contextmanager
    def answer_lost(warehouse: Any) -> Iterator[Any]:
        with ExitStack() as own:
            statements = list[str]()
            yield Noted(own.enter_context(transaction(warehouse)), statements)
            repairs = any(f'"{shop.schema}"."orders"' in each for each in statements)
            if lost or not repairs or not any("receipts" in each for each in statements):
                return
            still_open = own.pop_all()

        def commit() -> None:
            with still_open:
                waited.append(eventually(others_wait, 30))

        lost.append(threading.Thread(target=commit))
        lost[0].start()
        raise OutcomeUnknownError("the answer to COMMIT was lost")

    monkeypatch.setattr(kind, "transaction", answer_lost)
    return waited


@dataclass
class Noted:
    """A transaction, and the texts of what changes something in it."""

    own: Any
    texts: list[str]

    def execute(self, statement: Any) -> int:
        self.texts.append(str(getattr(statement, "sql", statement)))
        return int(self.own.execute(statement))

    def fetch(self, statement: Any) -> Any:
        return self.own.fetch(statement)


@pytest.mark.parametrize("route", ["mysql-folder-postgres"], indirect=True)
def test_a_repair_whose_commit_goes_on_after_its_answer_was_lost_is_found_and_told(
    shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.write_specs(orders={**SPEC, "hard_deletes": "delete", "max_delete_percent": 50})
    shop.sql("DELETE FROM orders WHERE id = 12")

    def others_wait() -> bool:
        (waiting,) = shop.warehouse.fetch("SELECT COUNT(*) FROM pg_locks WHERE NOT granted")
        return bool(waiting[0])

    waited = committed_when_its_answer_is_lost(monkeypatch, shop, others_wait)
    state = run("all")
    assert waited == [True]
    assert state.is_completed(), state.message
    assert "1 deletion applied; compared again: equal" in str(state.message)
    repairs = [each for each in shop.receipts("orders") if each.mode == "reconcile"]
    assert [each.rows_deleted for each in repairs] == [1]


@pytest.mark.parametrize("route", ["mysql-folder-postgres"], indirect=True)
def test_a_repair_after_a_copy_of_a_worker_whose_clock_is_ahead_is_dated_after_it(
    shop: Any,
) -> None:
    """Else nobody would count what it took out: what was emptied rightly would pass for lost."""
    shop.write_specs(orders={**SPEC, "hard_deletes": "delete", "max_delete_percent": 50})
    copied = sync_table(table="orders", mode="full")
    ahead = copied.finished_at + timedelta(minutes=10)
    dated = f"UPDATE ferry.receipts SET finished_at = {PARAM} WHERE batch_id = {PARAM}"
    shop.warehouse.execute(Statement(dated, (ahead, copied.batch_id)))
    shop.sql("DELETE FROM orders WHERE id IN (11, 21, 31)")
    assert run("all").is_completed()
    repairs = [each for each in shop.receipts("orders") if each.mode == "reconcile"]
    assert sum(each.rows_deleted for each in repairs) == 3
    assert all(each.finished_at > ahead for each in repairs)
    assert rows_held(shop.warehouse, TableName(shop.schema, "orders")) == 6
    assert len(shop.target("orders")) == 6


@pytest.mark.parametrize("landings", [1, 3])
def test_a_newer_row_that_lands_after_the_rows_were_looked_up_is_not_set_back(
    shop: Any, monkeypatch: pytest.MonkeyPatch, landings: int
) -> None:
    shop.write_specs(orders={**SPEC, "retries": 0})
    in_target(shop, f"UPDATE {{}} SET note = 'x', modified = {PARAM} WHERE id = 12", THIRD)
    module = sys.modules[remove_rows.fn.__module__]
    still_other, looks = module._still_other, list[int]()

    def lands(sides: Any, rows: Any) -> Any:
        left = still_other(sides, rows)
        looks.append(len(left))
        if len(looks) == 1:
            changed_and_landed(shop)
        elif len(looks) <= landings:
            sync_table(table="orders", run_date=date(2023, 1, 2))
            return rows  # as if these were to be changed, too
        return left

    monkeypatch.setattr(module, "_still_other", lands)
    state = run("carry")
    assert shop.target("orders", "note, modified")[1] == ("new", THIRD)
    assert looks == [1, 0, 0]  # the last for the other day that it differed in, or for the first
    if landings == 3:
        assert "batches of the table landed since its rows were looked up" in (state.message or "")
    else:
        assert state.is_completed(), state.message
