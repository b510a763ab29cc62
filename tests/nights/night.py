"""A night: a Prefect server that can go and come back, workers, a receiver, and the watch."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from prefect.blocks.notifications import SlackWebhook
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import (
    ConcurrencyLimitStrategy,
    ConcurrencyOptions,
    FlowRun,
    StateType,
)
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings
from pydantic import SecretStr

from deployments.local.servers import PrefectServer, ProcessWorker
from deployments.local.servers.prefect_server import AS_COPIED
from ferry.runs.watch import WATCHED
from flows.watch_runs import watch_runs
from tests.flows.pipeline import forks
from tests.harness.api import PATIENCE, eventually
from tests.harness.slack import WEBHOOK, Slack

ROOT = Path(__file__).parents[2]
BLOCK = "slack-webhook/ferry"

QUICK_SERVER = {
    # A worker is missed after three of its heartbeats, and looked for every two seconds.
    "PREFECT_SERVER_SERVICES_FOREMAN_LOOP_SECONDS": "2",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_FLUSH_INTERVAL": "1",
    "PREFECT_SERVER_EVENTS_PROACTIVE_GRANULARITY": "PT2S",
}
QUICK_WORKER = {"PREFECT_WORKER_HEARTBEAT_SECONDS": "2", "PREFECT_WORKER_QUERY_SECONDS": "1"}
SHORT_WATCH = {"silent_seconds": 5.0, "observe_seconds": 4.0}
"""Where nobody's heartbeats are to be missed."""
QUICK_WATCH = {"silent_seconds": 1.0, "observe_seconds": 36.0, "look_seconds": 2.0}
"""A heartbeat comes every thirty seconds: Prefect allows nothing shorter."""


WITHOUT_PAGES = {"PREFECT_UI_ENABLED": "false"}
"""A fifth of a server's start; nobody looks."""


@dataclass
class Home:
    """A server that can go away and come back to its old address; `end` stops it."""

    server: PrefectServer
    settings: Mapping[str, str]
    _opened: ExitStack = field(default_factory=ExitStack, init=False)
    _client: SyncPrefectClient | None = field(default=None, init=False)

    @staticmethod
    def begun(
        folder: Path, unused_home: Path, settings: Mapping[str, str]
    ) -> tuple[PrefectServer, Mapping[str, str]]:
        """A server of this folder, and its settings, for a start without what is there already."""
        wanted = WITHOUT_PAGES | dict(settings)
        return PrefectServer.start(folder, settings=wanted, begin_with=unused_home), wanted

    @property
    def client(self) -> AbstractContextManager[SyncPrefectClient]:
        """The client of this server: one for all that is asked, as making it costs the most."""
        if self._client is None:
            made = SyncPrefectClient(self.server.api_url, auth_string=self.server.auth_string)
            self._client = self._opened.enter_context(made)
        return nullcontext(self._client)

    @contextmanager
    def meant(self) -> Iterator[None]:
        """Let Prefect in this process talk to this server."""
        settings: dict[Any, Any] = {
            PREFECT_API_URL: self.server.api_url,
            PREFECT_API_AUTH_STRING: self.server.auth_string,
        }
        with temporary_settings(settings):
            yield

    def lose_server(self) -> None:
        """Kill the server, without a word to anybody."""
        os.killpg(self.server.process.pid, signal.SIGKILL)
        self.server.process.wait(PATIENCE)
        self._leave()

    def find_server(self) -> None:
        """Start it again, at its old address."""
        before = self.server
        self._leave()
        self.server = PrefectServer.start(
            before.process.folder,
            auth_string=before.auth_string,
            port=before.port,
            settings=AS_COPIED | dict(self.settings),
        )
        assert self.server.port == before.port

    def end(self) -> None:
        self._leave()
        self.server.stop(discard=True)

    def _leave(self) -> None:
        self._opened.close()
        self._client = None


