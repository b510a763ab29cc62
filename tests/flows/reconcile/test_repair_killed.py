"""A repair killed in its middle, at any statement, and started again ends right."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest

from blocks.postgres.session import SESSIONS
from deployments.local.redshift_double import Fault
from ferry.statements import MARK, Statement
from flows.backfill_tables import backfill
from flows.reconcile_tables import reconcile
from tests.flows.pipeline.test_killed import sessions, wait_until_stalled
from tests.harness.api import eventually

ROOT = Path(__file__).parents[3]
SPEC = {
    "mode": "window",
    "key": ["id"],
    "cursor": "modified",
    "insert_rows": 0,
    "hard_deletes": "delete",
}
DAYS = {"start_date": date(2023, 1, 1), "end_date": date(2023, 1, 4)}
RUN = (
    "from datetime import date; from flows.reconcile_tables import reconcile; "
    "reconcile(table='orders', start_date=date(2023, 1, 1), end_date=date(2023, 1, 4), "
    "repair='all')"
)

pytestmark = pytest.mark.parametrize("route", ["mysql-s3-redshift"], indirect=True)


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
        (f"UPDATE {table} SET note = 'by hand' WHERE id = {MARK}", (305,)),
        (
            f"UPDATE {table} SET modified = {MARK} WHERE id = {MARK}",
            (datetime(2023, 1, 3, 20), 111),
        ),
    ):
        assert journey.warehouse.execute(Statement(statement, values)) == 1
    SESSIONS.close_all()  # so that `sessions` counts those of the killed process alone
    yield journey
    redshift_double.clear()


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
    redshift_double.inject(Fault("stall", statement, seconds=1, nth=nth))
    process = subprocess.Popen([sys.executable, "-c", RUN], cwd=ROOT)
    try:
        wait_until_stalled(redshift_double, process)
    finally:
        process.kill()
        process.wait()
    redshift_double.clear()
    assert eventually(lambda: sessions(postgres) == 0)

    state: Any = reconcile(table="orders", **DAYS, repair="all", return_state=True)

    assert state.is_completed(), state.message
    rows = [
        (100 * day + n, f"note {n}") for day in range(1, 4) for n in range(30) if (day, n) != (2, 7)
    ]
    assert shop.target("orders", "id, note") == sorted([*rows, (199, "late")])
    receipts = shop.receipts("orders")
    held = sum(receipt.rows_inserted - receipt.rows_deleted for receipt in receipts)
    assert held == len(rows) + 1  # every change has its receipt, and no receipt is of another
