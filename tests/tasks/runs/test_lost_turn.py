"""A run whose turn is lost goes on: Prefect's engine, left alone, would end it."""

from __future__ import annotations

import time
import uuid
from contextlib import suppress
from typing import Any

import pytest
from prefect import flow, flow_engine
from prefect._internal.concurrency.cancellation import CancelledError
from prefect.client.schemas.objects import (
    ConcurrencyLimitStrategy,
    ConcurrencyOptions,
    FlowRun,
    StateType,
)
from prefect.concurrency import _leases
from prefect.flow_engine import AsyncFlowRunEngine, FlowRunEngine, run_flow
from prefect.states import Pending

import flows
from tasks.runs.lost_turn import KEEPERS, RAISES, go_on_without_a_turn
from tests.harness.api import Api, eventually

GOES_ON = "Execution will continue"
NAME = f"in-turn-{uuid.uuid4().hex[:8]}"


@pytest.mark.parametrize(
    ("name", "engine"), [(KEEPERS[0], FlowRunEngine), (KEEPERS[1], AsyncFlowRunEngine)]
)
def test_prefect_s_engines_keep_a_turn_by_the_names_that_are_known(name: str, engine: Any) -> None:
    setup: Any = engine.setup_run_context
    assert name in setup.__wrapped__.__code__.co_names
    assert flows
    keep = getattr(flow_engine, name)
    assert keep.__wrapped__ is getattr(_leases, name)
    go_on_without_a_turn()
    assert getattr(flow_engine, name) is keep


@pytest.mark.parametrize("given", [(1, 300, True), (1, 300)], ids=["by place", "by name"])
def test_however_the_engine_asks_for_it_a_lost_turn_does_not_raise(
    monkeypatch: pytest.MonkeyPatch, given: tuple[Any, ...]
) -> None:
    def keep(
        lease_id: int, lease_duration: float, raise_on_lease_renewal_failure: bool = False
    ) -> dict[str, Any]:
        return locals()

    monkeypatch.setattr(flow_engine, KEEPERS[0], keep)
    go_on_without_a_turn()
    told = getattr(flow_engine, KEEPERS[0])(*given, **({} if len(given) > 2 else {RAISES: True}))
    assert told == {"lease_id": 1, "lease_duration": 300, RAISES: False}


def test_a_prefect_that_keeps_turns_otherwise_is_left_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(flow_engine, KEEPERS[0])
    monkeypatch.setattr(flow_engine, KEEPERS[1], other := lambda lease_id: lease_id)
    go_on_without_a_turn()
    assert not hasattr(flow_engine, KEEPERS[0])
    assert getattr(flow_engine, KEEPERS[1]) is other


@pytest.fixture
def in_turn(api: Api) -> FlowRun:
    """A run of a deployment of which one goes at a time; it has its turn."""
    deployment = api.client.create_deployment(
        api.client.create_flow_from_name(NAME),
        "daily",
        concurrency_limit=1,
        concurrency_options=ConcurrencyOptions(collision_strategy=ConcurrencyLimitStrategy.ENQUEUE),
    )
    run = api.client.create_flow_run_from_deployment(deployment)
    api.client.set_flow_run_state(run.id, Pending())
    return api.flow_run(run.id)


@pytest.mark.parametrize(
    ("left_alone", "end"),
    [(False, StateType.COMPLETED), (True, StateType.CRASHED)],
    ids=["as it is", "as Prefect has it"],
)
def test_a_run_whose_turn_is_taken_away_under_it_goes_on(
    api: Api, in_turn: FlowRun, monkeypatch: pytest.MonkeyPatch, left_alone: bool, end: StateType
) -> None:
    monkeypatch.setattr(_leases, "_RENEWAL_FRACTION", 0.001)
    monkeypatch.setattr(_leases, "_RENEWAL_RETRY_BASE_DELAY", 0.01)
    if left_alone:
        monkeypatch.setattr(flow_engine, KEEPERS[0], _leases.maintain_concurrency_lease)
    lost: list[bool] = []
    handle = _leases._handle_lease_renewal_failure

    def handled(*given: Any) -> None:
        handle(*given)
        lost.append(True)

    monkeypatch.setattr(_leases, "_handle_lease_renewal_failure", handled)

    @flow(name=NAME)
    def carry() -> None:
        state = api.flow_run(in_turn.id).state
        assert state
        lease = state.state_details.deployment_concurrency_lease_id
        assert lease
        api.client.release_concurrency_slots_with_lease(lease)
        assert eventually(lambda: lost, 60)
        for _ in range(20):  # it is ended at the next step, if it is
            time.sleep(0.01)

    with suppress(CancelledError):
        run_flow(carry, flow_run=in_turn, return_type="state")
    assert api.flow_run(in_turn.id).state_type is end
    if not left_alone:
        assert eventually(lambda: any(GOES_ON in line for line in api.log(in_turn.id)))
