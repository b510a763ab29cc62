"""A private Prefect server, and a worker that runs deployments as processes."""

from __future__ import annotations

import base64
import json
import os
import secrets
import shutil
import sys
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from deployments.local.servers.process import LOOPBACK, ServerProcess, free_port
from deployments.local.servers.server import Server
from ferry.settings import PREFIX

_EAGER = {"PREFECT_WORKER_QUERY_SECONDS": "2"}
"""How often the worker looks for runs: Prefect's own 10 s are long for a person who waits."""

_LASTING_LEASES = "prefect.server.concurrency.lease_storage.filesystem"

AS_COPIED = {
    "PREFECT_SERVER_DATABASE_MIGRATE_ON_START": "false",
    "PREFECT_SERVER_REGISTER_BLOCKS_ON_START": "false",
}
"""For a home copied from a server of this very version: its tables and block types are made."""

_REPOSITORY = Path(__file__).resolve().parents[3]


@dataclass
class PrefectServer(Server):
    """A running Prefect server with its UI, on SQLite.

    Attributes:
        host: Loopback.
        port: The TCP port of API and UI.
        home: Its ``PREFECT_HOME``, in the folder; also for clients that are to keep off the
            user's own profiles.
        process: The server's process; its log is ``prefect.log`` in the folder.
        auth_string: ``user:password``, without which its API answers nobody. The API hands out
            the blocks' secrets, and workers run what it says.
    """

    port: int
    home: Path
    process: ServerProcess
    auth_string: str = field(repr=False)
    host: str = LOOPBACK

    @property
    def api_url(self) -> str:
        """What clients take as ``PREFECT_API_URL``."""
        return f"{self.ui_url}/api"

    @property
    def ui_url(self) -> str:
        """Where people look."""
        return f"http://{self.host}:{self.port}"

    @property
    def client_env(self) -> dict[str, str]:
        """The environment variables that let Prefect's clients in to this server."""
        return {
            "PREFECT_API_URL": self.api_url,
            "PREFECT_API_AUTH_STRING": self.auth_string,
            "PREFECT_HOME": str(self.home),
        }

    @classmethod
    def start(
        cls,
        folder: Path,
        *,
        auth_string: str | None = None,
        port: int | None = None,
        settings: Mapping[str, str] | None = None,
        begin_with: Path | None = None,
        timeout_seconds: float = 120,
        outlive: bool = False,
    ) -> Self:
        """Starts the server on the folder's database, made when there is none; some 14 s then.

        Args:
            folder: The server's own; runs and deployments from an earlier time are there again.
            auth_string: ``user:password``, made up if None; goes by the environment, so that no
                list of processes shows it.
            port: The port to prefer; any free one if None or taken.
            settings: Environment variables for the server besides this process's.
            begin_with: The home of a stopped server of the same version, of which the folder's is
                a copy when there is none: nothing in it is bound to its place. It saves two thirds
                of the start.
            timeout_seconds: How long to wait until it answers.
            outlive: Let it live on when this process ends.

        Raises:
            StartError: It did not come up; no retry helps before its log is read.
        """
        folder = folder.resolve()
        home = folder / "home"
        as_copied: Mapping[str, str] = {}
        if begin_with is not None and not home.exists():
            shutil.copytree(begin_with, home)
            as_copied = AS_COPIED
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        home.chmod(0o700)  # its database holds the blocks, and the key to their secrets
        port = free_port(port)
        auth_string = auth_string or f"ferry:{secrets.token_urlsafe(18)}"
        env = without_settings(os.environ) | {
            "PREFECT_HOME": str(home),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            # Else the pages ask port 4200, whatever the --port.
            "PREFECT_SERVER_UI_API_URL": f"http://{LOOPBACK}:{port}/api",
            "PREFECT_SERVER_API_AUTH_STRING": auth_string,
            # Else a page of anybody's, open in the same browser, may ask, too.
            "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": f"http://{LOOPBACK}:{port}",
            # In files of its home: else who holds which limit is forgotten when it stops.
            "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": _LASTING_LEASES,
            # Else all runs that there ever were stay in its database.
            "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
            "DO_NOT_TRACK": "1",
            **as_copied,
            **(settings or {}),
        }
        command = [sys.executable, "-m", "prefect", "server", "start"]
        command += ["--host", LOOPBACK, "--port", str(port), "--analytics-off"]
        process = ServerProcess.launch("prefect", command, folder, env=env, outlive=outlive)
        server = cls(port, home, process, auth_string)
        process.wait_until(lambda: _get(server, "health") is True, timeout_seconds)
        return server


