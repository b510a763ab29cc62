"""Failed runs of which nobody was told: looked for, since events that tell of them can be lost."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterEndTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.sorting import FlowRunSort

from tasks.runs.notice_claims import SENDING, SENT, NoticeClaim, all_claims
from tasks.runs.own_flows import deployments_of_others
from tasks.runs.paging import PAGE, all_pages

LOOK_BACK = timedelta(days=2)
MOST = 20
"""Messages in one look; the next look tells of more."""


def unreported_runs(
    client: SyncPrefectClient, flows: Sequence[str], older_than_seconds: float
) -> list[FlowRun]:
    """The failed and crashed runs of the last days of which nobody was told, the newest first.

    Told is also what was perhaps sent, and then once more; what somebody is sending just now is
    left to that one.

    Args:
        client: Asks Prefect's server.
        flows: The names of the flows that are told of.
        older_than_seconds: Runs that ended later are left to their hook, and to the backstop.
    """
    claims = all_claims(client)
    now = datetime.now(UTC)
    ended = FlowRunFilterEndTime(
        after_=now - LOOK_BACK,  # type: ignore[arg-type]
        before_=now - timedelta(seconds=older_than_seconds),  # type: ignore[arg-type]
    )
    others = deployments_of_others(client)
    failed = (run for run in _failed(client, flows, ended) if run.deployment_id not in others)
    unreported = (run for run in failed if not _is_reported(NoticeClaim.of(run, client), claims))
    return list(itertools.islice(unreported, MOST))


def _is_reported(claim: NoticeClaim, claims: Mapping[str, str]) -> bool:
    value = claims.get(claim.name)
    if value == SENT or claim.second.name in claims:
        return True
    return value == SENDING and claim.is_being_sent()


def _failed(
    client: SyncPrefectClient, flows: Sequence[str], ended: FlowRunFilterEndTime
) -> Iterator[FlowRun]:
    failed = FlowRunFilterStateType(any_=[StateType.FAILED, StateType.CRASHED])
    return all_pages(
        lambda offset: client.read_flow_runs(
            flow_filter=FlowFilter(name=FlowFilterName(any_=list(flows))),
            flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=failed), end_time=ended),
            sort=FlowRunSort.END_TIME_DESC,
            limit=PAGE,
            offset=offset,
        )
    )
