"""A run killed in the middle of any step, or cut off from the warehouse, and started again."""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import date
from multiprocessing.process import BaseProcess
from typing import Any

import pytest

from blocks.postgres.session import SESSIONS
from blocks.sources import MySQLSource
from deployments.local.redshift_double import Fault
from ferry.errors import BusyError
from ferry.schema import TableName
from flows.sync_table import sync_table
from tests.flows.pipeline import forks
from tests.flows.pipeline.full_copy import full_copy
from tests.harness.api import eventually

ROWS = 500
SPEC = {"mode": "window", "key": ["id"], "insert_rows": 0}

STATEMENTS = [
    r"^CREATE TABLE IF NOT EXISTS .*stg_",
    r"^COPY",
    r"^LOCK",
    r"^DELETE FROM .*orders",
    r"^INSERT INTO .*orders.* SELECT",
    r"^INSERT INTO .*receipts",
    r"^COMMIT",
    r"^DROP TABLE .*stg_",
]
"""Of a full copy, in their order."""

pytestmark = [
    pytest.mark.usefixtures("plain_runs"),
    pytest.mark.parametrize("route", ["mysql-s3-redshift"], indirect=True),
]


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


def is_complete(journey: Any) -> bool:
    rows = journey.target("orders", "id, note")
    return rows == [(n, "changed") for n in range(ROWS)]


def is_untouched(journey: Any) -> bool:
    rows = journey.target("orders", "id, note")
    return rows == [(n, f"note {n}") for n in range(ROWS)]


@pytest.mark.parametrize("statement", STATEMENTS)
def test_killed_at_a_statement_and_run_again(
    shop: Any, redshift_double: Any, postgres: Any, statement: str
):
    kill_at(redshift_double, postgres, carry, Fault("stall", statement, seconds=1))
    assert is_untouched(shop) or is_complete(shop)
    landed = is_complete(shop)
    assert len(shop.receipts("orders")) == (2 if landed else 1)

    receipt = sync_table(table="orders", mode="full")

    assert is_complete(shop)
    assert (receipt.rows_inserted, receipt.rows_deleted) == (ROWS, ROWS)


@pytest.mark.parametrize("statement", STATEMENTS)
def test_killed_at_a_statement_the_same_run_lands_what_was_staged(
    shop: Any,
    redshift_double: Any,
    postgres: Any,
    monkeypatch: pytest.MonkeyPatch,
    statement: str,
) -> None:
    shop.write_specs(orders={**SPEC, "resume_rows": 100})
    kill_at(redshift_double, postgres, carry_in_pieces, Fault("stall", statement, seconds=1))
    assert is_untouched(shop) or is_complete(shop)
    assert len(shop.receipts("orders")) == (2 if is_complete(shop) else 1)

    def read(*_: Any, **__: Any) -> Any:
        raise AssertionError("all of it was staged, and is read again")

    monkeypatch.setattr(MySQLSource, "read", read)
    monkeypatch.setattr(MySQLSource, "read_pieces", read)
    receipt = full_copy("orders", "the run", attempt=2)

    assert is_complete(shop)
    assert len(shop.receipts("orders")) == 2
    assert (receipt.rows_inserted, receipt.rows_deleted) == (ROWS, ROWS)


def test_killed_between_a_target_and_what_says_that_its_days_are_void(
    shop: Any, redshift_double: Any, postgres: Any
):
    shop.warehouse.execute(f'DROP TABLE "{shop.schema}"."orders"')
    SESSIONS.close_all()
    kill_at(redshift_double, postgres, carry, Fault("stall", r"^INSERT INTO .*receipts", seconds=1))
    target = TableName(shop.schema, "orders")
    voids = [receipt for receipt in shop.receipts("orders") if receipt.status == "void"]
    assert (shop.warehouse.describe(target) is None) == (not voids)  # both, or neither

    sync_table(table="orders", mode="full")

    assert is_complete(shop)
    assert [receipt.status for receipt in shop.receipts("orders")] == ["loaded", "void", "loaded"]


def test_killed_between_a_summary_s_table_and_its_rows(
    survey: Any, redshift_double: Any, postgres: Any
):
    for day in (3, 4):
        survey.answer(day, [9] * 10)
    sync_table(table="nps", mode="full")
    published = survey.published()
    survey.journey.warehouse.execute(f'DROP TABLE "{survey.journey.schema}"."nps_summary"')
    SESSIONS.close_all()
    kill_at(redshift_double, postgres, carry_day, Fault("stall", r"^LOCK .*nps_summ", seconds=1))
    assert survey.published() == []

    carry_day()

    assert survey.published() == published != []


def carry_day() -> None:
    sync_table(table="nps", run_date=date(2023, 1, 4))


