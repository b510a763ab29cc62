"""`audit_days`: what came late, went away or was altered arrives with the next daily run.

Each fault of docs/reconcile.md's table is made here, without it and with it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prefect.client.schemas.objects import State, StateType

from ferry.statements import PARAM, Statement
from flows.sync_all import sync_all
from tests.harness.plain_runs import run_at

pytestmark = pytest.mark.usefixtures("plain_runs")

ONE_ROUTE = pytest.mark.parametrize("route", ["sqlite-folder-duckdb"], indirect=True)
SPEC = {"mode": "window", "key": ["id"], "cursor": "modified", "hard_deletes": "delete"}
FIRST = datetime(2023, 1, 2, 9, tzinfo=UTC)


@pytest.fixture
def shop(journey: Any) -> Any:
    """Orders of a shop that has just opened."""
    journey.sql(
        "CREATE TABLE orders (id INT NOT NULL PRIMARY KEY, note VARCHAR(99), "
        "modified DATETIME NOT NULL)"
    )
    return journey


@pytest.fixture
def morning(shop: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], State[Any]]:
    """Runs the daily run of the morning after this day of January, by the source's clock, too."""

    def run(day: int) -> State[Any]:
        at = FIRST + timedelta(days=day - 1)
        monkeypatch.setattr(type(shop.source), "now", lambda _: at)
        return run_at(sync_all, at, every="day")

    return run


def sell(shop: Any, day: int, *ids: int, at: str = "12:00:00") -> None:
    rows = [(number, f"order {number}", f"2023-01-{day:02} {at}") for number in ids]
    shop.sql("INSERT INTO orders VALUES (?, ?, ?)", rows)


def alter(shop: Any, statement: str, *values: object) -> None:
    table = f'"{shop.schema}"."orders"'
    assert shop.warehouse.execute(Statement(statement.format(table), values)) == 1


def source(shop: Any, before: str) -> list[tuple[int, str]]:
    """What the target has to be: the source's rows up to a morning."""
    from ferry.batch import ExtractQuery
    from ferry.schema import TableName

    schema = shop.source.describe(TableName("", "orders"))
    found = []
    for batch in shop.source.read(ExtractQuery(schema)):
        for row in batch.to_pylist():
            if row["modified"] < datetime.fromisoformat(before):
                found.append((row["id"], row["note"]))
    return sorted(found)


def differing(shop: Any, before: str) -> set[int]:
    """The orders that are not in the target as they are at the source."""
    there = set(shop.target("orders", "id, note"))
    return {number for number, _ in there ^ set(source(shop, before))}


def commit_late(shop: Any) -> None:
    sell(shop, 1, 19, at="23:59:59")


def set_clock_back(shop: Any) -> None:
    sell(shop, 1, 18, at="03:00:00")


def delete(shop: Any) -> None:
    shop.sql("DELETE FROM orders WHERE id = 11")


def change_without_cursor(shop: Any) -> None:
    shop.sql("UPDATE orders SET note = 'corrected' WHERE id = 12")


def alter_in_the_warehouse(shop: Any) -> None:
    alter(shop, f"UPDATE {{}} SET note = 'by hand' WHERE id = {PARAM}", 13)


def lose_in_the_warehouse(shop: Any) -> None:
    alter(shop, f"DELETE FROM {{}} WHERE id = {PARAM}", 14)


FAULTS: dict[Callable[[Any], None], int] = {
    commit_late: 19,
    set_clock_back: 18,
    delete: 11,
    change_without_cursor: 12,
    alter_in_the_warehouse: 13,
    lose_in_the_warehouse: 14,
}
"""Each with the order that it strikes."""


