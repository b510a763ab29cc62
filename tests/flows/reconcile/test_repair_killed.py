"""A repair that is killed, or fails, in its middle; started again it ends right."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import date, datetime
from typing import Any

import pytest

from blocks.postgres.session import SESSIONS
from deployments.local.redshift_double import Fault
from ferry.statements import PARAM, Statement
from flows import reconcile_tables
from flows.backfill_tables import backfill
from flows.reconcile_tables import reconcile
from tests.flows.pipeline.test_killed import kill_at

SPEC = {
    "mode": "window",
    "key": ["id"],
    "cursor": "modified",
    "insert_rows": 0,
    "hard_deletes": "delete",
}
DAYS = {"start_date": date(2023, 1, 1), "end_date": date(2023, 1, 4)}
pytestmark = [
    pytest.mark.usefixtures("plain_runs"),  # but for those that ask for `api`
    pytest.mark.parametrize("route", ["mysql-s3-redshift"], indirect=True),
]


@pytest.fixture
def shop(journey: Any, redshift_double: Any) -> Iterator[Any]:
    """Three days carried; then one row came late, one went, one was altered, one made newer."""
    journey.sql(
        "CREATE TABLE orders (id INT NOT NULL PRIMARY KEY, note VARCHAR(20), modified DATETIME)"
    )
    rows = [
        (100 * day + n, f"note {n}", f"2023-01-{day:02} 10:00:00")
        for day in range(1, 4)
        for n in range(30)
    ]
    journey.sql("INSERT INTO orders VALUES (?, ?, ?)", rows)
    journey.write_specs(orders=SPEC)
    backfill(table="orders", **DAYS)
    journey.sql("INSERT INTO orders VALUES (199, 'late', '2023-01-01 11:00:00')")
    journey.sql("DELETE FROM orders WHERE id = 207")
    table = f'"{journey.schema}"."orders"'
    for statement, values in (
        (f"UPDATE {table} SET note = 'by hand' WHERE id = {PARAM}", (305,)),
        (
            f"UPDATE {table} SET modified = {PARAM} WHERE id = {PARAM}",
            (datetime(2023, 1, 3, 20), 111),
        ),
    ):
        assert journey.warehouse.execute(Statement(statement, values)) == 1
    SESSIONS.close_all()  # so that `sessions` counts those of the killed process alone
    yield journey
    redshift_double.clear()


def repair() -> None:
    reconcile(table="orders", **DAYS, repair="all")


@pytest.mark.parametrize(
    ("statement", "nth"),
    [
        (r"INSERT INTO .*audits", 1),
        (r"^UPDATE .*orders", 1),
        (r"INSERT INTO .*receipts", 1),
        (r"^DELETE FROM .*orders", 1),
        (r"^COMMIT", 3),
        (r"^COPY", 1),
        (r"^DELETE FROM .*orders", 2),
        (r"INSERT INTO .*receipts", 3),
        (r"^COPY", 2),
        (r"^DELETE FROM .*orders", 3),
        (r"INSERT INTO .*audits", 2),
    ],
)
def test_killed_at_a_statement_and_run_again(
    shop: Any, redshift_double: Any, postgres: Any, statement: str, nth: int
) -> None:
    kill_at(redshift_double, postgres, repair, Fault("stall", statement, seconds=1, nth=nth))

    state: Any = reconcile(table="orders", **DAYS, repair="all", return_state=True)

    assert state.is_completed(), state.message
    rows = [
        (100 * day + n, f"note {n}") for day in range(1, 4) for n in range(30) if (day, n) != (2, 7)
    ]
    assert shop.target("orders", "id, note") == sorted([*rows, (199, "late")])
    receipts = shop.receipts("orders")
    held = sum(receipt.rows_inserted - receipt.rows_deleted for receipt in receipts)
    assert held == len(rows) + 1  # every change has its receipt, and no receipt is of another


@pytest.mark.parametrize(
    "statement",
    [
        r"^SELECT COUNT\(\*\) FROM [^ ]*orders\"$",  # of how many rows some are taken out
        r"svv_columns",
    ],
)
def test_a_connection_that_is_lost_before_anything_is_changed_does_not_end_the_repair(
    shop: Any, redshift_double: Any, monkeypatch: pytest.MonkeyPatch, statement: str
) -> None:
    own = reconcile_tables.repair_table

    def repair_table(*args: Any, **kwargs: Any) -> Any:
        redshift_double.inject(Fault("cut_before", statement))
        return own(*args, **kwargs)

    monkeypatch.setattr(reconcile_tables, "repair_table", repair_table)
    state: Any = reconcile(table="orders", **DAYS, repair="all", return_state=True)
    assert redshift_double.struck() == 1
    assert state.is_completed(), state.message
    assert "2 windows carried again, 1 deletion applied; compared again: equal" in state.message


@pytest.mark.parametrize("nth", [1, 2])
def test_an_answer_lost_at_commit_doubles_no_record_of_what_was_compared(
    shop: Any, redshift_double: Any, nth: int
) -> None:
    reconcile(table="orders", **DAYS, return_state=True)  # makes the table of audits
    redshift_double.inject(Fault("cut_after", r"^COMMIT", nth=nth))
    state: Any = reconcile(table="orders", **DAYS, return_state=True)
    redshift_double.clear()
    assert state.is_failed() and "3 days differ" in state.message
    kept = shop.warehouse.fetch(
        Statement(
            "SELECT bucket FROM ferry.audits WHERE flow_run_id = "
            f"{PARAM} AND table_name = {PARAM} ORDER BY bucket",
            (str(state.state_details.flow_run_id), f"{shop.schema}.orders"),
        )
    )
    assert kept == [(f"2023-01-0{day}",) for day in (1, 2, 3)]


def test_what_fails_after_something_was_changed_is_told_with_it_and_followed(
    shop: Any, postgres: Any, api: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    followed: list[str] = []
    own = reconcile_tables.follow_tables
    monkeypatch.setattr(
        reconcile_tables, "follow_tables", lambda names: own(followed.extend(names) or followed)
    )
    shop.write_specs(orders={**SPEC, "retries": 0})
    with closing(postgres.connect()) as connection, connection, connection.cursor() as cursor:
        cursor.execute(
            f'CREATE FUNCTION "{shop.schema}".refused() RETURNS trigger LANGUAGE plpgsql '
            "AS $$ BEGIN RAISE EXCEPTION 'not this one'; END $$"
        )
        cursor.execute(
            f'CREATE TRIGGER refused BEFORE DELETE ON "{shop.schema}"."orders" FOR EACH ROW '
            f'WHEN (OLD.id = 207) EXECUTE FUNCTION "{shop.schema}".refused()'
        )
    state: Any = reconcile(table="orders", **DAYS, repair="all", return_state=True)

    assert state.is_failed()
    assert "1 day differs: 1 deleted at the source" in state.message
    assert "FERRY-REFUSED: remove " in state.message, state.message
    assert shop.target("orders", "note", "id")[6:8] == [("note 6",), ("note 7",)]
    assert ("by hand",) not in shop.target("orders", "note")
    assert followed == [f"{shop.schema}.orders"]
    (page,) = [
        str(each.data)
        for each in api.artifacts(str(state.state_details.flow_run_id))
        if each.key == "reconcile"
    ]
    assert "2 windows carried again; compared again: still different" in page
