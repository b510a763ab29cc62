"""One look of the watch: runs that are not over, their signs of life, and the pools' workers."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID, uuid4

import httpx
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterId,
    FlowRunFilter,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
    LogFilter,
    LogFilterFlowRunId,
)
from prefect.client.schemas.objects import FlowRun, StateType, WorkPool, WorkPoolStatus
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.sorting import LogSort, TaskRunSort
from prefect.events import emit_event
from prefect.exceptions import PrefectException
from prefect.logging import get_logger
from prefect.settings import (
    PREFECT_CLIENT_MAX_RETRIES,
    get_current_settings,
    temporary_settings,
)

from ferry.runs.watch import WATCHED, Patience, SeenRun, is_silent
from tasks.runs.own_flows import own_flows, watched_and_others
from tasks.runs.paging import PAGE, all_pages

HEARTBEAT = "prefect.flow-run.heartbeat"
FREQUENCIES = "PREFECT_FLOWS_HEARTBEAT_FREQUENCY", "PREFECT_RUNNER_HEARTBEAT_FREQUENCY"
"""The setting's name and its former one, in the order in which Prefect looks for them."""

EVENTS = 50
"""The most events that it gives at once."""

CLOSE_SECONDS = 5.0
"""So much more between two heartbeats is the sender's delay, and not another frequency."""

LAST_BEATS = 10
"""Of them, two that are as close as Prefect's default tell that a run sends them so often."""

ASKED_OF = timedelta(days=6)
"""So far back, and ahead, as clocks differ: Prefect Cloud gives 14 days at once and keeps some 7.

Of a run that is silent for longer no heartbeat is found: it is ended only where its job variables,
or those of its deployment or pool, say how often it sends them, and else told of.
"""

EVENTS_SECONDS = 5.0
"""It gives them in a fraction of that, or will not give them soon."""

BEGUN = [StateType.RUNNING, StateType.CANCELLING, StateType.PENDING]


@dataclass(frozen=True)
class Look:
    """What was seen.

    Attributes:
        runs: The watched runs that have begun, and those that are late: of Ferry's own flows, and
            of any deployment that has the tag.
        pools: The work pools of watched deployments, and whether a worker of each is alive.
        heard: Whether what the watch itself sent lately has come through.
        refused: How the server answered where it gives no events, as `HTTP 403`; else empty.
    """

    runs: tuple[SeenRun, ...]
    pools: Mapping[str, bool]
    heard: bool
    refused: str = ""


class Probe:
    """What the watch itself sends: while that comes through, so would a run's heartbeat."""

    NAME = "ferry.watch.look"
    BEHIND = 2
    """Looks within which it has to come through: the server keeps events some seconds later."""

    def __init__(self) -> None:
        self._id = f"ferry.watch.{uuid4()}"
        self._sent = 0

    def send(self) -> None:
        """Send the next one."""
        self._sent += 1
        resource = {"prefect.resource.id": self._id}
        emit_event(self.NAME, resource, payload={"look": self._sent})

    def came_through(self, client: SyncPrefectClient) -> bool:
        """Whether one of the last few has arrived where heartbeats arrive."""
        newest = next(iter(_newest_events(client, self.NAME, [self._id])), None)
        arrived = int(newest["payload"]["look"]) if newest else 0
        return arrived > 0 and arrived >= self._sent - self.BEHIND


def look(client: SyncPrefectClient, probe: Probe, patience: Patience) -> Look:
    """See what there is to be seen just now.

    Raises:
        PrefectException, httpx.HTTPError: The server does not answer; a retry may help.
    """
    now = datetime.now(UTC)
    watched, others = watched_and_others(client)
    deployments = {each.id: each for each in watched}
    deployment_names = _deployment_names(client, watched)
    begun = _runs(client, others, state=BEGUN)
    due_before = now - timedelta(seconds=patience.late_seconds)
    late = _runs(client, others, state=[StateType.SCHEDULED], due_before=due_before)
    running = [run.id for run in begun if run.state_type != StateType.PENDING]
    heard, beats, refused = _heard(client, probe, running)
    probe.send()
    names = {each.work_pool_name for each in watched if each.work_pool_name}
    pools = {name: client.read_work_pool(name) for name in sorted(names)}
    seen = []
    for run in begun + late:
        deployment = deployments.get(run.deployment_id) if run.deployment_id else None
        pool, beat = pools.get(run.work_pool_name or ""), beats.get(run.id)
        one = _seen(run, deployment, deployment_names, beat, pool)
        if is_silent(one, now, patience):
            one = _with_other_signs(client, one)
            if heard and not one.is_known:
                one = replace(one, is_known=_sends_by_default(client, one))
        seen.append(one)
    alive = {name: _has_worker(pool) for name, pool in pools.items()}
    return Look(tuple(seen), alive, heard, refused)


