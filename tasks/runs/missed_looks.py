"""Looks that were missed while nobody ran them: one look sees as much as all of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
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


def drop_missed_looks(client: SyncPrefectClient, deployment_id: str | None) -> int:
    """Cancel the scheduled runs of this deployment that are overdue; returns how many.

    What somebody has started by hand runs, with the parameters that were asked for.

    Args:
        client: Asks Prefect's server.
        deployment_id: The current run's deployment; None outside of one, which has no others.
    """
    if not deployment_id:
        return 0
    overdue = FlowRunFilter(
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])),
        tags=FlowRunFilterTags(all_=["auto-scheduled"]),  # so Prefect marks what a schedule made
        expected_start_time=FlowRunFilterExpectedStartTime(
            before_=datetime.now(UTC) - timedelta(seconds=1)  # type: ignore[arg-type]
        ),
    )
    own = DeploymentFilter(id=DeploymentFilterId(any_=[UUID(deployment_id)]))
    runs = client.read_flow_runs(deployment_filter=own, flow_run_filter=overdue, limit=PAGE)
    for run in runs:
        message = "missed, and not needed: a later run looks at all there is"
        client.set_flow_run_state(run.id, Cancelled(message=message))
    return len(runs)
