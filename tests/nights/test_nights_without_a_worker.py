"""Nights in which nothing runs: who says so, since nothing runs."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterExpectedStartTime,
)
from prefect.client.schemas.objects import State, StateType
from prefect.client.schemas.schedules import IntervalSchedule
from prefect.states import Completed, Crashed, Failed, Scheduled

from deployments.no_worker import register_nobody_watches
from deployments.silent_watch import register_silent_watch, silent_watch
from ferry.runs.watch_notice import WATCHING
from tests.harness.api import PATIENCE, eventually
from tests.nights.night import BLOCK, ROOT, Night

HERE = str(ROOT)
SHORT = {"silent_seconds": 5.0, "observe_seconds": 4.0}


def test_a_pool_has_no_worker_and_it_is_told_once_and_once_more_when_one_is_back(
    night: Night,
) -> None:
    pool = night.pool("empty")
    night.deploy("empty", pool)
    for _ in range(2):
        night.watch(**SHORT)
    (told,) = night.slack.messages
    assert told.startswith("Ferry: no worker is alive for the pool empty\n")
    assert "docs/runbook.md, Nothing runs" in told

    night.worker(pool)
    for _ in range(2):
        night.watch(**SHORT)
    assert [each.partition("\n")[0] for each in night.slack.messages[1:]] == [
        "Ferry: a worker is alive again for the pool empty"
    ]


@pytest.mark.nights
def test_nobody_watches_any_more_and_the_server_says_so_once(night: Night) -> None:
    pool = night.pool("watch-pool")
    with night.meant():
        register_nobody_watches(BLOCK, pool=pool, within=timedelta(seconds=10))
    worker = night.worker(pool)
    worker.process.stop(grace_seconds=0)
    again = night.worker(pool)  # within the time that it may take
    eventually(lambda: bool(night.slack.messages), 20)
    assert night.slack.messages == []

    again.process.stop(grace_seconds=0)
    assert eventually(lambda: night.slack.messages, 60)
    assert not eventually(lambda: len(night.slack.messages) > 1, 12)
    (told,) = night.slack.messages
    assert told.startswith("Ferry: nobody watches the runs: no worker is alive for the pool watch-")


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
    night.worker(pool)
    with night.client as client:
        queue = client.read_work_queue_by_name("nobody-s", work_pool_name=pool)
        client.update_work_queue(queue.id, is_paused=True)
        due = Scheduled().state_details.scheduled_time
        assert due is not None
        run = client.create_flow_run_from_deployment(
            deployment, state=Scheduled(scheduled_time=due - timedelta(hours=1))
        )

    for _ in range(2):
        night.watch(**SHORT)

    (told,) = night.slack.messages
    late = re.match(r"Ferry: sync-table/late is (\d+) min late\n", told)
    took = (datetime.now(UTC) - due).total_seconds() / 60  # as long as the watch took, at most
    assert late and 60 <= int(late[1]) <= 60 + round(took)
    assert night.run(run.id).state_type is StateType.SCHEDULED


@pytest.mark.nights
def test_looks_that_were_missed_are_dropped_and_what_somebody_started_runs(night: Night) -> None:
    pool = night.pool("missed")
    with night.client as client:
        flow_id = client.create_flow_from_name("watch-runs")
        noon = datetime.now(UTC) - timedelta(hours=12)  # no other run is due meanwhile
        daily = IntervalSchedule(interval=timedelta(days=1), anchor_date=noon)
        deployment = client.create_deployment(
            flow_id,
            "missed",
            work_pool_name=pool,
            entrypoint="flows.watch_runs.watch_runs",
            pull_steps=[{"prefect.deployments.steps.set_working_directory": {"directory": HERE}}],
            parameters=SHORT,
            schedules=[DeploymentScheduleCreate(schedule=daily, active=True)],
        )
        night.deployments.append(deployment)
        missed = schedule_past(client, deployment)
        asked = SHORT | {"late_seconds": 7.0}
        own = client.create_flow_run_from_deployment(deployment, parameters=asked).id
    night.worker(pool, limit=1)
    assert eventually(lambda: all(over(night, run_id) for run_id in [*missed, own]), PATIENCE)
    ends = Counter(night.run(run_id).state_type for run_id in missed)
    assert ends == {StateType.COMPLETED: 1, StateType.CANCELLED: 4}
    assert night.run(own).state_type is StateType.COMPLETED
    assert night.run(own).parameters == asked


def schedule_past(client: SyncPrefectClient, deployment: UUID) -> list[UUID]:
    """Five runs that are overdue by days, as its schedule makes them; returns their ids."""
    now = datetime.now(UTC)
    past = {"start_time": str(now - timedelta(days=6)), "end_time": str(now), "min_runs": 5}
    client.request(
        "POST",
        "/deployments/{id}/schedule",
        path_params={"id": deployment},
        json=past | {"max_runs": 5},
    ).raise_for_status()
    overdue = FlowRunFilterExpectedStartTime(before_=now)  # type: ignore[arg-type]
    found = client.read_flow_runs(
        deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[deployment])),
        flow_run_filter=FlowRunFilter(expected_start_time=overdue),
    )
    assert len(found) == 5
    return [run.id for run in found]


def over(night: Night, run_id: object) -> bool:
    state = night.run(run_id).state  # type: ignore[arg-type]
    return bool(state and state.is_final())
