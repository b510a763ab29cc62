"""Nights in which nothing runs: who says so, since nothing runs."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterExpectedStartTime,
)
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.schedules import IntervalSchedule

from deployments.no_worker import register_nobody_watches
from tests.harness.api import PATIENCE, eventually
from tests.nights.night import BLOCK, ROOT, Night

HERE = str(ROOT)
WATCH = {"silent_seconds": 5.0, "observe_seconds": 31.0}


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
            parameters=WATCH,
            schedules=[DeploymentScheduleCreate(schedule=daily, active=True)],
        )
        night.deployments.append(deployment)
        missed = schedule_past(client, deployment)
        asked = WATCH | {"late_seconds": 7.0}
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
