"""Ferry's own tables, as an older Ferry left them: they get what they lack before they are read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from blocks.warehouses import DuckDBWarehouse, PostgresWarehouse
from ferry.audits.outcome import Audit, AuditedBucket
from ferry.audits.table import AUDIT_COLUMNS, AUDITS, select_found
from ferry.batch import Batch
from ferry.coverage.table import COVERAGE, COVERAGE_COLUMNS
from ferry.errors import AccessError
from ferry.receipts.failures import FAILURE_COLUMNS, FAILURES
from ferry.receipts.receipt import RECEIPT_COLUMNS, RECEIPTS, void_receipt
from ferry.receipts.table import write_receipts
from ferry.schema import TableName
from ferry.specs.tables import TableSpec
from ferry.summaries.publications import OWN_TABLES
from ferry.windows import Window
from tasks.audits.compare_table import record_audit
from tasks.landed.failures import failures_of_run, read_failures, record_failures
from tasks.landed.history import read_history
from tasks.own_tables import make_missing
from tasks.plan_summary import make_own_tables
from tasks.record_coverage import read_audits

OWN = (
    (RECEIPTS, RECEIPT_COLUMNS),
    (FAILURES, FAILURE_COLUMNS),
    (AUDITS, AUDIT_COLUMNS),
    (COVERAGE, COVERAGE_COLUMNS),
    *OWN_TABLES,
)
INDEXES = {
    ("receipts", "receipts_by_table_name"),
    ("receipts", "receipts_by_batch_id"),
    ("failures", "failures_by_table_name"),
    ("audits", "audits_by_table_name"),
    ("coverage", "coverage_by_table_name"),
    ("summarized", "summarized_by_summary"),
    ("publications", "publications_by_summary"),
}
SPEC = TableSpec.model_validate({"name": "nps", "source": "shop", "mode": "full"})
DAY = datetime(2023, 1, 1, tzinfo=UTC)


def test_failures_are_read_from_a_table_that_lacks_a_column(
    duckdb_warehouse: DuckDBWarehouse,
) -> None:
    batch = Batch(SPEC, "full", None, "run", DAY, Path())
    assert read_failures(batch.target, duckdb_warehouse) == []
    record_failures([batch], AccessError("refused"), duckdb_warehouse)
    duckdb_warehouse.execute("ALTER TABLE ferry.failures DROP COLUMN window_label")

    (found,) = read_failures(batch.target, duckdb_warehouse)
    assert (found.error, found.window_label) == ("AccessError", None)
    assert failures_of_run("run", duckdb_warehouse) == [found]


def test_the_catalog_is_not_asked_for_what_is_late(
    duckdb_warehouse: DuckDBWarehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On Redshift it waits for whoever holds a table that a late-binding view is over."""
    assert read_history.fn(SPEC, duckdb_warehouse).receipts == []
    make_missing(RECEIPTS, RECEIPT_COLUMNS, duckdb_warehouse)
    batch = Batch(SPEC, "full", None, "run", DAY, Path())
    lost = void_receipt(batch.target, "lost", flow_run_id="run", started_at=DAY, at=DAY)
    write_receipts(duckdb_warehouse, [lost])
    record_failures([batch], AccessError("refused"), duckdb_warehouse)
    monkeypatch.setattr(
        DuckDBWarehouse, "describe", lambda *_: pytest.fail("the catalog was asked")
    )
    found = read_history.fn(SPEC, duckdb_warehouse, look_at_target=False)
    assert (len(found.receipts), len(found.failures)) == (1, 1)


def test_of_each_window_only_the_last_failure_is_read(duckdb_warehouse: DuckDBWarehouse) -> None:
    """An hourly table that fails for a month leaves 720 rows for each look that reads them all."""
    windows = [
        None,
        *(Window(DAY + n * timedelta(days=1), DAY + 2 * timedelta(days=1)) for n in (0, 1)),
    ]
    for reason in ("first", "second"):
        batches = [Batch(SPEC, "window", window, reason, DAY, Path()) for window in windows]
        record_failures(batches, AccessError(reason), duckdb_warehouse)
    found = read_failures(batches[0].target, duckdb_warehouse)
    assert sorted(each.batch_id for each in found) == sorted(batch.id for batch in batches)
    assert all("second" in each.reason for each in found)
    assert len(failures_of_run("first", duckdb_warehouse)) == 3


