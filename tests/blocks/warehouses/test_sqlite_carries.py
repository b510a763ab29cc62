"""A table is carried into an engine that one file and one line have added."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from prefect.logging import disable_run_logger

from blocks import registry
from blocks.stages import FolderStage
from blocks.warehouses import DIALECTS
from ferry.receipts.receipt import Receipt
from ferry.summaries.build import Build
from ferry.summaries.files import parse_summary
from ferry.summaries.partitions import EVERYTHING, Span
from flows.sync_table import sync_table
from tasks.plan_summary import make_own_tables
from tasks.summarize import build_aside, check, publish
from tests.blocks.warehouses.sqlite_warehouse import SQLiteWarehouse
from tests.harness.journey import Journey

ORDERS = """CREATE TABLE orders (
  id BIGINT NOT NULL PRIMARY KEY,
  amount DECIMAL(14,2),
  paid BOOLEAN,
  due DATE,
  note VARCHAR(200),
  modified DATETIME NOT NULL
)"""
INSERT = "INSERT INTO orders (id, amount, paid, due, note, modified) VALUES (?, ?, ?, ?, ?, ?)"
FIRST, SECOND = date(2023, 1, 1), date(2023, 1, 2)


def order(number: int, day: int, note: str | None = "plain") -> tuple[Any, ...]:
    moment = f"2023-01-{day:02} 12:00:00.{number:06}"
    return (number, number + 0.25, number % 2, f"2023-02-{number:02}", note, moment)


def carried(number: int, day: int, note: str | None = "plain") -> tuple[Any, ...]:
    moment = datetime(2023, 1, day, 12, 0, 0, number)
    amount = Decimal(number) + Decimal("0.25")
    return (number, amount, bool(number % 2), date(2023, 2, number), note, moment)


def counts(receipt: Receipt) -> tuple[int, ...]:
    return (
        receipt.rows_extracted,
        receipt.rows_inserted,
        receipt.rows_updated,
        receipt.rows_deleted,
        receipt.rows_unchanged,
    )


@pytest.fixture
def shop(
    sqlite_source: Any,
    folder_stage: FolderStage,
    plain_runs: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Journey]:
    """A source with three rows of one day, and a warehouse that is in no list of the product's."""
    monkeypatch.setattr(registry, "WAREHOUSES", (SQLiteWarehouse,))
    monkeypatch.setenv("FERRY_TABLES", str(specs := tmp_path / "tables.yaml"))
    source, run = sqlite_source
    warehouse = SQLiteWarehouse(folder=tmp_path / "warehouse")
    shop = Journey(source, folder_stage, warehouse, run, specs, known_to_the_server=False)
    shop.sql(ORDERS)
    shop.sql(INSERT, [order(n, day=1) for n in (1, 2, 3)])
    with shop.of_this_process():
        yield shop


@pytest.fixture(params=[0, 1000], ids=["by files", "by INSERT"], autouse=True)
def specs(shop: Journey, request: pytest.FixtureRequest) -> dict[str, Any]:
    spec = {"mode": "window", "key": ["id"], "insert_rows": request.param}
    shop.write_specs(orders=spec)
    return spec


def test_a_first_load_arrives_value_for_value_and_again_changes_nothing(shop: Journey) -> None:
    first = sync_table(table="orders", run_date=FIRST)
    again = sync_table(table="orders", run_date=FIRST)

    assert shop.target("orders") == [carried(n, 1) for n in (1, 2, 3)]
    assert [type(value) for value in shop.target("orders")[0]] == [
        *(int, Decimal, bool, date, str, datetime)
    ]
    assert counts(first) == (3, 3, 0, 0, 0)
    assert counts(again) == (3, 0, 0, 0, 3)
    assert shop.receipts("orders") == [first, again]
    assert shop.leftovers() == set()


def test_changed_rows_are_replaced_new_ones_inserted_and_equal_ones_left(shop: Journey) -> None:
    sync_table(table="orders", run_date=FIRST)
    shop.sql(
        "UPDATE orders SET note = ?, modified = ? WHERE id = ?", [(*order(2, 1, "new")[4:], 2)]
    )
    shop.sql(INSERT, [order(4, 1, None)])

    receipt = sync_table(table="orders", run_date=FIRST)

    rows = [carried(1, 1), carried(2, 1, "new"), carried(3, 1), carried(4, 1, None)]
    assert shop.target("orders") == rows
    assert counts(receipt) == (4, 1, 1, 0, 2)


def test_an_older_version_never_replaces_a_newer_one(shop: Journey) -> None:
    sync_table(table="orders", run_date=FIRST)
    shop.sql("UPDATE orders SET note = 'newer', modified = '2023-01-02 08:00:00' WHERE id = 2")
    assert counts(sync_table(table="orders", run_date=SECOND)) == (1, 0, 1, 0, 0)
    shop.sql("UPDATE orders SET note = 'older', modified = '2023-01-01 08:00:00' WHERE id = 2")

    assert counts(sync_table(table="orders", run_date=FIRST)) == (3, 0, 0, 0, 3)
    assert shop.target("orders", "note") == [("plain",), ("newer",), ("plain",)]


