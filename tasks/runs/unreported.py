"""Failed runs of which nobody was told: looked for, since events that tell of them can be lost.

So can a run's turn. Where a deployment has a limit of one run at a time, and a run that is to begin
has lost its turn (the server forgot it in a restart, or the run took too long to come up) while
another run has the place, the server cancels it: nobody asked for that, and no hook is called. So
it does with each run that finds the place taken, where the limit's strategy is CANCEL_NEW.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.client.schemas.sorting import FlowRunSort

from ferry.bounded import in_groups
from tasks.runs.notice_claims import SENDING, SENT, NoticeClaim, claims_named
from tasks.runs.own_flows import deployments_of_others
from tasks.runs.paging import PAGE, all_pages

LOOK_BACK = timedelta(days=2)
MOST = 20
"""Messages in one look; the next look tells of more."""

TURN_LOST = "Deployment concurrency slot lost"
TURN_REFUSED = "Deployment concurrency limit reached"
"""So begins what the server says of a run that it cancels: its turn is lost, or it gets none."""


def is_dropped(state: State) -> bool:
    """Whether the server has cancelled the run by itself, as it was to begin."""
    return state.is_cancelled() and (state.message or "").startswith((TURN_LOST, TURN_REFUSED))


def unreported_runs(
    client: SyncPrefectClient, flows: Sequence[str], older_than_seconds: float
) -> list[FlowRun]:
    """The failed, crashed and dropped runs of the last days of which nobody was told, newest first.

    Told is also what was perhaps sent, and then once more; what somebody is sending just now is
    left to that one.

    Args:
        client: Asks Prefect's server.
        flows: The names of the flows that are told of.
        older_than_seconds: Runs that ended later are left to their hook, and to the backstop.
    """
    now = datetime.now(UTC)
    ended = FlowRunFilterEndTime(
        after_=now - LOOK_BACK,  # type: ignore[arg-type]
        before_=now - timedelta(seconds=older_than_seconds),  # type: ignore[arg-type]
    )
    others = deployments_of_others(client)
    failed = (
        run
        for run in _ended(client, flows, ended)
        if _is_told_of(run) and run.deployment_id not in others
    )
    return list(itertools.islice(_unreported(failed, client), MOST))


def _unreported(failed: Iterable[FlowRun], client: SyncPrefectClient) -> Iterator[FlowRun]:
    for runs in in_groups(((run, 2) for run in failed), PAGE):  # each has two claims at most
        claims = [NoticeClaim.of(run, client) for run in runs]
        names = [name for claim in claims for name in (claim.name, claim.second.name)]
        told = claims_named(client, names)
        yield from (
            run for run, claim in zip(runs, claims, strict=True) if not _is_reported(claim, told)
        )


def _is_reported(claim: NoticeClaim, claims: Mapping[str, str]) -> bool:
    value = claims.get(claim.name)
    if value == SENT or claim.second.name in claims:
        return True
    return value == SENDING and claim.is_being_sent()


def _is_told_of(run: FlowRun) -> bool:
    state = run.state
    return state is not None and (not state.is_cancelled() or is_dropped(state))


def _ended(
    client: SyncPrefectClient, flows: Sequence[str], ended: FlowRunFilterEndTime
) -> Iterator[FlowRun]:
    badly = FlowRunFilterStateType(any_=[StateType.FAILED, StateType.CRASHED, StateType.CANCELLED])
    return all_pages(
        lambda offset: client.read_flow_runs(
            flow_filter=FlowFilter(name=FlowFilterName(any_=list(flows))),
            flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=badly), end_time=ended),
            sort=FlowRunSort.END_TIME_DESC,
            limit=PAGE,
            offset=offset,
        )
    )
