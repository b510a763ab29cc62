"""A staging table that loses its rows, as an unlogged one does when the server crashes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from importlib import import_module
from typing import Any

import pytest

from ferry.errors import StaleReadError
from ferry.schema import TableName
from flows.backfill_tables import backfill
from flows.sync_table import sync_table

pytestmark = [
    pytest.mark.usefixtures("plain_runs"),
    pytest.mark.parametrize(
        "route", ["sqlite-folder-duckdb", "mysql-folder-postgres"], indirect=True
    ),
]

KEYED = {"mode": "window", "key": ["id"], "cursor": "modified"}
WAYS = {
    "window": KEYED,
    "watermark": {**KEYED, "mode": "watermark"},
    "append": {"mode": "watermark", "cursor": "modified"},
    "full": {"mode": "full"},
}
DAY = date(2023, 1, 1)


@pytest.fixture
def shop(journey: Any) -> Any:
    journey.sql(
        "CREATE TABLE orders (id INT NOT NULL PRIMARY KEY, note VARCHAR(9), modified DATETIME NULL)"
    )
    journey.sql("INSERT INTO orders VALUES (1, 'a', '2023-01-01 10:00:00')")
    journey.sql("INSERT INTO orders VALUES (2, 'b', '2023-01-01 11:00:00')")
    return journey


def emptied(monkeypatch: pytest.MonkeyPatch, shop: Any, *, before: str, times: int) -> None:
    """Let staging tables lose their rows before the target is prepared, or the sums are taken."""
    module = import_module("tasks.upsert" if before == "prepare_target" else "tasks.copy_in")
    what: Callable[..., Any] = getattr(module, before)
    left = [times]

    def after_a_crash(*args: Any) -> Any:
        if left[0]:
            left[0] -= 1
            for name in shop.leftovers():
                table = TableName("ferry", name)
                shop.warehouse.execute(f'DELETE FROM "{table.schema}"."{table.name}"')
        return what(*args)

    monkeypatch.setattr(module, before, after_a_crash)


def carried(way: str) -> Any:
    return sync_table(table="orders", **({"run_date": DAY} if way == "window" else {}))


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("way", WAYS)
def test_a_staging_table_that_lost_its_rows_is_read_again(
    shop: Any, monkeypatch: pytest.MonkeyPatch, way: str, first: bool
) -> None:
    shop.write_specs(orders=WAYS[way])
    if not first:
        carried(way)
        shop.sql("UPDATE orders SET note = 'new' WHERE id = 2")
        shop.sql("INSERT INTO orders VALUES (3, 'c', '2023-01-01 12:00:00')")
    emptied(monkeypatch, shop, before="prepare_target", times=1)
    receipt = carried(way)
    notes = [("a",), ("b",)] if first else [("a",), ("new",), ("c",)]
    assert shop.target("orders", "note") == notes
    assert receipt.rows_extracted == receipt.rows_copied
    assert len(shop.receipts("orders")) == (1 if first else 2)
    assert shop.leftovers() == set()


def test_the_windows_of_a_backfill_whose_staging_table_lost_its_rows_land(
    shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.sql("INSERT INTO orders VALUES (3, 'c', '2023-01-02 10:00:00')")
    shop.write_specs(orders=KEYED)
    emptied(monkeypatch, shop, before="prepare_target", times=1)
    backfill(table="orders", start_date=DAY, end_date=date(2023, 1, 3))
    assert shop.target("orders", "note") == [("a",), ("b",), ("c",)]
    assert [each.rows_copied for each in shop.receipts("orders")] == [2, 1]


def test_one_that_loses_its_rows_again_and_again_fails_and_changes_nothing(
    shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.write_specs(orders=KEYED)
    carried("window")
    shop.sql("UPDATE orders SET note = 'new'")
    emptied(monkeypatch, shop, before="prepare_target", times=99)
    with pytest.raises(
        StaleReadError, match=r"upsert .*has lost its rows.*2 rows.*[Rr]un it again"
    ):
        carried("window")
    assert shop.target("orders", "note") == [("a",), ("b",)]
    assert shop.leftovers() == set()


@pytest.mark.parametrize("insert_rows", [0, 50])
def test_one_that_loses_its_rows_while_it_is_copied_is_copied_again(
    shop: Any, monkeypatch: pytest.MonkeyPatch, insert_rows: int
) -> None:
    shop.write_specs(orders={**KEYED, "insert_rows": insert_rows})
    emptied(monkeypatch, shop, before="_sums", times=1)
    carried("window")
    assert shop.target("orders", "note") == [("a",), ("b",)]
    assert shop.leftovers() == set()
