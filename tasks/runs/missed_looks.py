"""Looks that were missed while nobody ran them: one look sees as much as all of them."""

from __future__ import annotations

from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import StateType
from prefect.states import Cancelled

from tasks.runs.paging import PAGE


def drop_missed_looks(client: SyncPrefectClient, flow_run_id: str | None) -> int:
    """Cancel the other scheduled runs of this run's deployment that are overdue; returns how many.

    What somebody has started by hand runs, with the parameters that were asked for. Overdue is what
    was to start before this run has, by the server's clock: the worker's may be ahead.

    Args:
        client: Asks Prefect's server.
        flow_run_id: The current run.
    """
    run = client.read_flow_run(UUID(flow_run_id)) if flow_run_id else None
    if not run or not run.deployment_id or not run.start_time:
        return 0
    overdue = FlowRunFilter(
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])),
        tags=FlowRunFilterTags(all_=["auto-scheduled"]),  # so Prefect marks what a schedule made
        expected_start_time=FlowRunFilterExpectedStartTime(before_=run.start_time),
    )
    own = DeploymentFilter(id=DeploymentFilterId(any_=[run.deployment_id]))
    runs = client.read_flow_runs(deployment_filter=own, flow_run_filter=overdue, limit=PAGE)
    for missed in runs:
        message = "missed, and not needed: a later run looks at all there is"
        client.set_flow_run_state(missed.id, Cancelled(message=message))
    return len(runs)
