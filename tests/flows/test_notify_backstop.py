"""The backstop tells of what a run's own hook could not, and of nothing else."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from prefect.client.schemas.objects import StateType
from prefect.states import Crashed, Failed, Scheduled

from flows import notify_failure as notify
from flows.sync_all import sync_all
from flows.sync_table import sync_table
from tasks.runs.notice_claims import NoticeClaim
from tasks.runs.unreported import unreported_runs
from tests.harness.api import Api
from tests.harness.failing import WINDOW, backstop, fail, make_shop, run_id
from tests.harness.slack import Slack


@pytest.fixture
def route() -> str:
    """One for all: what is told does not depend on it."""
    return "sqlite-folder-duckdb"


@pytest.fixture
def shop(journey: Any, slack: Slack) -> Any:
    return make_shop(journey)


def test_the_backstop_tells_of_a_run_whose_hook_could_not(shop: Any, slack: Slack) -> None:
    slack.status = 500
    failed = run_id(fail())
    assert backstop(failed).type is StateType.FAILED
    slack.posted.clear()

    slack.status = 200
    assert backstop(failed).type is StateType.COMPLETED
    (message,) = slack.messages
    assert "Table: nps\nWindow: 2023-01-05\nReason: FERRY-SCHEMA: plan" in message
    assert backstop(failed).type is StateType.COMPLETED
    assert len(slack.messages) == 1


def test_the_backstop_tells_of_a_run_that_had_no_hook(shop: Any, slack: Slack, api: Api) -> None:
    """As a run whose flow cannot be imported: Prefect finds no hooks in it."""
    run = api.client.create_flow_run(sync_table, parameters={"table": "orders"})
    api.client.set_flow_run_state(run.id, Crashed(message="No module named 'x'"), force=True)
    assert backstop(run.id).type is StateType.COMPLETED
    (message,) = slack.messages
    assert "Reason: No module named 'x'" in message


def test_a_run_whose_deployment_was_deleted_meanwhile_is_told_by_its_flow_s_name(
    shop: Any, slack: Slack, api: Api
) -> None:
    flow_id = api.client.create_flow_from_name(sync_table.name)
    deployment = api.client.create_deployment(flow_id, name=f"gone-{shop.schema}")
    given = {"table": "orders"}
    run = api.client.create_flow_run_from_deployment(deployment, parameters=given)
    api.client.set_flow_run_state(run.id, Crashed(message="why"), force=True)
    api.client.delete_deployment(deployment)
    assert api.client.read_flow_run(run.id).deployment_id == deployment
    assert backstop(run.id).type is StateType.COMPLETED
    (message,) = slack.messages
    assert "Window: " in message and "\nFlow: sync-table\n" in message


def test_a_run_of_another_team_s_flow_of_the_same_name_is_told_by_nobody(
    shop: Any, slack: Slack, api: Api
) -> None:
    """Its message may be anything: what fails there may quote a row."""
    flow_id = api.client.create_flow_from_name("backfill")
    deployment = api.client.create_deployment(
        flow_id, name=f"theirs-{shop.schema}", entrypoint="jobs/backfill.py:backfill"
    )
    run = api.client.create_flow_run_from_deployment(deployment)
    api.client.set_flow_run_state(run.id, Failed(message="no such customer: Ada"), force=True)
    state = backstop(run.id)
    unreported = unreported_runs(api.client, ["backfill"], older_than_seconds=-5)
    api.client.delete_deployment(deployment)
    assert state.message == "nothing to tell: a flow of the same name, and not Ferry's"
    assert run.id not in {each.id for each in unreported}
    assert slack.posted == []


def test_the_backstop_tells_the_schedule_of_a_run_whose_window_only_its_flow_knows(
    shop: Any, slack: Slack, api: Api
) -> None:
    seoul = {**WINDOW, "zone": "Asia/Seoul"}
    for specs, window in (
        ({"orders": WINDOW, "nps": {"mode": "full"}}, "2023-01-05"),
        ({"orders": seoul}, "2023-01-06"),
        ({"orders": WINDOW, "nps": seoul}, "of the run scheduled for 2023-01-06 16:00 UTC"),
    ):
        shop.write_specs(**specs)
        start = Scheduled(scheduled_time=datetime(2023, 1, 6, 16, tzinfo=UTC))
        run = api.client.create_flow_run(sync_all, state=start)
        api.client.set_flow_run_state(run.id, Crashed(message="why"), force=True)
        backstop(run.id)
        assert f"Window: {window}\n" in slack.messages.pop()


def test_the_backstop_tells_the_window_of_a_table_in_the_table_s_own_zone(
    shop: Any, slack: Slack, api: Api
) -> None:
    shop.write_specs(orders={**WINDOW, "zone": "Asia/Seoul"})
    for zone, window in ((None, "2023-01-06"), ("UTC", "2023-01-05")):
        start = Scheduled(scheduled_time=datetime(2023, 1, 6, 16, tzinfo=UTC))
        given = {"table": "orders", "zone": zone}
        run = api.client.create_flow_run(sync_table, parameters=given, state=start)
        api.client.set_flow_run_state(run.id, Crashed(message="why"), force=True)
        backstop(run.id)
        assert f"Window: {window}\n" in slack.messages.pop()


def test_the_backstop_does_not_tell_of_a_run_that_has_gone_on(
    shop: Any, slack: Slack, api: Api
) -> None:
    run = api.client.create_flow_run(sync_table, parameters={"table": "orders"})
    state = backstop(run.id)
    assert state.message == "nothing to tell: the run is not failed any more"
    assert slack.posted == []


def test_the_backstop_takes_over_from_a_hook_that_died_while_sending(
    shop: Any, slack: Slack, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notify, "HOOK_SECONDS", 1.0)
    run = api.client.create_flow_run(sync_table, parameters={"table": "orders"})
    run = api.client.read_flow_run(run.id)
    api.client.set_flow_run_state(run.id, Failed(message="why"), force=True)
    assert NoticeClaim.of(run, api.client).take()

    assert backstop(run.id).type is StateType.COMPLETED
    assert len(slack.messages) == 1
    assert backstop(run.id).type is StateType.COMPLETED
    assert len(slack.messages) == 1


def test_the_backstop_does_not_tell_again_of_one_that_was_told_twice(
    shop: Any, slack: Slack, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two backstops, of which one took over from a hook and died as well."""
    monkeypatch.setattr(notify, "HOOK_SECONDS", 0.1)
    run = api.client.create_flow_run(sync_table, parameters={"table": "orders"})
    api.client.set_flow_run_state(run.id, Failed(message="why"), force=True)
    claim = NoticeClaim.of(api.client.read_flow_run(run.id), api.client)
    assert claim.take()
    second = claim.take_patiently(0.1)
    assert second and second.again
    assert backstop(run.id).type is StateType.COMPLETED
    assert slack.posted == []
