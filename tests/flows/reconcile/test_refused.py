"""What reconcile refuses, with a clear error and nothing changed; and what only looks bad."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from prefect import task
from prefect.client.schemas.objects import State, StateType

from blocks.sources import MySQLSource, SQLiteSource
from ferry.errors import ConnectionLostError
from ferry.schema import TableName
from flows.backfill_tables import backfill
from flows.pipeline import repair
from flows.reconcile_tables import reconcile
from flows.sync_table import sync_table
from tasks.audits import compare
from tests.harness.plain_runs import pages_of

pytestmark = pytest.mark.usefixtures("plain_runs")

SPEC = {"mode": "window", "key": ["id"], "cursor": "modified"}
DAYS = {"start_date": date(2023, 1, 1), "end_date": date(2023, 1, 4)}
ONE_ROUTE = pytest.mark.parametrize("route", ["mysql-folder-postgres"], indirect=True)


@pytest.fixture
def shop(journey: Any) -> Any:
    """Three orders on three days, carried."""
    journey.sql(
        "CREATE TABLE orders (id INT NOT NULL PRIMARY KEY, note VARCHAR(99), "
        "modified DATETIME NOT NULL)"
    )
    rows = [(n, f"note {n}", f"2023-01-0{n} 12:00:00") for n in (1, 2, 3)]
    journey.sql("INSERT INTO orders VALUES (?, ?, ?)", rows)
    journey.write_specs(orders=SPEC)
    backfill(table="orders", **DAYS)
    return journey


def run(**parameters: Any) -> State[Any]:
    state: State[Any] = reconcile(**parameters, return_state=True)
    return state


def refused(shop: Any, *says: str, **parameters: Any) -> None:
    before = shop.target("orders")
    state = run(**{"table": "orders", "repair": "all", **parameters})
    assert state.type is StateType.FAILED, state.message
    assert [text for text in says if text not in str(state.message)] == [], state.message
    assert shop.target("orders") == before


def in_target(shop: Any, statement: str) -> None:
    shop.warehouse.execute(statement.format(f'"{shop.schema}"."orders"'))


@ONE_ROUTE
def test_a_zone_that_there_is_not_also_where_no_day_is_counted(shop: Any) -> None:
    shop.write_specs(orders={"mode": "full", "key": ["id"]})
    for given in ({"last_days": 7}, {}):
        refused(shop, "there is no time zone 'Europe/Berln'", zone="Europe/Berln", **given)


@ONE_ROUTE
def test_a_table_without_a_key(shop: Any) -> None:
    shop.write_specs(orders={"mode": "full"})
    refused(shop, "orders: a table without a key", "Add `key`")


@ONE_ROUTE
def test_a_column_for_marks_that_is_not_there_and_is_added_as_the_message_says(shop: Any) -> None:
    spec = {**SPEC, "hard_deletes": "mark"}
    shop.write_specs(orders=spec)
    told = "Add the column to the target, and name it in `target_only`"
    refused(shop, "no column 'deleted' in which to mark", told)
    in_target(shop, "ALTER TABLE {} ADD COLUMN deleted BOOLEAN")
    shop.write_specs(orders={**spec, "target_only": ["deleted"]})
    assert run(table="orders").type is StateType.COMPLETED
    assert sync_table(table="orders", run_date=date(2023, 1, 1)).rows_unchanged == 1


@ONE_ROUTE
def test_a_key_that_is_not_unique_on_one_side(shop: Any) -> None:
    in_target(shop, "INSERT INTO {} SELECT * FROM {0} WHERE id = 2".replace("{}", "{0}"))
    refused(shop, "the key is not unique", "0 keys more than once at the source, 1 in the target")


@ONE_ROUTE
def test_a_key_that_is_not_unique_on_a_day_long_after_others_that_differ(shop: Any) -> None:
    shop.sql("INSERT INTO orders VALUES (4, 'note 4', '2023-05-10 12:00:00')")
    backfill(table="orders", start_date=date(2023, 5, 10), end_date=date(2023, 5, 11))
    in_target(shop, "INSERT INTO {} SELECT * FROM {0} WHERE id = 4".replace("{}", "{0}"))
    in_target(shop, "UPDATE {} SET note = 'by hand' WHERE id = 1")
    half_a_year = {"start_date": date(2023, 1, 1), "end_date": date(2023, 6, 1)}
    refused(shop, "orders 2023-05-10: the key is not unique", **half_a_year)


@ONE_ROUTE
def test_a_column_on_one_side_only(shop: Any) -> None:
    in_target(shop, "ALTER TABLE {} ADD COLUMN own INT")
    shop.sql("ALTER TABLE orders ADD COLUMN more INT")
    refused(shop, "in the source: more; in the target: own", "`exclude`", "`target_only`")
    shop.write_specs(orders={**SPEC, "exclude": ["more"], "target_only": ["own"]})
    assert run(table="orders").type is StateType.COMPLETED


@ONE_ROUTE
def test_rows_whose_deletion_goes_on_to_another_table(shop: Any) -> None:
    in_target(shop, "ALTER TABLE {} ADD UNIQUE (id)")
    items = f'"{shop.schema}"."items"'
    in_target(shop, f"CREATE TABLE {items} (id INT REFERENCES {{}} (id) ON DELETE CASCADE)")
    shop.warehouse.execute(f"INSERT INTO {items} VALUES (3)")
    shop.sql("DELETE FROM orders WHERE id = 3")
    shop.write_specs(orders={**SPEC, "hard_deletes": "delete"})
    refused(shop, "foreign key items_id_fkey", "DEFERRABLE", max_delete_percent=100, **DAYS)
    assert shop.target("items") == [(3,)]


@ONE_ROUTE
def test_types_that_cannot_be_compared(shop: Any) -> None:
    in_target(shop, "ALTER TABLE {} ALTER COLUMN note TYPE bytea USING note::bytea")
    refused(shop, "column 'note' cannot be compared", "expected text", "found bytea")


@ONE_ROUTE
def test_rows_of_another_source_table_are_not_added_to(shop: Any) -> None:
    shop.sql("CREATE TABLE older AS SELECT id + 10 AS id, note, modified FROM orders")
    shop.write_specs(orders={**SPEC, "source_table": "older"})
    refused(shop, "rows of another source table", "mode full", repair="carry")


@ONE_ROUTE
def test_a_target_that_is_not_there(shop: Any) -> None:
    shop.sql("CREATE TABLE more (id INT NOT NULL PRIMARY KEY, modified DATETIME)")
    shop.write_specs(more=SPEC)
    state = run(table="more")
    assert state.type is StateType.FAILED
    assert "there is no such table in the warehouse" in str(state.message)


@pytest.mark.parametrize("route", ["sqlite-folder-duckdb"], indirect=True)
def test_wrong_parameters(shop: Any) -> None:
    for parameters, says in (
        ({"start_date": date(2023, 1, 2), "end_date": date(2023, 1, 2)}, "not after its start"),
        ({"start_date": date(2023, 1, 2)}, "a start and an end"),
        ({**DAYS, "last_days": 3}, "in place of dates"),
        ({"table": "ordres"}, "Did you mean orders?"),
        ({"table": []}, "no table is named"),
        ({"last_days": 0}, "last_days"),
        ({"max_delete_percent": 101}, "max_delete_percent"),
    ):
        refused(shop, says, **parameters)


@pytest.mark.parametrize("route", ["sqlite-folder-duckdb"], indirect=True)
@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati"])
def test_days_that_have_not_begun_are_no_equal_ones(shop: Any, zone: str) -> None:
    today = datetime.now(ZoneInfo(zone)).date()
    for start in (today + timedelta(days=1), date(2200, 1, 1)):
        days = {"start_date": start, "end_date": start + timedelta(days=31)}
        refused(shop, "no day of the range is over", f"{shop.schema}.orders", zone=zone, **days)
    assert shop.warehouse.describe(TableName("ferry", "audits")) is None
    days = {"start_date": today - timedelta(days=1), "end_date": today + timedelta(days=1)}
    assert "2 days compared" in str(run(table="orders", zone=zone, **days).message)


@ONE_ROUTE
def test_days_of_a_table_that_has_none(journey: Any) -> None:
    journey.sql("CREATE TABLE regions (id INT NOT NULL PRIMARY KEY, name VARCHAR(9))")
    journey.write_specs(regions={"mode": "full", "key": ["id"]})
    sync_table(table="regions", mode="full")
    state = run(table="regions", **DAYS)
    assert state.type is StateType.FAILED
    assert "takes no days" in str(state.message)


@pytest.mark.parametrize("route", ["mysql-folder-postgres", "sqlite-folder-duckdb"], indirect=True)
def test_a_source_that_is_gone_half_way(shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    source: Any = type(shop.source)
    assert source in (MySQLSource, SQLiteSource)
    fetch, asked = source.fetch, []

    def fails_later(self: Any, statement: Any) -> Any:
        asked.append(statement)
        if len(asked) > 1:
            raise ConnectionLostError("the server went away")
        return fetch(self, statement)

    monkeypatch.setattr(source, "fetch", fails_later)
    state = run(table="orders", start_date=date(2023, 1, 1), end_date=date(2023, 6, 1))
    assert state.type is StateType.FAILED
    told = "orders: 64 days compared, 3 rows, equal; not compared: from 2023-03-06 on, "
    assert told in str(state.message)
    assert "the server went away" in str(state.message)


@ONE_ROUTE
def test_a_repair_that_cannot_be_compared_again_says_so(
    shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any, **__: Any) -> None:
        raise ConnectionLostError("the server went away")

    shop.write_specs(orders={**SPEC, "retries": 0})
    monkeypatch.setattr(repair, "compare_again", task(away))
    in_target(shop, "DELETE FROM {} WHERE id = 2")
    state = run(table="orders", **DAYS, repair="carry")
    assert "the server went away" in str(state.message)
    assert "orders: 1 window carried again; not compared again" in pages_of(state)["reconcile"]
    assert len(shop.target("orders")) == 3


@ONE_ROUTE
def test_a_view_is_a_source_like_others(shop: Any) -> None:
    shop.sql("CREATE VIEW seen AS SELECT id, note, modified FROM orders")
    shop.write_specs(orders={**SPEC, "source_table": "seen"})
    sync_table(table="orders", mode="full")
    shop.sql("UPDATE orders SET note = 'silent' WHERE id = 2")
    state = run(table="orders", repair="carry")
    assert state.type is StateType.COMPLETED, state.message
    assert shop.target("orders", "note")[1] == ("silent",)


def test_a_table_without_rows(journey: Any) -> None:
    journey.sql("CREATE TABLE orders (id INT NOT NULL PRIMARY KEY, modified DATETIME)")
    journey.write_specs(orders=SPEC)
    sync_table(table="orders", run_date=date(2023, 1, 1))
    assert run(table="orders").message == f"{journey.schema}.orders: all compared, 0 rows, equal"
    state = run(table="orders", **DAYS)
    assert state.message == f"{journey.schema}.orders: 3 days compared, 0 rows, equal"


@pytest.mark.parametrize("route", ["mysql-s3-redshift", "mysql-folder-postgres"], indirect=True)
def test_days_of_a_zone_are_the_same_on_both_sides_also_when_its_clock_changes(
    journey: Any,
) -> None:
    journey.sql(
        "CREATE TABLE orders (id INT NOT NULL PRIMARY KEY, at TIMESTAMP NULL, local DATETIME)"
    )
    moments = [datetime(2023, month, day, hour) for month, day in ((3, 25), (3, 26), (10, 28),
        (10, 29)) for hour in range(24)]  # fmt: skip
    rows = [(number, at, at) for number, at in enumerate(moments)]
    journey.sql("INSERT INTO orders VALUES (?, ?, ?)", rows)
    berlin = {"mode": "window", "key": ["id"], "zone": "Europe/Berlin"}
    dates = {"start_date": date(2023, 3, 1), "end_date": date(2023, 11, 1)}
    for cursor in ("at", "local"):
        journey.write_specs(orders={**berlin, "cursor": cursor})
        backfill(table="orders", **dates, granularity="month")
        state = run(table="orders", **dates)
        assert state.type is StateType.COMPLETED, state.message
        assert "245 days compared, 96 rows, equal" in str(state.message)


@ONE_ROUTE
def test_clocks_that_disagree_make_no_difference(
    journey: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is pending is told by the source's clock alone, as it was when it was read."""
    journey.sql("CREATE TABLE orders (id INT NOT NULL PRIMARY KEY, modified DATETIME NOT NULL)")
    journey.sql("INSERT INTO orders VALUES (1, '2023-01-03 12:00:00')")
    journey.write_specs(orders=SPEC)
    monkeypatch.setattr(type(journey.source), "now", lambda _: datetime(2023, 1, 3, 18, tzinfo=UTC))
    backfill(table="orders", **DAYS)
    journey.sql("INSERT INTO orders VALUES (4, '2023-01-03 19:00:00')")
    journey.sql("INSERT INTO orders VALUES (5, '2023-01-03 17:00:00')")
    assert "1 missing, 1 pending" in str(run(table="orders").message)


