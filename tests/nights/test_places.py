"""Prefect's server goes away while places are held: nothing is lost, and no place stays taken."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import StateType

from deployments.leases import IN_MEMORY, lease_warning
from deployments.local.servers import PrefectServer, ProcessWorker
from deployments.reader_limits import register_limits
from tasks.places import limits as places_limits
from tasks.places.readers import backfill_limit, readers_limit
from tests.harness.api import PATIENCE, eventually
from tests.nights.door import Door
from tests.nights.night import Home

ROOT = Path(__file__).parents[2]
MEMORY = "prefect.server.concurrency.lease_storage.memory"

READ = """
import signal, sys, threading, time
from contextvars import copy_context
from datetime import timedelta
from prefect import flow
from tasks.places import readers
from tasks.places import limits
from tasks.places.times import Times

signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # as Prefect's engine ends
limits.SILENT_FOR = timedelta(seconds=8)
readers.TIMES = Times(renew=2, look=1, leaked=10, log_after=2, again=1, without=90)
stop, lock = threading.Event(), threading.Lock()

def read(seconds):
    while not stop.is_set():
        with readers.place_among_readers(sys.argv[1], backfill=sys.argv[2] == "backfill"):
            with lock:
                print("read", flush=True)
            stop.wait(seconds)

@flow
def reads(threads, seconds):
    contexts = [copy_context() for _ in range(threads)]
    all = [threading.Thread(target=c.run, args=(read, seconds), daemon=True) for c in contexts]
    for each in all:
        each.start()
    sys.stdin.readline()
    stop.set()
    for each in all:
        each.join(30)

