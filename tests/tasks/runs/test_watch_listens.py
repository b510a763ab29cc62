"""How long the watch listens before it ends a run, whom it tells of, and what it says of itself.

What it sees is made in the test's own process, and time passes as it looks: no test is to wait.
"""

from __future__ import annotations

import itertools
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from prefect.client.schemas.objects import State, StateType
from prefect.exceptions import ParameterTypeError

from ferry.runs.notice import Notice
from ferry.runs.watch import SeenRun
from flows import watch_runs
from tasks.runs import standing_notices, watch_look


def fail(*_: Any) -> Any:
    raise httpx.ReadTimeout("as planned")


@pytest.mark.usefixtures("api")
def test_a_watch_that_could_not_look_says_so_instead_of_that_nothing_stands_still(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watch_runs, "LONGEST_SECONDS", 1.0)
    monkeypatch.setattr(watch_runs, "look", fail)

    state: State[Any] = watch_runs.watch_runs(look_seconds=0.2, return_state=True)

    assert state.type is StateType.FAILED
    assert "answered 0 of the watch's looks in 1 s" in (state.message or "")


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


def silent_run(**fields: Any) -> SeenRun:
    """A run of which nothing is heard."""
    long_ago = datetime.now(UTC) - timedelta(hours=1)
    run = SeenRun(
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
    return replace(run, **fields)


class Clock:
    """What the watch takes for the time: it passes when it is let pass."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        fake = SimpleNamespace(monotonic=lambda: self.now, sleep=self.passes)
        monkeypatch.setattr(watch_runs, "time", fake)

    def passes(self, seconds: float) -> None:
        self.now += seconds


@pytest.mark.usefixtures("api")
@pytest.mark.parametrize(
    ("heartbeat_seconds", "lives", "ended_after"),
    [(30, False, [90]), (60, False, [90]), (180, False, [210]), (30, True, []), (180, True, [])],
)
def test_a_silent_run_is_listened_to_for_more_than_one_of_its_own_heartbeats(
    monkeypatch: pytest.MonkeyPatch, heartbeat_seconds: float, lives: bool, ended_after: list[float]
) -> None:
    run, clock, ended = silent_run(heartbeat_seconds=heartbeat_seconds), Clock(monkeypatch), []

    def look(*_: Any) -> watch_look.Look:
        beats = lives and clock.now > heartbeat_seconds
        seen = replace(run, sign="a new one") if beats else run
        return watch_look.Look(() if ended else (seen,), {}, heard=True)

    monkeypatch.setattr(watch_runs, "look", look)
    monkeypatch.setattr(watch_runs, "end_run", lambda *_: ended.append(clock.now))

    state: State[Any] = watch_runs.watch_runs(return_state=True)

    assert state.type is StateType.COMPLETED, state.message
    assert ended == ended_after


@pytest.mark.usefixtures("api")
@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"heartbeat_seconds": 600}, "It says that it lives every 600 s, which is more seldom"),
        ({"heartbeat_seconds": 180, "is_known": False}, "Nobody knows how often it says that"),
    ],
)
def test_of_a_silent_run_that_nobody_can_judge_its_deployment_is_told_once_until_it_is_over(
    monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], why: str
) -> None:
    """It is not ended, as it may live; it stayed Running for good without a word."""
    deployment = f"sync-all/by-hand-{uuid.uuid4().hex[:8]}"
    run, clock, told = silent_run(deployment=deployment, **fields), Clock(monkeypatch), []
    runs, begun = [run], [0.0]

    def look(*_: Any) -> watch_look.Look:
        return watch_look.Look(tuple(runs), {}, heard=clock.now > begun[0])

    def send(notice: Notice, _: object) -> None:
        told.append(notice)

    def watch() -> None:
        begun[0] = clock.now  # nothing has been sent yet
        state: State[Any] = watch_runs.watch_runs(return_state=True)
        assert state.type is StateType.COMPLETED, state.message

    monkeypatch.setattr(watch_runs, "look", look)
    monkeypatch.setattr(watch_runs, "notifier_slug", lambda: "a-block")
    monkeypatch.setattr(watch_runs, "unreported_runs", lambda *_: [])
    monkeypatch.setattr(standing_notices, "load_notifier", lambda _: None)
    monkeypatch.setattr(standing_notices, "send", send)
    for _ in range(2):
        watch()
    (notice,) = told
    assert notice.subject.startswith(f"Ferry: {deployment} is silent")
    assert why in notice.body
    assert "PREFECT_FLOWS_HEARTBEAT_FREQUENCY=30" in notice.body

    runs.clear()  # somebody has cancelled it
    watch()
    runs.append(run)
    watch()
    assert len(told) == 2


@pytest.mark.usefixtures("api")
def test_a_watch_that_could_not_decide_in_time_says_of_what_instead_of_that_nothing_stands_still(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock(monkeypatch)
    monkeypatch.setattr(watch_runs, "look", lambda *_: watch_look.Look((), {}, heard=True))
    # A run that is decided on just then may have the same name.
    words = "sync-all/daily sync all day"
    doubt = watch_runs._Doubt(words, 90)
    monkeypatch.setattr(
        watch_runs._Watch, "_judge", lambda *_: {"late" if clock.now > 200 else "early": doubt}
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
