"""What the flows' tests share beside the journeys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def another_ca(tmp_path: Path) -> str:
    """A certificate authority that signed none of the servers."""
    from deployments.local.servers import Certificates

    return str(Certificates.make(tmp_path / "another-tls").ca_path)


@pytest.fixture
def survey(journey: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Answers to a survey on the journey's road, and the shipped summaries over them."""
    from tests.survey import Survey

    folder = tmp_path / "summaries"
    # The page takes longer than all the rest; what it shows has tests of its own.
    monkeypatch.setattr("flows.publish_summaries.show", lambda *_: None)
    monkeypatch.setenv("FERRY_SUMMARIES", str(folder))
    return Survey(journey, folder)
