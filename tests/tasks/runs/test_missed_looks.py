"""Looks that were missed are dropped, by the server's clock; one that is to come is not."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prefect.client.schemas.objects import StateType
from prefect.states import Running, Scheduled

from tasks.runs import missed_looks
from tests.harness.api import Api


class AnHourAhead(datetime):
    """A worker's clock."""

    @classmethod
    def now(cls, tz: Any = None) -> Any:
        return datetime.now(tz) + timedelta(hours=1)


def test_by_a_clock_that_is_ahead_no_look_is_dropped_that_is_to_come(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(missed_looks, "datetime", AnHourAhead, raising=False)
    name = f"looks-{uuid.uuid4().hex[:8]}"
    deployment = api.client.create_deployment(api.client.create_flow_from_name(name), name)

    def made(minutes: int, *tags: str) -> uuid.UUID:
        due = Scheduled(scheduled_time=datetime.now(UTC) + timedelta(minutes=minutes))
        run = api.client.create_flow_run_from_deployment(deployment, state=due, tags=tags)
        return run.id

    own, missed = made(-20, "auto-scheduled"), [made(-at, "auto-scheduled") for at in (25, 15, 5)]
    by_hand, to_come = made(-5), [made(at, "auto-scheduled") for at in (5, 30)]
    api.client.set_flow_run_state(own, Running(), force=True)
    assert missed_looks.drop_missed_looks(api.client, str(own)) == len(missed)
    states = {run: api.flow_run(run).state for run in (own, by_hand, *missed, *to_come)}
    cancelled = [run for run, state in states.items() if state.type is StateType.CANCELLED]
    assert cancelled == missed