@ONE_ROUTE
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_no_daily_run_sees_it_without_and_the_next_one_does_with(
    shop: Any, morning: Any, fault: Callable[[Any], None]
) -> None:
    shop.write_specs(orders=SPEC)
    sell(shop, 1, 11, 12, 13, 14)
    assert morning(1).type is StateType.COMPLETED
    fault(shop)
    sell(shop, 2, 21)
    assert morning(2).type is StateType.COMPLETED
    assert differing(shop, "2023-01-03") == {FAULTS[fault]}

    shop.write_specs(orders={**SPEC, "audit_days": 7, "max_delete_percent": 50})
    sell(shop, 3, 31)
    state = morning(3)
    assert state.type is StateType.COMPLETED, state.message
    assert "compared again: equal" in str(state.message)
    assert shop.target("orders", "id, note") == source(shop, "2023-01-04")
    assert "compared again" not in str(morning(4).message)


@ONE_ROUTE
def test_a_full_copy_sees_all_of_them(shop: Any, morning: Any) -> None:
    shop.write_specs(orders={"mode": "full", "key": ["id"]})
    sell(shop, 1, 11, 12, 13, 14)
    morning(1)
    for fault in FAULTS:
        fault(shop)
    assert differing(shop, "2023-01-04") == set(FAULTS.values())
    assert morning(2).type is StateType.COMPLETED
    assert differing(shop, "2023-01-04") == set()


@ONE_ROUTE
def test_a_watermark_sees_none_of_them(shop: Any, morning: Any) -> None:
    shop.write_specs(orders={"mode": "watermark", "key": ["id"], "cursor": "modified"})
    sell(shop, 1, 11, 12, 13, 14)
    sell(shop, 2, 15, at="06:00:00")  # the watermark stands here
    morning(1)
    for fault in FAULTS:
        fault(shop)
    sell(shop, 2, 21)
    assert morning(2).type is StateType.COMPLETED
    assert differing(shop, "2023-01-04") == set(FAULTS.values())


@pytest.mark.parametrize("route", ["sqlite-folder-duckdb", "mysql-s3-redshift"], indirect=True)
def test_a_week_in_which_the_target_is_the_source_each_morning(shop: Any, morning: Any) -> None:
    shop.write_specs(orders={**SPEC, "audit_days": 7, "max_delete_percent": 50})
    for day in range(1, 9):
        sell(shop, day, *(10 * day + n for n in range(6)))
        if day > 1:
            sell(shop, day - 1, 10 * day + 8, at="23:59:59")  # commits a day late
            shop.sql("DELETE FROM orders WHERE id = ?", [(10 * (day - 1) + 2,)])
            shop.sql("UPDATE orders SET note = 'silent' WHERE id = ?", [(10 * (day - 1) + 3,)])
            alter(shop, f"UPDATE {{}} SET note = 'x' WHERE id = {PARAM}", 10 * (day - 1) + 4)
        sell(shop, day + 1, 10 * day + 9, at="08:00:00")  # this morning's: still to come
        state = morning(day)
        assert state.type is StateType.COMPLETED, state.message
        told = shop.target("orders", "id, note")
        assert told == source(shop, f"2023-01-{day + 1:02}"), day


@ONE_ROUTE
def test_deletions_that_are_only_reported_do_not_fail_the_run(shop: Any, morning: Any) -> None:
    shop.write_specs(orders={**SPEC, "hard_deletes": "report", "audit_days": 7})
    sell(shop, 1, 11, 12)
    morning(1)
    delete(shop)
    commit_late(shop)
    state = morning(2)
    assert state.type is StateType.COMPLETED, state.message
    assert "1 deleted at the source" in str(state.message)
    assert [row[0] for row in shop.target("orders", "id")] == [11, 12, 19]


@ONE_ROUTE
def test_what_may_not_be_taken_out_fails_the_run_with_its_reason(shop: Any, morning: Any) -> None:
    shop.write_specs(orders={**SPEC, "audit_days": 7})
    sell(shop, 1, 11, 12)
    morning(1)
    delete(shop)
    state = morning(2)
    assert state.type is StateType.FAILED
    assert "`max_delete_percent`" in str(state.message)
    again = "--param start_date=2023-01-01 --param end_date=2023-01-02 --param zone=UTC"
    assert f"{again} --param repair=all --param max_delete_percent=…" in str(state.message)
    assert [row[0] for row in shop.target("orders", "id")] == [11, 12]