def _heard(
    client: SyncPrefectClient, probe: Probe, running: Sequence[UUID]
) -> tuple[bool, dict[UUID, dict[str, Any]], str]:
    """Whether what the watch has sent has come through, and the newest heartbeats of these runs.

    A server that gives no events keeps nobody from seeing what stands still: how it answered then.
    """
    try:
        # Tried once, and not for long: looks that are far apart decide nothing.
        with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}):
            return probe.came_through(client), _heartbeats(client, running), ""
    except (PrefectException, httpx.HTTPError) as error:
        status = isinstance(error, httpx.HTTPStatusError) and error.response.status_code
        why = f"HTTP {status}" if status else type(error).__name__
        get_logger(__name__).warning("no events can be read just now: %s", why)
        return False, {}, why


def _deployment_names(
    client: SyncPrefectClient, deployments: Sequence[DeploymentResponse]
) -> dict[UUID, str]:
    """Flow and deployment, `sync-all/daily`, by the deployment's id."""
    chosen = FlowFilter(id=FlowFilterId(any_=sorted({each.flow_id for each in deployments})))
    flows = all_pages(lambda at: client.read_flows(flow_filter=chosen, limit=PAGE, offset=at))
    names = {flow.id: flow.name for flow in flows}
    return {each.id: f"{names.get(each.flow_id, '')}/{each.name}" for each in deployments}


def _runs(
    client: SyncPrefectClient,
    others: Collection[UUID],
    *,
    state: list[StateType],
    due_before: datetime | None = None,
) -> list[FlowRun]:
    """The runs of Ferry's own flows, but not of these deployments, and any that has the tag."""
    due = (
        FlowRunFilterExpectedStartTime(before_=due_before)  # type: ignore[arg-type]
        if due_before
        else None
    )
    chosen = FlowRunFilter(
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=state)), expected_start_time=due
    )
    tagged = chosen.model_copy(update={"tags": FlowRunFilterTags(all_=[WATCHED])})

    def read(**chosen: Any) -> Iterator[FlowRun]:
        return all_pages(lambda at: client.read_flow_runs(**chosen, limit=PAGE, offset=at))

    named = read(flow_filter=own_flows(), flow_run_filter=chosen)
    both = [run for run in named if run.deployment_id not in others]
    both += read(flow_run_filter=tagged)
    return list({run.id: run for run in both}.values())


def _seen(
    run: FlowRun,
    deployment: DeploymentResponse | None,
    names: Mapping[UUID, str],
    beat: dict[str, Any] | None,
    pool: WorkPool | None,
) -> SeenRun:
    assert run.state is not None
    since = _plain(run.state.timestamp)
    variables = [run.job_variables, deployment and deployment.job_variables, _defaults_of(pool)]
    said = (_frequency(given, name) for name in FREQUENCIES for given in variables)
    asked_for = next((seconds for each in said if (seconds := _seconds(each))), None)
    return SeenRun(
        id=str(run.id),
        name=run.name,
        deployment=names.get(deployment.id, run.name) if deployment else run.name,
        pool=run.work_pool_name or "",
        state=run.state.type.value,
        state_name=run.state.name or "",
        since=since,
        due_at=_due_at(run) or since,
        # A run that waits for its turn is put into the same state anew every so often.
        sign=beat["id"] if beat else str(run.state.id) if run.state.type in BEGUN else "late",
        heard_at=datetime.fromisoformat(beat["occurred"]) if beat else since,
        heartbeat_seconds=asked_for or default_seconds(),
        is_known=asked_for is not None,
    )


def _frequency(given: Any, name: str) -> Any:
    """What job variables say under this name of how often a run says that it lives, or None.

    People give them any shape: the template of a pool of theirs may want a list of an environment.
    """
    if not isinstance(given, Mapping):
        return None
    env = given.get("env")
    entries = env if isinstance(env, list) else [env]
    for each in (each for each in entries if isinstance(each, Mapping)):
        if each.get(name):
            return each[name]
        if each.get("name") == name:
            return each.get("value")
    return given.get(f"env.{name}")


def _seconds(frequency: Any) -> float | None:
    """So many seconds between two heartbeats, if that is what is said."""
    with suppress(TypeError, ValueError):
        return float(frequency)
    return None


def default_seconds() -> float:
    """So many seconds between two heartbeats where nobody says it, by Prefect's own default.

    Not what is set here: that is of the watch's own job variables.
    """
    default = type(get_current_settings().flows).model_fields["heartbeat_frequency"].default
    return float(default or 180)


