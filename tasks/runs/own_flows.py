"""Which deployments are watched: those of Ferry's own flows, and those that have the tag.

A flow of somebody else at the same Prefect server may have the name of one of Ferry's, as
`backfill`: of that one nothing is ended and nothing told. Its code tells them apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterTags,
    FlowFilter,
    FlowFilterName,
)
from prefect.client.schemas.responses import DeploymentResponse

from ferry.runs.watch import WATCHED
from tasks.runs.paging import PAGE, all_pages

OWN_FLOWS = {
    "backfill": "flows.backfill_tables.backfill",
    "build-summary": "flows.build_summary.build_summary",
    "carry-windows": "flows.carry_windows.carry_windows",
    "check-due": "flows.check_due.check_due",
    "coverage": "flows.show_coverage.show_coverage",
    "notify-failure": "flows.notify_failure.notify_failure",
    "reconcile": "flows.reconcile_tables.reconcile",
    "sync-all": "flows.sync_all.sync_all",
    "sync-table": "flows.sync_table.sync_table",
    "update-symbols": "flows.update_symbols.update_symbols",
    "watch-runs": "flows.watch_runs.watch_runs",
}
"""Ferry's own flows by their names, and where the code of each is.

Whoever makes a deployment of one does not have to know of the tag.
"""


def own_flows() -> FlowFilter:
    """Chooses what is of Ferry's own flows, by their names."""
    return FlowFilter(name=FlowFilterName(any_=sorted(OWN_FLOWS)))


def watched_and_others(
    client: SyncPrefectClient,
) -> tuple[list[DeploymentResponse], set[UUID]]:
    """The deployments that are watched, each once, and those of others' flows named as Ferry's."""
    tagged = DeploymentFilter(tags=DeploymentFilterTags(all_=[WATCHED]))
    named = list(_read(client, flow_filter=own_flows()))
    others = {each.id for each in named if is_of_another(each)}
    both = [*named, *_read(client, deployment_filter=tagged)]
    return list({each.id: each for each in both if each.id not in others}.values()), others


def watched_deployments(client: SyncPrefectClient) -> list[DeploymentResponse]:
    """The deployments of Ferry's own flows, and any that has the tag; each once."""
    return watched_and_others(client)[0]


def deployments_of_others(client: SyncPrefectClient) -> set[UUID]:
    """Deployments of somebody else's flows that have the name of one of Ferry's."""
    return {each.id for each in _read(client, flow_filter=own_flows()) if is_of_another(each)}


def is_of_another(deployment: DeploymentResponse) -> bool:
    """Whether its code is not Ferry's, and nobody wants it to be watched.

    Prefect writes where code is as `flows.sync_all.sync_all`, `flows.sync_all:sync_all` or
    `flows/sync_all.py:sync_all`, below any folder. Of a deployment that does not say, only the name
    of its flow is known.
    """
    if not deployment.entrypoint or WATCHED in deployment.tags:
        return False
    code = "." + re.sub(r"\.py:|[:/\\]", ".", deployment.entrypoint)
    return not code.endswith(tuple(f".{own}" for own in OWN_FLOWS.values()))


def _read(client: SyncPrefectClient, **chosen: Any) -> Iterator[DeploymentResponse]:
    return all_pages(lambda at: client.read_deployments(**chosen, limit=PAGE, offset=at))
