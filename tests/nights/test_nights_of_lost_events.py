"""Nights in which the server keeps no events: what needs none is decided all the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.client.schemas.objects import StateType
from prefect.states import Pending, Running

from tests.harness.slack import Slack
from tests.nights.night import Night

WATCH = (
    "import flows.watch_runs as watch; watch.LONGEST_SECONDS = 14; "
    "listen = watch.watch_runs.with_options(validate_parameters=False); "
    "print(listen(silent_seconds=1, pending_seconds=1, observe_seconds=4, "
    "look_seconds=1, return_state=True))"
)


@pytest.fixture(scope="module")
def shared_night(
    slack_server: Slack, unused_home: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Night]:
    settings = {"PREFECT_SERVER_SERVICES_EVENT_PERSISTER_ENABLED": "false"}
    night = Night.begin(tmp_path_factory.mktemp("night"), slack_server, unused_home, settings)
    yield night
    night.end()


@pytest.mark.nights
def test_what_stands_still_is_decided_and_that_silence_tells_nothing_is_told_once(
    night: Night,
) -> None:
    deployment = night.deploy("deaf", night.pool("deaf"))
    never_began, silent = night.start(deployment), night.start(deployment)
    with night.client as client:
        client.set_flow_run_state(never_began, Pending())
        client.set_flow_run_state(silent, Running(), force=True)

    for _ in range(2):
        assert "silent runs cannot be judged" in night.python(WATCH)

    assert night.run(never_began).state_type is StateType.CRASHED
    assert night.run(silent).state_type is StateType.RUNNING
    subjects = [each.partition("\n")[0] for each in night.slack.messages]
    assert subjects.count("Ferry: no worker is alive for the pool deaf") == 1
    assert subjects.count("Ferry: runs are silent, and nobody can know whether they have died") == 1
