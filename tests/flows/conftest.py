"""What the flows' tests share beside the journeys."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def another_ca(tmp_path: Path) -> str:
    """A certificate authority that signed none of the servers."""
    from deployments.local.servers import Certificates

    return str(Certificates.make(tmp_path / "another-tls").ca_path)
