"""A full copy killed at any statement after its pieces were staged, and started again."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from blocks.postgres.session import SESSIONS
from blocks.sources import MySQLSource
from deployments.local.redshift_double import Fault
from flows.sync_table import sync_table
from tests.flows.pipeline.full_copy import full_copy
from tests.flows.pipeline.test_killed import sessions, wait_until_stalled
from tests.harness.api import eventually

ROOT = Path(__file__).parents[3]
ROWS = 3000
SPEC = {"mode": "window", "key": ["id"], "insert_rows": 0, "resume_rows": 500}
RUN = "from tests.flows.pipeline.full_copy import full_copy; full_copy('orders', 'the run')"

pytestmark = pytest.mark.parametrize("route", ["mysql-s3-redshift"], indirect=True)


@pytest.fixture
def shop(journey: Any, redshift_double: Any) -> Iterator[Any]:
    """Rows in the source, of which the target has an older copy."""
    journey.sql(
        "CREATE TABLE orders (id INT NOT NULL PRIMARY KEY, note VARCHAR(20), modified DATETIME)"
    )
    rows = [(n, f"note {n}", "2023-01-01 10:00:00") for n in range(ROWS)]
    journey.sql("INSERT INTO orders VALUES (?, ?, ?)", rows)
    journey.write_specs(orders=SPEC)
    sync_table(table="orders", mode="full")
    journey.sql("UPDATE orders SET note = 'changed', modified = '2023-01-02 10:00:00'")
    SESSIONS.close_all()  # so that `sessions` counts those of the killed process alone
    yield journey
    redshift_double.clear()


@pytest.mark.parametrize(
    "statement",
    [
        r"^CREATE TABLE IF NOT EXISTS .*stg_",
        r"^COPY",
        r"^LOCK",
        r"^DELETE FROM .*orders",
        r"^INSERT INTO .*orders.* SELECT",
        r"^INSERT INTO .*receipts",
        r"^COMMIT",
        r"^DROP TABLE .*stg_",
    ],
)
def test_killed_at_a_statement_the_same_run_lands_what_was_staged(
    shop: Any,
    redshift_double: Any,
    postgres: Any,
    monkeypatch: pytest.MonkeyPatch,
    statement: str,
) -> None:
    redshift_double.inject(Fault("stall", statement, seconds=1))
    process = subprocess.Popen([sys.executable, "-c", RUN], cwd=ROOT)
    try:
        wait_until_stalled(redshift_double, process)
    finally:
        process.kill()
        process.wait()
    redshift_double.clear()
    assert eventually(lambda: sessions(postgres) == 0)
    notes = {note for _, note in shop.target("orders", "id, note")}
    assert notes in ({"changed"}, {f"note {n}" for n in range(ROWS)})
    landed = notes == {"changed"}
    assert len(shop.receipts("orders")) == (2 if landed else 1)

    def read(*_: Any, **__: Any) -> Any:
        raise AssertionError("all of it was staged, and is read again")

    monkeypatch.setattr(MySQLSource, "read", read)
    monkeypatch.setattr(MySQLSource, "read_pieces", read)
    receipt = full_copy("orders", "the run", attempt=2)

    assert shop.target("orders", "id, note") == [(n, "changed") for n in range(ROWS)]
    assert len(shop.receipts("orders")) == 2
    assert (receipt.rows_inserted, receipt.rows_deleted) == (ROWS, ROWS)
