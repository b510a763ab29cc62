"""The floor: the least that moving a table can cost, with the servers' own clients.

The dump is MariaDB's client writing `SELECT *` to a file, over verified TLS as our reader does. The
load is psql's COPY of that file into a table of the same columns without a key.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import BinaryIO

from deployments.bench.servers import BenchServers
from deployments.local import programs

_COLUMNS = {
    "nps": "id integer, created_at timestamp, score smallint",
    "orders": "id bigint, customer_id integer, status varchar(12), amount numeric(12,2), "
    "currency char(3), comment varchar(500), is_gift smallint, shipped_on date, "
    "created_at timestamp, modified timestamp, deleted timestamp",
}


class FloorError(RuntimeError):
    """A client failed; the message is what it said."""


def dump(servers: BenchServers, table: str) -> float:
    """Write the table to `file(servers, table)`; returns the seconds it took."""
    server = servers.mariadb
    command: list[str | Path] = [
        programs.find("mariadb"),
        "--no-defaults",
        f"--host={server.host}",
        f"--port={server.port}",
        f"--user={server.user}",
        "--protocol=tcp",
        f"--ssl-ca={server.ca_path}",
        "--ssl-verify-server-cert",
        "--default-character-set=utf8mb4",
        "--quick",
        "--batch",
        "--skip-column-names",
        f"--execute=SELECT * FROM {table}",  # noqa: S608  # ours
        server.database,
    ]
    with file(servers, table).open("wb") as output:
        return _timed(command, {"MYSQL_PWD": server.password}, output=output)


def make_loadable(servers: BenchServers, table: str) -> None:
    """Escape what COPY would refuse in the client's output: a bare carriage return. Not timed."""
    made, unfinished = loadable(servers, table), loadable(servers, table).with_suffix(".unfinished")
    with file(servers, table).open("rb") as source, unfinished.open("wb") as target:
        while chunk := source.read(1 << 24):
            target.write(chunk.replace(b"\r", b"\\r"))
    unfinished.replace(made)


def load(servers: BenchServers, table: str) -> float:
    """COPY the table's dump into an empty table; returns the seconds it took."""
    servers.execute(
        "CREATE SCHEMA IF NOT EXISTS floor",
        f"CREATE TABLE IF NOT EXISTS floor.{table} ({_COLUMNS[table]})",
        f"TRUNCATE floor.{table}",
        "CHECKPOINT",
    )
    server = servers.postgres
    command: list[str | Path] = [
        _psql(),
        "--no-psqlrc",
        "--quiet",
        "--set=ON_ERROR_STOP=1",
        f"--command=\\copy floor.{table} FROM '{loadable(servers, table)}' WITH (NULL 'NULL')",
    ]
    env = {
        "PGHOST": server.host,
        "PGPORT": str(server.port),
        "PGUSER": server.user,
        "PGPASSWORD": server.password,
        "PGDATABASE": server.database,
        "PGSSLMODE": "verify-full",
        "PGSSLROOTCERT": str(server.ca_path),
    }
    try:
        return _timed(command, env)
    finally:
        servers.execute(f"TRUNCATE floor.{table}")


def file(servers: BenchServers, table: str) -> Path:
    """Where the dump is."""
    return servers.folder / f"{table}.tsv"


def loadable(servers: BenchServers, table: str) -> Path:
    """Where the dump is, as COPY takes it."""
    return servers.folder / f"{table}.copy"


def _psql() -> str:
    beside = programs.find("postgres").with_name("psql")
    found = str(beside) if beside.exists() else shutil.which("psql")
    if found is None:
        raise FloorError("psql is not on this machine: install PostgreSQL's client.")
    return found


def _timed(command: list[str | Path], env: dict[str, str], output: BinaryIO | None = None) -> float:
    begun = time.perf_counter()
    done = subprocess.run(
        [str(part) for part in command],
        stdin=subprocess.DEVNULL,
        stdout=output or subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=dict(os.environ) | env,
        check=False,
    )
    seconds = time.perf_counter() - begun
    if done.returncode != 0:
        raise FloorError(done.stderr.decode(errors="replace")[-2000:])
    return seconds