def _defaults_of(pool: WorkPool | None) -> dict[str, Any]:
    """The environment that the pool gives its runs, if they have none of their own."""
    found: Any = pool.base_job_template if pool else None
    for name in ("variables", "properties", "env", "default"):
        found = found.get(name) if isinstance(found, Mapping) else None
    return {"env": found}


def _due_at(run: FlowRun) -> datetime | None:
    """When the run was to start; of one that is started once more, when that was to be.

    A run that waits for its turn is put off by a while again and again: that does not count.
    """
    waits_for_place = run.state_name == "AwaitingConcurrencySlot"
    put_off = None if waits_for_place else run.next_scheduled_start_time
    moment = put_off or run.expected_start_time
    return _plain(moment) if moment else None


def _plain(moment: datetime) -> datetime:
    """A datetime that is not one of pendulum's."""
    return datetime.fromtimestamp(moment.timestamp(), UTC)


def _heartbeats(client: SyncPrefectClient, run_ids: Sequence[UUID]) -> dict[UUID, dict[str, Any]]:
    """The newest heartbeat of each run that has sent one."""
    resources = {_resource(run_id): run_id for run_id in run_ids}
    names = list(resources)
    found = {}
    for start in range(0, len(names), EVENTS):
        for event in _newest_events(client, HEARTBEAT, names[start : start + EVENTS]):
            found[resources[event["resource"]["prefect.resource.id"]]] = event
    return found


def _sends_by_default(client: SyncPrefectClient, run: SeenRun) -> bool:
    """Whether two of its last heartbeats were as close as Prefect's default, or closer.

    Nobody says how often it sends them, but perhaps its image does, which is seen nowhere. Only of
    this attempt: another one begins with one at once, however rare they are. While the server was
    away some are lost, so one distance that is longer tells nothing.
    """
    try:
        events = _newest_events(client, HEARTBEAT, [_resource(run.id)], each=LAST_BEATS)
    except (PrefectException, httpx.HTTPError):  # the next look asks again
        return False
    moments = sorted(datetime.fromisoformat(event["occurred"]) for event in events)
    of_this_attempt = [moment for moment in moments if moment >= run.since]
    closest = default_seconds() + CLOSE_SECONDS
    return any(
        (later - moment).total_seconds() <= closest for moment, later in pairwise(of_this_attempt)
    )


def _resource(run_id: UUID | str) -> str:
    return f"prefect.flow-run.{run_id}"


def _newest_events(
    client: SyncPrefectClient, name: str, resources: list[str], each: int = 1
) -> list[dict[str, Any]]:
    """The newest event of this name of each resource, as `POST /events/filter` gives them.

    Until some days from now: a clock that was set back would hide what came before it.

    Args:
        client: Asks Prefect's server.
        name: The events' name.
        resources: What they are of.
        each: How many of them are wanted, of one resource alone.
    """
    now = datetime.now(UTC)
    chosen = {
        "event": {"name": [name]},
        "resource": {"id": resources, "distinct": each == 1},
        "occurred": {
            "since": (now - ASKED_OF).isoformat(),
            "until": (now + ASKED_OF).isoformat(),
        },
        "order": "DESC",
    }
    asked = {"filter": chosen, "limit": EVENTS if each == 1 else each}
    response = client.request("POST", "/events/filter", json=asked, timeout=EVENTS_SECONDS)
    response.raise_for_status()
    events: list[dict[str, Any]] = response.json()["events"]
    return events


def _with_other_signs(client: SyncPrefectClient, run: SeenRun) -> SeenRun:
    """The run with its newest log line and task run as signs of life, too."""
    run_id = UUID(run.id)
    lines = client.read_logs(
        LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run_id])),
        limit=1,
        sort=LogSort.TIMESTAMP_DESC,
    )
    tasks = client.read_task_runs(
        flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run_id])),
        limit=1,
        sort=TaskRunSort.EXPECTED_START_TIME_DESC,
    )
    line, task = next(iter(lines), None), next(iter(tasks), None)
    moments = [run.heard_at]
    signs = [run.sign]
    if line:
        moments.append(_plain(line.timestamp))
        signs.append(str(line.id))
    if task and task.state:
        moments.append(_plain(task.state.timestamp))
        signs.append(str(task.state.id))
    return replace(run, sign=" ".join(signs), heard_at=max(moments))


def _has_worker(pool: WorkPool) -> bool:
    """Whether the server takes a worker of the pool for alive; a paused pool is somebody's wish."""
    return pool.status is not WorkPoolStatus.NOT_READY
