"""Which runs the watch sees, and what it says when Prefect's server gives no events or no answer.

The server's answers are made to fail in the test's own process: a database of events that is broken
or too slow cannot be had on purpose from a server that answers everything else.
"""

from __future__ import annotations

import itertools
import uuid
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import State, StateType
from prefect.exceptions import ParameterTypeError
from prefect.settings.models.flows import FlowsSettings
from prefect.states import Running, Scheduled
from pydantic import AliasChoices

from ferry.runs.watch import WATCHED, Patience, SeenRun, is_suspect
from flows import watch_runs
from tasks.runs import watch_look
from tests.harness.api import Api

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
        assert found[str(under_way.id)].beats
        assert found[str(late.id)].deployment == f"{flow}/{name}"
        assert len(found) == len(look.runs)  # each of them once, also with name and tag


@pytest.mark.usefixtures("api")
def test_a_watch_that_could_not_look_says_so_instead_of_that_nothing_stands_still(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watch_runs, "LONGEST_SECONDS", 1.0)
    monkeypatch.setattr(watch_runs, "look", fail)

    state: State[Any] = watch_runs.watch_runs(look_seconds=0.2, return_state=True)

    assert state.type is StateType.FAILED
    assert "answered 0 of the watch's looks in 1 s" in (state.message or "")


def seen_with(
    of_deployment: Any,
    of_run: Any = None,
    beat: Any = None,
    pool_env: Any = None,
    observe_seconds: float = 90,
) -> SeenRun:
    """A run with these job variables; of which no heartbeat was ever heard, if none is given."""
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
    return watch_look._seen(run, deployment, {}, beat, pool, observe_seconds)


@pytest.mark.parametrize(
    ("variables", "beats"),
    [
        ({"env": {BEATS: "30"}}, True),
        ({"env": [{"name": "OTHER", "value": "1"}, {"name": BEATS, "value": "30"}]}, True),
        ({"env": [{"name": BEATS, "valueFrom": {"configMapKeyRef": {}}}]}, False),
        ({"env": ["OTHER", None]}, False),
        ({"env": None}, False),
        ({"env": "{{ of the pool }}"}, False),
        ({f"env.{BEATS}": "30"}, True),
        ({"env": {FORMERLY: "30"}}, True),
        ({"env": [{"name": FORMERLY, "value": "30"}]}, True),
        ({f"env.{FORMERLY}": "30"}, True),
        ({"env": {FORMERLY: "30", BEATS: "600"}}, False),  # as Prefect takes them
        ({}, False),
        (None, False),
    ],
)
def test_whether_a_run_says_that_it_lives_is_read_of_job_variables_of_any_shape(
    variables: Any, beats: bool
) -> None:
    """A Kubernetes pool's template may want a list; the UI takes whatever is JSON."""
    assert seen_with(variables).beats is beats
    assert seen_with(None, variables).beats is beats  # what a run was given of its own


@pytest.mark.parametrize(
    ("of_deployment", "of_run", "of_pool", "judged"),
    [
        ("30", None, None, True),
        ("89", None, None, True),
        ("600", None, None, False),
        (90, None, None, False),
        ("600", "30", None, True),  # what the run was given of its own
        ("30", "600", None, False),
        (None, None, "600", False),
        ("30", None, "600", True),
        (None, None, None, False),  # nobody says it: each 180 s, unless its worker says otherwise
        ("often", None, None, False),
    ],
)
def test_a_run_that_says_so_more_seldom_than_is_listened_to_is_not_taken_for_dead(
    of_deployment: Any, of_run: Any, of_pool: Any, judged: bool
) -> None:
    long_ago = datetime.now(UTC) - timedelta(seconds=200)
    heard = {"id": "the last one", "occurred": long_ago.isoformat()}
    ours, its_own = ({"env": {BEATS: said}} for said in (of_deployment, of_run))
    run = seen_with(ours, its_own, heard, {BEATS: of_pool})
    assert is_suspect(run, datetime.now(UTC), Patience()) is judged


def test_a_run_of_which_nobody_says_how_often_is_listened_to_for_longer_than_prefect_s_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever the watch's own job variables say: those of the run do not."""
    monkeypatch.setenv(BEATS, "30")
    heard = {"id": "the last one", "occurred": datetime.now(UTC).isoformat()}
    assert seen_with({}, beat=heard, observe_seconds=200).beats
    assert not seen_with({}, beat=heard, observe_seconds=180).beats


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


