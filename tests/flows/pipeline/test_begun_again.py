"""A backfill that goes on elsewhere leaves the runs that it has begun to its new attempt."""

from __future__ import annotations

import signal
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID, uuid4

import httpx
import pytest
from prefect import flow
from prefect.client.schemas.objects import FlowRun, State
from prefect.exceptions import Abort, PrefectHTTPStatusError, TerminationSignal
from prefect.runtime import flow_run
from prefect.states import (
    AwaitingRetry,
    Cancelled,
    Cancelling,
    Completed,
    Pending,
    Running,
    Scheduled,
)

from flows.pipeline import spread_windows
from flows.pipeline.spread_windows import Group, Spread
from tasks.runs import own_state
from tasks.runs.own_state import OwnState
from tests.harness.api import Api


@flow
def group_of_windows() -> None:
    """Stands for a run that carries windows; nobody takes it."""


@contextmanager
def told_its_state(api: Api, run_id: UUID, state: State[Any]) -> Iterator[None]:
    """Meanwhile the run comes into this state, each second anew, as when it is begun anew."""
    over = threading.Event()

    def tell() -> None:
        while not over.wait(1):
            api.client.set_flow_run_state(run_id, state, force=True)

    thread = threading.Thread(target=tell)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@pytest.mark.parametrize(
    ("state", "cancelled"),
    [(Running(), False), (Cancelled(), True)],
    ids=["begun again", "cancelled"],
)
def test_an_old_process_cancels_what_it_began_only_if_the_run_does_not_go_on_elsewhere(
    api: Api, monkeypatch: pytest.MonkeyPatch, state: State[Any], cancelled: bool
) -> None:
    monkeypatch.setattr(own_state, "LOOK_EVERY_SECONDS", 0.2)
    monkeypatch.setattr(spread_windows, "COUNT_EVERY_SECONDS", 600.0)
    begun: list[FlowRun] = []

    @flow
    def parent() -> None:
        spread = Spread("nps", str(flow_run.id), cast(Any, None), runs=1, max_concurrency=1)
        begun.append(api.client.create_flow_run(group_of_windows))
        spread._under_way[begun[0].id] = Group((), "2023-07-01")
        with told_its_state(api, UUID(str(flow_run.id)), state), pytest.raises(Abort):
            spread.carry([], lambda *counts: None)

    parent(return_state=True)
    found = api.flow_run(begun[0].id).state
    assert found and (found.is_cancelling() or found.is_cancelled()) is cancelled


@pytest.mark.parametrize(
    ("state", "looked", "cancelled"),
    [
        (AwaitingRetry(), False, False),
        (Pending(), False, False),
        (Running(), True, False),
        (None, True, True),
    ],
    ids=["put off", "taken again", "begun again", "left as it was"],
)
def test_a_process_that_is_evicted_leaves_what_it_began_to_the_attempt_that_is_to_come(
    api: Api,
    monkeypatch: pytest.MonkeyPatch,
    state: State[Any] | None,
    looked: bool,
    cancelled: bool,
) -> None:
    """`prefect flow-run execute`, told to end, puts the run off before it ends the process.

    Or leaves it as it was, Running, to be begun again by whoever keeps its container up.
    """
    begun: list[FlowRun] = []

    def evicted(spread: Spread, waiting: Any, batches: Any, own: OwnState, report: Any) -> None:
        if looked:  # as it does every few seconds
            assert not own._look(api.client)
        if state:
            api.client.set_flow_run_state(UUID(str(flow_run.id)), state, force=True)
        raise TerminationSignal(signal.SIGTERM)

    monkeypatch.setattr(Spread, "_feed", evicted)

    @flow
    def parent() -> None:
        spread = Spread("nps", str(flow_run.id), cast(Any, None), runs=1, max_concurrency=1)
        begun.append(api.client.create_flow_run(group_of_windows))
        spread._under_way[begun[0].id] = Group((), "2023-07-01")
        with pytest.raises(TerminationSignal):
            spread.carry([], lambda *counts: None)

    parent(return_state=True)
    found = api.flow_run(begun[0].id).state
    assert found and (found.is_cancelling() or found.is_cancelled()) is cancelled


@pytest.mark.parametrize("left", [Cancelling(), Cancelled(), Completed()], ids=lambda s: s.name)
def test_in_place_of_a_run_that_is_over_or_being_cancelled_the_next_one_is_begun(
    monkeypatch: pytest.MonkeyPatch, left: State[Any]
) -> None:
    """An earlier attempt cancelled it: it would carry none of what it has not carried yet."""
    runs: dict[int, Any] = {
        1: SimpleNamespace(id=uuid4(), state=left),
        2: SimpleNamespace(id=uuid4(), state=Scheduled()),
    }
    monkeypatch.setattr(Spread, "_run", lambda self, group: runs[group.attempt])

    @flow
    def parent() -> None:
        spread = Spread("nps", str(flow_run.id), cast(Any, None), runs=1, max_concurrency=1)
        spread._begin(Group((), "2023-07-01"))
        assert spread._under_way == {runs[2].id: Group((), "2023-07-01", attempt=2)}

    parent()


def test_a_group_is_handed_over_as_soon_as_prefect_can_be_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(spread_windows, "POLL_SECONDS", 0.01)
    request = httpx.Request("POST", "http://prefect")
    answers: list[Exception | None] = [
        httpx.ConnectError("refused"),
        *(
            PrefectHTTPStatusError("busy", request=request, response=httpx.Response(status))
            for status in (503, 429, 408)
        ),
        None,
    ]

    def begin(spread: Spread, group: Group) -> None:
        answer = answers.pop(0)
        if answer:
            raise answer

    monkeypatch.setattr(Spread, "_begin", begin)
    own: Any = SimpleNamespace(raise_if_ended=lambda: None)

    def feed() -> None:
        spread = Spread("nps", str(flow_run.id), cast(Any, None), runs=1, max_concurrency=1)
        spread._feed(deque([Group((), "2023-07-01")]), [], own, lambda *counts: None)

    @flow
    def parent() -> None:
        feed()
        assert not answers
        refused = PrefectHTTPStatusError("no", request=request, response=httpx.Response(422))
        answers.append(refused)
        with pytest.raises(PrefectHTTPStatusError):
            feed()

    parent()
