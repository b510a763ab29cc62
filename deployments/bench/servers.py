"""The private servers that everything is measured on, the shop's tables, and our blocks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import yaml
from prefect.blocks.core import Block
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings
from prefect_aws import AwsCredentials
from prefect_aws.client_parameters import AwsClientParameters
from pydantic import SecretStr

from blocks.sources import MySQLSource
from blocks.stages import FolderStage, S3Stage
from blocks.warehouses import PostgresWarehouse, RedshiftWarehouse
from deployments.local import shop
from deployments.local.redshift_double import Fault, RedshiftDouble
from deployments.local.redshift_double.faults import order
from deployments.local.servers import S3, Certificates, MariaDB, Postgres, PrefectServer
from deployments.local.servers.prefect_server import without_settings
from deployments.local.shop_rows import Span
from deployments.local.stack.double import DoubleServer
from deployments.reader_limits import register_limits
from deployments.register import register_guards
from tasks.places.readers import backfill_limit, readers_limit

REPOSITORY = Path(__file__).resolve().parents[2]

YEAR = Span(date(2023, 1, 1), 365)
"""The days over which the shop's rows are spread."""

SERVER_CORES = 2
"""About so many cores the servers take while one worker carries many windows."""

SCHEMA = "bench"
"""Where the targets are made, in PostgreSQL and, being the same database, in the double."""

SOURCE = "bench-shop"
READERS = 4
"""How many may read from it at once, as registration has it."""

SHORT = "nps_short"
"""The first fifth of `nps`, to see whether memory grows with the table."""

KEYS = {"nps": "created_at", SHORT: "created_at", "orders": "modified"}
"""The cursor column of each table in the source; the key of all is `id`."""

TINY = tuple(f"tiny_{number:03}" for number in range(1, 201))
"""Tables of some rows each, all of them on the year's first day; carried into the double."""

TINY_ROWS = 100

MONTH = "nps_month"
"""The year's first month of `nps`, with a text in each row."""

_ALL = 1_000_000_000

ROUTES = {
    "folder": ("bench-folder", "bench-postgres"),
    "postgres": ("bench-s3", "bench-postgres"),
    "double": ("bench-s3", "bench-double"),
}
"""The stage and the warehouse of each route from the source."""


@dataclass(frozen=True)
class BenchServers:
    """The servers, all on loopback, and what a process needs to find them.

    Attributes:
        folder: Temporary; everything is in it.
        mariadb: The source.
        s3: The stage.
        postgres: A warehouse, and the ground under the double.
        prefect: The Prefect server.
        env: The environment of a process that is measured.
    """

    folder: Path
    mariadb: MariaDB
    s3: S3
    postgres: Postgres
    prefect: PrefectServer
    env: dict[str, str]

    def empty_targets(self) -> None:
        """Drop all targets with their receipts, and let PostgreSQL write out what it holds back."""
        self.execute(
            f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE",
            # With receipts, a target that is not there would be one that somebody has dropped.
            "DROP TABLE IF EXISTS ferry.receipts",
            "CHECKPOINT",
        )

    @contextmanager
    def without_limits(self) -> Iterator[None]:
        """Let everybody read from the source at once meanwhile."""
        with self.prefect_settings():
            with get_client(sync_client=True) as client:
                for name in (readers_limit(SOURCE), backfill_limit(SOURCE)):
                    client.delete_global_concurrency_limit_by_name(name)
            try:
                yield
            finally:
                register_limits(SOURCE, READERS)

    @contextmanager
    def bad_value(self) -> Iterator[None]:
        """Let one row of the month's 17th day have a text that the warehouse cannot hold."""
        self._note("'as it' '\\0' 'is'")
        try:
            yield
        finally:
            self._note("'as it is'")

    def _note(self, text: str) -> None:
        day = YEAR.start + timedelta(days=16)
        with self.mariadb.connect() as connection, connection.cursor() as cursor:
            cursor.execute(
                f"UPDATE {MONTH} SET note = {text} WHERE created_at >= %s ORDER BY id LIMIT 1",  # noqa: S608
                [f"{day} 12:00:00"],
            )
            connection.commit()

    @contextmanager
    def slower_double(self, seconds: float) -> Iterator[None]:
        """Let every statement of the double take so much longer, as a round trip would."""
        ready = self.folder / "redshift" / "ready.json"
        RedshiftDouble.send(
            ready, order("inject", Fault("stall", ".", times=_ALL, seconds=seconds))
        )
        try:
            yield
        finally:
            RedshiftDouble.send(ready, order("clear"))

    @contextmanager
    def prefect_settings(self) -> Iterator[None]:
        """Let this process ask the Prefect server meanwhile."""
        with temporary_settings(
            {
                PREFECT_API_URL: self.prefect.api_url,
                PREFECT_API_AUTH_STRING: self.prefect.auth_string,
            }
        ):
            yield

    def fetch(self, query: str, values: list[str]) -> list[tuple[Any, ...]]:
        """The rows of an answer of PostgreSQL."""
        connection = self.postgres.connect()
        try:
            with connection.cursor() as cursor:
                cursor.execute(query, values)
                return cursor.fetchall()
        finally:
            connection.close()

    def execute(self, *statements: str) -> None:
        """Run statements in PostgreSQL, each committed."""
        connection = self.postgres.connect()
        connection.autocommit = True
        try:
            with connection.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)
        finally:
            connection.close()