@pytest.mark.parametrize("route", ["sqlite-folder-duckdb"], indirect=True)
@pytest.mark.parametrize(
    ("changes", "refuses"),
    [
        (["UPDATE many SET n = n + 1"], False),
        (["UPDATE many SET n = n + 1", "DELETE FROM many WHERE id % 50 = 0"], False),
        (["DELETE FROM many WHERE id % 500"], True),
        (["UPDATE many SET id = id + 100000"], True),
    ],
    ids=["all changed", "few gone", "all but emptied", "other keys"],
)
def test_a_full_copy_of_a_table_of_which_most_rows_were_not_looked_at_counts_what_is_gone(
    journey: Any, monkeypatch: pytest.MonkeyPatch, changes: list[str], refuses: bool
) -> None:
    for name, rows in (("LEAF_ROWS", 20), ("MOST_ROWS", 200)):
        monkeypatch.setattr(compare, name, rows)
    journey.sql("CREATE TABLE many (id INT NOT NULL PRIMARY KEY, n INT)")
    journey.sql("INSERT INTO many VALUES (?, ?)", [(n, n) for n in range(2_000)])
    journey.write_specs(many={"mode": "full", "key": ["id"]})
    sync_table(table="many")
    before = journey.target("many")
    for change in changes:
        journey.sql(change)
    state = run(table="many", repair="carry")
    if not refuses:
        assert state.type is StateType.COMPLETED, state.message
        assert "compared again: equal" in str(state.message)
        return
    assert state.type is StateType.FAILED
    assert re.search(
        r"percent`\); found about [12],\d{3} rows, of which 1,\d{3} ", str(state.message)
    )
    assert journey.target("many") == before