@dataclass
class Night(Home):
    """Everything of one night."""

    folder: Path
    slack: Slack
    workers: list[ProcessWorker] = field(default_factory=list)
    deployments: list[UUID] = field(default_factory=list)

    @classmethod
    def begin(
        cls,
        folder: Path,
        slack: Slack,
        unused_home: Path,
        settings: Mapping[str, str] | None = None,
    ) -> Night:
        wanted = QUICK_SERVER | slack.env | dict(settings or {})
        night = cls(*cls.begun(folder / "prefect", unused_home, wanted), folder, slack)
        with night.meant():
            SlackWebhook(url=SecretStr(WEBHOOK)).save("ferry", overwrite=True)
        return night

    def end(self) -> None:
        self.over()
        super().end()

    @property
    def env(self) -> dict[str, str]:
        outside = {name: v for name, v in os.environ.items() if not name.startswith("PREFECT_")}
        named = {
            "FERRY_NOTIFY": BLOCK,
            # One, for each client to read, instead of all that the world trusts.
            "PREFECT_API_SSL_CERT_FILE": str(self.slack.ca_path),
        }
        return outside | self.server.client_env | self.slack.env | named

    def python(self, code: str) -> str:
        """What the code prints, in a process that knows the night's server."""
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env=self.env,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def watch(self, **given: float) -> str:
        """What the watch says at its end."""
        said = self.folder / f"watch-{uuid4().hex[:8]}"
        watching = forks.begin(_look, QUICK_WATCH | given, said, environment=self.env)
        watching.join(PATIENCE)
        if watching.is_alive():  # others use the server, too
            watching.kill()
            watching.join()
        assert watching.exitcode == 0
        return said.read_text()

    def watch_until(self, run_id: UUID, state: StateType, **given: float) -> None:
        """Look until the run has come to this.

        One look alone does not judge where a busy machine lets it listen with gaps.
        """

        def looked() -> bool:
            self.watch(**given)
            return self.run(run_id).state_type is state

        assert eventually(looked, PATIENCE), self.run(run_id).state

    def worker(self, pool: str, limit: int | None = None) -> ProcessWorker:
        """A worker of the pool."""
        folder = self.folder / f"worker-{len(self.workers)}"
        env = self.env | QUICK_WORKER
        worker = ProcessWorker.start(folder, server=self.server, pool=pool, env=env, limit=limit)
        self.workers.append(worker)
        return worker

    def pool(self, name: str) -> str:
        """A work pool of that name, which has no worker yet."""
        with self.client as client:
            client.create_work_pool(WorkPoolCreate(name=name, type="process"))
        return name

    def deploy(self, name: str, pool: str, **fields: Any) -> UUID:
        """A deployment of the carrier, watched as those of `prefect.yaml` are."""
        with self.client as client:
            deployment = client.create_deployment(
                client.create_flow_from_name("sync-table"),
                name,
                work_pool_name=pool,
                tags=[WATCHED],
                path=str(ROOT),
                entrypoint="tests/nights/carrier.py:carry",
                job_variables={"env": {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30"}},
                parameters={"table": name, "until": str(self.folder / f"{name}-is-over")},
                **fields,
            )
        self.deployments.append(deployment)
        return deployment

    def over(self) -> None:
        """Stop the workers, and let the server forget the deployments with their runs."""
        while self.workers:
            self.workers.pop().stop()
        with self.client as client:
            while self.deployments:
                client.delete_deployment(self.deployments.pop())

    def start(self, deployment: UUID) -> UUID:
        with self.client as client:
            return client.create_flow_run_from_deployment(deployment).id

    def run(self, run_id: UUID) -> FlowRun:
        with self.client as client:
            return client.read_flow_run(run_id)

    def comes_to(self, run_id: UUID, state: StateType, seconds: float = PATIENCE) -> bool:
        return bool(eventually(lambda: self.run(run_id).state_type is state, seconds))

    def let_end(self, name: str) -> None:
        """Let the runs of this deployment end."""
        (self.folder / f"{name}-is-over").touch()


def _look(given: Mapping[str, float], said: Path) -> None:
    # It is let listen for less than a heartbeat, where nobody's is to be heard.
    watch = watch_runs.with_options(validate_parameters=False)
    said.write_text(str(watch(**given, return_state=True)))


def one_at_a_time() -> Mapping[str, Any]:
    """The limit of `prefect.yaml`, as a deployment's fields."""
    options = ConcurrencyOptions(collision_strategy=ConcurrencyLimitStrategy.ENQUEUE)
    return {"concurrency_limit": 1, "concurrency_options": options}


__all__ = ["BLOCK", "Night", "one_at_a_time"]
