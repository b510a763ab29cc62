"""What Prefect's server has recorded of a soak's runs."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType

from tests.soak.servers import Servers

PAGE = 200
OPEN = (StateType.RUNNING, StateType.PENDING, StateType.CANCELLING, StateType.PAUSED)
LOOKING = ("watch-runs", "check-due")
"""These go on for ever, every five minutes."""


def flow_names(servers: Servers) -> dict[UUID, str]:
    """The flows' names, by their ids."""
    with servers.client as client:
        return {flow.id: flow.name for flow in client.read_flows()}


def read_run(servers: Servers, run_id: UUID) -> FlowRun:
    with servers.client as client:
        return client.read_flow_run(run_id)


def runs_in(servers: Servers, *states: StateType) -> list[FlowRun]:
    """All runs in these states; in any, if none is named."""
    return list(_runs(servers, states))


def _runs(servers: Servers, states: tuple[StateType, ...]) -> Iterator[FlowRun]:
    chosen: dict[str, Any] = {}
    if states:
        types = FlowRunFilterStateType(any_=list(states))
        chosen["flow_run_filter"] = FlowRunFilter(state=FlowRunFilterState(type=types))
    with servers.client as client:
        for offset in itertools.count(0, PAGE):
            page = client.read_flow_runs(limit=PAGE, offset=offset, **chosen)
            yield from page
            if len(page) < PAGE:
                return


def open_runs(servers: Servers) -> list[FlowRun]:
    """Runs that are not over, and those that are due; not what looks after all of them."""
    now = datetime.now(UTC)
    names = flow_names(servers)
    found = runs_in(servers, *OPEN, StateType.SCHEDULED)
    due = [
        each
        for each in found
        if each.state_type in OPEN
        or (each.expected_start_time and each.expected_start_time < now - timedelta(seconds=30))
    ]
    return [each for each in due if names.get(each.flow_id) not in LOOKING]


def had_failed(servers: Servers, run: FlowRun) -> bool:
    """Whether the run is failed or crashed, or was at some time."""
    bad = (StateType.FAILED, StateType.CRASHED)
    if run.state_type in bad:
        return True
    with servers.client as client:
        return any(state.type in bad for state in client.read_flow_run_states(run.id))
