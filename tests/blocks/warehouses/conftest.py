"""Every engine of `WAREHOUSES` with a stage that it can load from and a schema of its own.

What the contract has to know of an engine, its fixture says: a fixture for each, named after the
block's slug, `acme_engine` of `acme-warehouse`.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from blocks.stage import Stage
from blocks.stages import FolderStage, S3Stage
from blocks.stages.parts.files import write_parts
from blocks.warehouse import Warehouse
from blocks.warehouses import WAREHOUSES, DuckDBWarehouse, PostgresWarehouse, RedshiftWarehouse
from deployments.local.redshift_double import Fault, RedshiftDouble
from ferry.batch import Staged, StageFormat
from ferry.schema import Column, Kind, TableName, arrow_schema


@dataclass
class Engine:
    """A warehouse, its stage, and an empty schema in it.

    Attributes:
        warehouse: The warehouse.
        stage: A stage that it can load from.
        schema: The schema, which is its own.
        folder: For files.
        conflict: Makes two transactions conflict over a table `(id, name)` of one row.
        foreign_type: A type that it has and Ferry does not load.
        widest_decimal: The most digits of a decimal that it holds.
        refused: Kinds that it does not read from files of a format.
        goes_on_after_errors: Whether a transaction takes more statements after one that failed.
    """

    warehouse: Warehouse
    stage: Stage
    schema: str
    folder: Path
    conflict: Callable[[Engine, str], None]
    foreign_type: str = "char(3)"
    widest_decimal: int = 38
    refused: Mapping[StageFormat, Collection[Kind]] = field(default_factory=dict)
    goes_on_after_errors: bool = False

    def table(self, name: str = "t") -> TableName:
        return TableName(self.schema, name)

    def create(self, columns: tuple[Column, ...], name: str = "t") -> TableName:
        declared = ", ".join(
            f'"{each.name}" {self.warehouse.native_type(each.type)}'
            f"{'' if each.nullable else ' NOT NULL'}"
            for each in columns
        )
        self.warehouse.execute(f'CREATE TABLE "{self.schema}"."{name}" ({declared})')
        return self.table(name)

    def stage_rows(
        self,
        columns: tuple[Column, ...],
        *files: list[tuple[Any, ...]],
        format: StageFormat = StageFormat.CSV,
    ) -> Staged:
        """One part file for each list of rows, written by the real writer, in the real stage."""
        run = uuid.uuid4().hex[:8]
        schema = arrow_schema(columns)
        parts, extract = [], None
        for number, rows in enumerate(files):
            arrays = [
                pa.array([row[i] for row in rows], schema.field(i).type)
                for i in range(len(columns))
            ]
            extract = write_parts(
                [pa.RecordBatch.from_arrays(arrays, schema=schema)],
                columns,
                self.folder / f"{run}-{number}",
                format=format,
                part_size_bytes=1 << 30,
                hex_prefix=self.warehouse.capabilities.hex_prefix,
                null_marker="~null-test~",
            )
            parts += [
                self.stage.put(part, f"{run}/part-{number}.{format}") for part in extract.parts
            ]
        assert extract is not None
        manifest = self.stage.write_manifest(parts, f"{run}/manifest.json")
        return Staged(tuple(parts), manifest, extract.layout, sum(map(len, files)))

    def stage_text(self, columns: tuple[Column, ...], *files: bytes) -> Staged:
        """CSV files of exactly these bytes."""
        import hashlib

        import zstandard

        from ferry.batch import FileLayout, PartFile

        run = uuid.uuid4().hex[:8]
        staged = []
        for number, content in enumerate(files):
            path = self.folder / f"{run}-{number}"
            path.write_bytes(packed := zstandard.compress(content))
            part = PartFile(path, 1, len(packed), hashlib.sha256(packed).hexdigest())
            staged.append(self.stage.put(part, f"{run}/part-{number}.csv"))
        manifest = self.stage.write_manifest(staged, f"{run}/manifest.json")
        layout = FileLayout(columns, StageFormat.CSV, "~null-test~")
        return Staged(tuple(staged), manifest, layout, len(files))


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


@pytest.fixture(params=WAREHOUSES, ids=lambda each: each.__name__)
def engine(request: pytest.FixtureRequest) -> Engine:
    """Each engine in turn; one without a fixture here is an error, never a skip."""
    slug = request.param.get_block_type_slug().removesuffix("-warehouse")
    made: Engine = request.getfixturevalue(f"{slug}_engine")
    return made
