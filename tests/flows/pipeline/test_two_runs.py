"""Two runs of one table at once, and what an earlier run or a stored block left behind."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from itertools import product
from typing import Any

import pytest

from ferry.coverage.standings import Status
from ferry.errors import ConfigurationError, DataError, SchemaError, StaleReadError
from ferry.statements import PARAM, Statement
from ferry.windows import day_window
from flows import backfill_tables
from flows.backfill_tables import backfill
from flows.pipeline.table_specs import load_table_specs
from flows.reconcile_tables import reconcile
from flows.sync_all import sync_all
from flows.sync_table import sync_table
from tasks import extract
from tasks.landed.history import read_coverage
from tests.harness.reads import read_now_land_later

pytestmark = pytest.mark.usefixtures("plain_runs")

EMBEDDED = "sqlite-folder-duckdb"
MYSQL = "mysql-folder-postgres"
SERVER_ROUTES = (MYSQL, "mysql-s3-redshift")
SPEC = {"mode": "window", "key": ["id"], "insert_rows": 0}
FIRST, SECOND = {"run_date": date(2023, 1, 1)}, {"run_date": date(2023, 1, 2)}


@pytest.fixture
def shop(journey: Any) -> Any:
    journey.sql(
        "CREATE TABLE orders (id BIGINT NOT NULL PRIMARY KEY, note VARCHAR(9), "
        "modified DATETIME NULL, deleted DATETIME NULL)"
    )
    journey.sql("INSERT INTO orders VALUES (1, 'old', '2023-01-01 10:00:00', NULL)")
    journey.write_specs(orders=SPEC)
    sync_table(table="orders", **FIRST)
    return journey


def changed_and_carried(shop: Any) -> None:
    shop.sql("UPDATE orders SET note = 'new', modified = '2023-01-02 10:00:00'")
    sync_table(table="orders", **SECOND)


def test_a_full_copy_that_was_read_before_another_batch_landed_does_not_bring_old_rows_back(
    shop: Any,
) -> None:
    with pytest.raises(StaleReadError, match=r"upsert .*orders full at .*: another batch"):
        read_now_land_later("orders", "full", {}, lambda: changed_and_carried(shop))
    assert shop.target("orders", "note") == [("new",)]
    assert shop.leftovers() == set()


def test_a_window_that_was_read_before_another_batch_landed_brings_no_old_row_back(
    shop: Any,
) -> None:
    receipt = read_now_land_later("orders", "window", FIRST, lambda: changed_and_carried(shop))
    assert shop.target("orders", "note") == [("new",)]
    assert receipt.rows_unchanged == 1


def test_a_row_deleted_meanwhile_does_not_come_back_where_deletions_are_applied(shop: Any) -> None:
    shop.write_specs(orders={**SPEC, "soft_deletes": "apply"})

    def deleted() -> None:
        moment = "'2023-01-02 10:00:00'"
        shop.sql(f"UPDATE orders SET deleted = {moment}, modified = {moment}")
        sync_table(table="orders", **SECOND)

    with pytest.raises(StaleReadError):
        read_now_land_later("orders", "window", FIRST, deleted)
    assert shop.target("orders") == []


@pytest.mark.parametrize(
    ("route", "mode", "repaired"),
    [
        *product([EMBEDDED], ["window", "watermark"], [False, True]),
        *((route, "window", False) for route in SERVER_ROUTES),
        *((route, "watermark", True) for route in SERVER_ROUTES),
    ],
    indirect=["route"],
)
def test_a_row_that_was_taken_out_meanwhile_does_not_come_back(
    shop: Any, mode: Any, repaired: bool
) -> None:
    shop.write_specs(orders={**SPEC, "hard_deletes": "delete"})
    days = {"start_date": date(2023, 1, 1), "end_date": date(2023, 1, 2)}

    def deleted_for_good() -> None:
        shop.sql("DELETE FROM orders WHERE id = 1")
        shop.sql("INSERT INTO orders VALUES (2, 'new', '2023-01-01 11:00:00', NULL)")
        if repaired:
            reconcile(table="orders", **days, repair="all", max_delete_percent=100)
        else:
            sync_table(table="orders", mode="full")

    given = FIRST if mode == "window" else {}
    with pytest.raises(StaleReadError, match="was copied as a whole, or repaired, since"):
        read_now_land_later("orders", mode, given, deleted_for_good)
    assert shop.target("orders", "id") == [(2,)]


def test_a_row_whose_cursor_is_null_is_refused_or_left_behind_as_the_spec_says(shop: Any) -> None:
    shop.sql("INSERT INTO orders VALUES (2, 'never', NULL, NULL)")
    with pytest.raises(DataError, match=r"rows whose cursor 'modified' is NULL.* would never"):
        sync_table(table="orders", **FIRST)
    shop.write_specs(orders={**SPEC, "null_cursors": "ignore"})
    sync_table(table="orders", **FIRST)
    assert shop.target("orders", "id") == [(1,)]
    sync_table(table="orders", mode="full")
    assert shop.target("orders", "id") == [(1,), (2,)]


def test_a_column_dropped_in_the_source_is_not_emptied_in_the_target(shop: Any) -> None:
    shop.sql("ALTER TABLE orders DROP COLUMN note")
    shop.sql("UPDATE orders SET modified = '2023-01-02 10:00:00'")
    with pytest.raises(SchemaError, match="columns that the source has not: note"):
        sync_table(table="orders", **SECOND)
    assert shop.target("orders", "note") == [("old",)]
    shop.write_specs(orders={**SPEC, "target_only": ["note"]})
    assert sync_table(table="orders", **SECOND).rows_updated == 1
    assert shop.target("orders", "note") == [(None,)]


@pytest.mark.parametrize(
    ("route", "was", "alter", "values"),
    [
        (EMBEDDED, "DATE", "ADD COLUMN w INT DEFAULT 7", (None, 7)),
        (MYSQL, "DATETIME", "MODIFY v TIMESTAMP NULL", (datetime(2023, 1, 1, 7, tzinfo=UTC),)),
        (MYSQL, "DATE", "MODIFY v DATETIME", (datetime(2023, 1, 1, 7),)),
        (MYSQL, "FLOAT", "MODIFY v DOUBLE", (0.1,)),
        (MYSQL, "FLOAT", "RENAME COLUMN v TO w", (0.5,)),
        (MYSQL, "FLOAT", "DROP COLUMN v", ()),
    ],
    indirect=["route"],
)
def test_a_table_that_is_altered_behind_the_look_at_it_is_planned_again(
    shop: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    was: str,
    alter: str,
    values: tuple[Any, ...],
) -> None:
    shop.sql(f"ALTER TABLE orders ADD COLUMN v {was}")
    shop.sql("UPDATE orders SET modified = '2023-01-02 10:00:00'")
    columns = ["v", "w"][: len(values)] if "RENAME" not in alter else ["w"]

    def altered() -> None:
        shop.sql(f"ALTER TABLE orders {alter}")
        for column, value in zip(columns, values, strict=True):
            shop.sql(f"UPDATE orders SET {column} = ?", [(value,)])

    behind_the_look(monkeypatch, altered)
    sync_table(table="orders", **SECOND)

    known = shop.warehouse.describe(load_table_specs().named("orders").target)
    assert {c.name for c in known.columns} & {"v", "w"} == set(columns)
    assert shop.target("orders", ", ".join(["id", *columns])) == [(1, *values)]
    assert caplog.text.count("is read again") == 1


@pytest.mark.parametrize("route", [MYSQL], indirect=True)
def test_a_window_in_which_an_altered_table_has_nothing_is_planned_again(
    shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the bounds of the cursor's old type it has no row, and landed as loaded without any."""
    shop.write_specs(orders={**SPEC, "zone": "Asia/Seoul"})
    shop.sql("UPDATE orders SET note = 'new', modified = '2023-01-01 20:00:00'")
    timestamp = "ALTER TABLE orders MODIFY modified TIMESTAMP NULL"  # 5:00 of the next day in Seoul
    behind_the_look(monkeypatch, lambda: shop.sql(timestamp))
    with pytest.raises(SchemaError, match="modified is timestamptz in the source"):
        sync_table(table="orders", **SECOND)


