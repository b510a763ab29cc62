"""reconcile: what a source and its target do not have alike is found, and repaired."""

from __future__ import annotations

import sys
from datetime import UTC, date, datetime
from typing import Any

import pytest
from prefect.client.schemas.objects import State, StateType

from ferry.statements import PARAM, Statement
from flows.backfill_tables import backfill
from flows.reconcile_tables import reconcile
from flows.show_coverage import show_coverage
from flows.sync_table import sync_table
from tasks.audits import compare
from tasks.audits.remove import remove_rows
from tests.harness.plain_runs import pages_of

pytestmark = pytest.mark.usefixtures("plain_runs")

JANUARY = {"start_date": date(2023, 1, 1), "end_date": date(2023, 1, 6)}
EMBEDDED = pytest.mark.parametrize("route", ["sqlite-folder-duckdb"], indirect=True)
ORDERS = {"mode": "window", "key": ["id"], "cursor": "modified", "insert_rows": 0}


@pytest.fixture
def shop(journey: Any) -> Any:
    """Ten orders on each of the first five days of 2023, carried."""
    journey.sql(
        "CREATE TABLE orders (id INT NOT NULL PRIMARY KEY, note VARCHAR(99), price DECIMAL(10,2), "
        "modified DATETIME NOT NULL)"
    )
    rows = [
        (10 * day + n, f"n{n}" if n else None, n / 4, f"2023-01-{day:02} 12:00:0{n}")
        for day in range(1, 6)
        for n in range(10)
    ]
    journey.sql("INSERT INTO orders VALUES (?, ?, ?, ?)", rows)
    journey.write_specs(orders=ORDERS)
    backfill(table="orders", **JANUARY)
    return journey


def run(**parameters: Any) -> State[Any]:
    state: State[Any] = reconcile(**parameters, return_state=True)
    return state


def in_target(shop: Any, statement: str, *values: object) -> int:
    table = f'"{shop.schema}"."orders"'
    return int(shop.warehouse.execute(Statement(statement.format(table), values)))


def audits(shop: Any) -> list[Any]:
    rows: list[Any] = shop.warehouse.fetch(
        Statement(
            "SELECT bucket, source_rows, target_rows, missing, changed, extra, pending, repaired "
            f"FROM ferry.audits WHERE table_name = {PARAM} ORDER BY audited_at, bucket",
            (f"{shop.schema}.orders",),
        )
    )
    return rows


def drift(shop: Any) -> None:
    """A row deleted for good, one committed late, one altered and one lost in the warehouse."""
    shop.sql("DELETE FROM orders WHERE id = 23")
    shop.sql("INSERT INTO orders VALUES (99, 'late', 1, '2023-01-04 08:00:00')")
    assert in_target(shop, f"UPDATE {{}} SET price = 99 WHERE id = {PARAM}", 31) == 1
    assert in_target(shop, f"DELETE FROM {{}} WHERE id = {PARAM}", 55) == 1


@pytest.mark.parametrize("landings", [1, 3])
def test_a_row_that_comes_back_and_lands_while_others_are_looked_up_stays(
    shop: Any, monkeypatch: pytest.MonkeyPatch, landings: int
) -> None:
    shop.write_specs(orders={**ORDERS, "hard_deletes": "delete"})
    shop.sql("DELETE FROM orders WHERE id IN (23, 24)")
    module = sys.modules[remove_rows.fn.__module__]
    still_gone, looks = module._still_gone, list[int]()

    def comes_back(sides: Any, rows: Any) -> Any:
        gone = still_gone(sides, rows)
        looks.append(len(gone))
        if len(looks) == 1:
            shop.sql("INSERT INTO orders VALUES (23, 'back', 1, '2023-01-04 08:00:00')")
        if len(looks) <= landings:
            sync_table(table="orders", run_date=date(2023, 1, 4))
        return gone

    monkeypatch.setattr(module, "_still_gone", comes_back)
    state = run(table="orders", **JANUARY, repair="all")
    there = {row[0] for row in shop.target("orders", "id")}
    assert 23 in there
    assert (24 in there) is (landings == 3)
    assert looks == ([2, 1] if landings == 1 else [2, 1, 1])
    if landings == 3:
        assert "batches of the table landed since its rows were looked up" in (state.message or "")


