"""What the watch sees, and says, when Prefect's server gives no events or no answer at all.

The server's answers are made to fail in the test's own process: a database of events that is broken
or too slow cannot be had on purpose from a server that answers everything else.
"""

from __future__ import annotations

import uuid
from typing import Any

import httpx
import pytest
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import State, StateType

from ferry.runs.watch import WATCHED, Patience
from flows import watch_runs
from tasks.runs import watch_look
from tests.harness.api import Api


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


@pytest.mark.usefixtures("api")
def test_a_watch_that_could_not_look_says_so_instead_of_that_nothing_stands_still(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watch_runs, "LONGEST_SECONDS", 1.0)
    monkeypatch.setattr(watch_runs, "look", fail)

    state: State[Any] = watch_runs.watch_runs(look_seconds=0.2, return_state=True)

    assert state.type is StateType.FAILED
    assert "answered 0 of the watch's looks in 1 s" in (state.message or "")
