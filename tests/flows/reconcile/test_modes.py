"""reconcile in every mode of a table, and with every word of a spec that decides about rows."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from prefect.client.schemas.objects import State, StateType

from ferry.errors import ConnectionLostError, FerryError
from ferry.statements import PARAM, Statement
from flows.backfill_tables import backfill
from flows.reconcile_tables import reconcile
from flows.sync_table import sync_table
from tasks.audits import compare

pytestmark = pytest.mark.usefixtures("plain_runs")

DAYS = {"start_date": date(2023, 1, 1), "end_date": date(2023, 1, 4)}
ROUTES = pytest.mark.parametrize(
    "route", ["sqlite-folder-duckdb", "mysql-s3-redshift"], indirect=True
)
ONE_ROUTE = pytest.mark.parametrize("route", ["mysql-s3-redshift"], indirect=True)
EMBEDDED = pytest.mark.parametrize("route", ["sqlite-folder-duckdb"], indirect=True)
WINDOW = {"mode": "window", "key": ["id"], "cursor": "modified"}
LAST = 2_000_000_000


@pytest.fixture
def shop(journey: Any) -> Any:
    """Nine orders on three days."""
    journey.sql(
        "CREATE TABLE orders (id INT NOT NULL PRIMARY KEY, note VARCHAR(99), modified DATETIME, "
        "stamp BIGINT, revision INT, gone VARCHAR(3), deleted INT)"
    )
    rows = [
        (10 * day + n, f"n{n}", f"2023-01-0{day} 12:00:0{n}", 1672531200 + 86400 * (day - 1) + n)
        for day in (1, 2, 3)
        for n in (1, 2, 3)
    ]
    journey.sql("INSERT INTO orders VALUES (?, ?, ?, ?, 1, 'N', NULL)", rows)
    return journey


def run(**parameters: Any) -> State[Any]:
    state: State[Any] = reconcile(table="orders", **parameters, return_state=True)
    return state


def in_target(shop: Any, statement: str, *values: object) -> None:
    table = f'"{shop.schema}"."orders"'
    assert shop.warehouse.execute(Statement(statement.format(table), values)) == 1


def told(state: State[Any]) -> str:
    return told_of(state, "orders")


@ROUTES
def test_a_watermark_over_ids_is_compared_as_a_whole_and_not_repaired_unasked(shop: Any) -> None:
    shop.write_specs(orders={"mode": "watermark", "key": ["id"], "cursor": "id"})
    sync_table(table="orders")
    in_target(shop, f"UPDATE {{}} SET note = 'x' WHERE id = {PARAM}", 12)
    shop.sql("INSERT INTO orders VALUES (?, 'new', NULL, 1, 1, 'N', NULL)", [(LAST,)])
    shop.sql("DELETE FROM orders WHERE id = 11")
    expected = "all compared, 9 rows, differs: 1 changed, 1 deleted at the source, 1 pending"
    looked = run()
    assert told(looked) == told(run(last_days=7)) == expected
    assert "takes no days" in str(run(**DAYS).message)
    state = run(repair="carry")
    assert state.type is StateType.FAILED
    for said in (looked.message, state.message):
        assert "in no window" in str(said) and "--param table=orders --param mode=full" in str(said)
        assert "takes out of the target what the source has no more" in str(said)
    assert len(shop.target("orders")) == 9


@EMBEDDED
def test_what_a_watermark_over_a_time_has_read_is_told_by_its_receipts_whatever_was_before(
    shop: Any,
) -> None:
    watermark = {"mode": "watermark", "key": ["id"]}
    shop.write_specs(orders={**watermark, "cursor": "id"})
    for _ in range(2):
        sync_table(table="orders")
    shop.write_specs(orders={**watermark, "cursor": "modified"})
    sync_table(table="orders")
    shop.sql("INSERT INTO orders VALUES (41, 'late', '2023-01-04 08:00:00', 1, 1, 'N', NULL)")
    assert told(run()).endswith("10 rows, 1 day differs: 1 missing")


@EMBEDDED
def test_rows_of_the_highest_day_of_a_watermark_over_dates_may_be_still_to_come(
    journey: Any,
) -> None:
    journey.sql("CREATE TABLE orders (id INT NOT NULL PRIMARY KEY, booked DATE NOT NULL)")
    journey.sql("INSERT INTO orders VALUES (1, '2023-01-01'), (2, '2023-01-02')")
    journey.write_specs(orders={"mode": "watermark", "key": ["id"], "cursor": "booked"})
    sync_table(table="orders")
    journey.sql("INSERT INTO orders VALUES (3, '2023-01-02'), (4, '2023-01-03')")
    assert told(run()) == "3 days compared, 4 rows, equal, 2 pending"
    in_target(journey, f"DELETE FROM {{}} WHERE id = {PARAM}", 1)
    assert told(run()).endswith("1 day differs: 1 missing, 2 pending")
    assert sync_table(table="orders").rows_inserted == 2


@EMBEDDED
def test_a_watermark_over_a_time_is_repaired_by_windows(shop: Any) -> None:
    shop.write_specs(orders={"mode": "watermark", "key": ["id"], "cursor": "modified"})
    sync_table(table="orders")
    in_target(shop, f"UPDATE {{}} SET note = 'x' WHERE id = {PARAM}", 12)
    shop.sql("INSERT INTO orders VALUES (14, 'late', '2023-01-01 09:00:00', 1, 1, 'N', NULL)")
    state = run(repair="carry")
    assert state.type is StateType.COMPLETED, state.message
    assert shop.target("orders", "id, note")[:4] == [
        (11, "n1"),
        (12, "n2"),
        (13, "n3"),
        (14, "late"),
    ]


@ONE_ROUTE
def test_unix_time_has_days_also_beside_a_version_that_is_a_time(shop: Any) -> None:
    spec = {"mode": "window", "key": ["id"], "cursor": "stamp", "cursor_unit": "s"}
    shop.write_specs(orders={**spec, "version": "modified"})
    backfill(table="orders", **DAYS)
    in_target(shop, f"UPDATE {{}} SET note = 'x' WHERE id = {PARAM}", 12)
    assert told(run(**DAYS)) == "3 days compared, 9 rows, 1 day differs: 1 changed"
    state = run(repair="carry")
    assert state.type is StateType.COMPLETED, state.message
    assert shop.target("orders", "note")[1] == ("n2",)


@EMBEDDED
def test_a_row_that_had_changed_long_after_its_day_was_carried_as_it_is(shop: Any) -> None:
    shop.sql("UPDATE orders SET modified = '2023-06-01 12:00:00' WHERE id IN (12, 13)")
    spec = {"mode": "window", "key": ["id"], "cursor": "stamp", "cursor_unit": "s"}
    shop.write_specs(orders={**spec, "version": "modified"})
    backfill(table="orders", **DAYS)
    in_target(shop, f"DELETE FROM {{}} WHERE id = {PARAM}", 12)
    in_target(shop, f"UPDATE {{}} SET note = 'x' WHERE id = {PARAM}", 13)
    shop.sql("UPDATE orders SET note = 'new', modified = '2199-06-01 12:00:00' WHERE id = 11")
    differs = "3 days compared, 9 rows, 1 day differs: 1 missing, 1 changed, 1 pending"
    assert told(run(**DAYS)) == differs


@EMBEDDED
def test_a_version_that_is_a_number_tells_which_row_is_newer(shop: Any) -> None:
    shop.write_specs(orders={**WINDOW, "version": "revision"})
    backfill(table="orders", **DAYS)
    in_target(shop, f"UPDATE {{}} SET note = 'x', revision = 5 WHERE id = {PARAM}", 12)
    shop.sql("UPDATE orders SET revision = NULL WHERE id = 13")
    state = run(**DAYS, repair="carry")
    assert state.type is StateType.COMPLETED, state.message
    assert shop.target("orders", "note, revision")[1:3] == [("n2", 1), ("n3", None)]


@ROUTES
def test_a_deletion_that_is_to_be_applied_and_came_late_is_applied(shop: Any) -> None:
    spec = {**WINDOW, "soft_deletes": "apply", "deleted_column": "gone", "deleted_values": ["Y"]}
    shop.write_specs(orders=spec)
    backfill(table="orders", **DAYS)
    shop.sql("UPDATE orders SET gone = 'Y' WHERE id = 12")  # and not its time
    shop.sql("UPDATE orders SET gone = 'y' WHERE id = 13")  # which is no mark
    assert told(run(**DAYS)) == "3 days compared, 9 rows, 1 day differs: 2 changed"
    newer = "UPDATE {} SET modified = '2023-01-02 08:00:00' WHERE id = "
    in_target(shop, newer + PARAM, 12)  # so that carrying the deletion again would not reach it
    state = run(**DAYS, repair="carry")
    assert state.type is StateType.COMPLETED, state.message
    assert shop.target("orders", "id, gone")[:2] == [(11, "N"), (13, "y")]


@ONE_ROUTE
@pytest.mark.parametrize(
    ("more", "mark"),
    [
        ({"deleted_column": "gone", "deleted_values": ["Y", "X"]}, ("Y", None)),
        ({}, ("N", 1)),
    ],
)
def test_rows_are_marked_by_the_spec_s_own_mark(
    shop: Any, more: dict[str, Any], mark: tuple[str, int | None]
) -> None:
    shop.write_specs(orders={**WINDOW, "hard_deletes": "mark", "max_delete_percent": 50, **more})
    backfill(table="orders", **DAYS)
    shop.sql("DELETE FROM orders WHERE id = 12")
    assert told(run(**DAYS)) == "3 days compared, 9 rows, 1 day differs: 1 deleted at the source"
    state = run(**DAYS, repair="all")
    assert state.type is StateType.COMPLETED, state.message
    assert shop.target("orders", "gone, deleted")[1] == mark
    assert told(run(**DAYS)) == "3 days compared, 8 rows, equal"


@EMBEDDED
@pytest.mark.parametrize("column", ["gone", "nothing"])
def test_a_column_that_cannot_mark_is_refused(shop: Any, column: str) -> None:
    shop.write_specs(orders={**WINDOW, "hard_deletes": "mark", "deleted_column": column})
    backfill(table="orders", **DAYS)
    state = run(**DAYS)
    assert state.type is StateType.FAILED
    assert repr(column) in str(state.message) and "deleted" in str(state.message)


@EMBEDDED
def test_a_day_that_failed_since_it_was_loaded_is_compared_all_the_same(
    shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.write_specs(orders={**WINDOW, "retries": 0})
    backfill(table="orders", **DAYS)
    in_target(shop, f"DELETE FROM {{}} WHERE id = {PARAM}", 12)
    with monkeypatch.context() as patched, pytest.raises(FerryError):
        patched.setattr(
            type(shop.source),
            "read",
            lambda *_: (_ for _ in ()).throw(ConnectionLostError("gone")),
        )
        sync_table(table="orders", run_date=date(2023, 1, 1))
    assert told(run(**DAYS)) == "3 days compared, 9 rows, 1 day differs: 1 missing"


@ONE_ROUTE
def test_a_date_that_stands_for_none_does_not_end_it(shop: Any) -> None:
    shop.sql("INSERT INTO orders VALUES (99, 'never', '9999-12-31 23:59:59', 1, 1, 'N', NULL)")
    shop.write_specs(orders={**WINDOW, "null_cursors": "ignore"})
    backfill(table="orders", **DAYS)
    in_target(shop, f"UPDATE {{}} SET note = 'x' WHERE id = {PARAM}", 12)
    assert told(run()) == "all compared, 10 rows, differs: 1 changed, 1 pending"
    state = run(repair="carry")
    assert state.type is StateType.COMPLETED, state.message


@EMBEDDED
def test_a_full_copy_takes_no_more_rows_out_than_it_may(shop: Any) -> None:
    shop.write_specs(orders={"mode": "full", "key": ["id"]})
    sync_table(table="orders")
    shop.sql("DELETE FROM orders WHERE id < 30")
    in_target(shop, f"UPDATE {{}} SET note = 'x' WHERE id = {PARAM}", 31)
    state = run(repair="carry")
    assert "`max_delete_percent`" in str(state.message)
    assert len(shop.target("orders")) == 9
    state = run(repair="carry", max_delete_percent=70)
    assert state.type is StateType.COMPLETED, state.message
    assert [row[0] for row in shop.target("orders", "id")] == [31, 32, 33]


@EMBEDDED
def test_a_full_copy_takes_out_rows_that_alone_are_too_many(shop: Any) -> None:
    shop.write_specs(orders={"mode": "full", "key": ["id"]})
    sync_table(table="orders")
    shop.sql("DELETE FROM orders WHERE id = 11")
    state = run(repair="carry")
    assert "`max_delete_percent`" in str(state.message)
    assert len(shop.target("orders")) == 9
    message = str(run().message)
    assert "--param table=orders --param repair=carry" in message
    assert "hard_deletes" not in message
    state = run(repair="carry", max_delete_percent=70)
    assert state.type is StateType.COMPLETED, state.message
    assert len(shop.target("orders")) == 8


@EMBEDDED
def test_rows_too_many_of_a_watermark_over_ids_are_taken_out_as_the_spec_says(shop: Any) -> None:
    spec = {"mode": "watermark", "key": ["id"], "cursor": "id", "max_delete_percent": 70}
    shop.write_specs(orders={**spec, "hard_deletes": "delete"})
    sync_table(table="orders")
    shop.sql("DELETE FROM orders WHERE id = 11")
    assert str(run().message).endswith("--param table=orders --param repair=all")
    state = run(repair="all")
    assert state.type is StateType.COMPLETED, state.message
    assert len(shop.target("orders")) == 8


@EMBEDDED
def test_a_full_copy_is_no_repair_of_a_part_of_the_table(shop: Any) -> None:
    shop.write_specs(orders={"mode": "full", "key": ["id"]})
    sync_table(table="orders")
    shop.sql("DELETE FROM orders WHERE id > 20")
    in_target(shop, f"UPDATE {{}} SET note = 'x' WHERE id = {PARAM}", 12)
    state = run(**{**DAYS, "end_date": date(2023, 1, 2)}, repair="carry")
    assert "only a part of it was compared" in str(state.message)
    assert len(shop.target("orders")) == 9


@ROUTES
def test_a_target_that_lost_all_its_rows_is_no_equal_one(shop: Any) -> None:
    shop.write_specs(orders=WINDOW)
    backfill(table="orders", **DAYS)
    shop.warehouse.execute(f'DELETE FROM "{shop.schema}"."orders"')
    assert told(run(**DAYS)) == "3 days compared, 9 rows, 3 days differ: 9 missing"
    state = run(**DAYS, repair="carry")
    assert state.type is StateType.COMPLETED, state.message
    assert len(shop.target("orders")) == 9


@EMBEDDED
def test_what_cannot_be_carried_again_is_left_as_it_is(shop: Any) -> None:
    spec = {"mode": "watermark", "key": ["id"], "cursor": "id", "version": "modified"}
    shop.write_specs(orders=spec)
    sync_table(table="orders")
    in_target(shop, f"UPDATE {{}} SET note = 'x', modified = '2024-01-01' WHERE id = {PARAM}", 12)
    before = shop.target("orders")
    assert "in no window" in str(run(repair="carry").message)
    assert shop.target("orders") == before


@pytest.mark.seconds
@EMBEDDED
def test_a_large_table_is_looked_at_wherever_it_differs(
    shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compare, "LEAF_ROWS", 100)  # as of a table ten times as large
    shop.sql("CREATE TABLE many (id INT NOT NULL PRIMARY KEY, n INT)")
    shop.sql("INSERT INTO many VALUES (?, ?)", [(n, n) for n in range(6_000)])
    shop.write_specs(many={"mode": "full", "key": ["id"]})
    sync_table(table="many")
    table = f'"{shop.schema}"."many"'
    shop.warehouse.execute(f"UPDATE {table} SET n = -1 WHERE id % 60 = 0")
    shop.warehouse.execute(f"DELETE FROM {table} WHERE id % 60 = 1")
    state: Any = reconcile(table="many", return_state=True)
    assert told_of(state, "many") == "all compared, 6,000 rows, differs: 100 missing, 100 changed"


@EMBEDDED
@pytest.mark.parametrize(
    ("changes", "marked", "not_marked"),
    [
        (["ADD COLUMN own BOOLEAN"], True, None),
        (["ADD COLUMN own INT DEFAULT 0", "ALTER COLUMN own SET NOT NULL"], 1, 0),
    ],
)
def test_a_row_that_is_back_loses_the_mark_that_only_the_target_has(
    shop: Any, changes: list[str], marked: object, not_marked: object
) -> None:
    own = {"deleted_column": "own", "target_only": ["own"], "hard_deletes": "mark"}
    shop.write_specs(orders=WINDOW)
    backfill(table="orders", **DAYS)
    table = f'"{shop.schema}"."orders"'
    for change in changes:
        shop.warehouse.execute(f"ALTER TABLE {table} {change}")
    shop.write_specs(orders={**WINDOW, **own, "max_delete_percent": 50})
    shop.sql("DELETE FROM orders WHERE id = 12")
    assert run(**DAYS, repair="all").type is StateType.COMPLETED
    assert shop.target("orders", "own")[:3] == [(not_marked,), (marked,), (not_marked,)]
    row = (12, "older", "2023-01-01 11:00:02", 1672531202, 1, "N")
    shop.sql("INSERT INTO orders VALUES (?, ?, ?, ?, ?, ?, NULL)", [row])
    assert told(run(**DAYS)) == "3 days compared, 9 rows, 1 day differs: 1 changed"
    state = run(**DAYS, repair="all")
    assert state.type is StateType.COMPLETED, state.message
    assert shop.target("orders", "own")[:3] == [(not_marked,)] * 3
    assert shop.target("orders", "note")[1] == ("older",)


@EMBEDDED
def test_rows_without_a_full_key_are_refused_with_both_sides(shop: Any) -> None:
    shop.sql("CREATE TABLE odd (k VARCHAR(9) PRIMARY KEY, n INT)")  # SQLite takes NULL there
    shop.sql("INSERT INTO odd VALUES (?, ?)", [("a", 1), ("b", 2)])
    shop.write_specs(odd={"mode": "full", "key": ["k"]})
    sync_table(table="odd")
    shop.sql("INSERT INTO odd VALUES (NULL, 3)")
    state: Any = reconcile(table="odd", return_state=True)
    assert "1 rows without one at the source, 0 in the target" in str(state.message)


def told_of(state: State[Any], table: str) -> str:
    return str(state.message).partition(f"{table}: ")[2].partition(". ")[0]


@EMBEDDED
def test_what_is_too_much_to_be_looked_at_is_pending_only_where_nothing_was_carried(
    shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compare, "LEAF_ROWS", 2)
    monkeypatch.setattr(compare, "MOST_ROWS", 2)
    shop.write_specs(orders=WINDOW)
    backfill(table="orders", start_date=date(2023, 1, 1), end_date=date(2023, 1, 3))
    assert told(run(**DAYS)) == "3 days compared, 9 rows, equal"
    shop.sql("UPDATE orders SET note = 'new', modified = '2023-01-03 08:00:00' WHERE id < 20")
    shop.warehouse.execute(f'DELETE FROM "{shop.schema}"."orders" WHERE id > 20')
    # Rows of the first day are of another now, the second lost its own; the third has no window.
    assert told(run(**DAYS)) == (
        "3 days compared, 12 rows, 2 days differ: 6 rows in parts that differ as a whole"
    )


@pytest.mark.parametrize("route", ["sqlite-folder-duckdb"], indirect=True)
def test_what_is_carried_only_when_it_is_named_is_repaired_only_so(shop: Any) -> None:
    spec = {"mode": "window", "key": ["id"], "cursor": "modified"}
    shop.write_specs(orders=spec)
    for day in (1, 2, 3):
        sync_table(table="orders", run_date=date(2023, 1, day))
    shop.write_specs(orders={**spec, "every": "never"})
    in_target(shop, f"DELETE FROM {{}} WHERE id = {PARAM}", 12)

    state: State[Any] = reconcile(repair="carry", return_state=True)
    assert state.type is StateType.FAILED and len(shop.target("orders")) == 8
    assert run(repair="carry").type is StateType.COMPLETED
    assert len(shop.target("orders")) == 9
