from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.harness.write_engine import Engine


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    engine = Engine()
    yield engine
    engine.connection.close()
