"""Real servers for the whole suite, each started once, when first asked for, and then shared.

A test that needs a place of its own asks for `mysql_database`, `pg_schema` or `bucket`.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:  # unit tests of ferry/ need nothing but Python
    from deployments.local.redshift_double import RedshiftDouble
    from deployments.local.servers import S3, Certificates, MariaDB, Postgres, PrefectServer


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

    server = MariaDB.start(servers_folder / "mariadb", certificates=certificates)
    yield server
    server.stop(discard=True)


@pytest.fixture(scope="session")
def postgres(servers_folder: Path, certificates: Certificates) -> Iterator[Postgres]:
    from deployments.local.servers import Postgres

    server = Postgres.start(servers_folder / "postgres", certificates=certificates)
    yield server
    server.stop(discard=True)


@pytest.fixture(scope="session")
def plain_database(postgres: Postgres) -> str:
    """A database of PostgreSQL's own kind: in ``warehouse``, the Redshift double adds checks."""
    connection = postgres.connect()
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("CREATE DATABASE plain TEMPLATE template0")
    finally:
        connection.close()
    return "plain"


@pytest.fixture(scope="session")
def s3(servers_folder: Path) -> Iterator[S3]:
    from deployments.local.servers import S3

    server = S3.start(servers_folder / "s3")
    yield server
    server.stop(discard=True)


@pytest.fixture(scope="session")
def redshift_double(
    servers_folder: Path, postgres: Postgres, s3: S3, certificates: Certificates
) -> Iterator[RedshiftDouble]:
    from deployments.local.redshift_double import RedshiftDouble

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
    double.stop()


@pytest.fixture(scope="session")
def prefect_server(servers_folder: Path) -> Iterator[PrefectServer]:
    """A real Prefect server; Prefect in this process, and in its children, then talks to it."""
    from prefect.settings import (
        PREFECT_API_URL,
        PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
        temporary_settings,
    )

    from deployments.local.servers import PrefectServer

    server = PrefectServer.start(servers_folder / "prefect")
    with (
        pytest.MonkeyPatch.context() as patch,
        # Without heartbeats: their thread costs half a second at the end of every flow run.
        temporary_settings(
            {PREFECT_API_URL: server.api_url, PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}
        ),
    ):
        for name, value in server.client_env.items():
            patch.setitem(os.environ, name, value)
        yield server
    server.stop(discard=True)


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
        with connection, connection.cursor() as cursor:
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
