"""What a table's route is made of, and what happens while Prefect's server does not give it."""

from __future__ import annotations

from functools import partial
from threading import Event, Thread
from types import SimpleNamespace
from typing import Any

import pytest
from prefect.logging import disable_run_logger

from ferry.errors import AccessError, ConnectionLostError, FerryError, StoppedError
from ferry.specs.tables import TableSpec
from flows.pipeline import make_batch
from tests.harness.api import eventually

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


def test_a_table_that_is_to_be_tried_again_does_not_fail_by_one_that_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    blocks, routes = Blocks(ConnectionLostError("away"), 2), make_batch.Routes()
    monkeypatch.setattr(make_batch, "load_blocks", blocks)
    never = SPEC.model_copy(update={"name": "visits", "retries": 0})
    with disable_run_logger():
        with pytest.raises(ConnectionLostError):
            routes.of(never)
        assert routes.of(SPEC).warehouse == SPEC.warehouse
        assert routes.of(never).warehouse == SPEC.warehouse
    assert blocks.asked == 3


@pytest.mark.parametrize(
    ("error", "asked"), [(ConnectionLostError("away"), 2), (AccessError("refused"), 1)]
)
def test_blocks_are_asked_for_anew_some_minutes_after_what_passes(
    monkeypatch: pytest.MonkeyPatch, error: FerryError, asked: int
) -> None:
    """As by a table that is caught up when all the others are carried."""
    blocks, routes = Blocks(error, 100), make_batch.Routes()
    monkeypatch.setattr(make_batch, "load_blocks", blocks)
    once = SPEC.model_copy(update={"retries": 0})
    with disable_run_logger():
        for now in (0.0, make_batch.REFUSED_SECONDS - 1, make_batch.REFUSED_SECONDS + 1):
            clock = SimpleNamespace(monotonic=partial(float, now))
            monkeypatch.setattr(make_batch, "time", clock)
            with pytest.raises(type(error)):
                routes.of(once)
    assert blocks.asked == asked


def test_while_blocks_are_waited_for_others_go_on_and_a_run_that_is_stopped_waits_no_longer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One table waits for an hour; one has its blocks, one has others, one is stopped."""
    away, stop, ended = Blocks(ConnectionLostError("away"), 100), Event(), list[FerryError]()
    routes = make_batch.Routes()
    slow = SPEC.model_copy(update={"source": "away", "retry_delay_seconds": 3_600})
    monkeypatch.setattr(
        make_batch, "load_blocks", lambda *names: away() if "away" in names else names
    )

    def wait() -> None:
        with pytest.raises(StoppedError) as caught:
            routes.of(slow, stop)
        ended.append(caught.value)

    waiting = [Thread(target=wait) for _ in range(2)]
    with disable_run_logger():
        routes.of(SPEC)
        for thread in waiting:
            thread.start()
        try:
            assert eventually(lambda: away.asked, 10)
            assert routes.of(SPEC).source == SPEC.source
            assert routes.of(SPEC.model_copy(update={"source": "another"})).source == "another"
            assert routes.warehouses == [SPEC.warehouse]
        finally:
            stop.set()
            for thread in waiting:
                thread.join(10)
    assert len(ended) == 2


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
