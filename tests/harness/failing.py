"""A shop of which two tables cannot be carried, and the run that fails for it."""

from __future__ import annotations

from datetime import date
from typing import Any, cast
from uuid import UUID

from prefect.client.schemas.objects import State, StateType

from flows import notify_failure as notify
from flows.sync_table import sync_table
from tests.harness.journey import Journey

DAY = date(2023, 1, 5)
WINDOW = {"mode": "window", "key": ["id"]}


def make_shop(journey: Journey) -> Journey:
    """Three tables in the specs, of which the source has one."""
    journey.sql("CREATE TABLE orders (id INT NOT NULL PRIMARY KEY, modified DATETIME)")
    journey.sql("INSERT INTO orders VALUES (?, ?)", [(1, "2023-01-05 12:00:00")])
    journey.write_specs(orders=WINDOW, nps=WINDOW, visits=WINDOW)
    return journey


def fail() -> State[Any]:
    # Prefect types a flow called for its state as one to be awaited, whichever it is.
    state = cast("State[Any]", sync_table(table="nps", run_date=DAY, return_state=True))
    assert state.type is StateType.FAILED
    assert "there is no table 'nps'" in (state.message or "")
    return state


def run_id(state: State[Any]) -> UUID:
    assert state.state_details.flow_run_id
    return state.state_details.flow_run_id


def backstop(flow_run_id: UUID) -> State[Any]:
    """What the server starts for a failed run, without the wait before a retry."""
    once = notify.notify_failure.with_options(retries=0)
    return cast("State[Any]", once(flow_run_id=flow_run_id, return_state=True))
