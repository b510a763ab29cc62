"""Claims of what was told: the old ones are forgotten, and nothing else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prefect.client.schemas.actions import VariableCreate
from prefect.client.schemas.objects import State
from prefect.states import AwaitingRetry, Cancelled, Crashed, Failed, Pending, Running

from flows import watch_runs
from flows.sync_table import sync_table
from tasks.runs import notice_claims
from tasks.runs.notice_claims import (
    DUE,
    DUE_KEPT,
    KEPT,
    PREFIX,
    NoticeClaim,
    all_claims,
    forget_old_claims,
)
from tasks.runs.unreported import unreported_runs
from tests.harness.api import Api


def test_old_marks_are_forgotten(api: Api) -> None:
    run = api.client.create_flow_run(sync_table, parameters={"table": "orders"})
    claim = NoticeClaim.of(api.flow_run(run.id), api.client)
    assert claim.take()
    assert forget_old_claims(api.client) == 0
    assert api.client.read_variable_by_name(claim.name) is not None
    assert forget_old_claims(api.client, datetime.now(UTC) + KEPT + timedelta(hours=1)) > 0
    assert api.client.read_variable_by_name(claim.name) is None
    assert claim.name.startswith(PREFIX)


def test_each_start_of_a_run_has_a_claim_of_its_own_though_it_dies_before_it_begins(
    api: Api,
) -> None:
    run = api.client.create_flow_run(sync_table, parameters={"table": "orders"})

    def mark_after(*states: State[Any]) -> str:
        for state in states:
            api.client.set_flow_run_state(run.id, state, force=True)
        return NoticeClaim.of(api.flow_run(run.id), api.client).name

    first = mark_after(Pending(), Crashed())
    assert mark_after(Crashed()) == first  # the server says it once more
    second = mark_after(AwaitingRetry(), Pending(), Crashed())
    third = mark_after(AwaitingRetry(), Pending(), Crashed())
    began = mark_after(AwaitingRetry(), Pending(), Running(), Failed())
    assert mark_after(Crashed()) == began
    last = mark_after(AwaitingRetry(), Pending(), Crashed())
    dropped = mark_after(
        AwaitingRetry(), Pending(), Cancelled()
    )  # by the server, as it was to begin
    assert len({first, second, third, began, last, dropped}) == 6


def test_old_marks_are_forgotten_page_by_page_and_nothing_else(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notice_claims, "PAGE", 2)
    later = datetime.now(UTC) + KEPT + timedelta(hours=1)
    forget_old_claims(api.client, later)
    foreign = "a_ferry_told_of_another_kind"
    names = [f"{PREFIX}{number}" for number in range(7)]
    for name in (foreign, *names):
        api.client.create_variable(VariableCreate(name=name, value="sent"))
    assert forget_old_claims(api.client) == 0
    assert forget_old_claims(api.client, later) == 7
    assert all(api.client.read_variable_by_name(name) is None for name in names)
    assert api.client.read_variable_by_name(foreign) is not None
    api.client.delete_variable_by_name(foreign)


def test_claims_of_deadlines_go_as_soon_as_nobody_judges_these_any_more(api: Api) -> None:
    while forget_old_claims(api.client, datetime.now(UTC) + KEPT + timedelta(hours=1)):
        pass
    for name in (f"{DUE}3_raw_nps_2026_11_26", f"{PREFIX}late_sync"):
        api.client.create_variable(VariableCreate(name=name, value="sent"))
    later = datetime.now(UTC) + DUE_KEPT
    assert forget_old_claims(api.client, later - timedelta(hours=1)) == 0
    assert forget_old_claims(api.client, later + timedelta(hours=1)) == 1
    assert list(all_claims(api.client)) == [f"{PREFIX}late_sync"]


def test_who_is_not_about_deadlines_does_not_page_through_their_claims(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thousands of tables make a claim a day each: a look of the watch would wait for them all."""
    run = api.client.create_flow_run(sync_table, parameters={"table": "orders"})
    api.client.set_flow_run_state(run.id, Crashed(), force=True)
    page, named = notice_claims._page, list[dict[str, Any]]()
    monkeypatch.setattr(
        notice_claims,
        "_page",
        lambda client, offset, **name: named.append(name) or page(client, offset, **name),
    )
    assert unreported_runs(api.client, [sync_table.name], older_than_seconds=-5)
    assert any(NoticeClaim.of(api.flow_run(run.id), api.client).name in str(each) for each in named)
    all_claims(api.client, *watch_runs._STANDING)
    assert all("due" not in str(each) and each != {"like_": PREFIX} for each in named)


def test_a_message_does_not_wait_until_all_old_marks_are_forgotten(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notice_claims, "PAGE", 2)
    monkeypatch.setattr(notice_claims, "MOST", 3)
    later = datetime.now(UTC) + KEPT + timedelta(hours=1)
    while forget_old_claims(api.client, later):
        pass
    for number in range(7):
        api.client.create_variable(VariableCreate(name=f"{PREFIX}{number}", value="sent"))
    assert [forget_old_claims(api.client, later) for _ in range(3)] == [4, 3, 0]