reads(int(sys.argv[3]), float(sys.argv[4]))
"""


class Reader:
    """A process whose threads read one window after the other."""

    def __init__(
        self,
        server: PrefectServer | Door,
        log: Path,
        source: str,
        kind: str,
        threads: int,
        seconds: float,
    ) -> None:
        self._log = log
        with log.open("w") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-c", READ, source, kind, str(threads), str(seconds)],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
                env={**os.environ, **server.client_env},
            )

    @property
    def log(self) -> str:
        return self._log.read_text()

    @property
    def windows(self) -> int:
        return self.log.count("read\n")

    def reads_on(self, seconds: float = 60) -> bool:
        before = self.windows
        return bool(eventually(lambda: self.windows > before + 3, seconds))

    def end(self) -> int:
        self.process.communicate("\n", timeout=60)
        return self.process.returncode

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@dataclass
class PlacesHome(Home):
    """A server whose places are looked at."""

    def active(self, name: str) -> int:
        with self.client as client:
            return client.read_global_concurrency_limit_by_name(name).active_slots

    def variables(self) -> list[str]:
        with self.client as client:
            return [each.name for each in client.read_variables() if "ferry-places" in each.tags]


@contextmanager
def home(folder: Path, unused_home: Path, **settings: str) -> Iterator[PlacesHome]:
    found = PlacesHome(*PlacesHome.begun(folder, unused_home, settings))
    try:
        yield found
    finally:
        found.end()


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory, unused_home: Path) -> Iterator[PlacesHome]:
    with home(tmp_path_factory.mktemp("lasting"), unused_home) as found:
        yield found


@pytest.fixture
def door(lasting: PlacesHome) -> Iterator[Door]:
    """The address where the server is away for a while, to all but the test itself."""
    door = Door(lasting.server)
    yield door
    door.shut()


def limited(at: PlacesHome, readers: int) -> str:
    source = f"s-{uuid.uuid4().hex[:8]}"
    with at.meant():
        register_limits(source, readers)
    return source


@pytest.mark.parametrize("kind", [pytest.param("daily", marks=pytest.mark.nights), "backfill"])
def test_reading_goes_on_while_the_server_is_away_and_every_place_comes_back(
    lasting: PlacesHome, tmp_path: Path, kind: str
) -> None:
    source = limited(lasting, 4)
    limits = [readers_limit(source), *([backfill_limit(source)] if kind == "backfill" else [])]
    places = 3 if kind == "backfill" else 4
    reader = Reader(lasting.server, tmp_path / "reader.log", source, kind, 4, 0.2)
    try:
        assert reader.reads_on()
        assert eventually(
            lambda: [lasting.active(name) for name in limits] == [places] * len(limits)
        )
        lasting.lose_server()
        time.sleep(5)
        assert reader.reads_on()
        lasting.find_server()
        assert reader.reads_on()
        assert reader.end() == 0, reader.log
    finally:
        reader.kill()
    assert reader.log.count("cannot be asked about places") == 1
    assert eventually(lambda: [lasting.active(name) for name in limits] == [0] * len(limits), 90)
    assert not lasting.variables()


def test_a_place_given_back_while_the_server_is_away_costs_nothing_and_comes_back(
    lasting: PlacesHome, door: Door, tmp_path: Path
) -> None:
    source = limited(lasting, 2)
    reader = Reader(door, tmp_path / "reader.log", source, "daily", 1, 0.2)
    try:
        assert reader.reads_on()
        door.shut()
        assert reader.process.stdin
        reader.process.stdin.write("\n")
        reader.process.stdin.flush()
        assert eventually(lambda: "cannot be asked about places" in reader.log, 30)
        time.sleep(3)
        door.open()
        assert reader.process.wait(90) == 0, reader.log
    finally:
        reader.kill()
    assert eventually(lambda: lasting.active(readers_limit(source)) == 0, 110)


def test_a_process_that_is_told_to_end_gives_its_places_back_at_once(
    lasting: PlacesHome, tmp_path: Path
) -> None:
    source = limited(lasting, 2)
    reader = Reader(lasting.server, tmp_path / "reader.log", source, "daily", 1, 60)
    try:
        assert eventually(lambda: lasting.active(readers_limit(source)) == 1, 60)
        reader.process.send_signal(signal.SIGTERM)
        assert eventually(lambda: lasting.active(readers_limit(source)) == 0, 30)
    finally:
        reader.kill()


@pytest.mark.nights
def test_leases_in_memory_that_a_restart_forgets_are_found_out_by_whoever_waits_and_by_registering(
    tmp_path: Path, unused_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from deployments.leases import free_places

    memory = {"PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": MEMORY}
    with home(tmp_path / "prefect", unused_home, **memory) as forgetful:
        with forgetful.meant():
            assert lease_warning() == IN_MEMORY
        source = limited(forgetful, 4)
        name = readers_limit(source)
        dying = Reader(forgetful.server, tmp_path / "dying.log", source, "daily", 4, 0.2)
        try:
            assert eventually(lambda: forgetful.active(name) == 4, 60)
        finally:
            forgetful.lose_server()
            dying.kill()
        forgetful.find_server()
        assert forgetful.active(name) == 4
        waiting = Reader(forgetful.server, tmp_path / "waiting.log", source, "daily", 1, 0.2)
        try:
            assert waiting.reads_on(90), waiting.log
            assert f"{name}: 4 of 4 places taken" in waiting.log
            assert "of these places nobody has held" in waiting.log
            forgetful.lose_server()
            forgetful.find_server()
            assert waiting.reads_on()
            assert eventually(
                lambda: forgetful.active(name) == 2, 60
            )  # the forgotten one, and anew
            assert waiting.end() == 0, waiting.log
        finally:
            waiting.kill()
        assert eventually(lambda: forgetful.active(name) == 1)
        monkeypatch.setattr(places_limits, "SILENT_FOR", places_limits.SILENT_FOR / 10)
        with forgetful.meant():
            (line,) = free_places([name])
        assert line == f"{name}: 1 places were held by nobody, and are free again"
        assert forgetful.active(name) == 0


@pytest.mark.nights
def test_a_daily_run_survives_its_server_s_restart_and_its_turn_is_free_afterwards(
    lasting: PlacesHome, tmp_path: Path
) -> None:
    def restarted(_: Path) -> None:
        lasting.lose_server()
        time.sleep(5)
        lasting.find_server()
        time.sleep(5)  # the run renews its turn meanwhile

    _daily_run_lands(lasting, tmp_path, restarted)


def test_a_daily_run_whose_server_was_away_until_its_turn_was_lost_goes_on_and_lands(
    lasting: PlacesHome, door: Door, tmp_path: Path
) -> None:
    def away_for_long(lost: Path) -> None:
        door.shut()
        assert eventually(lost.exists, PATIENCE)
        door.open()

    # Prefect tries each question again for a minute; here the run is not to.
    env = {"PREFECT_CLIENT_MAX_RETRIES": "0"}
    _daily_run_lands(lasting, tmp_path, away_for_long, {"env": env}, door.client_env)


def _daily_run_lands(
    lasting: PlacesHome,
    folder: Path,
    meanwhile: Callable[[Path], None],
    job_variables: dict[str, Any] | None = None,
    asks: Mapping[str, str] | None = None,
) -> None:
    """A daily run lands, and its turn is free, whatever happens while it reads."""
    barrier = folder / "barrier"
    barrier.touch()
    with lasting.meant():
        _save_blocks(folder)
    env = {"FERRY_TABLES": str(_specs(folder)), "NIGHT_BARRIER": str(barrier), **(asks or {})}
    pool = f"pool-{uuid.uuid4().hex[:6]}"
    with lasting.client as client:
        client.create_work_pool(WorkPoolCreate(name=pool, type="process"))
        deployment = client.create_deployment(
            client.create_flow_from_name("sync-all"),
            pool,
            work_pool_name=pool,
            path=str(ROOT),
            entrypoint="tests/nights/slow_daily.py:sync_all",
            parameters={"every": "day", "run_date": "2023-01-05"},
            concurrency_limit=1,
            job_variables=job_variables,
        )
        run_id = client.create_flow_run_from_deployment(deployment).id
    with ProcessWorker.start(
        folder / "worker", server=lasting.server, pool=pool, env=env, run_once=True
    ) as worker:
        assert eventually(barrier.with_suffix(".reached").exists, 90)
        meanwhile(barrier.with_suffix(".lost"))
        barrier.unlink()
        worker.finish(90)
    with lasting.client as client:
        run = client.read_flow_run(run_id)
        assert run.state_type is StateType.COMPLETED, run.state
        limit = client.read_deployment(deployment).global_concurrency_limit
        assert limit is not None
    assert eventually(lambda: lasting.active(limit.name) == 0)
    assert eventually(lambda: lasting.active(readers_limit("night-shop")) == 0)


def _save_blocks(folder: Path) -> None:
    from blocks.sources import SQLiteSource
    from blocks.stages import FolderStage
    from blocks.warehouses import DuckDBWarehouse

    with sqlite3.connect(folder / "source.sqlite") as shop:
        shop.execute("CREATE TABLE sales (id INTEGER PRIMARY KEY, at DATETIME)")
        shop.execute("INSERT INTO sales VALUES (1, '2023-01-05 12:00:00')")
    (folder / "stage").mkdir()
    SQLiteSource(path=str(folder / "source.sqlite")).save("night-shop", overwrite=True)
    FolderStage(path=folder / "stage").save("night-lake", overwrite=True)
    DuckDBWarehouse(path=str(folder / "warehouse.duckdb")).save("night-warehouse", overwrite=True)
    register_limits("night-shop", 4)


def _specs(folder: Path) -> Path:
    defaults = {
        "source": "night-shop",
        "stage": "night-lake",
        "warehouse": "night-warehouse",
        "schema": "raw_data",
    }
    sales = {"mode": "window", "key": ["id"], "cursor": "at"}
    file = folder / "tables.yaml"
    file.write_text(yaml.safe_dump({"defaults": defaults, "tables": {"sales": sales}}))
    return file
