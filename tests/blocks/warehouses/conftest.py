"""Every engine of `WAREHOUSES` with a stage that it can load from and a schema of its own."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from prefect_aws import AwsCredentials

from blocks.stage import Stage
from blocks.stages import FolderStage, S3Stage
from blocks.stages.part_files import write_parts
from blocks.warehouse import Warehouse
from blocks.warehouses import WAREHOUSES, DuckDBWarehouse, PostgresWarehouse, RedshiftWarehouse
from ferry.batch import Staged, StageFormat
from ferry.schema import Column, TableName, arrow_schema

if TYPE_CHECKING:
    from deployments.local.redshift_double import RedshiftDouble
    from deployments.local.servers import S3, Certificates, Postgres


@dataclass
class Engine:
    """A warehouse, its stage, and an empty schema in it."""

    warehouse: Any
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
        return Staged(tuple(parts), manifest, extract)

    def stage_text(self, columns: tuple[Column, ...], *files: bytes) -> Staged:
        """CSV files of exactly these bytes."""
        import hashlib

        import zstandard

        from ferry.batch import Extract, PartFile

        run = uuid.uuid4().hex[:8]
        staged = []
        for number, content in enumerate(files):
            path = self.folder / f"{run}-{number}"
            path.write_bytes(packed := zstandard.compress(content))
            part = PartFile(path, 1, len(packed), hashlib.sha256(packed).hexdigest())
            staged.append(self.stage.put(part, f"{run}/part-{number}.csv"))
        manifest = self.stage.write_manifest(staged, f"{run}/manifest.json")
        extract = Extract((), columns, StageFormat.CSV, "~null-test~")
        return Staged(tuple(staged), manifest, extract)


@pytest.fixture
def s3_stage(s3: S3, bucket: str) -> S3Stage:
    return S3Stage(
        bucket_name=bucket,
        credentials=AwsCredentials(
            aws_access_key_id=s3.access_key,
            aws_secret_access_key=s3.secret_key,
            region_name=s3.region,
            aws_client_parameters={
                "endpoint_url": s3.endpoint,
                "config": {"s3": {"addressing_style": "path"}},
            },
        ),
    )


@pytest.fixture
def folder_stage(tmp_path: Path) -> FolderStage:
    (folder := tmp_path / "stage").mkdir()
    return FolderStage(path=folder)


@pytest.fixture
def postgres_engine(
    postgres: Postgres,
    plain_database: str,
    certificates: Certificates,
    folder_stage: FolderStage,
    tmp_path: Path,
) -> Iterator[Engine]:
    warehouse = PostgresWarehouse(
        host=postgres.host,
        port=postgres.port,
        database=plain_database,
        user=postgres.user,
        password=postgres.password,
        sslrootcert=str(certificates.ca_path),
    )
    schema = f"test_{uuid.uuid4().hex[:12]}"
    warehouse.execute(f'CREATE SCHEMA "{schema}"')
    yield Engine(warehouse, folder_stage, schema, tmp_path)
    warehouse.execute(f'DROP SCHEMA "{schema}" CASCADE')


@pytest.fixture
def redshift_engine(
    redshift_double: RedshiftDouble,
    postgres: Postgres,
    certificates: Certificates,
    pg_schema: str,
    s3_stage: S3Stage,
    tmp_path: Path,
) -> Iterator[Engine]:
    warehouse = RedshiftWarehouse(
        host=redshift_double.host,
        port=redshift_double.port,
        database=postgres.database,
        user=postgres.user,
        password=postgres.password,
        iam_role="arn:aws:iam::123456789012:role/ferry",
        sslrootcert=str(certificates.ca_path),
    )
    yield Engine(warehouse, s3_stage, pg_schema, tmp_path)
    redshift_double.clear()


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
    return request.getfixturevalue(_FIXTURES[request.param])
