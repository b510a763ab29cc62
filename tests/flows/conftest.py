"""What the flows' tests share beside the journeys."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from deployments.local.servers import PrefectServer
    from tests.harness.journey import Journey
    from tests.harness.slack import Slack
    from tests.harness.survey import Survey


@pytest.fixture
def another_ca(tmp_path: Path) -> str:
    """A certificate authority that signed none of the servers."""
    from deployments.local.servers import Certificates

    return str(Certificates.make(tmp_path / "another-tls").ca_path)


@pytest.fixture
def survey(journey: Journey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Survey:
    """Answers to a survey on the journey's route, and the shipped summaries over them."""
    from tests.harness.survey import Survey

    folder = tmp_path / "summaries"
    # The page takes longer than all the rest; what it shows has tests of its own.
    monkeypatch.setattr("flows.pipeline.summaries.publish.show", lambda *_: None)
    monkeypatch.setenv("FERRY_SUMMARIES", str(folder))
    return Survey(journey, folder)


@pytest.fixture
def slack(
    slack_server: Slack, prefect_server: PrefectServer, monkeypatch: pytest.MonkeyPatch
) -> Slack:
    """Nothing posted yet, and this process and its children lead to it."""
    slack_server.posted.clear()
    slack_server.status, slack_server.delay_seconds, slack_server.hangs_up = 200, 0.0, False
    for name, value in slack_server.env.items():
        monkeypatch.setenv(name, value)
    from prefect.blocks.notifications import SlackWebhook
    from pydantic import SecretStr

    from tests.harness.slack import WEBHOOK

    SlackWebhook(url=SecretStr(WEBHOOK)).save("test-ferry", overwrite=True)
    monkeypatch.setenv("FERRY_NOTIFY", "slack-webhook/test-ferry")
    return slack_server