def test_what_audits_found_is_read_from_a_table_that_lacks_a_column(
    duckdb_warehouse: DuckDBWarehouse,
) -> None:
    window = Window(DAY, DAY + timedelta(days=1))
    assert read_audits(SPEC, duckdb_warehouse) == {}
    bucket = AuditedBucket("2023-01-01", window, unclassified=3)
    audit = Audit(str(SPEC.target), DAY, (bucket,))
    record_audit(audit, duckdb_warehouse, "run", after=DAY - timedelta(days=1))
    duckdb_warehouse.execute("ALTER TABLE ferry.audits DROP COLUMN missing")

    (found,) = read_audits(SPEC, duckdb_warehouse).values()
    assert found.found == "3 rows in parts that differ"


def test_of_each_stretch_only_what_was_found_last_is_read(
    duckdb_warehouse: DuckDBWarehouse,
) -> None:
    """An hourly table that is compared every day for a week has 168 rows a day."""
    one, other = (
        Window(DAY + n * timedelta(days=1), DAY + (n + 1) * timedelta(days=1)) for n in (0, 1)
    )
    for number, window in ((1, one), (3, one), (2, one), (4, other)):
        bucket = AuditedBucket(window.label, window, unclassified=number)
        audit = Audit(str(SPEC.target), DAY + timedelta(days=number), (bucket,))
        record_audit(audit, duckdb_warehouse, f"run {number}", after=DAY)
    assert len(duckdb_warehouse.fetch(select_found(SPEC.target))) == 2
    found = read_audits(SPEC, duckdb_warehouse)
    assert [found[window.start, window.end].found for window in (one, other)] == [
        "3 rows in parts that differ",
        "4 rows in parts that differ",
    ]


@pytest.mark.parametrize("table", [table for table, _ in OWN_TABLES], ids=str)
def test_a_table_of_the_publications_that_came_later_is_made(
    duckdb_warehouse: DuckDBWarehouse, table: TableName
) -> None:
    make_own_tables(duckdb_warehouse)
    whole = duckdb_warehouse.describe(table)
    duckdb_warehouse.execute(f"DROP TABLE {table}")
    make_own_tables(duckdb_warehouse)
    assert duckdb_warehouse.describe(table) == whole


def test_a_column_of_the_publications_that_came_later_is_made(
    duckdb_warehouse: DuckDBWarehouse,
) -> None:
    make_own_tables(duckdb_warehouse)
    for table, columns in OWN_TABLES:
        duckdb_warehouse.execute(f"ALTER TABLE {table} DROP COLUMN {columns[-1].name}")
    make_own_tables(duckdb_warehouse)
    for table, columns in OWN_TABLES:
        made = duckdb_warehouse.describe(table)
        assert made is not None
        assert made.column_names == tuple(column.name for column in columns)


def test_a_question_about_one_table_does_not_read_what_was_written_of_the_others(
    postgres_warehouse: PostgresWarehouse,
) -> None:
    name = f"{postgres_warehouse.database}_own_tables"
    postgres_warehouse.execute(f"CREATE DATABASE {name}")
    warehouse = postgres_warehouse.model_copy(update={"database": name})
    for table, columns in OWN:
        make_missing(table, columns, warehouse)
    assert set(warehouse.indexes_in("ferry")) == INDEXES
    with warehouse.transaction() as tx:
        tx.execute("SET LOCAL enable_seqscan = off")  # there are no rows yet
        for table in ("receipts", "failures", "audits", "coverage"):
            question = f"EXPLAIN SELECT 1 FROM ferry.{table} WHERE table_name = 'raw.nps'"
            plan = " ".join(line for (line,) in tx.fetch(question))
            assert f"{table}_by_table_name" in plan and "Seq Scan" not in plan
