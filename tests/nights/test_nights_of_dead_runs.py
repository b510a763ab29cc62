"""Nights in which a run dies, or seems to: who is ended, and what is told."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
from prefect.client.schemas.objects import StateType

from deployments.local.servers import ProcessWorker
from tests.harness.api import PATIENCE, eventually
from tests.nights.night import Night, one_at_a_time


@pytest.mark.nights
def test_a_machine_dies_with_its_worker_and_its_run_and_a_healthy_run_goes_on(
    night: Night,
) -> None:
    dead_pool, pool = night.pool("dies"), night.pool("lives")
    dying, _ = night.worker(dead_pool), night.worker(pool)
    dead = night.start(night.deploy("dies", dead_pool, **one_at_a_time()))
    healthy = night.start(night.deploy("lives", pool))
    assert night.comes_to(dead, StateType.RUNNING) and night.comes_to(healthy, StateType.RUNNING)
    kill(dying)

    night.watch_until(dead, StateType.CRASHED)

    assert night.run(healthy).state_type is StateType.RUNNING
    ended = night.run(dead).state
    assert ended and ended.type is StateType.CRASHED
    assert (ended.message or "").startswith("No heartbeat was heard for ")
    assert "while the server was up and listening" in (ended.message or "")
    told = [message for message in night.slack.messages if "no worker" not in message]
    assert len(told) == 1
    assert "crashed" in told[0] and "Reason: No heartbeat was heard" in told[0]
    night.let_end("lives")
    assert night.comes_to(healthy, StateType.COMPLETED)


@pytest.mark.nights
def test_the_server_is_away_and_a_healthy_run_goes_on(night: Night) -> None:
    pool = night.pool("outlives")
    night.worker(pool)
    healthy = night.start(night.deploy("outlives", pool))
    assert night.comes_to(healthy, StateType.RUNNING)
    before = looks(night)
    said: list[str] = []
    watching = threading.Thread(target=lambda: said.append(night.watch()))
    watching.start()
    assert eventually(lambda: looks(night) > before, PATIENCE)
    night.lose_server()
    try:
        threading.Event().wait(15)  # more than `silent_seconds`
    finally:
        night.find_server()
    watching.join(200)

    assert said, "the watch did not end"
    night.watch()
    assert night.run(healthy).state_type is StateType.RUNNING
    night.let_end("outlives")
    assert night.comes_to(healthy, StateType.COMPLETED)
    assert night.slack.messages == []


def looks(night: Night) -> int:
    """How many looks of a watch have been heard so far."""
    with night.client as client:
        chosen: dict[str, Any] = {"event": {"name": ["ferry.watch.look"]}}
        found = client.request("POST", "/events/filter", json={"filter": chosen})
    return int(found.json()["total"])


def kill(worker: ProcessWorker) -> None:
    """The worker and its runs, as when their machine dies."""
    for pid in [*descendants(worker.process.pid), worker.process.pid]:
        os.kill(pid, signal.SIGKILL)


def descendants(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += [int(child), *descendants(int(child))]
    return found
