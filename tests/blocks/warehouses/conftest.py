"""Every engine of `UNDER_TEST` with a stage that it can load from and a schema of its own.

What the contract has to know of an engine, its fixture says: a fixture for each, named after the
block's slug, `acme_engine` of `acme-warehouse`.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from blocks.stages import FolderStage, S3Stage
from blocks.warehouses import WAREHOUSES, DuckDBWarehouse, PostgresWarehouse, RedshiftWarehouse
from deployments.local.redshift_double import Fault, RedshiftDouble
from ferry.batch import StageFormat
from ferry.schema import Kind
from tests.blocks.warehouses.engine import Engine
from tests.blocks.warehouses.sqlite_warehouse import SQLiteWarehouse, sqlite_engine  # noqa: F401

UNDER_TEST = (*WAREHOUSES, SQLiteWarehouse)


@pytest.fixture
def postgres_engine(
    postgres_warehouse: PostgresWarehouse, folder_stage: FolderStage, tmp_path: Path
) -> Iterator[Engine]:
    schema = f"test_{uuid.uuid4().hex[:12]}"
    postgres_warehouse.execute(f'CREATE SCHEMA "{schema}"')

    def conflict(engine: Engine, table: str) -> None:
        with engine.warehouse.transaction() as tx:
            tx.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            tx.fetch(f"SELECT * FROM {table}")
            engine.warehouse.execute(f"UPDATE {table} SET id = 2")
            tx.execute(f"UPDATE {table} SET id = 3")

    yield Engine(postgres_warehouse, folder_stage, schema, tmp_path, conflict, widest_decimal=1000)
    postgres_warehouse.execute(f'DROP SCHEMA "{schema}" CASCADE')


@pytest.fixture
def redshift_engine(
    redshift_warehouse: RedshiftWarehouse,
    redshift_double: RedshiftDouble,
    pg_schema: str,
    s3_stage: S3Stage,
    tmp_path: Path,
) -> Engine:
    def conflict(engine: Engine, table: str) -> None:
        redshift_double.inject(Fault("serialization", "update"))
        with engine.warehouse.transaction() as tx:
            tx.execute(f"UPDATE {table} SET id = 2")

    return Engine(
        redshift_warehouse,
        s3_stage,
        pg_schema,
        tmp_path,
        conflict,
        refused={StageFormat.PARQUET: {Kind.TIME, Kind.JSON}},
    )


@pytest.fixture
def duckdb_engine(folder_stage: FolderStage, tmp_path: Path) -> Engine:
    warehouse = DuckDBWarehouse(path=tmp_path / "made" / "here" / "w.duckdb")
    warehouse.execute("CREATE SCHEMA own")

    def conflict(engine: Engine, table: str) -> None:
        with engine.warehouse.transaction() as tx:  # the same thread may: the lock knows it
            tx.execute(f"UPDATE {table} SET id = 2")
            engine.warehouse.execute(f"UPDATE {table} SET id = 3")

    return Engine(
        warehouse,
        folder_stage,
        "own",
        tmp_path,
        conflict,
        foreign_type="UTINYINT",
        goes_on_after_errors=True,
    )


@pytest.fixture(params=UNDER_TEST, ids=lambda each: each.__name__)
def engine(request: pytest.FixtureRequest) -> Engine:
    """Each engine in turn; one without a fixture here is an error, never a skip."""
    slug = request.param.get_block_type_slug().removesuffix("-warehouse")
    made: Engine = request.getfixturevalue(f"{slug}_engine")
    return made
