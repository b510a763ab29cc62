"""The nights of `make test`, in one file: they share a server, which takes long to start."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prefect import flow
from prefect.client.schemas.objects import State, StateType
from prefect.states import Completed, Crashed, Failed, Pending, Scheduled

from deployments.silent_watch import register_silent_watch, silent_watch
from ferry.runs.watch_notice import WATCHING
from tests.flows.pipeline.forks import command
from tests.harness.api import PATIENCE, eventually
from tests.nights.night import BLOCK, SHORT_WATCH, Night, one_at_a_time
from tests.nights.night_shop import ROWS_A_DAY, NightShop

PARAMETERS = {"table": "nps", "run_date": "2023-01-02"}
DAY = {"2023-01-02": ROWS_A_DAY}


def test_a_worker_is_killed_and_its_run_lands_and_nobody_is_told(
    night: Night, tmp_path: Path
) -> None:
    shop = NightShop.open(night, tmp_path, "orphan")
    run_id = shop.worker_ends(signal.SIGKILL, PARAMETERS)
    shop.wait_for(run_id, StateType.COMPLETED)
    assert shop.days() == DAY
    assert shop.messages() == []


def test_a_worker_dies_between_taking_a_run_and_beginning_it(night: Night) -> None:
    pool = night.pool("takes")
    deployment = night.deploy("takes", pool, **one_at_a_time())
    run_id = night.start(deployment)
    with night.client as client:
        client.set_flow_run_state(run_id, Pending())  # as a worker does that then dies

    night.watch_until(run_id, StateType.CRASHED, pending_seconds=1, observe_seconds=4)

    ended = night.run(run_id).state
    assert ended and ended.type is StateType.CRASHED
    assert "did not begin" in (ended.message or "")
    told = [message for message in night.slack.messages if "did not begin" in message]
    assert len(told) == 1
    assert f"prefect flow-run retry {run_id}" in told[0]
    night.worker(pool)  # the next one is not held up
    night.let_end("takes")
    assert night.comes_to(night.start(deployment), StateType.COMPLETED)
    begun_for = night.run(run_id).expected_start_time
    retried = command("flow-run", "retry", str(run_id), environment=night.env)
    retried.join(PATIENCE)
    assert retried.exitcode == 0
    assert night.comes_to(run_id, StateType.COMPLETED)
    assert night.run(run_id).expected_start_time == begun_for


def test_a_failure_that_nobody_was_told_of_is_found_and_told_once(night: Night) -> None:
    run_id = night.start(night.deploy("untold", night.pool("untold")))
    with night.client as client:
        client.set_flow_run_state(run_id, Crashed(message="its events were lost"), force=True)
    assert "told of" not in night.watch(unreported_seconds=300, observe_seconds=4)
    assert of(night, "its events were lost") == []

    for _ in range(2):
        night.watch(unreported_seconds=0, observe_seconds=4)

    (told,) = of(night, "its events were lost")
    assert "crashed" in told and f"/runs/flow-run/{run_id}" in told


def of(night: Night, text: str) -> list[str]:
    """The messages with this text in them."""
    return [message for message in night.slack.messages if text in message]


def test_a_pool_has_no_worker_and_it_is_told_once_and_once_more_when_one_is_back(
    night: Night,
) -> None:
    pool = night.pool("empty")
    night.deploy("empty", pool)
    for _ in range(2):
        night.watch(**SHORT_WATCH)
    (told,) = night.slack.messages
    assert told.startswith("Ferry: no worker is alive for the pool empty\n")
    assert "docs/runbook.md, Nothing runs" in told

    night.worker(pool)
    for _ in range(2):
        night.watch(**SHORT_WATCH)
    assert [each.partition("\n")[0] for each in night.slack.messages[1:]] == [
        "Ferry: a worker is alive again for the pool empty"
    ]


@pytest.fixture
def without_silent_watch(night: Night) -> Iterator[None]:
    """The server is shared: the watch of the next test is not to be missed after a few seconds."""
    yield
    with night.client as client:
        for each in map(silent_watch, WATCHING):
            for automation in client.read_automations_by_name(each):
                client.delete_automation(automation.id)


@pytest.mark.usefixtures("without_silent_watch")
def test_the_watch_completes_no_run_any_more_and_the_server_says_so_once_for_each_silence(
    night: Night,
) -> None:
    with night.meant():
        register_silent_watch(BLOCK, within=timedelta(seconds=16))
    # Longer than it may be silent, in all: each completed run sets the clock anew.
    for _ in range(4):
        ended(night, "watch-runs", Completed())
        eventually(lambda: False, 6)
    assert night.slack.messages == []

    ended(night, "watch-runs", Failed())
    ended(night, "watch-runs", Crashed())
    ended(night, "sync-table", Completed())
    assert eventually(lambda: night.slack.messages, PATIENCE)
    assert not eventually(lambda: len(night.slack.messages) > 1, 18)

    # Until now the other one, which had completed no run yet, was not missed.
    ended(night, "watch-runs", Completed())
    ended(night, "check-due", Completed())
    assert eventually(lambda: len(night.slack.messages) == 3, PATIENCE)
    first, *later = (each.partition(" has completed no run ")[0] for each in night.slack.messages)
    silent = "Ferry: the watch is silent: "
    assert (first, set(later)) == (
        f"{silent}watch-runs",
        {f"{silent}watch-runs", f"{silent}check-due"},
    )
    assert "docs/runbook.md, The watch is silent" in night.slack.messages[0]


def ended(night: Night, flow_name: str, state: State[Any]) -> None:
    """A run of the flow that came to this, whoever ran it."""

    @flow(name=flow_name)
    def one() -> None: ...

    with night.client as client:
        run = client.create_flow_run(one)
        client.set_flow_run_state(run.id, state, force=True)


def test_a_run_is_late_though_a_worker_is_alive_and_it_is_told_once_and_not_ended(
    night: Night,
) -> None:
    pool = night.pool("other-queue")
    deployment = night.deploy("late", pool, work_queue_name="nobody-s")
    with night.client as client:
        client.send_worker_heartbeat(pool, "alive, and takes no runs", 3_600)
        queue = client.read_work_queue_by_name("nobody-s", work_pool_name=pool)
        client.update_work_queue(queue.id, is_paused=True)
        due = Scheduled().state_details.scheduled_time
        assert due is not None
        run = client.create_flow_run_from_deployment(
            deployment, state=Scheduled(scheduled_time=due - timedelta(hours=1))
        )

    for _ in range(2):
        night.watch(**SHORT_WATCH)

    (told,) = night.slack.messages
    late = re.match(r"Ferry: sync-table/late is (\d+) min late\n", told)
    took = (datetime.now(UTC) - due).total_seconds() / 60  # as long as the watch took, at most
    assert late and 60 <= int(late[1]) <= 60 + round(took)
    assert night.run(run.id).state_type is StateType.SCHEDULED
