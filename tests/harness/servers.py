"""Real servers for the whole suite, each started once, when first asked for, and then shared.

A test that needs a place of its own asks for `mysql_database`, `pg_schema` or `bucket`. Every
password is a planted secret, which is looked for in all that the servers were told when they stop.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:  # unit tests of ferry/ need nothing but Python
    from pymysql import Connection

    from deployments.local.redshift_double import RedshiftDouble
    from deployments.local.servers import S3, Certificates, MariaDB, MySQL, Postgres, PrefectServer
    from tests.harness.api import Api
    from tests.harness.shared import Noted
    from tests.harness.slack import Slack


def planted_secret(whose: str) -> str:
    """A password that is known again wherever it leaks, and hard on whoever quotes badly."""
    from tests.harness.afterwards import PLANTED

    return f"""{PLANTED}-{whose}@/:?#%25&'"\\ ;$"""


@pytest.fixture(scope="session")
def servers_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("servers")


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that all processes of this test run share."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session")
def unused_home(run_folder: Path) -> Path:
    """The home of a Prefect server that nobody has used; new ones begin with a copy of it."""
    from tests.harness.shared import unused_home

    return unused_home(run_folder)


@pytest.fixture(scope="session")
def parsed_sql(run_folder: Path) -> Noted:
    """The shapes of statements that parsed as Redshift's, in whichever process of this run."""
    from tests.harness.shared import Noted

    return Noted(run_folder / "parsed-sql")


@pytest.fixture(scope="session")
def certificates(servers_folder: Path) -> Certificates:
    from deployments.local.servers import Certificates

    return Certificates.make(servers_folder / "tls")


@pytest.fixture(scope="session")
def mariadb(
    servers_folder: Path, run_folder: Path, certificates: Certificates
) -> Iterator[MariaDB]:
    from deployments.local.servers import MariaDB
    from tests.harness.shared import copy_unused_data

    copy_unused_data(MariaDB, run_folder, servers_folder / "mariadb")
    server = MariaDB.start(
        servers_folder / "mariadb", password=planted_secret("mariadb"), certificates=certificates
    )
    yield server
    server.stop(discard=True)


@pytest.fixture(scope="session")
def mysql(servers_folder: Path, run_folder: Path, certificates: Certificates) -> Iterator[MySQL]:
    from deployments.local.servers import MySQL
    from tests.harness.shared import copy_unused_data

    copy_unused_data(MySQL, run_folder, servers_folder / "mysql")
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
    servers_folder: Path,
    postgres: Postgres,
    s3: S3,
    certificates: Certificates,
    parsed_sql: Noted,
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
    strange = afterwards.not_redshift(double, postgres.database, parsed_sql)
    double.stop()
    assert (leaking, strange) == ([], {})


@pytest.fixture(scope="session")
def prefect_server(servers_folder: Path, unused_home: Path) -> Iterator[PrefectServer]:
    """A real Prefect server; Prefect in this process, and in its children, then talks to it."""
    from prefect.logging.handlers import APILogHandler
    from prefect.settings import (
        PREFECT_API_AUTH_STRING,
        PREFECT_API_URL,
        PREFECT_CLIENT_CSRF_SUPPORT_ENABLED,
        PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
        temporary_settings,
    )

    from deployments.local.servers import PrefectServer
    from tests.harness.afterwards import tables_with_secrets
    from tests.harness.api import quiet_task_runs
    from tests.harness.shared import WITHOUT_SERVICES

    server = PrefectServer.start(
        servers_folder / "prefect",
        auth_string=f"ferry:{planted_secret('prefect')}",
        settings=WITHOUT_SERVICES,
        begin_with=unused_home,
    )
    with (
        pytest.MonkeyPatch.context() as patch,
        quiet_task_runs(),
        # Without heartbeats: their thread costs half a second at the end of every flow run.
        temporary_settings(
            {
                PREFECT_API_URL: server.api_url,
                PREFECT_API_AUTH_STRING: server.auth_string,
                PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None,
                # Tokens are for browsers; each of a run's clients would ask for one of its own.
                PREFECT_CLIENT_CSRF_SUPPORT_ENABLED: False,
            }
        ),
    ):
        for name, value in server.client_env.items():
            patch.setitem(os.environ, name, value)
        # Each run would ask the server three times for a place for results: it has none.
        patch.setattr("prefect.results._read_server_default_result_storage_block_id", lambda: None)
        yield server
        APILogHandler().flush()  # what is still to be sent has nowhere to go afterwards
        _, leaking = tables_with_secrets(server)
    server.stop(discard=True)
    assert leaking == set()


@pytest.fixture
def task_runs_recorded(prefect_server: PrefectServer) -> Iterator[None]:
    """The server hears what happens to task runs in this process, as it does in users' runs."""
    from tests.harness.api import all_task_runs

    assert prefect_server
    with all_task_runs():
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


@pytest.fixture(scope="session")
def mariadb_connection(mariadb: MariaDB) -> Iterator[Connection[Any]]:
    """The one that makes and drops the databases of all tests."""
    with mariadb.connect() as connection:
        yield connection


@pytest.fixture
def mysql_database(mariadb_connection: Connection[Any]) -> Iterator[str]:
    """The name of an empty database of the test's own."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    mariadb_connection.query(f"CREATE DATABASE `{name}`")
    yield name
    mariadb_connection.query(f"DROP DATABASE `{name}`")


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
def bucket(s3: S3) -> str:
    """The name of an empty bucket of the test's own; objects end with the server's memory."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    s3.client().create_bucket(Bucket=name)
    return name
