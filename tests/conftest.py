"""What the whole suite shares: blocks over its servers, and the routes that rows are carried on.

A test asks for a block, `s3_stage`, `folder_stage`, `postgres_warehouse` or `redshift_warehouse`,
or for a `journey` over a route. The servers are in `harness/servers.py`.
"""

from __future__ import annotations

import gc
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.harness.embedded import (
    EMBEDDED_ROUTE,
    choose_examples,
    mark_embedded,
    refuse_outside,
)
from tests.harness.shared import (
    forget_settings,
    keep_files_in_memory,
    look_at_no_home,
    trust_one_authority,
)

if TYPE_CHECKING:  # unit tests of ferry/ need nothing but Python
    from pymysql import Connection

    from blocks.sources import MySQLSource, SQLiteSource
    from blocks.stages import FolderStage, S3Stage
    from blocks.warehouses import DuckDBWarehouse, PostgresWarehouse, RedshiftWarehouse
    from deployments.local.redshift_double import RedshiftDouble
    from deployments.local.servers import S3, MariaDB, Postgres
    from tests.harness.journey import Journey, RunSource

pytest_plugins = ("tests.harness.servers",)

NIGHTS = Path(__file__).parent / "nights"

ROUTES = (EMBEDDED_ROUTE, "mysql-folder-postgres", "mysql-s3-redshift")


def pytest_configure(config: pytest.Config) -> None:
    choose_examples(config)
    forget_settings(os.environ)
    keep_files_in_memory()
    look_at_no_home()
    trust_one_authority()


@pytest.hookimpl(tryfirst=True)  # before `-m` chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Nights wait for most of their time: they are spread, so that others compute beside them.

    Files with a longer timeout than others begin first, so that none is left over for one process.
    """
    mark_embedded(items)
    files = list(dict.fromkeys(item.path for item in items))
    longest = {item.path for item in items if item.get_closest_marker("timeout")}
    others = [path for path in files if not path.is_relative_to(NIGHTS)]
    others.sort(key=lambda path: path not in longest)
    place = {path: float(number) for number, path in enumerate(others)}
    nights = [path for path in files if path.is_relative_to(NIGHTS)]
    place |= {path: number * 5 - 0.5 for number, path in enumerate(nights)}
    items.sort(key=lambda item: place[item.path])


def pytest_collection_finish() -> None:
    """What is imported by now stays: to look through it for garbage costs 4 % of the CPU."""
    gc.collect()
    gc.freeze()


def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[object], request: pytest.FixtureRequest
) -> None:
    refuse_outside(fixturedef.argname, request.config)


@pytest.fixture
def plain_runs(request: pytest.FixtureRequest) -> Iterator[None]:
    """Flows are called as functions, unless the test looks at what Prefect has recorded.

    There is no Prefect server for them, unless the test asks for `prefect_server`.
    """
    from tests.harness.plain_runs import one_client, plain_runs, without_server

    if "api" in request.fixturenames:
        yield
        return
    asked = "prefect_server" in request.fixturenames
    with nullcontext() if asked else without_server(), one_client(), plain_runs():
        yield


@pytest.fixture
def s3_stage(s3: S3, bucket: str) -> S3Stage:
    """The block over a bucket of the test's own."""
    from prefect_aws import AwsCredentials

    from blocks.stages import S3Stage

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
    """The block over an empty folder of the test's own."""
    from blocks.stages import FolderStage

    (folder := tmp_path / "stage").mkdir()
    return FolderStage(path=folder)


@pytest.fixture
def postgres_warehouse(postgres: Postgres, plain_database: str) -> PostgresWarehouse:
    """The block over the database ``plain``."""
    from pydantic import SecretStr

    from blocks.warehouses import PostgresWarehouse

    return PostgresWarehouse(
        host=postgres.host,
        port=postgres.port,
        database=plain_database,
        user=postgres.user,
        password=SecretStr(postgres.password),
        sslrootcert=str(postgres.ca_path),
    )


@pytest.fixture
def redshift_warehouse(
    redshift_double: RedshiftDouble, postgres: Postgres
) -> Iterator[RedshiftWarehouse]:
    """The block over the Redshift double, which forgets the test's faults afterwards."""
    from pydantic import SecretStr

    from blocks.warehouses import RedshiftWarehouse

    yield RedshiftWarehouse(
        host=redshift_double.host,
        port=redshift_double.port,
        database=postgres.database,
        user=postgres.user,
        password=SecretStr(postgres.password),
        sslrootcert=str(postgres.ca_path),
        iam_role="arn:aws:iam::123456789012:role/ferry",
        statement_timeout_seconds=60,
    )
    redshift_double.clear()


@pytest.fixture
def duckdb_warehouse(tmp_path: Path) -> DuckDBWarehouse:
    """The block over a file of the test's own."""
    from blocks.warehouses import DuckDBWarehouse

    return DuckDBWarehouse(path=tmp_path / "warehouse.duckdb")


@pytest.fixture
def sqlite_source(tmp_path: Path) -> tuple[SQLiteSource, RunSource]:
    """The block over a file of the test's own, and what runs a statement in it."""
    from blocks.sources import SQLiteSource

    path = tmp_path / "source.sqlite"
    sqlite3.connect(path).close()

    def run(statement: str, rows: Sequence[Sequence[object]]) -> None:
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.executemany(statement, rows) if rows != ((),) else connection.execute(
                statement
            )

    return SQLiteSource(path=str(path)), run


@pytest.fixture
def mysql_source(mariadb: MariaDB, mysql_database: str) -> Iterator[tuple[MySQLSource, RunSource]]:
    """The block over a database of the test's own, and what runs a statement in it."""
    from pydantic import SecretStr

    from blocks.sources import MySQLSource

    opened: dict[int, Connection[Any]] = {}

    def run(statement: str, rows: Sequence[Sequence[object]]) -> None:
        thread = threading.get_ident()  # a connection serves one at a time
        if thread not in opened:
            opened[thread] = mariadb.connect(database=mysql_database)
        try:
            with opened[thread].cursor() as cursor:
                cursor.executemany(statement.replace("?", "%s"), rows)
            opened[thread].commit()
        except BaseException:
            opened.pop(thread).close()
            raise

    source = MySQLSource(
        host=mariadb.host,
        port=mariadb.port,
        user=mariadb.user,
        password=SecretStr(mariadb.password),
        database=mysql_database,
        ca_path=str(mariadb.ca_path),
    )
    yield source, run
    for connection in opened.values():
        connection.close()


@pytest.fixture(params=ROUTES)
def route(request: pytest.FixtureRequest) -> str:
    """The name of a route; a test over all of them takes `journey`."""
    name: str = request.param
    return name


@pytest.fixture
def journey(
    route: str,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Journey]:
    """A journey over the route, with nothing in its source yet."""
    from tests.harness.journey import Journey

    source, stage, warehouse = route.split("-")
    specs_file = tmp_path / "tables.yaml"
    monkeypatch.setenv("FERRY_TABLES", str(specs_file))
    made_source, run_source = request.getfixturevalue(f"{source}_source")
    plain = {"plain_runs", "api"} & set(request.fixturenames) == {"plain_runs"}
    if not plain:
        request.getfixturevalue("prefect_server")
    journey = Journey(
        made_source,
        request.getfixturevalue(f"{stage}_stage"),
        request.getfixturevalue(f"{warehouse}_warehouse"),
        run_source,
        specs_file,
        known_to_the_server=not plain,
    )
    with journey.of_this_process() if plain else nullcontext():
        yield journey
    journey.warehouse.execute(f'DROP SCHEMA IF EXISTS "{journey.schema}" CASCADE')
