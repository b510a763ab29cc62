"""reconcile of a table of which rows are left behind whose cursor is no date or no number."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from prefect.client.schemas.objects import State, StateType

from ferry.statements import PARAM, Statement
from flows.backfill_tables import backfill
from flows.reconcile_tables import reconcile
from flows.sync_table import sync_table

pytestmark = [
    pytest.mark.usefixtures("plain_runs"),
    pytest.mark.parametrize("route", ["sqlite-folder-duckdb"], indirect=True),
]

DAYS = {"start_date": date(2023, 1, 1), "end_date": date(2023, 1, 3)}
WINDOW = {"mode": "window", "key": ["id"], "cursor": "modified"}


@pytest.fixture
def shop(journey: Any) -> Any:
    """Two orders, and more whose cursor SQLite takes, though it is no date."""
    journey.sql("CREATE TABLE orders (id INT NOT NULL PRIMARY KEY, note TEXT, modified DATETIME)")
    journey.sql(
        "INSERT INTO orders VALUES (?, ?, ?)",
        [
            (1, "one", "2023-01-01T12:00:00"),
            (2, "two", "2023-01-02 12:00:00"),
            *((3 + n, "none", cursor) for n, cursor in enumerate(["", "05.01.2023", 1.5, None])),
        ],
    )
    return journey


def told(state: State[Any]) -> str:
    return str(state.message).partition("orders: ")[2].partition(". ")[0]


def compared(**parameters: Any) -> State[Any]:
    state: State[Any] = reconcile(table="orders", **parameters, return_state=True)
    return state


def test_rows_that_are_left_behind_for_their_cursor_are_compared_by_no_day(shop: Any) -> None:
    shop.write_specs(orders={**WINDOW, "null_cursors": "ignore"})
    backfill(table="orders", **DAYS)
    for days in (DAYS, {}):
        assert told(compared(**days)) == "2 days compared, 2 rows, equal"
    # One that had been carried before, so that both sides are asked for its key.
    shop.sql("UPDATE orders SET modified = '' WHERE id = 2")
    assert told(compared(**DAYS)) == "2 days compared, 2 rows, equal, 1 pending"
    update = f'UPDATE "{shop.schema}"."orders" SET note = {PARAM} WHERE id = 1'
    shop.warehouse.execute(Statement(update, ("x",)))
    state = compared(**DAYS, repair="carry")
    assert state.type is StateType.COMPLETED, state.message
    assert shop.target("orders", "id, note") == [(1, "one"), (2, "two")]


def test_so_are_rows_whose_number_is_none(shop: Any) -> None:
    shop.sql("CREATE TABLE moves (id INT NOT NULL PRIMARY KEY, revision INT)")
    shop.sql("INSERT INTO moves VALUES (?, ?)", [(1, 1), (2, "x"), (3, ""), (4, 1.5)])
    spec = {"mode": "watermark", "key": ["id"], "cursor": "revision", "null_cursors": "ignore"}
    shop.write_specs(moves=spec)
    sync_table(table="moves")
    state: State[Any] = reconcile(table="moves", return_state=True)
    assert str(state.message).partition("moves: ")[2] == "all compared, 4 rows, equal, 3 pending"


def test_rows_that_are_not_to_be_left_behind_are_refused(shop: Any) -> None:
    shop.write_specs(orders=WINDOW)
    shop.sql("DELETE FROM orders WHERE id > 2")
    backfill(table="orders", **DAYS)
    shop.sql("INSERT INTO orders VALUES (3, 'none', '')")
    state = compared(**DAYS)
    assert state.type is StateType.FAILED
    assert "declared type" in str(state.message)
