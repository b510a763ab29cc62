"""What is asked of what has landed: whose receipt counts, and where nothing has to be asked."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from blocks.warehouses import DuckDBWarehouse
from ferry.batch import Batch, ExtractQuery
from ferry.coverage.deadlines import Deadline, arrival
from ferry.receipts.receipt import RECEIPT_COLUMNS, RECEIPTS
from ferry.receipts.table import write_receipts
from ferry.schema import Column, DataType, Kind, TableName, TableSchema
from ferry.specs.tables import TableSpec
from ferry.windows import Window, day_window
from tasks.landed.carried_otherwise import _follows_others, in_older_rows
from tasks.landed.history import look_for_rows, read_history
from tasks.landed.receipts import already_landed
from tasks.own_tables import make_missing
from tests.harness.told_days import receipt

MORNING = datetime(2023, 1, 6, 9, tzinfo=UTC)
DAY = day_window(date(2023, 1, 5))
SPEC = TableSpec(name="nps", source="shop", source_table="nps", mode="window", key=["id"])
ID = Column("id", DataType(Kind.INT64))
NOBODY: Any = None
"""Where nothing is to be asked."""


def batch(window: Window | None = DAY, **fields: Any) -> Batch:
    return Batch(SPEC.model_copy(update=fields), "window", window, "run", MORNING, Path())


@pytest.mark.parametrize(
    ("rows", "there"), [([1], True), ([], False), (None, False)], ids=["rows", "none", "no table"]
)
def test_what_an_earlier_attempt_has_landed_is_known_while_its_rows_are_there(
    duckdb_warehouse: DuckDBWarehouse, rows: list[int] | None, there: bool
) -> None:
    make_missing(RECEIPTS, RECEIPT_COLUMNS, duckdb_warehouse)
    own = replace(receipt(DAY), batch_id=batch().id)
    with duckdb_warehouse.transaction() as tx:
        write_receipts(tx, [own])
    if rows is not None:
        duckdb_warehouse.execute('CREATE SCHEMA "raw_data"')
        duckdb_warehouse.execute('CREATE TABLE "raw_data"."nps" ("id" INTEGER)')
        for row in rows:
            duckdb_warehouse.execute(f'INSERT INTO "raw_data"."nps" VALUES ({row})')
    found = already_landed(batch(), duckdb_warehouse)
    assert (found and found.batch_id) == (own.batch_id if there else None)


@pytest.mark.parametrize(("mode", "cursor"), [("window", "created_at"), ("watermark", "modified")])
def test_the_cursor_without_a_look_at_the_target_is_that_of_the_tables_mode(
    duckdb_warehouse: DuckDBWarehouse, mode: str, cursor: str
) -> None:
    """A backfill by another cursor, or a mode that it had before, tells nothing of its last run."""
    make_missing(RECEIPTS, RECEIPT_COLUMNS, duckdb_warehouse)
    own, before = MORNING, MORNING - timedelta(hours=1)
    at = (own, before) if mode == "window" else (before, own)
    a_window = replace(receipt(DAY, at[0]), cursor_name="created_at")
    watermark = replace(receipt(None, at[1], "watermark"), batch_id="w", cursor_name="modified")
    with duckdb_warehouse.transaction() as tx:
        write_receipts(tx, [a_window, watermark])
    duckdb_warehouse.execute('CREATE SCHEMA "raw_data"')
    duckdb_warehouse.execute('CREATE TABLE "raw_data"."nps" AS SELECT 1 AS "id"')
    spec = SPEC.model_copy(update={"mode": mode, "due": "00:00"})
    history = read_history.fn(spec, duckdb_warehouse, look_at_target=False)
    found = look_for_rows(history, spec, duckdb_warehouse)
    assert (history.cursor, found.cursor) == (None, cursor)
    deadline = Deadline(spec, MORNING.date(), MORNING)
    assert arrival(deadline, found.receipts, (), found.cursor).there


@pytest.mark.parametrize("without", ["columns", "cursor", "start"])
def test_where_all_rows_get_a_new_column_no_older_ones_are_asked_for(without: str) -> None:
    schema = TableSchema(TableName(None, "nps"), (ID,))
    query = ExtractQuery(schema, cursor="modified", start=MORNING)
    if without != "columns":
        query = replace(query, **{without: None})
    columns = () if without == "columns" else (ID,)
    assert in_older_rows(batch(), columns, query, NOBODY, NOBODY) == ()


def test_only_the_run_s_own_window_by_a_schedule_follows_that_of_a_run_before() -> None:
    assert _follows_others(batch())
    assert not _follows_others(batch(day_window(date(2023, 1, 4))))
    assert not _follows_others(batch(None))
    assert not _follows_others(batch(every="never"))
    assert not _follows_others(batch(catch_up=True))