def test_what_was_carried_is_equal(shop: Any) -> None:
    state = run(table="orders", **JANUARY)
    assert state.type is StateType.COMPLETED
    assert state.message == f"{shop.schema}.orders: 5 days compared, 50 rows, equal"
    assert audits(shop) == [(f"2023-01-{day:02}", 10, 10, 0, 0, 0, 0, None) for day in range(1, 6)]


def test_what_differs_is_told_with_the_command_that_repairs_it(shop: Any) -> None:
    drift(shop)
    state = run(table="orders", **JANUARY)
    assert state.type is StateType.FAILED
    assert str(state.message) == (
        f"{shop.schema}.orders: 5 days compared, 51 rows, 4 days differ: 2 missing, 1 changed, "
        "1 deleted at the source. To repair: prefect deployment run 'reconcile/on-demand' --param "
        "table=orders --param start_date=2023-01-02 --param end_date=2023-01-06 --param zone=UTC "
        "--param repair=carry"
    )
    assert audits(shop) == [
        ("2023-01-01", 10, 10, 0, 0, 0, 0, None),
        ("2023-01-02", 9, 10, 0, 0, 1, 0, None),
        ("2023-01-03", 10, 10, 0, 1, 0, 0, None),
        ("2023-01-04", 11, 10, 1, 0, 0, 0, None),
        ("2023-01-05", 10, 9, 1, 0, 0, 0, None),
    ]
    page = pages_of(state)["reconcile"]
    assert "| 2023-01-04 | 11 | 10 | 1 | 0 | 0 | 0 |" in page
    assert "`show_keys: true`" in page and "- missing: " not in page
    shop.write_specs(orders={**ORDERS, "show_keys": True})
    state = run(table="orders", **JANUARY)
    page = pages_of(state)["reconcile"]
    for line in ("missing: 99", "missing: 55", "changed: 31", "extra: 23"):
        assert f"- {line}" in page


def test_it_is_repaired_and_compared_again(shop: Any) -> None:
    drift(shop)
    before = len(shop.receipts("orders"))
    shop.write_specs(orders={**ORDERS, "hard_deletes": "delete"})
    state = run(table="orders", **JANUARY, repair="all")
    assert state.type is StateType.COMPLETED, state.message
    told = f"{shop.schema}.orders: 3 windows carried again, 1 deletion applied; compared again: "
    assert f"{told}equal" in str(state.message)
    assert [row[0] for row in shop.target("orders", "id")] == sorted(
        {10 * day + n for day in range(1, 6) for n in range(10)} - {23} | {99}
    )
    assert shop.target("orders", "price", "id")[20][0] == pytest.approx(0.25)
    new = shop.receipts("orders")[before:]
    assert sorted((r.mode, r.window_label, r.rows_deleted) for r in new) == [
        ("reconcile", "2023-01-02", 1),
        ("window", "2023-01-03", 0),
        ("window", "2023-01-04", 0),
        ("window", "2023-01-05", 0),
    ]
    assert [row for row in audits(shop) if row[-1] is not None] == [
        ("2023-01-02", 9, 9, 0, 0, 0, 0, 1),
        ("2023-01-03", 10, 10, 0, 0, 0, 0, 1),
        ("2023-01-04", 11, 11, 0, 0, 0, 0, 1),
        ("2023-01-05", 10, 10, 0, 0, 0, 0, 1),
    ]
    assert run(table="orders", **JANUARY).type is StateType.COMPLETED


def test_deletions_are_only_reported_unless_the_spec_says_otherwise(shop: Any) -> None:
    shop.sql("DELETE FROM orders WHERE id = 23")
    state = run(table="orders", **JANUARY, repair="all")
    assert state.type is StateType.FAILED
    assert "1 deleted at the source" in str(state.message)
    assert len(shop.target("orders")) == 50


