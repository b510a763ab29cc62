"""The local stack of a soak, each of whose processes can be killed and started again as it was."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import httpx
import psycopg2
import pymysql
from botocore.config import Config
from prefect.client.orchestration import SyncPrefectClient

from deployments.local.servers import ServerProcess, StartError
from deployments.local.servers.process import LOOPBACK
from deployments.local.stack import Stack, up
from tests.harness.slack import WEBHOOK, Slack

WORKERS = ("worker", "watcher")
PORT = re.compile(r"(?:--port[= ]|\bport=)(\d+)")


@dataclass(frozen=True)
class Program:
    """How a process was started: enough to start it again."""

    name: str
    command: tuple[str, ...]
    env: dict[str, str] = field(repr=False)
    cwd: Path
    user: str | None
    folder: Path
    stop_signal: signal.Signals

    @classmethod
    def of(cls, process: ServerProcess) -> Program:
        """Of one that runs, by what the kernel knows of it."""
        proc = Path(f"/proc/{process.pid}")
        command = [os.fsdecode(part) for part in (proc / "cmdline").read_bytes().split(b"\0")[:-1]]
        settings = (part for part in (proc / "environ").read_bytes().split(b"\0") if b"=" in part)
        env = dict(os.fsdecode(each).split("=", 1) for each in settings)
        owner = proc.stat().st_uid
        user = None if owner == os.geteuid() else pwd.getpwuid(owner).pw_name
        cwd = (proc / "cwd").readlink()
        return cls(
            process.name, tuple(command), env, cwd, user, process.folder, process.stop_signal
        )

    @property
    def port(self) -> int | None:
        """The TCP port it listens on, if it has one."""
        found = PORT.search(" ".join(self.command))
        return int(found[1]) if found else None

    def launch(self) -> ServerProcess:
        """Start it again; returns once it answers.

        Raises:
            StartError: It did not come up, several times.
        """
        for attempt in range(5):
            process = ServerProcess.launch(
                self.name,
                self.command,
                self.folder,
                env=self.env,
                cwd=self.cwd,
                user=self.user,
                outlive=True,
                stop_signal=self.stop_signal,
            )
            try:
                process.wait_until(lambda: self.port is None or _accepts(self.port), 120)
            except StartError:
                if attempt == 4:  # PostgreSQL: the old one's sessions may still be ending
                    raise
                time.sleep(2)
            else:
                return process
        raise AssertionError


def _accepts(port: int) -> bool:
    """Whether something accepts connections on this loopback port."""
    with suppress(OSError):
        socket.create_connection((LOOPBACK, port), timeout=1).close()
        return True
    return False


@dataclass
class Servers:
    """All servers of one soak; `end` stops them."""

    folder: Path
    slack: Slack
    stack: Stack
    programs: dict[str, Program]
    lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def begin(cls, folder: Path, slack: Slack) -> Servers:
        """Bring the stack up, with its own temporary folder, table specs and receiver."""
        for name in ("tmp", "summaries"):
            (folder / name).mkdir()
        settings = {
            "FERRY_TABLES": str(folder / "tables.yaml"),
            "FERRY_SUMMARIES": str(folder / "summaries"),
            "FERRY_NOTIFY": "slack-webhook/ferry",
            "FERRY_NOTIFY_SLACK_URL": WEBHOOK,
        }
        os.environ |= slack.env | settings | {"TMPDIR": str(folder / "tmp")}
        stack = up(folder / "stack", nps_rows=1, orders_rows=1, settings=settings)
        return cls(folder, slack, stack, {each.name: Program.of(each) for each in stack.processes})

    def end(self) -> None:
        """Stop all of it, with whatever runs of it are left, and take the folder away."""
        left = [pid for name in WORKERS for pid in self.run_pids(name)]
        self.stack.down()
        for pid in left:
            kill(pid, signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)

    def process(self, name: str) -> ServerProcess:
        return next(each for each in self.stack.processes if each.name == name)

    @property
    def names(self) -> list[str]:
        return [each.name for each in self.stack.processes]

    def take_down(self, name: str, how: signal.Signals) -> None:
        """Kill it, or ask it to end and wait for that."""
        process = self.process(name)
        if name in WORKERS:  # its runs are in its group, and stay
            kill(process.pid, how)
        elif how is signal.SIGKILL:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, how)
        else:
            process.stop(grace_seconds=30)
        if not until(lambda: not process.alive(), 30):
            kill(process.pid, signal.SIGKILL)
            until(lambda: not process.alive(), 10)
        process.stop(grace_seconds=0)  # it is gone: no more than its pid file goes

    def bring_up(self, name: str) -> None:
        """Start it as it was, if it does not run."""
        if self.process(name).alive():
            return
        with self.lock:
            process = self.programs[name].launch()
            place = self.names.index(name)
            self.stack.processes[place] = process
            self.stack.save()
        if name == "s3":  # it has lost everything
            until(self._bucket, 30)
        if name == "prefect":
            until(self.prefect_answers, 120)

    def run_pids(self, worker: str) -> list[int]:
        """The processes that this worker started, and theirs."""
        return descendants(self.process(worker).pid)

    def prefect_answers(self) -> bool:
        try:
            with self.client as client:
                return client.request("GET", "/health").status_code == 200
        except httpx.HTTPError:
            return False

    @property
    def client(self) -> SyncPrefectClient:
        env = self.stack.env
        return SyncPrefectClient(env["PREFECT_API_URL"], auth_string=env["PREFECT_API_AUTH_STRING"])

    def source(self) -> pymysql.Connection[Any]:
        """A connection to MariaDB, each statement a transaction."""
        env = self.stack.env
        return pymysql.connect(
            host=env["FERRY_MYSQL_HOST"],
            port=int(env["FERRY_MYSQL_PORT"]),
            user=env["FERRY_MYSQL_USER"],
            password=env["FERRY_MYSQL_PASSWORD"],
            database=env["FERRY_MYSQL_DATABASE"],
            ssl_ca=env["FERRY_MYSQL_CA"],
            autocommit=True,
            connect_timeout=5,
            read_timeout=20,
            write_timeout=20,
        )

    def ask_warehouse(self, statement: str) -> list[tuple[Any, ...]]:
        """What the Redshift double answers."""
        env = self.stack.env
        connection = psycopg2.connect(
            host=env["FERRY_WAREHOUSE_HOST"],
            port=int(env["FERRY_WAREHOUSE_PORT"]),
            user=env["FERRY_WAREHOUSE_USER"],
            password=env["FERRY_WAREHOUSE_PASSWORD"],
            dbname=env["FERRY_WAREHOUSE_DATABASE"],
            sslmode="verify-full",
            sslrootcert=env["FERRY_WAREHOUSE_CA"],
        )
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement)
                return cursor.fetchall()
        finally:
            connection.close()

    def _bucket(self) -> bool:
        env = self.stack.env
        client = boto3.client(
            "s3",
            endpoint_url=env["FERRY_S3_ENDPOINT"],
            aws_access_key_id=env["FERRY_S3_ACCESS_KEY"],
            aws_secret_access_key=env["FERRY_S3_SECRET_KEY"],
            region_name=env["FERRY_S3_REGION"],
            config=Config(s3={"addressing_style": "path"}),
        )
        client.create_bucket(Bucket=env["FERRY_S3_BUCKET"])
        return True


def until(look: Callable[[], bool], seconds: float) -> bool:
    """Whether it came to be so within this time; errors of the network are a no."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if look():
                return True
        except Exception:  # noqa: BLE001  # not yet, whatever it is
            pass
        time.sleep(0.5)
    return False


def kill(pid: int, how: signal.Signals) -> None:
    """Send the signal, if there is such a process."""
    with suppress(ProcessLookupError):
        os.kill(pid, how)


def descendants(pid: int) -> list[int]:
    """The process's children, and theirs."""
    found = []
    with suppress(FileNotFoundError, ProcessLookupError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += [int(child), *descendants(int(child))]
    return found
