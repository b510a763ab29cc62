"""The nights of one file share a server, which some of them take away for a while."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.slack import Slack
from tests.nights.night import Night


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A night starts several processes, each slowly where others compute."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.timeout(900))


@pytest.fixture(scope="module")
def shared_night(
    slack_server: Slack, unused_home: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Night]:
    folder: Path = tmp_path_factory.mktemp("night")
    night = Night.begin(folder, slack_server, unused_home)
    yield night
    night.end()


@pytest.fixture
def night(shared_night: Night) -> Iterator[Night]:
    """A night in which nobody was told of anything yet; its workers end with it."""
    shared_night.slack.posted.clear()
    yield shared_night
    shared_night.over()