def test_deletions_can_be_marked(shop: Any) -> None:
    shop.sql("ALTER TABLE orders ADD COLUMN deleted INT")
    shop.write_specs(orders={**ORDERS, "hard_deletes": "mark"})
    backfill(table="orders", **JANUARY, reprocess="all")
    shop.sql("DELETE FROM orders WHERE id = 23")
    state = run(table="orders", **JANUARY, repair="all")
    assert state.type is StateType.COMPLETED, state.message
    assert "1 deletion marked; compared again: equal" in str(state.message)
    assert [row for row in shop.target("orders", "id, deleted") if row[1] is not None] == [(23, 1)]
    state = run(table="orders", **JANUARY)
    assert state.message == f"{shop.schema}.orders: 5 days compared, 49 rows, equal"


def test_not_too_many_are_taken_out_unasked(shop: Any) -> None:
    """And the command that takes them out is for the days that differ, of those compared."""
    shop.sql("DELETE FROM orders WHERE note IS NULL OR note < 'n3'")
    shop.write_specs(orders={**ORDERS, "hard_deletes": "delete"})
    state = run(table="orders", **JANUARY, repair="all")
    assert state.type is StateType.FAILED
    assert "at most 5 % of 50 rows (`max_delete_percent`); found 15 rows" in str(state.message)
    again = "--param start_date=2023-01-01 --param end_date=2023-01-06 --param zone=UTC"
    assert f"{again} --param repair=all --param max_delete_percent=…" in str(state.message)
    assert len(shop.target("orders")) == 50
    state = run(table="orders", **JANUARY, repair="all", max_delete_percent=30)
    assert state.type is StateType.COMPLETED, state.message
    assert len(shop.target("orders")) == 35


def test_days_that_the_source_shows_none_of_are_not_emptied_unasked(shop: Any) -> None:
    """As a replica that lags, a partition that is being filled again, or a restore shows them."""
    gone = "modified >= '2023-01-02' AND modified < '2023-01-03' OR id IN (40, 41)"
    shop.sql(f"DELETE FROM orders WHERE {gone}")
    spec = {**ORDERS, "hard_deletes": "delete", "max_delete_percent": 90}
    shop.write_specs(orders=spec)
    state = run(table="orders", **JANUARY, repair="all")
    assert state.type is StateType.FAILED
    message = str(state.message)
    assert "found nothing at the source of 2023-01-02, of which the target has 10 rows" in message
    again = "--param start_date=2023-01-02 --param end_date=2023-01-03"
    assert f"{again} --param zone=UTC --param repair=all --param max_delete_percent=100" in message
    ids = [id for (id,) in shop.target("orders", "id")]
    assert len(ids) == 48  # those of the day; the two of other days are out
    assert not {40, 41} & set(ids)
    state = run(table="orders", **JANUARY, repair="all", max_delete_percent=100)
    assert state.type is StateType.COMPLETED, state.message
    assert len(shop.target("orders")) == 38


@pytest.mark.parametrize("repair", ["carry", "all"])
def test_rows_of_such_a_day_do_not_go_back_to_older_versions_unasked(
    shop: Any, repair: str
) -> None:
    """As a source shows them that was restored to the beginning of the day."""
    shop.sql("DELETE FROM orders WHERE id >= 20 AND id < 30 AND id <> 25")
    older = ("older", "2023-01-01 08:00:00")
    shop.sql("UPDATE orders SET note = ?, modified = ? WHERE id = 25", [older])
    shop.sql("UPDATE orders SET note = 'corrected' WHERE id = 12")
    shop.write_specs(orders={**ORDERS, "hard_deletes": "delete", "max_delete_percent": 90})
    before = shop.target("orders")
    state = run(table="orders", **JANUARY, repair=repair)
    assert state.type is StateType.FAILED
    message = str(state.message)
    assert "found nothing at the source of 2023-01-02, of which the target has 10 rows" in message
    now = shop.target("orders")
    assert [row for row in now if row not in before] == [(12, "corrected", *before[2][2:])]
    assert len(now) == 50
    state = run(table="orders", **JANUARY, repair="all", max_delete_percent=100)
    assert state.type is StateType.COMPLETED, state.message
    assert [row[:2] for row in shop.target("orders")][10:12] == [(25, "older"), (30, None)]