def behind_the_look(monkeypatch: pytest.MonkeyPatch, then: Callable[[], object]) -> None:
    """It happens once, between extract's look at the source's table and its SELECT."""
    watch, left = extract.watch_cursor, [then]

    def behind_it(*given: Any) -> Any:
        if left:
            left.pop()()
        return watch(*given)

    monkeypatch.setattr(extract, "watch_cursor", behind_it)


def fails(shop: Any) -> None:
    """Another run of the first day fails, and would not any more."""
    shop.sql("INSERT INTO orders VALUES (9, 'never', NULL, NULL)")
    with pytest.raises(DataError):
        sync_table(table="orders", **FIRST)
    shop.sql("DELETE FROM orders WHERE id = 9")


@pytest.mark.parametrize(
    ("route", "reprocess", "batch_rows"),
    [
        *product([EMBEDDED], ["missing", "failed", "all"], [0, 1000]),
        *((route, "missing", 1000) for route in SERVER_ROUTES),
    ],
    indirect=["route"],
)
def test_a_backfill_that_is_retried_lands_the_day_that_has_failed_in_another_run_since(
    shop: Any, monkeypatch: pytest.MonkeyPatch, reprocess: str, batch_rows: int
) -> None:
    shop.write_specs(orders={**SPEC, "batch_rows": batch_rows})
    shop.sql("INSERT INTO orders VALUES (2, 'two', '2023-01-02 10:00:00', NULL)")
    fails(shop)
    spec, ended, told = load_table_specs().named("orders"), backfill_tables._ended, list[str]()
    days = {"start_date": date(2023, 1, 1), "end_date": date(2023, 1, 4)}
    unfinished = (
        f"DELETE FROM ferry.receipts WHERE table_name = {PARAM} AND window_label = '2023-01-03'"
    )

    def is_retried(*given: Any) -> Any:
        state = ended(*given)
        told.append(str(state.message))
        if len(told) == 1:
            fails(shop)
            shop.warehouse.execute(Statement(unfinished, (f"{shop.schema}.orders",)))
        if len(told) < 3:
            raise RuntimeError("the worker is gone")
        return state

    monkeypatch.setattr(backfill_tables, "_ended", is_retried)
    run = backfill.with_options(retries=2)
    state = run(table="orders", **days, reprocess=reprocess, return_state=True)

    assert state.is_completed(), told
    windows, left = (1, 0) if reprocess == "failed" else (3, 1)
    counts = [line.split(": ")[1].split(" windows")[0] for line in told]
    assert counts == [str(windows), str(1 + left), "0"], told
    assert "1 read, 0 inserted, 0 updated, 1 unchanged" in told[1]
    coverage = read_coverage(spec, shop.warehouse)
    assert coverage.of(day_window(date(2023, 1, 1))).status is Status.LOADED
    rows = [("old",), ("two",)] if reprocess != "failed" else [("old",)]
    assert shop.target("orders", "note") == rows
    assert len(shop.receipts("orders")) == 1 + windows + 1