@dataclass
class ProcessWorker(Server):
    """A running Prefect worker that executes deployments as subprocesses of its own.

    Attributes:
        pool: The work pool that it polls, of type ``process``.
        process: The worker's process; its log is ``worker.log`` in the folder, unless it has
            another name.
    """

    pool: str
    process: ServerProcess

    @classmethod
    def start(
        cls,
        folder: Path,
        *,
        server: PrefectServer,
        pool: str = "ferry-pool",
        env: Mapping[str, str] | None = None,
        cwd: Path = _REPOSITORY,
        run_once: bool = False,
        limit: int | None = None,
        name: str = "worker",
        timeout_seconds: float = 60,
        outlive: bool = False,
    ) -> Self:
        """Starts the worker, from the repository's root; the pool is made if it is not there.

        Returns once the server knows the worker, about 4 s; with `run_once` immediately: then
        `finish` waits for the end.

        Args:
            folder: Where its log goes.
            server: The Prefect server to work for.
            pool: The work pool to poll.
            env: What its flow runs find in their environment besides this process's, of which
                they see no setting of Prefect's or Ferry's.
            cwd: Where flow runs without a pull step find their code.
            run_once: Poll once, execute what is due, and end.
            limit: How many flow runs at a time; no limit if None.
            name: What messages call its process; also the stem of its log.
            timeout_seconds: How long to wait until the server knows it.
            outlive: Let it live on when this process ends.

        Raises:
            StartError: It did not come up; no retry helps before its log is read.
        """
        command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", pool]
        command += ["--type", "process", "--install-policy", "never"]
        command += ["--run-once"] if run_once else []
        command += ["--limit", str(limit)] if limit is not None else []
        # A new name tells it from workers of the same pool that ran before.
        known_as = f"local-{os.getpid()}-{os.urandom(3).hex()}"
        process = ServerProcess.launch(
            name,
            [*command, "--name", known_as],
            folder.resolve(),
            env=without_settings(os.environ) | server.client_env | _EAGER | dict(env or {}),
            cwd=cwd,
            outlive=outlive,
        )
        worker = cls(pool, process)
        if not run_once:
            process.wait_until(lambda: known_as in _workers(server, pool), timeout_seconds)
        return worker

    def finish(self, timeout_seconds: float = 120) -> int | None:
        """The exit code of a worker started with `run_once`, None if it is still at work."""
        return self.process.wait(timeout_seconds)


def without_settings(env: Mapping[str, str]) -> dict[str, str]:
    """The environment without settings of Prefect's or Ferry's: a person's may mean production."""
    ours = ("PREFECT_", PREFIX)
    return {name: value for name, value in env.items() if not name.upper().startswith(ours)}


def _workers(server: PrefectServer, pool: str) -> set[str]:
    """The names of the workers that the server has heard of."""
    found = _get(server, f"work_pools/{pool}/workers/filter", body={})
    return {worker["name"] for worker in found} if isinstance(found, list) else set()


def _get(server: PrefectServer, path: str, body: object | None = None) -> object:
    """The JSON answer, to a POST where there is a body; None if there is no good answer."""
    credentials = base64.b64encode(server.auth_string.encode()).decode()
    request = urllib.request.Request(
        f"{server.api_url}/{path}",
        data=None if body is None else json.dumps(body).encode(),
        headers={"Content-Type": "application/json", "Authorization": f"Basic {credentials}"},
    )
    try:
        with urllib.request.urlopen(request, timeout=5) as response:
            answer: object = json.load(response)
    except (OSError, ValueError):
        return None
    return answer
