"""A small shop on the embedded route, for a night: SQLite, a folder, DuckDB, and the real flows."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import duckdb
import yaml
from prefect.client.schemas.objects import State, StateType
from prefect.states import Scheduled

from blocks.sources import SQLiteSource
from blocks.stages import FolderStage
from blocks.warehouses import DuckDBWarehouse
from ferry.runs.watch import WATCHED
from tests.harness.api import PATIENCE, eventually
from tests.nights.night import ROOT, Night

DAYS, ROWS_A_DAY = 4, 6
FIRST_DAY = datetime(2023, 1, 1, tzinfo=UTC)
LOCK = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
sys.stdin.readline()
"""
HOLD = """
import duckdb, sys
connection = duckdb.connect(sys.argv[1])
print("held", flush=True)
sys.stdin.readline()
"""


@dataclass
class NightShop:
    """The shop, its target, and the runs that carry it."""

    night: Night
    folder: Path
    name: str

    @classmethod
    def open(cls, night: Night, folder: Path, name: str, *, busy: float = 60) -> NightShop:
        """A shop with rows in each of the first days of 2023.

        Args:
            night: Whose server and workers carry it.
            folder: Where its files lie.
            name: Of its blocks, work pool and deployments.
            busy: How long the files' locks are waited for, in seconds.
        """
        shop = cls(night, folder, name)
        (folder / "stage").mkdir()
        with closing(sqlite3.connect(shop.source)) as connection:
            connection.execute(
                "CREATE TABLE nps (id INTEGER PRIMARY KEY, note TEXT, created_at DATETIME NOT NULL)"
            )
            for n in range(DAYS * ROWS_A_DAY):
                at = FIRST_DAY + n * timedelta(days=1) / ROWS_A_DAY
                row = (n, f"note {n}", f"{at:%F %T}")
                connection.execute("INSERT INTO nps VALUES (?, ?, ?)", row)
            connection.commit()
        shop.write_specs()
        with night.meant():
            shop._save_blocks(busy)
        night.pool(name)
        return shop

    def _save_blocks(self, busy: float) -> None:
        source, warehouse = str(self.source), str(self.warehouse)
        for block in (
            SQLiteSource(path=source, busy_timeout_seconds=busy),
            FolderStage(path=str(self.folder / "stage")),
            DuckDBWarehouse(path=warehouse, busy_timeout_seconds=busy),
        ):
            block.save(self.name, overwrite=True)

    @property
    def source(self) -> Path:
        return self.folder / "source.sqlite"

    @property
    def warehouse(self) -> Path:
        return self.folder / "warehouse.duckdb"

    def write_specs(self, **fields: Any) -> None:
        """The spec of `nps`, with these fields besides."""
        spec = {"mode": "window", "key": ["id"], "cursor": "created_at", "insert_rows": 0}
        blocks = dict.fromkeys(("source", "stage", "warehouse"), self.name)
        content = {
            "defaults": blocks | {"retry_delay_seconds": 0},
            "tables": {"nps": spec | fields},
        }
        (self.folder / "tables.yaml").write_text(yaml.safe_dump(content))

    def deploy(self, flow: str, entrypoint: str, **job: Any) -> UUID:
        """A deployment of a real flow, as `prefect.yaml` has them.

        Args:
            flow: Its name.
            entrypoint: Where it is.
            job: The job's variables.
        """
        said = yaml.safe_load((ROOT / "prefect.yaml").read_text())["definitions"]["job"]
        env = said["env"] | {"FERRY_TABLES": str(self.folder / "tables.yaml")}
        env |= {"FERRY_SUMMARIES": str(_no_summaries(self.folder))}
        step = {"prefect.deployments.steps.set_working_directory": {"directory": str(ROOT)}}
        with self.night.client as client:
            deployment = client.create_deployment(
                client.create_flow_from_name(flow),
                self.name,
                work_pool_name=self.name,
                tags=[WATCHED],
                entrypoint=entrypoint,
                pull_steps=[step],
                job_variables=said | {"env": env} | job,
            )
        if deployment not in self.night.deployments:
            self.night.deployments.append(deployment)
        return deployment

    def sync_table(self, **job: Any) -> UUID:
        """The deployment of sync-table."""
        return self.deploy("sync-table", "flows.sync_table.sync_table", **job)

    def start(
        self, deployment: UUID, parameters: Mapping[str, Any], state: State[Any] | None = None
    ) -> UUID:
        """A run with these parameters, due now unless `state` says when."""
        with self.night.client as client:
            run = client.create_flow_run_from_deployment(
                deployment, parameters=dict(parameters), state=state or Scheduled()
            )
        return run.id

    def worker_ends(self, how: signal.Signals, parameters: Mapping[str, Any]) -> UUID:
        """A worker begins a run, which reads when the worker is ended; returns the run's id."""
        worker = self.night.worker(self.name)
        deployment = self.sync_table()
        with self.locked():
            run_id = self.start(deployment, parameters)
            assert self.reads(run_id)
            os.kill(worker.process.pid, how)
            worker.process.wait(PATIENCE)
        return run_id

    def wait_for(self, run_id: UUID, *states: StateType, seconds: float = PATIENCE) -> State[Any]:
        """The run's state, once it is one of these."""
        eventually(lambda: self.night.run(run_id).state_type in states, seconds)
        state = self.night.run(run_id).state
        assert state and state.type in states, state
        return state

    def lives(self, run_id: UUID) -> bool:
        """Whether the run has a process that has the source open."""
        return self._pid(run_id) is not None

    def reads(self, run_id: UUID) -> bool:
        """Whether the run comes to read the source, where a lock lets it wait."""
        self.wait_for(run_id, StateType.RUNNING)
        return bool(eventually(lambda: self._pid(run_id), PATIENCE))

    def pid(self, run_id: UUID) -> int:
        """The process of the run."""
        found = self._pid(run_id)
        assert found, "the run has no process"
        return found

    def _pid(self, run_id: UUID) -> int | None:
        wanted = f"PREFECT__FLOW_RUN_ID={run_id}".encode()
        for each in Path("/proc").iterdir():
            if each.name.isdigit():
                try:
                    settings = (each / "environ").read_bytes().split(b"\0")
                    opened = [str(fd.readlink()) for fd in (each / "fd").iterdir()]
                except OSError:  # it has just ended, or is somebody else's
                    continue
                if wanted in settings and str(self.source) in opened:
                    return int(each.name)
        return None

    @contextmanager
    def locked(self) -> Iterator[Callable[[], None]]:
        """Another process locks the source until the end, or until what is given is called."""
        with _holding(LOCK, self.source) as release:
            yield release

    @contextmanager
    def held(self) -> Iterator[Callable[[], None]]:
        """As `locked`, of the warehouse."""
        with _holding(HOLD, self.warehouse) as release:
            yield release

    def days(self) -> dict[str, int]:
        """The rows of each day in the target; none if there is no target yet."""
        return dict(
            self._ask(
                "SELECT strftime(created_at, '%Y-%m-%d'), count(*) FROM raw_data.nps GROUP BY 1"
            )
        )

    def receipts(self) -> list[str]:
        """The windows that have a receipt, in the order of their landing."""
        rows = self._ask("SELECT window_label FROM ferry.receipts ORDER BY finished_at")
        return [row[0] for row in rows]

    def messages(self) -> list[str]:
        return list(self.night.slack.messages)

    def is_told(self) -> bool:
        """Whether anybody is told; a run's hook sends after the run has got its state."""
        return bool(eventually(self.messages, PATIENCE))

    def _ask(self, statement: str) -> list[Any]:
        if not self.warehouse.exists():
            return []
        try:
            with closing(duckdb.connect(self.warehouse, read_only=True)) as connection:
                return connection.execute(statement).fetchall()
        except duckdb.CatalogException:
            return []


@contextmanager
def _holding(code: str, file: Path) -> Iterator[Callable[[], None]]:
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(file)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def release() -> None:
        if process.poll() is None:
            process.communicate("\n", timeout=PATIENCE)

    assert process.stdout
    assert process.stdout.readline() == "held\n"
    try:
        yield release
    finally:
        release()


def _no_summaries(folder: Path) -> Path:
    path = folder / "summaries"
    path.mkdir(exist_ok=True)
    return path