@ONE_ROUTE
def test_all_tables_leaves_out_what_cannot_be_compared(shop: Any) -> None:
    new = {**SPEC, "source_table": "orders"}
    shop.write_specs(orders=SPEC, heap={"mode": "full"}, new=new)
    state = run()
    assert state.type is StateType.COMPLETED, state.message
    (page,) = pages_of(state).values()
    for left_out in ("heap is left out: it has no key", "new is left out: no run has carried it"):
        assert left_out in str(state.message)
        assert f"{shop.schema}.{left_out}" in page
    assert shop.warehouse.describe(TableName(shop.schema, "heap")) is None


@ONE_ROUTE
def test_all_tables_leaves_out_none_that_was_there(shop: Any) -> None:
    in_target(shop, "DROP TABLE {}")
    state = run()
    assert state.type is StateType.FAILED
    assert "there is no such table in the warehouse" in str(state.message)


@ONE_ROUTE
def test_a_day_is_not_said_to_be_gone_of_which_only_a_part_was_looked_at(
    shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the source has a row of it, among those that were too many to look at."""
    for name in ("LEAF_ROWS", "MOST_ROWS", "_ROWS_OF_A_PART"):
        monkeypatch.setattr(compare, name, 1)
    in_target(shop, "UPDATE {} SET note = 'other' WHERE id = 2")
    for more in range(20, 26):
        in_target(shop, f"INSERT INTO {{0}} SELECT {more}, note, modified FROM {{0}} WHERE id = 2")
    shop.write_specs(orders={**SPEC, "hard_deletes": "delete", "max_delete_percent": 99})
    found = "found none of the rows that were looked at at the source of 2023-01-02"
    refused(shop, found, **DAYS)
