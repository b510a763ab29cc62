"""Which deployments are watched: those of Ferry's own flows, and those that have the tag."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterTags,
    FlowFilter,
    FlowFilterName,
)
from prefect.client.schemas.responses import DeploymentResponse

from ferry.runs.watch import WATCHED
from ferry.runs.watch_notice import WATCHING
from ferry.runs.window import WINDOW_OF
from tasks.runs.paging import PAGE, all_pages

OWN_FLOWS = frozenset({*WINDOW_OF, *WATCHING, "carry-windows", "notify-failure"})
"""Ferry's own flows. Whoever makes a deployment of one does not have to know of the tag."""


def own_flows() -> FlowFilter:
    """Chooses what is of Ferry's own flows, by their names."""
    return FlowFilter(name=FlowFilterName(any_=sorted(OWN_FLOWS)))


def watched_deployments(client: SyncPrefectClient) -> list[DeploymentResponse]:
    """The deployments of Ferry's own flows, and any that has the tag; each once."""
    tagged = DeploymentFilter(tags=DeploymentFilterTags(all_=[WATCHED]))

    def read(**chosen: Any) -> Iterator[DeploymentResponse]:
        return all_pages(lambda at: client.read_deployments(**chosen, limit=PAGE, offset=at))

    both = [*read(flow_filter=own_flows()), *read(deployment_filter=tagged)]
    return list({each.id: each for each in both}.values())
