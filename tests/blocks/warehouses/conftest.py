"""Every engine of `WAREHOUSES` with a stage that it can load from and a schema of its own."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from blocks.stage import Stage
from blocks.stages import FolderStage, S3Stage
from blocks.stages.parts.files import write_parts
from blocks.warehouse import Warehouse
from blocks.warehouses import WAREHOUSES, DuckDBWarehouse, PostgresWarehouse, RedshiftWarehouse
from ferry.batch import Staged, StageFormat
from ferry.schema import Column, TableName, arrow_schema


@dataclass
class Engine:
    """A warehouse, its stage, and an empty schema in it."""

    warehouse: Warehouse
    stage: Stage
    schema: str
    folder: Path

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
    yield Engine(postgres_warehouse, folder_stage, schema, tmp_path)
    postgres_warehouse.execute(f'DROP SCHEMA "{schema}" CASCADE')


@pytest.fixture
def redshift_engine(
    redshift_warehouse: RedshiftWarehouse, pg_schema: str, s3_stage: S3Stage, tmp_path: Path
) -> Engine:
    return Engine(redshift_warehouse, s3_stage, pg_schema, tmp_path)


@pytest.fixture
def duckdb_engine(folder_stage: FolderStage, tmp_path: Path) -> Engine:
    warehouse = DuckDBWarehouse(path=tmp_path / "made" / "here" / "w.duckdb")
    warehouse.execute("CREATE SCHEMA own")
    return Engine(warehouse, folder_stage, "own", tmp_path)


_FIXTURES: dict[type[Warehouse], str] = {
    RedshiftWarehouse: "redshift_engine",
    PostgresWarehouse: "postgres_engine",
    DuckDBWarehouse: "duckdb_engine",
}


@pytest.fixture(params=WAREHOUSES, ids=lambda each: each.__name__)
def engine(request: pytest.FixtureRequest) -> Engine:
    """Each engine in turn; one without a fixture here is an error, never a skip."""
    made: Engine = request.getfixturevalue(_FIXTURES[request.param])
    return made
