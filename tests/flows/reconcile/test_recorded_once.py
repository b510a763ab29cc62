"""What was compared, and repaired, is kept once, whatever becomes of the answer to its COMMIT."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import date
from typing import Any

import pytest
from prefect.client.schemas.objects import State

from ferry.errors import ConnectionLostError, OutcomeUnknownError
from ferry.statements import PARAM, Statement
from flows.backfill_tables import backfill
from flows.reconcile_tables import reconcile
from tests.flows.reconcile.test_meanwhile import Noted
from tests.harness.api import eventually

pytestmark = pytest.mark.usefixtures("plain_runs")

DAYS = {"start_date": date(2023, 1, 1), "end_date": date(2023, 1, 4)}
SPEC = {"mode": "window", "key": ["id"], "cursor": "modified"}
FOUND = [("2023-01-01", None), ("2023-01-02", None), ("2023-01-03", None)]


@pytest.fixture
def shop(journey: Any) -> Any:
    """Three orders on three days, carried and compared; then one of them was altered in silence."""
    journey.sql(
        "CREATE TABLE orders (id INT NOT NULL PRIMARY KEY, note VARCHAR(9), modified DATETIME)"
    )
    rows = [(day, "n", f"2023-01-0{day} 12:00:00") for day in (1, 2, 3)]
    journey.sql("INSERT INTO orders VALUES (?, ?, ?)", rows)
    journey.write_specs(orders=SPEC)
    backfill(table="orders", **DAYS)
    run("none")  # makes the table of audits
    journey.sql("UPDATE orders SET note = 'x' WHERE id = 2")
    return journey


def run(repair: str) -> State[Any]:
    state: State[Any] = reconcile(table="orders", **DAYS, repair=repair, return_state=True)
    return state


def kept(shop: Any, state: State[Any]) -> list[tuple[str, int | None]]:
    """Of what the run has kept: the days, and how many rows were repaired."""
    rows: list[tuple[str, int | None]] = shop.warehouse.fetch(
        Statement(
            f"SELECT bucket, repaired FROM ferry.audits WHERE flow_run_id = {PARAM} "
            f"AND table_name = {PARAM} ORDER BY repaired IS NOT NULL, bucket",
            (str(state.state_details.flow_run_id), f"{shop.schema}.orders"),
        )
    )
    return rows


def when_it_ends(
    monkeypatch: pytest.MonkeyPatch, shop: Any, changes: str, nth: int, lost: Callable[[Any], None]
) -> None:
    """The nth transaction that changes this ends so; if it is over, the next one cannot begin."""
    kind, count = type(shop.warehouse), list[int]()
    transaction = kind.transaction

    @contextmanager
    def counted(warehouse: Any) -> Iterator[Any]:
        if len(count) == nth and lost is ExitStack.close:
            count.append(1)
            raise ConnectionLostError("the warehouse went away")
        with ExitStack() as own:
            tx = Noted(own.enter_context(transaction(warehouse)), [])
            yield tx
            if len(count) < nth and any(changes in each for each in tx.texts):
                count.append(1)
                if len(count) == nth:
                    lost(own)
                    raise OutcomeUnknownError("the answer to COMMIT was lost")

    monkeypatch.setattr(kind, "transaction", counted)


@pytest.mark.parametrize("nth", [1, 2])
def test_a_step_that_is_tried_again_replaces_what_it_had_kept(
    shop: Any, monkeypatch: pytest.MonkeyPatch, nth: int
) -> None:
    when_it_ends(monkeypatch, shop, '"audits"', nth, ExitStack.close)
    state = run("carry")
    assert state.is_completed(), state.message
    assert kept(shop, state) == [*FOUND, ("2023-01-02", 1)]


def test_a_change_that_landed_and_whose_step_is_tried_again_is_told(
    shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.write_specs(orders={**SPEC, "hard_deletes": "delete", "max_delete_percent": 100})
    shop.sql("DELETE FROM orders WHERE id = 2")
    when_it_ends(monkeypatch, shop, f'DELETE FROM "{shop.schema}"', 1, ExitStack.close)
    state = run("all")
    assert state.is_completed(), state.message
    assert "1 deletion applied; compared again: equal" in str(state.message)
    repairs = [each for each in shop.receipts("orders") if each.mode == "reconcile"]
    assert [each.rows_deleted for each in repairs] == [1]


@pytest.mark.parametrize("route", ["mysql-folder-postgres"], indirect=True)
def test_a_commit_that_goes_on_after_its_answer_was_lost_is_waited_for(
    shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    going_on, waited = list[threading.Thread](), list[bool]()

    def others_wait() -> bool:
        (waiting,) = shop.warehouse.fetch("SELECT COUNT(*) FROM pg_locks WHERE NOT granted")
        return bool(waiting[0])

    def goes_on(own: ExitStack) -> None:
        still_open = own.pop_all()

        def commit() -> None:
            with still_open:
                waited.append(eventually(others_wait, 10))

        going_on.append(threading.Thread(target=commit))
        going_on[0].start()

    when_it_ends(monkeypatch, shop, '"audits"', 1, goes_on)
    state = run("none")
    going_on[0].join()
    assert waited == [True]
    assert "1 changed" in str(state.message)
    assert kept(shop, state) == FOUND