def test_a_table_that_is_named_twice_is_carried_once(shop: Any) -> None:
    receipts = sync_all(tables=["orders", f"{shop.schema}.orders"], **FIRST)
    assert list(receipts) == [f"{shop.schema}.orders"]
    assert len(shop.receipts("orders")) == 2


@pytest.mark.parametrize("route", ["mysql-s3-redshift"], indirect=True)
def test_a_table_of_long_texts_can_be_carried_again_and_again(
    shop: Any, redshift_double: Any
) -> None:
    shop.sql("CREATE TABLE letters (id INT PRIMARY KEY, body LONGTEXT, scan LONGBLOB)")
    shop.sql("INSERT INTO letters VALUES (1, 'dear', 'x')")
    shop.write_specs(letters={"mode": "full"})
    sync_table(table="letters")
    known = shop.warehouse.describe(load_table_specs().named("letters").target)
    assert sync_table(table="letters").rows_inserted == 1
    assert shop.warehouse.describe(load_table_specs().named("letters").target) == known
    ours = [s.sql for s in redshift_double.statements() if shop.schema in s.sql]
    assert not any(sql.startswith("ALTER") for sql in ours)  # Redshift refuses one to the same size


@pytest.mark.parametrize("route", ["mysql-folder-postgres"], indirect=True)
def test_a_stored_block_of_another_version_is_refused_without_its_values(
    shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(
        type(shop.source).model_fields, "user", type(shop.source).model_fields["port"]
    )
    type(shop.source).model_rebuild(force=True)
    try:
        with pytest.raises(ConfigurationError, match="does not fit this version") as caught:
            sync_table(table="orders", **FIRST)
    finally:
        monkeypatch.undo()
        type(shop.source).model_rebuild(force=True)
    assert "user" in str(caught.value)
    assert caught.value.__cause__ is None
    assert shop.source.password.get_secret_value() not in repr(caught.getrepr())