def test_a_day_of_changed_rows_alone_does_not_go_back_to_older_versions_unasked(shop: Any) -> None:
    older = "UPDATE orders SET note = 'older', modified = ? WHERE id >= 20 AND id < 30"
    shop.sql(older, [("2023-01-01 08:00:00",)])
    before = shop.target("orders")
    state = run(table="orders", **JANUARY, repair="all")
    assert state.type is StateType.FAILED
    assert "nothing at the source of 2023-01-02, of which the target has 10" in str(state.message)
    assert shop.target("orders") == before


@EMBEDDED
@pytest.mark.parametrize("how", ["changed", "older at the source"])
def test_of_more_rows_than_an_audit_looks_at_each_day_has_some_named_and_all_counted(
    shop: Any, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compare, "LEAF_ROWS", 2)
    monkeypatch.setattr(compare, "MOST_IN_ALL", 15)
    monkeypatch.setattr(compare, "_ROWS_OF_A_PART", 1)
    before = shop.target("orders")
    if how == "changed":
        shop.warehouse.execute(f'UPDATE "{shop.schema}"."orders" SET price = price + 1')
    else:
        shop.sql("UPDATE orders SET price = 7, modified = '2023-01-01 08:00:00' WHERE id >= 20")
    state = run(table="orders", **JANUARY, repair="carry")
    first = {bucket: sum(counts) for bucket, _, _, *counts, _ in audits(shop)[:5]}
    if how == "changed":
        assert list(first.values()) == [10, 4, 2, 2, 2]
        assert state.type is StateType.COMPLETED, state.message
    else:  # which of the first day's rows are of days that are left as they are, nobody knows
        assert list(first.values()) == [15, 2, 2, 2, 2]
        assert "of which the target has 40 rows" in str(state.message)
    assert shop.target("orders") == before


@EMBEDDED
def test_beside_a_day_that_is_emptied_and_too_large_to_look_at_others_are_repaired(
    shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("LEAF_ROWS", 2), ("MOST_ROWS", 2), ("_ROWS_OF_A_PART", 1)):
        monkeypatch.setattr(compare, name, value)
    shop.sql("DELETE FROM orders WHERE id >= 20 AND id < 30")
    before = shop.target("orders")
    moved = datetime(2023, 1, 5, 23)
    in_target(shop, f"UPDATE {{}} SET modified = {PARAM}, note = 'x' WHERE id = 12", moved)
    run(table="orders", **JANUARY, repair="carry")
    assert shop.target("orders") == before


def test_what_the_source_changed_after_it_was_carried_is_pending(shop: Any) -> None:
    later = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")
    shop.sql("UPDATE orders SET note = 'new', modified = ? WHERE id = 23", [(later,)])
    shop.sql("INSERT INTO orders VALUES (100, 'new', 1, ?)", [(later,)])
    state = run(table="orders", **JANUARY)
    assert state.type is StateType.COMPLETED, state.message
    assert state.message == f"{shop.schema}.orders: 5 days compared, 50 rows, equal, 1 pending"
    state = run(table="orders")
    assert state.type is StateType.COMPLETED, state.message
    assert "equal, 2 pending" in str(state.message)


def test_a_row_altered_in_the_warehouse_to_be_newer_is_repaired_too(shop: Any) -> None:
    moved = datetime(2023, 1, 5, 23)
    in_target(shop, f"UPDATE {{}} SET modified = {PARAM}, note = 'x' WHERE id = 12", moved)
    state = run(table="orders", **JANUARY, repair="carry")
    assert state.type is StateType.COMPLETED, state.message
    assert shop.target("orders", "note")[2][0] == "n2"


