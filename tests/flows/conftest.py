"""The roads that the flows are tested on: real databases, real stages, a real Prefect server."""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import SecretStr

from blocks.source import Source
from blocks.sources import MySQLSource, SQLiteSource
from blocks.stage import Stage
from blocks.warehouse import Warehouse
from blocks.warehouses import DuckDBWarehouse
from ferry.receipts import RECEIPT_COLUMNS, Receipt, from_row
from ferry.statements import column_list

ROADS = ("sqlite-folder-duckdb", "mysql-folder-postgres", "mysql-s3-redshift")


@dataclass
class Journey:
    """Three registered blocks, a schema of the test's own, and a file of table specs."""

    source: Source
    stage: Stage
    warehouse: Warehouse
    run_source: Callable[[str, Sequence[Sequence[Any]]], None]
    specs_file: Path
    schema: str = field(default_factory=lambda: f"t_{uuid.uuid4().hex[:10]}")
    name: str = field(default_factory=lambda: f"b-{uuid.uuid4().hex[:10]}")

    def __post_init__(self) -> None:
        for block in (self.source, self.stage, self.warehouse):
            block.save(self.name)
        self._staging_before = self._staging_tables()

    def write_specs(self, **tables: dict[str, Any]) -> None:
        """Let these be the table specs, retries without a wait."""
        content = {
            "defaults": {
                "source": self.name,
                "stage": self.name,
                "warehouse": self.name,
                "schema": self.schema,
                "retry_delay_seconds": 0,
            },
            "tables": tables,
        }
        self.specs_file.write_text(yaml.safe_dump(content))

    def sql(self, statement: str, rows: Sequence[Sequence[Any]] = ((),)) -> None:
        """Run a statement in the source, once for each row of parameters, marked by `?`."""
        self.run_source(statement, rows)

    def target(self, table: str, columns: str = "*", order: str = "id") -> list[tuple[Any, ...]]:
        """The rows of a target table."""
        return self.warehouse.fetch(
            f'SELECT {columns} FROM "{self.schema}"."{table}" ORDER BY {order}'
        )

    def receipts(self, table: str) -> list[Receipt]:
        """The receipts of a table, in the order in which they were written."""
        names = column_list(column.name for column in RECEIPT_COLUMNS)
        mark = self.warehouse.capabilities.placeholder
        rows = self.warehouse.fetch(
            f"SELECT {names} FROM ferry.receipts WHERE table_name = {mark} ORDER BY finished_at",
            (f"{self.schema}.{table}",),
        )
        return [from_row(row) for row in rows]

    def leftovers(self) -> set[str]:
        """Staging tables that this journey left in the warehouse."""
        return self._staging_tables() - self._staging_before

    def _staging_tables(self) -> set[str]:
        found = self.warehouse.fetch(
            "SELECT table_name FROM information_schema.tables "
            "WHERE table_schema = 'ferry' AND table_name LIKE 'stg%'"
        )
        return {row[0] for row in found}


@pytest.fixture(params=ROADS)
def road(request: pytest.FixtureRequest) -> str:
    """The name of a road; a test over all of them takes `journey`."""
    return request.param


@pytest.fixture
def journey(
    road: str,
    prefect_server: object,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Journey]:
    """A journey over the road, with nothing in its source yet."""
    source, stage, warehouse = road.split("-")
    specs_file = tmp_path / "tables.yaml"
    monkeypatch.setenv("FERRY_TABLES", str(specs_file))
    made_source, run_source = request.getfixturevalue(f"{source}_source")
    journey = Journey(
        made_source,
        request.getfixturevalue(f"{stage}_stage"),
        request.getfixturevalue(f"{warehouse}_warehouse"),
        run_source,
        specs_file,
    )
    yield journey
    journey.warehouse.execute(f'DROP SCHEMA IF EXISTS "{journey.schema}" CASCADE')


@pytest.fixture
def sqlite_source(tmp_path: Path) -> tuple[Source, Callable[..., None]]:
    path = tmp_path / "source.sqlite"
    sqlite3.connect(path).close()

    def run(statement: str, rows: Sequence[Sequence[Any]]) -> None:
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.executemany(statement, rows) if rows != ((),) else connection.execute(
                statement
            )

    return SQLiteSource(path=str(path)), run


@pytest.fixture
def mysql_source(mariadb: Any, mysql_database: str) -> tuple[Source, Callable[..., None]]:
    def run(statement: str, rows: Sequence[Sequence[Any]]) -> None:
        with mariadb.connect(database=mysql_database) as connection:
            with connection.cursor() as cursor:
                cursor.executemany(statement.replace("?", "%s"), rows)
            connection.commit()

    source = MySQLSource(
        host=mariadb.host,
        port=mariadb.port,
        user=mariadb.user,
        password=SecretStr(mariadb.password),
        database=mysql_database,
        ca_path=str(mariadb.ca_path),
    )
    return source, run


@pytest.fixture
def duckdb_warehouse(tmp_path: Path) -> Warehouse:
    return DuckDBWarehouse(path=str(tmp_path / "warehouse.duckdb"))


@pytest.fixture
def another_ca(tmp_path: Path) -> str:
    """A certificate authority that signed none of the servers."""
    from deployments.local.servers import Certificates

    return str(Certificates.make(tmp_path / "another-tls").ca_path)
