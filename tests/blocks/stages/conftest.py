"""A part file as extract leaves it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from ferry.batch import PartFile


@pytest.fixture
def part(tmp_path: Path) -> PartFile:
    content = b"0123456789" * 100
    path = tmp_path / "part-00000.csv.zst"
    path.write_bytes(content)
    return PartFile(path, 10, len(content), hashlib.sha256(content).hexdigest())
