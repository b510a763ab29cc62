"""Brings the stack up, one server after the other, each waited for."""

from __future__ import annotations

import json
import os
import secrets
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from deployments.local import programs, shop
from deployments.local.servers import (
    S3,
    Certificates,
    MariaDB,
    Postgres,
    PrefectServer,
    ProcessWorker,
)
from deployments.local.servers.prefect_server import without_settings
from deployments.local.stack.double import DoubleServer
from deployments.local.stack.prices import SYMBOLS, PriceServer
from deployments.local.stack.state import Stack, write_private

REPOSITORY = Path(__file__).resolve().parents[3]
FOLDER = REPOSITORY / ".ferry" / "stack"
"""Where the stack keeps its data, logs and state."""

POOL = "ferry-pool"
"""The Prefect work pool whose runs the stack's worker executes."""

WATCH_POOL = "ferry-watch"
"""The work pool on which runs are watched, by a small worker of its own."""

IAM_ROLE = "arn:aws:iam::000000000000:role/ferry-local"
"""What COPY names as its role: Redshift wants one, the double checks only that it is there."""

_PORTS = {
    "mariadb": 13306,
    "s3": 19000,
    "postgres": 15432,
    "redshift": 15439,
    "prices": 18090,
    "prefect": 4200,
}


class StackError(RuntimeError):
    """A step of ``up`` failed, or the stack is not up; says what to do."""


def up(
    folder: Path,
    *,
    nps_rows: int = 150_000,
    orders_rows: int = 10_000,
    settings: Mapping[str, str] | None = None,
) -> Stack:
    """The stack in the folder, with all of its servers up; those that run already stay.

    Args:
        folder: Where it keeps everything.
        nps_rows: Rows of the shop's ``nps``, when the shop is first made.
        orders_rows: Rows of the shop's ``orders``, when the shop is first made.
        settings: Ferry's settings for registration and runs besides `environment`; this process's
            own, which may be a person's for production, reach neither.

    Raises:
        StartError: A server did not come up; what had come up is stopped again.
        StackError: The blocks could not be registered, or the deployments not be made.
        ProgramsMissingError: MariaDB or PostgreSQL are missing and cannot be installed here.
    """
    folder = folder.resolve()
    before = Stack.load(folder)
    if before is not None:
        if before.processes and before.all_alive():
            return before
        before.down()
    folder.mkdir(parents=True, exist_ok=True)
    programs.ensure()
    stack = Stack(folder)
    try:
        _start(stack, nps_rows, orders_rows, settings or {})
    except BaseException:
        stack.down()
        raise
    return stack


def _start(stack: Stack, nps_rows: int, orders_rows: int, settings: Mapping[str, str]) -> None:
    folder, passwords = stack.folder, _passwords(stack.folder)
    tls = Certificates.make(folder / "tls")
    mariadb = MariaDB.start(
        folder / "mariadb",
        password=passwords["mariadb"],
        port=_PORTS["mariadb"],
        certificates=tls,
        outlive=True,
    )
    stack.add(mariadb)
    _make_shop(folder / "shop-is-made", mariadb, nps_rows, orders_rows)
    s3 = S3.start(folder / "s3", secret_key=passwords["s3"], port=_PORTS["s3"], outlive=True)
    stack.add(s3)
    postgres = Postgres.start(
        folder / "postgres",
        password=passwords["postgres"],
        port=_PORTS["postgres"],
        certificates=tls,
        outlive=True,
    )
    stack.add(postgres)
    double = DoubleServer.start(
        folder / "redshift",
        backend=postgres,
        s3_endpoint=s3.endpoint,
        certificates=tls,
        port=_PORTS["redshift"],
        outlive=True,
    )
    stack.add(double)
    prices = PriceServer.start(folder / "prices", port=_PORTS["prices"], outlive=True)
    stack.add(prices)
    server = PrefectServer.start(
        folder / "prefect",
        auth_string=f"ferry:{passwords['prefect']}",
        port=_PORTS["prefect"],
        outlive=True,
    )
    stack.add(server)
    _write_exports(stack.prefect_env_path, server)
    stack.env = environment(mariadb, s3, postgres, double, prices) | server.client_env
    stack.env |= settings
    stack.save()
    worker = ProcessWorker.start(
        folder / "worker", server=server, pool=POOL, env=stack.env, outlive=True
    )
    stack.add(worker)
    watcher = ProcessWorker.start(
        folder / "watcher",
        server=server,
        pool=WATCH_POOL,
        env=stack.env,
        limit=2,
        name="watcher",
        outlive=True,
    )
    stack.add(watcher)
    _run("registering the blocks", stack, "deployments.register", "--profile", "local")
    _run("deploying", stack, "deployments.deploy")


