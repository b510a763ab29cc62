"""From where on a watermark reads: what was read last of the table decides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prefect.logging import disable_run_logger

from blocks.warehouses import DuckDBWarehouse
from ferry.batch import Batch
from ferry.receipts.read_as import read_as
from ferry.receipts.receipt import RECEIPT_COLUMNS, RECEIPTS, Receipt
from ferry.receipts.table import write_receipts
from ferry.schema import Column, DataType, Kind, TableName, TableSchema
from ferry.specs.tables import TableSpec
from tasks.landed.watermark import watermark
from tasks.own_tables import make_missing
from tests.harness.told_days import receipt

NOW, HOUR = datetime(2023, 1, 5, 12, tzinfo=UTC), timedelta(hours=1)
SPEC = TableSpec(
    name="hits", source="shop", source_table="hits", mode="watermark", key=["id"], cursor="id"
)
HITS = TableSchema(TableName("raw_data", "hits"), (Column("id", DataType(Kind.INT64)),))
BY_CODE = SPEC.model_copy(update={"key": ("code",)})
MARKED = SPEC.model_copy(update={"soft_deletes": "apply", "deleted_column": "gone"})


def landed(read_at: datetime, at: datetime, spec: TableSpec = SPEC) -> Receipt:
    """A watermark's receipt: when it was read, by the source's clock, and when it landed."""
    return replace(
        receipt(None, at, "watermark"),
        batch_id=str(at),
        table_name=str(HITS.name),
        read_at=read_at,
        cursor_name="id",
        read_as=read_as(spec, "watermark", Kind.INT64),
    )


@pytest.fixture
def start(duckdb_warehouse: DuckDBWarehouse) -> Callable[..., object]:
    """Where a watermark goes on after these receipts; the target's highest id is 7."""
    warehouse = duckdb_warehouse
    warehouse.execute('CREATE SCHEMA "raw_data"')
    warehouse.execute('CREATE TABLE "raw_data"."hits" AS SELECT 7 "id"')
    make_missing(RECEIPTS, RECEIPT_COLUMNS, warehouse)

    def start(*receipts: Receipt) -> object:
        with warehouse.transaction() as tx:
            write_receipts(tx, receipts)
        existing = warehouse.describe(HITS.name)
        with disable_run_logger():
            batch = Batch(SPEC, "watermark", None, "run", NOW, Path())
            found = watermark(batch, HITS, existing, warehouse)
        return found and found.value

    return start


def test_it_goes_on_from_the_highest_that_is_there(start: Callable[..., object]) -> None:
    assert start() is None
    assert start(landed(NOW, NOW)) == 7


@pytest.mark.parametrize(
    "changed", [{"mode": "window"}, {"status": "partial"}, {"cursor_name": "modified"}]
)
def test_what_has_not_read_all_by_this_cursor_is_not_gone_by(
    start: Callable[..., object], changed: dict[str, str]
) -> None:
    assert start(replace(landed(NOW, NOW), **changed)) is None  # type: ignore[arg-type]


def test_what_was_read_last_decides_whenever_it_landed(start: Callable[..., object]) -> None:
    early = landed(NOW - 2 * HOUR, NOW + HOUR, MARKED)  # which waited with its commit
    assert start(early, landed(NOW - HOUR, NOW)) == 7
    assert start(landed(NOW, NOW + 2 * HOUR, MARKED)) is None


@pytest.mark.parametrize(("later", "known"), [(timedelta(0), 7), (timedelta(seconds=1), None)])
@pytest.mark.parametrize(("read_at", "at"), [(NOW, NOW + HOUR), (NOW + HOUR, NOW)])
def test_another_key_that_has_landed_since_it_was_read_has_all_read_again(
    start: Callable[..., object], read_at: datetime, at: datetime, later: timedelta, known: object
) -> None:
    """By whichever clock is behind, the source's or the worker's."""
    other = replace(landed(NOW - HOUR, NOW + later, BY_CODE), status="partial")
    assert start(other, landed(read_at, at)) == known


def test_without_a_cursor_nothing_is_known(duckdb_warehouse: DuckDBWarehouse) -> None:
    spec = SPEC.model_copy(update={"cursor": None})
    batch = Batch(spec, "watermark", None, "run", NOW, Path())
    assert watermark(batch, HITS, HITS, duckdb_warehouse) is None
