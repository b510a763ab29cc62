"""Real servers for the whole suite, each started once, when first asked for, and then shared.

A test that needs a place of its own asks for `mysql_database`, `pg_schema` or `bucket`; one that
needs the block over it, for `s3_stage`, `folder_stage`, `postgres_warehouse` or
`redshift_warehouse`. Every password is a planted secret, which is looked for in all that the
servers were told when they stop.
"""

from __future__ import annotations

import os
import sqlite3
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:  # unit tests of ferry/ need nothing but Python
    from blocks.source import Source
    from blocks.stages import FolderStage, S3Stage
    from blocks.warehouses import DuckDBWarehouse, PostgresWarehouse, RedshiftWarehouse
    from deployments.local.redshift_double import RedshiftDouble
    from deployments.local.servers import S3, Certificates, MariaDB, MySQL, Postgres, PrefectServer
    from tests.harness.api import Api
    from tests.harness.journey import Journey
    from tests.harness.slack import Slack

NIGHTS = Path(__file__).parent / "nights"

ROADS = ("sqlite-folder-duckdb", "mysql-folder-postgres", "mysql-s3-redshift")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Nights wait for most of their time: they are spread, so that others compute beside them."""
    files = list(dict.fromkeys(item.path for item in items))
    others = [path for path in files if not path.is_relative_to(NIGHTS)]
    place = {path: float(number) for number, path in enumerate(others)}
    nights = [path for path in files if path.is_relative_to(NIGHTS)]
    place |= {path: number * 5 - 0.5 for number, path in enumerate(nights)}
    items.sort(key=lambda item: place[item.path])


def planted_secret(whose: str) -> str:
    """A password that is known again wherever it leaks, and hard on whoever quotes badly."""
    from tests.harness.afterwards import PLANTED

    return f"""{PLANTED}-{whose}@/:?#%25&'"\\ ;$"""


@pytest.fixture(scope="session")
def servers_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("servers")


@pytest.fixture(scope="session")
def certificates(servers_folder: Path) -> Certificates:
    from deployments.local.servers import Certificates

    return Certificates.make(servers_folder / "tls")


@pytest.fixture(scope="session")
def mariadb(servers_folder: Path, certificates: Certificates) -> Iterator[MariaDB]:
    from deployments.local.servers import MariaDB

    server = MariaDB.start(
        servers_folder / "mariadb", password=planted_secret("mariadb"), certificates=certificates
    )
    yield server
    server.stop(discard=True)


@pytest.fixture(scope="session")
def mysql(servers_folder: Path, certificates: Certificates) -> Iterator[MySQL]:
    from deployments.local.servers import MySQL

    server = MySQL.start(
        servers_folder / "mysql", password=planted_secret("mysql"), certificates=certificates
    )
    yield server
    server.stop(discard=True)


@pytest.fixture(scope="session")
def postgres(servers_folder: Path, certificates: Certificates) -> Iterator[Postgres]:
    from deployments.local.servers import Postgres

    server = Postgres.start(
        servers_folder / "postgres", password=planted_secret("postgres"), certificates=certificates
    )
    yield server
    server.stop(discard=True)


@pytest.fixture(scope="session")
def plain_database(postgres: Postgres) -> str:
    """A database of PostgreSQL's own kind: in ``warehouse``, the Redshift double adds checks."""
    _on_postgres(postgres, "CREATE DATABASE plain TEMPLATE template0")
    return "plain"


@pytest.fixture(scope="session")
def s3(servers_folder: Path) -> Iterator[S3]:
    from deployments.local.servers import S3

    server = S3.start(servers_folder / "s3", secret_key=planted_secret("s3"))
    yield server
    server.stop(discard=True)


@pytest.fixture(scope="session")
def redshift_double(
    servers_folder: Path, postgres: Postgres, s3: S3, certificates: Certificates
) -> Iterator[RedshiftDouble]:
    from deployments.local.redshift_double import RedshiftDouble
    from tests.harness import afterwards

    folder = servers_folder / "redshift"
    folder.mkdir()
    double = RedshiftDouble.start(
        folder,
        postgres.host,
        postgres.port,
        s3.endpoint,
        tls_cert=certificates.cert_path,
        tls_key=certificates.key_path,
    )
    yield double
    leaking = afterwards.statements_with_secrets(double)
    strange = afterwards.not_redshift(double, postgres.database)
    double.stop()
    assert (leaking, strange) == ([], {})


@pytest.fixture(scope="session")
def prefect_server(servers_folder: Path, certificates: Certificates) -> Iterator[PrefectServer]:
    """A real Prefect server; Prefect in this process, and in its children, then talks to it."""
    from prefect.logging.handlers import APILogHandler
    from prefect.settings import (
        PREFECT_API_AUTH_STRING,
        PREFECT_API_SSL_CERT_FILE,
        PREFECT_API_URL,
        PREFECT_CLIENT_CSRF_SUPPORT_ENABLED,
        PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
        temporary_settings,
    )

    from deployments.local.servers import PrefectServer
    from tests.harness.afterwards import tables_with_secrets

    server = PrefectServer.start(
        servers_folder / "prefect", auth_string=f"ferry:{planted_secret('prefect')}"
    )
    with (
        pytest.MonkeyPatch.context() as patch,
        # Without heartbeats: their thread costs half a second at the end of every flow run.
        temporary_settings(
            {
                PREFECT_API_URL: server.api_url,
                PREFECT_API_AUTH_STRING: server.auth_string,
                PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None,
                # Tokens are for browsers; each of a run's clients would ask for one of its own.
                PREFECT_CLIENT_CSRF_SUPPORT_ENABLED: False,
                # One, for each client to read, instead of all that the world trusts.
                PREFECT_API_SSL_CERT_FILE: str(certificates.ca_path),
            }
        ),
    ):
        for name, value in server.client_env.items():
            patch.setitem(os.environ, name, value)
        yield server
        APILogHandler().flush()  # what is still to be sent has nowhere to go afterwards
        _, leaking = tables_with_secrets(server)
    server.stop(discard=True)
    assert leaking == set()


