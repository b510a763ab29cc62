"""What a table's route is made of, and what happens while Prefect's server does not give it."""

from __future__ import annotations

from typing import Any

import pytest
from prefect.logging import disable_run_logger

from ferry.errors import AccessError, ConnectionLostError, FerryError
from ferry.specs.tables import TableSpec
from flows.pipeline import make_batch

SPEC = TableSpec(name="orders", source="shop", mode="full", retries=2, retry_delay_seconds=0)


class Blocks:
    """Are not given so often, and then are."""

    def __init__(self, error: FerryError, times: int) -> None:
        self.error, self.times, self.asked = error, times, 0

    def __call__(self, *names: str) -> Any:
        self.asked += 1
        if self.asked <= self.times:
            raise self.error
        return names


@pytest.mark.parametrize(
    ("error", "times", "asked", "given"),
    [
        (ConnectionLostError("away"), 2, 3, True),
        (ConnectionLostError("away"), 3, 3, False),
        (AccessError("refused"), 1, 1, False),
    ],
)
def test_the_blocks_of_a_route_are_asked_for_as_often_as_the_spec_says(
    monkeypatch: pytest.MonkeyPatch, error: FerryError, times: int, asked: int, given: bool
) -> None:
    blocks = Blocks(error, times)
    monkeypatch.setattr(make_batch, "load_blocks", blocks)
    with disable_run_logger():
        if given:
            assert make_batch.load_route(SPEC).warehouse == SPEC.warehouse
        else:
            with pytest.raises(type(error)):
                make_batch.load_route(SPEC)
    assert blocks.asked == asked
