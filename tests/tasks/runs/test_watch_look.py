"""Which runs the watch sees, and what it says when Prefect's server gives no events or no answer.

The server's answers are made to fail in the test's own process: a database of events that is broken
or too slow cannot be had on purpose from a server that answers everything else.
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.settings.models.flows import FlowsSettings
from prefect.states import Running, Scheduled
from pydantic import AliasChoices

from ferry.runs.watch import WATCHED, Patience, SeenRun, is_suspect, unjudged_runs
from tasks.runs import watch_look
from tests.harness.api import Api, eventually

BEATS, FORMERLY = "PREFECT_FLOWS_HEARTBEAT_FREQUENCY", "PREFECT_RUNNER_HEARTBEAT_FREQUENCY"


def fail(*_: Any) -> Any:
    raise httpx.ReadTimeout("as planned")


def test_what_stands_still_is_seen_though_no_events_are_given(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_look, "_newest_events", fail)
    pool = f"idle-{uuid.uuid4().hex[:8]}"
    api.client.create_work_pool(WorkPoolCreate(name=pool, type="process"))
    flow_id = api.client.create_flow_from_name(pool)
    api.client.create_deployment(flow_id, pool, work_pool_name=pool, tags=[WATCHED])
    seen = watch_look.look(api.client, watch_look.Probe(), Patience())
    assert not seen.heard
    assert seen.pools[pool] is False  # no worker is alive


@pytest.mark.parametrize(
    ("flow", "code", "tags", "seen"),
    [
        ("sync-all", None, [], True),
        ("sync-all", "flows.sync_all.sync_all", [], True),
        ("sync-all", "/opt/ferry/flows/sync_all.py:sync_all", [], True),
        ("sync-all", "flows/everything.py:sync_all", [], False),  # another team's
        ("sync-all", "flows/everything.py:sync_all", [WATCHED], True),
        ("of-ones-own", None, [WATCHED], True),
        ("of-ones-own", None, [], False),
    ],
)
def test_runs_of_ferry_s_flows_are_seen_without_a_tag_others_with_it(
    api: Api, flow: str, code: str | None, tags: list[str], seen: bool
) -> None:
    """So is a deployment that somebody makes of `sync-all`, for one table at another time."""
    name = f"orders-{uuid.uuid4().hex[:8]}"
    api.client.create_work_pool(WorkPoolCreate(name=name, type="process"))
    deployment = api.client.create_deployment(
        api.client.create_flow_from_name(flow),
        name,
        work_pool_name=name,
        entrypoint=code,
        tags=tags,
        job_variables={"env": {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30"}},
    )
    an_hour_ago = datetime.now(UTC) - timedelta(hours=1)
    under_way = api.client.create_flow_run_from_deployment(deployment, state=Running())
    late = api.client.create_flow_run_from_deployment(
        deployment, state=Scheduled(scheduled_time=an_hour_ago)
    )
    try:
        look = watch_look.look(api.client, watch_look.Probe(), Patience())
    finally:
        for run in (under_way, late):
            api.client.delete_flow_run(run.id)
        api.client.delete_deployment(deployment)

    found = {run.id: run for run in look.runs}
    assert (str(under_way.id) in found, str(late.id) in found, name in look.pools) == (seen,) * 3
    if seen:
        assert found[str(under_way.id)].is_known
        assert found[str(late.id)].deployment == f"{flow}/{name}"
        assert len(found) == len(look.runs)  # each of them once, also with name and tag


def seen_with(of_deployment: Any, of_run: Any = None, pool_env: Any = None) -> SeenRun:
    """A run with these job variables, of which no heartbeat was ever heard."""
    run: Any = SimpleNamespace(
        id=uuid.uuid4(),
        name="carries",
        state=Running(),
        state_name="Running",
        work_pool_name="pool",
        expected_start_time=None,
        next_scheduled_start_time=None,
        job_variables=of_run,
    )
    deployment: Any = SimpleNamespace(id=uuid.uuid4(), job_variables=of_deployment)
    pool: Any = SimpleNamespace(
        base_job_template={"variables": {"properties": {"env": {"default": pool_env}}}}
    )
    return watch_look._seen(run, deployment, {}, None, pool)


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"env": {BEATS: "30"}}, 30),
        ({"env": {BEATS: 600}}, 600),
        ({"env": [{"name": "OTHER", "value": "1"}, {"name": BEATS, "value": "30"}]}, 30),
        ({"env": [{"name": BEATS, "valueFrom": {"configMapKeyRef": {}}}]}, None),
        ({"env": ["OTHER", None]}, None),
        ({"env": None}, None),
        ({"env": "{{ of the pool }}"}, None),
        ({"env": {BEATS: "often"}}, None),
        ({f"env.{BEATS}": "30"}, 30),
        ({"env": {FORMERLY: "30"}}, 30),
        ({"env": [{"name": FORMERLY, "value": "30"}]}, 30),
        ({f"env.{FORMERLY}": "30"}, 30),
        ({"env": {FORMERLY: "30", BEATS: "600"}}, 600),  # as Prefect takes them
        ({}, None),
        (None, None),
    ],
)
def test_how_often_a_run_says_that_it_lives_is_read_of_job_variables_of_any_shape(
    monkeypatch: pytest.MonkeyPatch, variables: Any, said: float | None
) -> None:
    """A Kubernetes pool's template may want a list; the UI takes whatever is JSON.

    Where nobody says it, Prefect's default counts, whatever the watch's own job variables say.
    """
    monkeypatch.setenv(BEATS, "30")
    for seen in (seen_with(variables), seen_with(None, variables)):  # what a run has of its own
        assert (seen.heartbeat_seconds, seen.is_known) == (said or 180, said is not None)


@pytest.mark.parametrize(
    ("of_deployment", "of_run", "of_pool", "said"),
    [
        ("600", "30", None, 30),
        ("30", "600", None, 600),
        (None, None, "600", 600),
        ("30", None, "600", 30),
    ],
)
def test_what_the_run_says_counts_before_what_its_deployment_says_and_that_before_its_pool(
    of_deployment: Any, of_run: Any, of_pool: Any, said: float
) -> None:
    ours, its_own = ({"env": {BEATS: each}} for each in (of_deployment, of_run))
    assert seen_with(ours, its_own, {BEATS: of_pool}).heartbeat_seconds == said


MADE_BY_HAND = {
    "by Prefect's default": ((400, 580, 760.5), True),
    "... and the server was away": ((20, 201, 4_000), True),
    "its image says 30": ((600, 630, 660), True),
    "its image says 600": ((0, 600, 1_200), False),
    "... and it is the second attempt": ((-1_220, -620, -20, 580), False),
    "its first attempt said it by default": ((-380, -200, -20, 580), False),
    "it has sent one": ((600,), False),
}
"""The moments of heartbeats after the run has begun, by its clock, and whether it is judged."""


def test_a_run_of_which_nobody_says_how_often_is_judged_if_its_heartbeats_are_as_close(
    api: Api,
) -> None:
    """One of a deployment that was made in the UI: no run of it was ever ended.

    Where they are not, as of an image that asks for other ones, it is told of.
    """
    name = f"by-hand-{uuid.uuid4().hex[:8]}"
    flow = api.client.create_flow_from_name("sync-all")
    deployment = api.client.create_deployment(flow, name)
    runs = {
        what: api.client.create_flow_run_from_deployment(deployment, state=Running())
        for what in MADE_BY_HAND
    }
    heartbeats = [
        {
            "id": str(uuid.uuid4()),
            "event": watch_look.HEARTBEAT,
            "occurred": (run.state.timestamp + timedelta(seconds=seconds)).isoformat(),
            "resource": {"prefect.resource.id": f"prefect.flow-run.{run.id}"},
        }
        for what, run in runs.items()
        if run.state
        for seconds in MADE_BY_HAND[what][0]
    ]
    api.client.request("POST", "/events", json=heartbeats).raise_for_status()
    probe, patience = watch_look.Probe(), Patience()
    try:
        look = eventually(lambda: heard(watch_look.look(api.client, probe, patience)), 60)
    finally:
        for run in runs.values():
            api.client.delete_flow_run(run.id)
        api.client.delete_deployment(deployment)
    assert look
    found, now = {run.id: run for run in look.runs}, datetime.now(UTC)
    judged = {what: is_suspect(found[str(run.id)], now, patience) for what, run in runs.items()}
    assert judged == {what: is_judged for what, (_, is_judged) in MADE_BY_HAND.items()}
    told = unjudged_runs(look.runs, now, patience)[f"sync-all/{name}"]
    assert len(told) == list(judged.values()).count(False)


def heard(look: watch_look.Look) -> watch_look.Look | None:
    """The look, if what was sent before it has come through."""
    return look if look.heard else None


def test_prefect_still_asks_for_heartbeats_by_these_names() -> None:
    names = FlowsSettings.model_fields["heartbeat_frequency"].validation_alias
    assert isinstance(names, AliasChoices)
    given = [each.upper() for each in names.choices if isinstance(each, str)]
    assert given == list(watch_look.FREQUENCIES)


class Events:
    """A server's events, of which each query may be of 14 days at most, as Prefect Cloud's are."""

    def __init__(self, status: int = 422, days: int = 14) -> None:
        self.status, self.days = status, timedelta(days=days)

    def request(self, *_: Any, json: dict[str, Any], **__: Any) -> httpx.Response:
        occurred = {
            name: datetime.fromisoformat(at) for name, at in json["filter"]["occurred"].items()
        }
        asked = httpx.Request("POST", "http://prefect/api/events/filter")
        if occurred["until"] - occurred["since"] > self.days:
            return httpx.Response(self.status, request=asked)
        found = [
            {
                "id": f"of {resource}",
                "resource": {"prefect.resource.id": resource},
                "occurred": datetime.now(UTC).isoformat(),
                "payload": {"look": 1},
            }
            for resource in json["filter"]["resource"]["id"]
        ]
        return httpx.Response(200, request=asked, json={"events": found, "total": len(found)})


def test_a_server_that_gives_no_more_than_two_weeks_of_events_at_once_is_heard() -> None:
    run = uuid.uuid4()
    heard, beats, why = watch_look._heard(Events(), watch_look.Probe(), [run])  # type: ignore[arg-type]
    assert (heard, list(beats), why) == (True, [run], "")


def test_a_server_that_refuses_its_events_says_how() -> None:
    refusing: Any = Events(403, days=0)
    heard, beats, why = watch_look._heard(refusing, watch_look.Probe(), [uuid.uuid4()])
    assert (heard, beats, why) == (False, {}, "HTTP 403")
