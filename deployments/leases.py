"""Prefect's server: whether it keeps what it has to, and no more; and places that nobody holds.

A server keeps leases in its memory unless it is told otherwise. When it restarts, it has forgotten
who holds what, and goes on counting it as taken: the next run waits for a place that nobody gives
back. Of runs, their logs and their pages it keeps all that there ever were.
"""

from __future__ import annotations

import time
from typing import Any

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateName,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.responses import DeploymentResponse

from tasks.places.limits import correct, read_limits
from tasks.runs.own_flows import watched_deployments
from tasks.runs.paging import PAGE

LASTING = "prefect.server.concurrency.lease_storage.filesystem"
"""What `PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE` has to be on a server of one's own."""

IN_MEMORY = (
    "Prefect's server keeps leases in its memory: when it restarts, places among readers and the "
    "turns of deployments stay taken by nobody, and runs wait for them. Start it with "
    f"PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE={LASTING} "
    "('Places among readers' in the runbook)"
)

TIDIED = "events,flow_runs"
"""What `PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED` has to be on a server of one's own."""

KEPT_FOR_GOOD = (
    "Prefect's server keeps all runs that there ever were, with their logs and pages: after years "
    "its disk is full, and then nobody tells of anything. Start it with "
    f"PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED={TIDIED} "
    "('The server's database' in the runbook)"
)

LOOKS = 4
LOOK_EVERY_SECONDS = 1.0


def lease_warning() -> str | None:
    """What to tell whoever registers, if the server's leases do not outlive it; else None."""
    storage = str(_server_setting("concurrency", "lease_storage", unknown=""))
    return IN_MEMORY if storage.endswith(".memory") else None


def history_warning() -> str | None:
    """What to tell whoever registers, if the server never removes old runs; else None."""
    tidied = _server_setting("services", "db_vacuum", "enabled", unknown=True)
    return None if tidied is True or "flow_runs" in (tidied or ()) else KEPT_FOR_GOOD


def _server_setting(*names: str, unknown: Any) -> Any:
    """What the server is set to; `unknown` of Prefect Cloud, which tells nothing about itself."""
    with get_client(sync_client=True) as client:
        try:
            found = client.request("GET", "/admin/settings").json()["server"]
            for name in names:
                found = found[name]
        except (httpx.HTTPError, ValueError, KeyError, TypeError):
            return unknown
    return found


def free_places(names: list[str]) -> list[str]:
    """Give back to these limits the places that nobody holds any more.

    Looks several times: a process tells only a moment after it took a place that it has it.

    Returns:
        What was done, a line for each limit.
    """
    done = []
    with get_client(sync_client=True) as client:
        fewest = {state.name: state.unknown for state in read_limits(client, names)}
        for _ in range(LOOKS - 1):
            if not any(fewest.values()):
                return []
            time.sleep(LOOK_EVERY_SECONDS)
            for state in read_limits(client, names):
                fewest[state.name] = min(fewest[state.name], state.unknown)
        for name, count in fewest.items():
            if count:
                correct(client, name, count)
                done.append(f"{name}: {count} places were held by nobody, and are free again")
    return done


def free_turns() -> list[str]:
    """Give back turns of watched deployments that only runs which have ended could hold.

    Returns:
        What was done, a line for each deployment.
    """
    done = []
    with get_client(sync_client=True) as client:
        first = _surplus(client)
        if not first:
            return []
        time.sleep(LOOK_EVERY_SECONDS)  # a run may have ended between two questions
        for limit, (deployment, surplus) in _surplus(client).items():
            count = min(surplus, first.get(limit, (deployment, 0))[1])
            if count:
                correct(client, limit, count)
                done.append(
                    f"deployment {deployment}: {count} turns were held by runs that have ended, "
                    "and are free again"
                )
    return done


def _surplus(client: SyncPrefectClient) -> dict[str, tuple[str, int]]:
    """By limit: its deployment, and how many turns are taken that no run can hold."""
    found = {}
    for deployment in watched_deployments(client):
        limit = deployment.global_concurrency_limit
        if limit and limit.active_slots:
            count = limit.active_slots - _under_way(client, deployment)
            if count > 0:
                found[limit.name] = (deployment.name, count)
    return found


def _under_way(client: SyncPrefectClient, deployment: DeploymentResponse) -> int:
    """How many runs of the deployment may hold a turn."""
    only = DeploymentFilter(id=DeploymentFilterId(any_=[deployment.id]))
    kinds = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]
    running = FlowRunFilterState(type=FlowRunFilterStateType(any_=kinds))
    retrying = FlowRunFilterState(name=FlowRunFilterStateName(any_=["AwaitingRetry"]))
    return sum(
        len(
            client.read_flow_runs(
                flow_run_filter=FlowRunFilter(state=state), deployment_filter=only, limit=PAGE
            )
        )
        for state in (running, retrying)
    )
