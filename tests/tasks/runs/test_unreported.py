"""Of which failed runs nobody was told: those whose message may be missing, and no others."""

from __future__ import annotations

import logging
import uuid
from datetime import timedelta
from pathlib import Path

import prefect
import pytest
from prefect import flow
from prefect.client.schemas.objects import (
    ConcurrencyLimitStrategy,
    ConcurrencyOptions,
    FlowRun,
)
from prefect.states import Cancelled, Crashed, Pending, Running

from ferry.runs.notice import Notice
from flows.pipeline import notify
from tasks.runs import notice_claims
from tasks.runs.notice_claims import NoticeClaim
from tasks.runs.unreported import TURN_LOST, TURN_REFUSED, unreported_runs
from tests.harness.api import Api

NAME = f"untold-{uuid.uuid4().hex[:8]}"


@flow(name=NAME)
def carry() -> None:
    """Stands for a run that carries something; nobody takes it."""


def crashed(api: Api) -> FlowRun:
    run = api.client.create_flow_run(carry)
    api.client.set_flow_run_state(run.id, Crashed(message="its machine died"), force=True)
    return api.flow_run(run.id)


def test_only_those_whose_message_may_be_missing_are_found(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = {
        what: crashed(api) for what in ("untold", "sent", "doubted", "sent again", "being sent")
    }
    claim = {what: NoticeClaim.of(run, api.client) for what, run in runs.items()}
    for what in ("sent", "doubted", "sent again", "being sent"):
        assert claim[what].take()
    claim["sent"].confirm()
    for what in ("doubted", "sent again"):
        claim[what].doubt()
    second = claim["sent again"].take_patiently(0)
    assert second and second.again
    second.confirm()

    def found() -> set[str]:
        names = {run.id: what for what, run in runs.items()}
        return {names[run.id] for run in unreported_runs(api.client, [NAME], older_than_seconds=-5)}

    assert found() == {"untold", "doubted"}
    monkeypatch.setattr(notice_claims, "SENDING_FOR", timedelta(0))  # whoever was sending has died
    assert found() == {"untold", "doubted", "being sent"}
    last = claim["being sent"].take_patiently(0)
    assert last and last.again
    assert found() == {"untold", "doubted"}


@pytest.fixture
def dropped(api: Api) -> FlowRun:
    """A run that had its turn; it is to begin when the turn is lost and another run has the place.

    So it is after a restart of a server that keeps turns in its memory, and places in its database.
    """
    deployment = api.client.create_deployment(
        api.client.create_flow_from_name(NAME),
        "one-at-a-time",
        concurrency_limit=1,
        concurrency_options=ConcurrencyOptions(collision_strategy=ConcurrencyLimitStrategy.ENQUEUE),
    )
    run, other = (api.client.create_flow_run_from_deployment(deployment) for _ in range(2))
    api.client.set_flow_run_state(run.id, Pending())
    state = api.flow_run(run.id).state
    assert state and state.state_details.deployment_concurrency_lease_id
    api.client.release_concurrency_slots_with_lease(
        state.state_details.deployment_concurrency_lease_id
    )
    api.client.set_flow_run_state(other.id, Pending())
    api.client.set_flow_run_state(run.id, Running())
    return api.flow_run(run.id)


def test_a_run_that_its_deployment_s_own_limit_drops_is_told_of(api: Api) -> None:
    """CANCEL_NEW, which somebody has set in the UI: its dates would be lost without a word."""
    deployment = api.client.create_deployment(
        api.client.create_flow_from_name(NAME),
        "drops-what-is-new",
        concurrency_limit=1,
        concurrency_options=ConcurrencyOptions(
            collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW
        ),
    )
    run, new = (api.client.create_flow_run_from_deployment(deployment) for _ in range(2))
    for each in (run, new):
        api.client.set_flow_run_state(each.id, Pending())
    state = api.flow_run(new.id).state
    assert state and state.name == "Cancelled"

    found = [each.id for each in unreported_runs(api.client, [NAME], older_than_seconds=-5)]
    assert new.id in found
    assert ": Deployment concurrency limit reached. This attempt" in notify._dropped(new, state)


POLICY = "server/orchestration/core_policy.py"


@pytest.mark.parametrize(
    ("text", "file"),
    [
        *((f'"{text}', POLICY) for text in (TURN_LOST, TURN_REFUSED)),
        ('name="AwaitingConcurrencySlot"', POLICY),
        ('"auto-scheduled"', "server/models/deployments.py"),
        ('"prefect.flow-run.heartbeat"', "flow_engine.py"),
    ],
)
def test_prefect_still_says_what_it_is_known_by(text: str, file: str) -> None:
    """No API promises these words: another version may say others, and nothing else would fail."""
    # Read, not imported: behind the files of all other tests Prefect's server cannot be.
    assert text in (Path(prefect.__file__).parent / file).read_text()


def test_a_run_that_the_server_cancels_by_itself_is_told_of_with_what_carries_its_dates(
    api: Api, dropped: FlowRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_a_person = api.client.create_flow_run(carry)
    api.client.set_flow_run_state(by_a_person.id, Cancelled(message="not today"), force=True)
    assert dropped.state and dropped.state.name == "Cancelled"

    found = [run.id for run in unreported_runs(api.client, [NAME], older_than_seconds=-5)]
    assert dropped.id in found
    assert by_a_person.id not in found

    sent: list[Notice] = []
    monkeypatch.setattr(notify, "load_notifier", lambda _: None)
    monkeypatch.setattr(notify, "send", lambda notice, _: sent.append(notice))
    assert notify.notify_of(dropped, api.client, "a-block", logging.getLogger(__name__))
    (notice,) = sent
    assert notice.subject == f"Ferry: {dropped.name} was cancelled"
    assert f"prefect flow-run retry {dropped.id}" in notice.body