def test_rows_marked_as_deleted_go(shop: Journey, specs: dict[str, Any]) -> None:
    marks = {"soft_deletes": "apply", "deleted_column": "amount", "deleted_values": [7]}
    shop.write_specs(orders={**specs, **marks})
    sync_table(table="orders", run_date=FIRST)
    shop.sql("UPDATE orders SET amount = 7, modified = '2023-01-02 08:00:00' WHERE id = 2")

    assert counts(sync_table(table="orders", run_date=SECOND)) == (1, 0, 0, 1, 0)
    assert shop.target("orders") == [carried(1, 1), carried(3, 1)]


def test_a_full_copy_is_the_source_as_it_is(shop: Journey) -> None:
    sync_table(table="orders", run_date=FIRST)
    shop.sql("DELETE FROM orders WHERE id = 1")
    shop.sql(INSERT, [order(5, 2)])

    receipt = sync_table(table="orders", mode="full")

    assert shop.target("orders") == [carried(2, 1), carried(3, 1), carried(5, 2)]
    assert counts(receipt) == (3, 3, 0, 3, 0)


def test_a_new_column_is_added_and_older_rows_have_no_value_in_it(shop: Journey) -> None:
    sync_table(table="orders", run_date=FIRST)
    shop.sql("ALTER TABLE orders ADD COLUMN share DECIMAL(6,3)")
    shop.sql(INSERT, [order(4, 2)])
    shop.sql("UPDATE orders SET share = 0.125 WHERE id = 4")

    receipt = sync_table(table="orders", run_date=SECOND)

    assert counts(receipt) == (1, 1, 0, 0, 0)
    assert shop.target("orders", "share") == [(None,)] * 3 + [(Decimal("0.125"),)]


SUMMARY = """
schema: {schema}
owner: a test
description: How many orders are due on a day.
publish: by_window
partition: {{column: due, by: day}}
grain: [due]
reads:
  {schema}.orders: {{column: due}}
columns:
  due: {{type: date, description: The day.}}
  orders: {{type: bigint, description: How many.}}
  total: {{type: "decimal(14,2)", description: The highest amount.}}
output_check:
  - not_null: [orders, total]
  - bounds: total
    min: 1
"""
QUERY = """SELECT due, COUNT(*) AS orders, MAX(amount) AS total FROM {schema}.orders
WHERE due >= :window_start AND due < :window_end GROUP BY due"""


def test_a_summary_of_it_is_built_checked_and_published_by_days(shop: Journey) -> None:
    sync_table(table="orders", run_date=FIRST)
    texts = {"summary.yaml": SUMMARY, "query.sql": QUERY}
    files = {name: text.format(schema=shop.schema) for name, text in texts.items()}
    spec = parse_summary("due_days", files, DIALECTS)
    make_own_tables(shop.warehouse)

    def published(before: int, *days: int) -> tuple[int, int]:
        spans = tuple(Span(datetime(2023, 2, n), datetime(2023, 2, n + 1)) for n in days)
        build = Build(spec, spans or (EVERYTHING,), (), before, "a-flow-run")
        with disable_run_logger():
            built = build_aside.fn(build, shop.warehouse)
            results = check.fn(build, "output_check", built, shop.warehouse)
            publication = publish.fn(built, results, shop.warehouse)
        return publication.rows_published, publication.rows_replaced

    assert published(0) == (3, 0)
    # A day's bounds are moments: the first of them is in it, the last one is not.
    assert published(1, 2) == (1, 1)
    days = [(date(2023, 2, n), 1, Decimal(n) + Decimal("0.25")) for n in (1, 2, 3)]
    assert shop.target("due_days", order="due") == days


def test_names_are_quoted_as_the_engine_quotes_them(
    shop: Journey, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync_table(table="orders", run_date=FIRST)
    shop.sql("UPDATE orders SET note = 'new' WHERE id = 2")
    sent: list[str] = []
    connect = sqlite3.connect

    def traced(*args: Any, **kwargs: Any) -> sqlite3.Connection:
        connection = connect(*args, **kwargs)
        connection.set_trace_callback(sent.append)
        return connection

    with monkeypatch.context() as patched:
        patched.setattr(sqlite3, "connect", traced)
        sync_table(table="orders", run_date=FIRST)
    target, staging = f"`{shop.schema}`.`orders`", "`ferry`.`stg_[^`]+`"
    for one, other in ((staging, target), (target, staging)):
        delete = re.compile(f"DELETE FROM {one} WHERE EXISTS \\(SELECT 1 FROM {other} WHERE ")
        assert any(map(delete.match, sent)), one
    names = [re.sub(r"'(?:[^']|'')*'", "", each) for each in sent if "`" in each]
    assert [each for each in names if '"' in each] == []


def test_rows_and_receipt_land_together_or_not_at_all(shop: Journey) -> None:
    sync_table(table="orders", run_date=FIRST)
    with pytest.raises(KeyboardInterrupt), shop.warehouse.transaction() as tx:
        tx.execute(f'DELETE FROM "{shop.schema}"."orders"')
        tx.execute("DELETE FROM ferry.receipts")
        raise KeyboardInterrupt
    assert len(shop.target("orders")) == 3
    assert len(shop.receipts("orders")) == 1
