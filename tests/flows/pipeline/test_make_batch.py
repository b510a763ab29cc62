"""What a table's route is made of, and what happens while Prefect's server does not give it."""

from __future__ import annotations

from threading import Event
from typing import Any

import pytest
from prefect.logging import disable_run_logger

from ferry.errors import AccessError, ConnectionLostError, FerryError, StoppedError
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
            raise self.error from OSError("no route to host")
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


def test_blocks_that_are_not_given_are_waited_for_once_in_a_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each of many tables would wait anew, and a server that never gives them holds the run."""
    blocks, routes, told = Blocks(ConnectionLostError("away"), 100), make_batch.Routes(), []
    monkeypatch.setattr(make_batch, "load_blocks", blocks)
    with disable_run_logger():
        for name in ("orders", "visits", "users"):
            with pytest.raises(ConnectionLostError) as caught:
                routes.of(SPEC.model_copy(update={"name": name}))
            told.append(str(caught.value.at(table=name)))
            assert isinstance(caught.value.__cause__, OSError)
        assert blocks.asked == 1 + SPEC.retries
        assert told == [f"FERRY-CONNECTION: {name}: away" for name in ("orders", "visits", "users")]
        with pytest.raises(ConnectionLostError):
            routes.of(SPEC.model_copy(update={"source": "another"}))
    assert blocks.asked == 2 * (1 + SPEC.retries)
    assert routes.warehouses == []


def test_a_warehouse_that_is_not_given_is_waited_for_once_in_a_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    blocks, warehouses = Blocks(ConnectionLostError("away"), 100), make_batch.Warehouses()
    monkeypatch.setattr(make_batch, "load_warehouse", blocks)
    with disable_run_logger():
        for _ in range(3):
            with pytest.raises(ConnectionLostError):
                warehouses.of(SPEC)
    assert blocks.asked == 1 + SPEC.retries


def test_a_run_that_is_stopped_waits_for_no_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    blocks, stop = Blocks(ConnectionLostError("away"), 100), Event()
    monkeypatch.setattr(make_batch, "load_blocks", blocks)
    stop.set()
    with disable_run_logger(), pytest.raises(StoppedError):
        make_batch.Routes().of(SPEC.model_copy(update={"retry_delay_seconds": 600}), stop)
    assert blocks.asked == 1