def carry() -> None:
    sync_table(table="orders", mode="full")


def carry_in_pieces() -> None:
    full_copy("orders", "the run")


def kill_at(double: Any, postgres: Any, run: Callable[[], None], fault: Fault) -> None:
    """Begin a run in a process of its own, kill it at a statement, and wait until it is gone."""
    double.inject(fault)
    process = forks.begin(run)
    try:
        wait_until_stalled(double, process)
        assert sessions(postgres) > 0
    finally:
        process.kill()
        process.join()
    double.clear()
    assert eventually(lambda: sessions(postgres) == 0)


def wait_until_stalled(double: Any, process: BaseProcess) -> None:
    """Until the double says that a fault has met its statement."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if double.struck():
            return
        assert process.is_alive(), "the run ended before the statement was reached"
        time.sleep(0.02)
    raise AssertionError("the statement was never reached")


def sessions(postgres: Any) -> int:
    """How many sessions Ferry has open in the warehouse."""
    with closing(postgres.connect()) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'ferry'")
        return int(cursor.fetchone()[0])


class TestFaults:
    def test_a_lost_answer_at_commit_looks_the_batch_up(self, shop: Any, redshift_double: Any):
        redshift_double.inject(Fault("cut_after", r"^COMMIT", nth=2))  # the first is COPY's
        receipt = sync_table(table="orders", mode="full")
        assert is_complete(shop)
        assert shop.receipts("orders")[1:] == [receipt]

    def test_a_connection_lost_before_commit_is_tried_again(self, shop: Any, redshift_double: Any):
        redshift_double.inject(Fault("cut_before", r"^INSERT INTO .*receipts"))
        receipt = sync_table(table="orders", mode="full")
        assert is_complete(shop)
        assert shop.receipts("orders")[1:] == [receipt]

    def test_a_serialization_conflict_repeats_the_transaction(
        self, shop: Any, redshift_double: Any
    ):
        redshift_double.inject(Fault("serialization", r"^INSERT INTO .*orders.* SELECT", times=2))
        receipt = sync_table(table="orders", mode="full")
        assert is_complete(shop)
        assert shop.receipts("orders")[1:] == [receipt]

    @pytest.mark.parametrize(
        ("at", "text"),
        [
            (r"^INSERT INTO .*orders.* SELECT", "table 109311 dropped by concurrent transaction"),
            (r"^LOCK TABLE", "Relation with OID 109311 does not exist."),
            (r"^SELECT .*svv_columns", "cache lookup failed for relation 109311"),
            (r"^COPY", "Query (7) cancelled by WLM abort action of Query Monitoring Rule"),
        ],
    )
    def test_ddl_of_others_beside_a_run_is_waited_out(
        self, shop: Any, redshift_double: Any, at: str, text: str
    ):
        redshift_double.inject(Fault("ddl_conflict", at, message=text))
        receipt = sync_table(table="orders", mode="full")
        assert is_complete(shop)
        assert shop.receipts("orders")[1:] == [receipt]
        assert shop.leftovers() == set()

    def test_what_a_rule_of_the_queue_ended_is_tried_once_more_and_not_at_once(
        self, shop: Any, redshift_double: Any
    ):
        at, text = r"^INSERT INTO .*orders.* SELECT", "Query (7) cancelled by WLM abort action"
        redshift_double.inject(Fault("ddl_conflict", at, message=text, times=2))
        known = len(redshift_double.statements())
        with pytest.raises(BusyError, match="query monitoring rule"):
            sync_table(table="orders", mode="full")
        sent = [s.sql for s in redshift_double.statements()[known:]]
        assert sum(bool(re.match(at, sql, re.DOTALL)) for sql in sent) == 2

    def test_a_connection_lost_in_copy_is_tried_again(self, shop: Any, redshift_double: Any):
        redshift_double.inject(Fault("cut_before", r"^COPY"))
        sync_table(table="orders", mode="full")
        assert is_complete(shop)
        assert shop.leftovers() == set()

    def test_an_error_that_no_retry_helps_is_not_tried_again(self, shop: Any, redshift_double: Any):
        shop.sql("UPDATE orders SET note = NULL")
        shop.warehouse.execute(f'DROP TABLE "{shop.schema}"."orders"')
        shop.warehouse.execute(
            f'CREATE TABLE "{shop.schema}"."orders" '
            "(id INT, note VARCHAR(20) NOT NULL, modified TIMESTAMP)"
        )
        known = len(redshift_double.statements())
        with pytest.raises(Exception, match="upsert"):
            sync_table(table="orders", mode="full")
        sent = [s.sql for s in redshift_double.statements()[known:]]
        assert sum("SELECT" in sql and sql.startswith("INSERT") for sql in sent) == 1
        assert shop.target("orders") == []