def test_a_table_that_another_tool_has_filled_is_compared_as_a_whole(shop: Any) -> None:
    shop.warehouse.execute(
        Statement(
            f"DELETE FROM ferry.receipts WHERE table_name = {PARAM}",
            (f"{shop.schema}.orders",),
        )
    )
    shop.sql("INSERT INTO orders VALUES (98, 'late', 1, '2023-01-04 08:00:00')")
    shop.sql("INSERT INTO orders VALUES (99, 'after', 1, '2023-02-04 08:00:00')")
    shop.write_specs(orders={**ORDERS, "every": "never"})
    state = run(table="orders")
    assert state.type is StateType.FAILED
    assert "1 missing, 1 pending" in str(state.message)
    state = run(table="orders", repair="carry")  # a receipt of one day, and of no other
    assert state.type is StateType.COMPLETED, state.message
    in_target(shop, f"DELETE FROM {{}} WHERE id = {PARAM}", 12)
    assert "1 missing, 1 pending" in str(run(table="orders").message)


@pytest.mark.parametrize("every", ["day", "never"])
def test_a_day_that_was_never_carried_is_pending_however_often_the_table_is(
    shop: Any, every: str
) -> None:
    shop.sql("INSERT INTO orders VALUES (5, 'before all', 1, '2022-12-31 08:00:00')")
    shop.write_specs(orders={**ORDERS, "every": every})
    state = run(table="orders")
    assert state.type is StateType.COMPLETED, state.message
    assert "51 rows, equal, 1 pending" in str(state.message)
    in_target(shop, f"DELETE FROM {{}} WHERE id = {PARAM}", 12)
    assert "1 missing, 1 pending" in str(run(table="orders").message)


@pytest.fixture
def regions(journey: Any) -> Any:
    journey.sql("CREATE TABLE regions (code VARCHAR(20) NOT NULL PRIMARY KEY, name VARCHAR(99))")
    rows = [(f"r{number:04}", f"region {number}") for number in range(3000)]
    journey.sql("INSERT INTO regions VALUES (?, ?)", rows)
    journey.write_specs(regions={"mode": "full", "key": ["code"]})
    sync_table(table="regions")
    return journey


def test_a_table_without_times_is_compared_by_its_key(regions: Any) -> None:
    name = f"{regions.schema}.regions"
    assert run(table="regions").message == f"{name}: all compared, 3,000 rows, equal"
    regions.sql("DELETE FROM regions WHERE code = 'r0007'")
    regions.sql("UPDATE regions SET name = 'other' WHERE code = 'r0008'")
    regions.sql("INSERT INTO regions VALUES ('r9', 'new')")
    state = run(table="regions")
    told = "differs: 1 missing, 1 changed, 1 deleted at the source"
    assert f"{name}: all compared, 3,000 rows, {told}" in str(state.message)
    state = run(table="regions", repair="carry")
    assert state.type is StateType.COMPLETED, state.message
    assert len(regions.target("regions", "code", "code")) == 3000


def test_coverage_shows_days_that_have_drifted_until_they_are_repaired(shop: Any) -> None:
    drift(shop)
    run(table="orders", **JANUARY)
    state: Any = show_coverage(table="orders", **JANUARY, return_state=True)
    assert state.message == "orders: 5 days loaded, 4 drifted"
    page = pages_of(state)["selected-coverage-orders"]
    assert "**1 loaded, 0 failed, 0 missing, 4 drifted** of 5 days" in page
    assert "! drifted" in page and "Jan 2023  # ! ! ! !" in page
    assert "| 2023-01-03 | 1 | 1 changed |" in page
    assert "'reconcile/on-demand'" in page and "--param repair=carry" in page
    assert "Compared with the source: 5 of 5 days, last on " in page
    in_warehouse = Statement(
        f"SELECT day, status, reason FROM ferry.coverage WHERE table_name = {PARAM} "
        "AND audited_at IS NOT NULL AND status = 'drifted' ORDER BY day",
        (f"{shop.schema}.orders",),
    )
    assert shop.warehouse.fetch(in_warehouse)[0] == (
        date(2023, 1, 2),
        "drifted",
        "1 deleted at the source",
    )
    shop.write_specs(orders={**ORDERS, "hard_deletes": "delete"})
    run(table="orders", **JANUARY, repair="all")
    state = show_coverage(table="orders", **JANUARY, return_state=True)
    assert state.message == "orders: 5 days loaded"
