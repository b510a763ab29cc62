"""Of which failed runs nobody was told: those whose message may be missing, and no others."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
from prefect import flow
from prefect.client.schemas.objects import FlowRun
from prefect.states import Crashed

from tasks.runs import notice_claims
from tasks.runs.notice_claims import NoticeClaim
from tasks.runs.unreported import unreported_runs
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