def environment(
    mariadb: MariaDB, s3: S3, postgres: Postgres, double: DoubleServer, prices: PriceServer
) -> dict[str, str]:
    """What tells block registration where things are: the profile ``local`` reads these."""
    return {
        "FERRY_MYSQL_HOST": mariadb.host,
        "FERRY_MYSQL_PORT": str(mariadb.port),
        "FERRY_MYSQL_USER": mariadb.user,
        "FERRY_MYSQL_PASSWORD": mariadb.password,
        "FERRY_MYSQL_DATABASE": mariadb.database,
        "FERRY_MYSQL_CA": str(mariadb.ca_path),
        "FERRY_S3_ENDPOINT": s3.endpoint,
        "FERRY_S3_REGION": s3.region,
        "FERRY_S3_BUCKET": s3.bucket,
        "FERRY_S3_ACCESS_KEY": s3.access_key,
        "FERRY_S3_SECRET_KEY": s3.secret_key,
        "FERRY_WAREHOUSE_HOST": double.host,
        "FERRY_WAREHOUSE_PORT": str(double.port),
        "FERRY_WAREHOUSE_USER": postgres.user,
        "FERRY_WAREHOUSE_PASSWORD": postgres.password,
        "FERRY_WAREHOUSE_DATABASE": postgres.database,
        "FERRY_WAREHOUSE_CA": str(postgres.ca_path),
        "FERRY_WAREHOUSE_IAM_ROLE": IAM_ROLE,
        "FERRY_PRICES_URL": prices.url,
        "FERRY_PRICES_SYMBOLS": ",".join(SYMBOLS),
    }


def _make_shop(made: Path, mariadb: MariaDB, nps_rows: int, orders_rows: int) -> None:
    """Fills the shop once; days that passed in it since stay."""
    if made.exists():
        return
    with mariadb.connect() as connection:
        shop.make_mariadb(connection, nps_rows=nps_rows, orders_rows=orders_rows)
    made.touch()


def _passwords(folder: Path) -> dict[str, str]:
    """The stack's passwords, made once, so that blocks registered earlier go on working."""
    path = folder / "passwords.json"
    before: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    names = ("mariadb", "s3", "postgres", "prefect")
    passwords = {name: before.get(name) or secrets.token_urlsafe(18) for name in names}
    if passwords != before:
        write_private(path, json.dumps(passwords))
    return passwords


def _write_exports(path: Path, server: PrefectServer) -> None:
    """What a shell has to read before it can talk to the stack's Prefect server."""
    names = ("PREFECT_API_URL", "PREFECT_API_AUTH_STRING")
    exports = [f"export {name}={shlex.quote(server.client_env[name])}\n" for name in names]
    write_private(path, "".join(exports))


def _run(what: str, stack: Stack, module: str, *arguments: str) -> None:
    """Runs one of the project's or Prefect's commands against the stack."""
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=REPOSITORY,
        env=without_settings(os.environ) | stack.env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise StackError(f"{what} failed with {done.returncode}:\n{done.stdout[-4000:]}")