@pytest.fixture
def plain_runs(request: pytest.FixtureRequest) -> Iterator[None]:
    """Flows are called as functions, unless the test looks at what Prefect has recorded."""
    from tests.harness.plain_runs import plain_runs

    with nullcontext() if "api" in request.fixturenames else plain_runs():
        yield


@pytest.fixture(scope="session")
def api(prefect_server: PrefectServer) -> Iterator[Api]:
    """What the Prefect server knows of runs: names, states, logs, artifacts."""
    from prefect.client.orchestration import get_client

    from tests.harness.api import Api

    with get_client(sync_client=True) as client:
        yield Api(client)


@pytest.fixture(scope="module")
def slack_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slack]:
    """Slack, as the processes see it that are led to it."""
    from tests.harness.slack import running_slack

    with running_slack(tmp_path_factory.mktemp("slack")) as slack:
        yield slack


@pytest.fixture
def mysql_database(mariadb: MariaDB) -> Iterator[str]:
    """The name of an empty database of the test's own."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    with mariadb.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE `{name}`")
    yield name
    with mariadb.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"DROP DATABASE `{name}`")


@pytest.fixture
def pg_schema(postgres: Postgres) -> Iterator[str]:
    """The name of an empty schema of the test's own, in the database ``warehouse``."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    _on_postgres(postgres, f'CREATE SCHEMA "{name}"')
    yield name
    _on_postgres(postgres, f'DROP SCHEMA "{name}" CASCADE')


def _on_postgres(postgres: Postgres, statement: str) -> None:
    connection = postgres.connect()
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
    finally:
        connection.close()


@pytest.fixture
def bucket(s3: S3) -> Iterator[str]:
    """The name of an empty bucket of the test's own."""
    name = s3.make_bucket(f"test-{uuid.uuid4().hex[:12]}")
    yield name
    client = s3.client()
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=name):
        for item in page.get("Contents", []):
            client.delete_object(Bucket=name, Key=item["Key"])
    client.delete_bucket(Bucket=name)


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
    from blocks.warehouses import PostgresWarehouse

    return PostgresWarehouse(
        host=postgres.host,
        port=postgres.port,
        database=plain_database,
        user=postgres.user,
        password=postgres.password,
        sslrootcert=str(postgres.ca_path),
    )


@pytest.fixture
def redshift_warehouse(
    redshift_double: RedshiftDouble, postgres: Postgres
) -> Iterator[RedshiftWarehouse]:
    """The block over the Redshift double, which forgets the test's faults afterwards."""
    from blocks.warehouses import RedshiftWarehouse

    yield RedshiftWarehouse(
        host=redshift_double.host,
        port=redshift_double.port,
        database=postgres.database,
        user=postgres.user,
        password=postgres.password,
        sslrootcert=str(postgres.ca_path),
        iam_role="arn:aws:iam::123456789012:role/ferry",
        statement_timeout_seconds=60,
    )
    redshift_double.clear()


@pytest.fixture
def duckdb_warehouse(tmp_path: Path) -> DuckDBWarehouse:
    """The block over a file of the test's own."""
    from blocks.warehouses import DuckDBWarehouse

    return DuckDBWarehouse(path=str(tmp_path / "warehouse.duckdb"))


@pytest.fixture
def sqlite_source(tmp_path: Path) -> tuple[Source, Callable[..., None]]:
    """The block over a file of the test's own, and what runs a statement in it."""
    from blocks.sources import SQLiteSource

    path = tmp_path / "source.sqlite"
    sqlite3.connect(path).close()

    def run(statement: str, rows: Sequence[Sequence[Any]]) -> None:
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.executemany(statement, rows) if rows != ((),) else connection.execute(
                statement
            )

    return SQLiteSource(path=str(path)), run


@pytest.fixture
def mysql_source(mariadb: MariaDB, mysql_database: str) -> tuple[Source, Callable[..., None]]:
    """The block over a database of the test's own, and what runs a statement in it."""
    from blocks.sources import MySQLSource

    def run(statement: str, rows: Sequence[Sequence[Any]]) -> None:
        with mariadb.connect(database=mysql_database) as connection:
            with connection.cursor() as cursor:
                cursor.executemany(statement.replace("?", "%s"), rows)
            connection.commit()

    source = MySQLSource(
        host=mariadb.host,
        port=mariadb.port,
        user=mariadb.user,
        password=mariadb.password,
        database=mysql_database,
        ca_path=str(mariadb.ca_path),
    )
    return source, run


@pytest.fixture(params=ROADS)
def road(request: pytest.FixtureRequest) -> str:
    """The name of a road; a test over all of them takes `journey`."""
    return request.param


@pytest.fixture
def journey(
    road: str,
    prefect_server: PrefectServer,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Journey]:
    """A journey over the road, with nothing in its source yet."""
    from tests.harness.journey import Journey

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