@pytest.mark.usefixtures("api")
def test_a_watch_that_is_refused_all_events_does_not_send_anybody_to_look_how_they_are_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run, clock = silent_run(), Clock(monkeypatch)
    refused = watch_look.Look((run,), {}, heard=False, refused="HTTP 403")
    monkeypatch.setattr(watch_runs, "look", lambda *_: refused)

    state: State[Any] = watch_runs.watch_runs(return_state=True)

    assert clock.now > 0
    assert state.type is StateType.FAILED
    assert "does not give its events to the watch (HTTP 403)" in str(state.message)
    assert "EVENT_PERSISTER" not in str(state.message)


def silent_run() -> SeenRun:
    """A run of which nothing is heard."""
    long_ago = datetime.now(UTC) - timedelta(hours=1)
    return SeenRun(
        id=str(uuid.uuid4()),
        name="sync all tables",
        deployment="sync-all/daily",
        pool="ferry-pool",
        state="RUNNING",
        state_name="Running",
        since=long_ago,
        due_at=long_ago,
        sign="the last one",
        heard_at=long_ago,
    )


class Clock:
    """What the watch takes for the time: it passes when it is let pass."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        fake = SimpleNamespace(monotonic=lambda: self.now, sleep=self.passes)
        monkeypatch.setattr(watch_runs, "time", fake)

    def passes(self, seconds: float) -> None:
        self.now += seconds


@pytest.mark.usefixtures("api")
def test_a_watch_that_could_not_decide_in_time_says_of_what_instead_of_that_nothing_stands_still(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock(monkeypatch)
    monkeypatch.setattr(watch_runs, "look", lambda *_: watch_look.Look((), {}, heard=True))
    # A run that is decided on just then may have the same name.
    words = "sync-all/daily sync all day"
    monkeypatch.setattr(
        watch_runs._Watch, "_judge", lambda *_: {"late" if clock.now > 200 else "early": words}
    )

    state: State[Any] = watch_runs.watch_runs(return_state=True)

    assert state.type is StateType.COMPLETED
    assert f"not decided within 240 s: {words}. The next run" in str(state.message)


@pytest.mark.usefixtures("api")
@pytest.mark.parametrize(
    ("look_takes", "every_fifth", "observe_seconds"),
    [(22, "heard", 90), (22, "heard", 210), (2, "not answered", 90), (2, "not heard", 90)],
    ids=["slow", "slow and patient", "not answered", "not heard"],
)
def test_a_watch_that_never_listens_without_a_break_fails_instead_of_going_on_so_for_good(
    monkeypatch: pytest.MonkeyPatch, look_takes: float, every_fifth: str, observe_seconds: float
) -> None:
    run, looks, clock = silent_run(), itertools.count(1), Clock(monkeypatch)

    def look(*_: Any) -> watch_look.Look:
        clock.passes(look_takes)
        fifth = next(looks) % 5 == 0
        if fifth and every_fifth == "not answered":
            fail()
        heard = not (fifth and every_fifth == "not heard")
        return watch_look.Look((run,), {}, heard=heard)

    monkeypatch.setattr(watch_runs, "look", look)

    state: State[Any] = watch_runs.watch_runs(observe_seconds=observe_seconds, return_state=True)

    assert state.type is StateType.FAILED
    assert "could not be judged: sync-all/daily sync all tables. Nothing was" in str(state.message)


@pytest.mark.parametrize(
    ("name", "wrong", "right"),
    [
        ("observe_seconds", (-1, 0, 30, 211, 300), (31, 90, 210)),
        ("look_seconds", (-1, 0, 11, 60), (0.5, 5, 10)),
        ("silent_seconds", (-1, float("nan")), (0, 3_600)),
        ("pending_seconds", (-1,), (0, 3_600)),
        ("late_seconds", (-1,), (0, 86_400)),
        ("unreported_seconds", (-1,), (0, 86_400)),
    ],
)
def test_a_watch_that_would_end_what_lives_or_nothing_at_all_is_refused(
    name: str, wrong: tuple[float, ...], right: tuple[float, ...]
) -> None:
    """It listens for more than a heartbeat, and can do so before the next one takes over."""
    for seconds in wrong:
        with pytest.raises(ParameterTypeError, match=name):
            watch_runs.watch_runs.validate_parameters({name: seconds})
    for seconds in right:
        assert watch_runs.watch_runs.validate_parameters({name: seconds})[name] == seconds