@contextmanager
def start_servers(folder: Path, nps_rows: int, orders_rows: int) -> Iterator[BenchServers]:
    """Start the servers, make the tables, register the blocks; stop all at the end.

    Raises:
        StartError: A server did not come up.
        ProgramsMissingError: MariaDB or PostgreSQL is not installed.
    """
    with ExitStack() as stack:
        tls = Certificates.make(folder / "tls")
        mariadb = stack.enter_context(MariaDB.start(folder / "mariadb", certificates=tls))
        postgres = Postgres.start(folder / "postgres", certificates=tls)
        stack.callback(postgres.stop, discard=True)  # its data may lie outside of the folder
        s3 = stack.enter_context(S3.start(folder / "s3"))
        double = stack.enter_context(
            DoubleServer.start(
                folder / "redshift", backend=postgres, s3_endpoint=s3.endpoint, certificates=tls
            )
        )
        prefect = stack.enter_context(PrefectServer.start(folder / "prefect"))
        _make_tables(mariadb, nps_rows, orders_rows)
        with temporary_settings(
            {PREFECT_API_URL: prefect.api_url, PREFECT_API_AUTH_STRING: prefect.auth_string}
        ):
            _register(folder, mariadb, s3, postgres, double)
            register_guards([SOURCE], READERS)
        (folder / "tmp").mkdir()
        yield BenchServers(
            folder,
            mariadb,
            s3,
            postgres,
            prefect,
            without_settings(os.environ)
            | prefect.client_env
            | {
                "FERRY_TABLES": str(_write_specs(folder)),
                "TMPDIR": str(folder / "tmp"),
                "DO_NOT_TRACK": "1",
                # As `prefect.yaml` gives it to every run.
                "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
            },
        )


def _make_tables(mariadb: MariaDB, nps_rows: int, orders_rows: int) -> None:
    with mariadb.connect() as connection, connection.cursor() as cursor:
        shop.make_mariadb(connection, nps_rows=nps_rows, orders_rows=orders_rows, span=YEAR)
        cursor.execute(f"CREATE TABLE {SHORT} LIKE nps")
        cursor.execute(
            f"INSERT INTO {SHORT} SELECT * FROM nps WHERE id <= %s",  # noqa: S608  # ours
            [nps_rows // 5],
        )
        cursor.execute(f"CREATE TABLE {MONTH} LIKE nps")
        cursor.execute(f"ALTER TABLE {MONTH} ADD note VARCHAR(20) NOT NULL DEFAULT 'as it is'")
        cursor.execute(
            f"INSERT INTO {MONTH} SELECT nps.*, 'as it is' FROM nps WHERE created_at < %s",  # noqa: S608
            [f"{YEAR.start + timedelta(days=31)}"],
        )
        for table in TINY:
            cursor.execute(f"CREATE TABLE {table} LIKE nps")
            cursor.execute(
                f"INSERT INTO {table} SELECT * FROM nps ORDER BY created_at, id LIMIT %s",  # noqa: S608
                [TINY_ROWS],
            )
        connection.commit()
        for table in (*KEYS, *TINY, MONTH):
            cursor.execute(f"ANALYZE TABLE {table}")


def _register(
    folder: Path, mariadb: MariaDB, s3: S3, postgres: Postgres, double: DoubleServer
) -> None:
    (folder / "stage").mkdir()
    credentials = AwsCredentials(
        aws_access_key_id=s3.access_key,
        aws_secret_access_key=SecretStr(s3.secret_key),
        region_name=s3.region,
        aws_client_parameters=AwsClientParameters(
            endpoint_url=s3.endpoint, config={"s3": {"addressing_style": "path"}}
        ),
    )
    blocks: dict[str, Block] = {
        SOURCE: MySQLSource(
            host=mariadb.host,
            port=mariadb.port,
            user=mariadb.user,
            password=SecretStr(mariadb.password),
            database=mariadb.database,
            ca_path=str(mariadb.ca_path),
        ),
        "bench-folder": FolderStage(path=folder / "stage"),
        "bench-s3": S3Stage(bucket_name=s3.bucket, credentials=credentials),
        "bench-postgres": PostgresWarehouse(
            host=postgres.host,
            port=postgres.port,
            user=postgres.user,
            password=SecretStr(postgres.password),
            database=postgres.database,
            sslrootcert=str(postgres.ca_path),
        ),
        "bench-double": RedshiftWarehouse(
            host=double.host,
            port=double.port,
            user=postgres.user,
            password=SecretStr(postgres.password),
            database=postgres.database,
            sslrootcert=str(postgres.ca_path),
            iam_role="default",
        ),
    }
    for name, block in blocks.items():
        block.save(name, overwrite=True)  # Prefect's client asks again when an answer is lost


def _write_specs(folder: Path) -> Path:
    """The table specs: one for each table and route, such as `nps_postgres`."""
    tables = {
        f"{table}_{route}": {
            "source_table": table,
            "stage": stage,
            "warehouse": warehouse,
            "cursor": cursor,
        }
        for table, cursor in KEYS.items()
        for route, (stage, warehouse) in ROUTES.items()
    }
    stage, warehouse = ROUTES["double"]
    tables |= {
        table: {
            "source_table": table,
            "stage": stage,
            "warehouse": warehouse,
            "cursor": KEYS["nps"],
        }
        for table in (*TINY, MONTH)
    }
    defaults = {"source": SOURCE, "schema": SCHEMA, "mode": "window", "key": ["id"]}
    file = folder / "tables.yaml"
    file.write_text(yaml.safe_dump({"defaults": defaults, "tables": tables}))
    return file
