"""A backfill over several workers: fed a little at a time, and complete though one of them dies."""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from contextvars import copy_context
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowFilter, FlowFilterName
from prefect.client.schemas.objects import FlowRun, State, StateType

from deployments.local.redshift_double import Fault
from deployments.local.servers import ProcessWorker
from ferry.schema import TableName
from flows.backfill_tables import backfill
from flows.pipeline import spread_windows
from flows.watch_runs import watch_runs
from tests.flows.pipeline.forks import command
from tests.harness.api import PATIENCE, eventually

POOL = "ferry-pool"
DAYS = 12
RANGE = {"start_date": date(2023, 7, 1), "end_date": date(2023, 7, 1 + DAYS)}

pytestmark = pytest.mark.parametrize("route", ["mysql-s3-redshift"], indirect=True)


@pytest.fixture
def shop(journey: Any) -> Any:
    """Four rows on each of twelve days."""
    journey.sql("CREATE TABLE nps (id INT NOT NULL PRIMARY KEY, modified DATETIME)")
    rows = [(n, str(datetime(2023, 7, 1) + n * timedelta(hours=6))) for n in range(4 * DAYS)]
    journey.sql("INSERT INTO nps VALUES (?, ?)", rows)
    journey.write_specs(nps={"mode": "window", "key": ["id"], "insert_rows": 0})
    return journey


@pytest.fixture
def two_workers(shop: Any, prefect_server: Any, tmp_path: Path) -> Iterator[list[ProcessWorker]]:
    """Two workers of one pool, to which the backfill's deployments belong."""
    workers = [
        ProcessWorker.start(
            tmp_path / f"worker-{number}",
            server=prefect_server,
            pool=POOL,
            env=dict(os.environ),
            limit=1,
        )
        for number in (1, 2)
    ]
    deploy = command("--no-prompt", "deploy", "-n", "backfill")
    deploy.join(PATIENCE)
    assert deploy.exitcode == 0
    yield workers
    for worker in workers:
        worker.process.stop()


def in_background(**parameters: Any) -> tuple[threading.Thread, list[State[Any]]]:
    """The backfill, in a thread of its own."""
    states: list[State[Any]] = []

    def run() -> None:
        states.append(backfill(table="nps", **RANGE, **parameters, return_state=True))

    thread = threading.Thread(target=copy_context().run, args=(run,))
    thread.start()
    return thread, states


def children(after: datetime) -> list[FlowRun]:
    """The runs of carry-windows since then."""
    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs(
            flow_filter=FlowFilter(name=FlowFilterName(any_=["carry-windows"]))
        )
    return [run for run in runs if run.created and run.created > after]


def crashed(after: datetime) -> list[FlowRun]:
    return [run for run in children(after) if run.state_type is StateType.CRASHED]


def descendants(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += [int(child), *descendants(int(child))]
    return found


@pytest.mark.usefixtures("task_runs_recorded")
@pytest.mark.timeout(600)
def test_a_worker_that_dies_with_its_runs_takes_no_row_along_and_none_comes_twice(
    shop: Any, two_workers: list[ProcessWorker], redshift_double: Any
) -> None:
    begun = datetime.now(UTC)
    # Two windows of each worker wait in the middle when one of them dies.
    redshift_double.inject(Fault("stall", r"^COPY", times=4, seconds=30))
    thread, states = in_background(workers=2, max_concurrency=2)
    assert eventually(lambda: redshift_double.struck() >= 3, 120)
    victim = next(w for w in two_workers if descendants(w.process.pid))
    for pid in [*descendants(victim.process.pid), victim.process.pid]:
        os.kill(pid, signal.SIGKILL)
    while thread.is_alive() and not crashed(begun):
        watch_runs(silent_seconds=20, observe_seconds=36, look_seconds=2)
    thread.join(400)

    assert states and states[0].type is StateType.COMPLETED, states and states[0].message
    assert [row[0] for row in shop.target("nps", "id")] == list(range(4 * DAYS))
    landed = Counter(receipt.window_label for receipt in shop.receipts("nps"))
    assert landed == {f"2023-07-{day:02}": 1 for day in range(1, 1 + DAYS)}
    runs = children(begun)
    assert {run.state_type for run in runs} == {StateType.COMPLETED, StateType.CRASHED}
    assert len({run.idempotency_key for run in runs}) == len(runs)


@pytest.mark.nights
@pytest.mark.timeout(600)
def test_a_spec_that_changes_meanwhile_is_refused_by_the_workers_and_nothing_lands_elsewhere(
    shop: Any, two_workers: list[ProcessWorker], monkeypatch: pytest.MonkeyPatch
) -> None:
    moved, hand_over = f"{shop.schema}_moved", spread_windows.run_deployment

    def after_a_change(*args: Any, **kwargs: Any) -> Any:
        shop.write_specs(nps={"mode": "window", "key": ["id"], "insert_rows": 0, "schema": moved})
        return hand_over(*args, **kwargs)

    monkeypatch.setattr(spread_windows, "run_deployment", after_a_change)
    thread, states = in_background(workers=2)
    thread.join(400)
    assert states and states[0].type is StateType.FAILED
    message = states[0].message or ""
    assert "the table's spec is not the one that the backfill was planned with" in message
    assert f"expected schema={shop.schema}; found schema={moved}" in message
    assert shop.warehouse.describe(TableName(shop.schema, "nps")) is None
    assert shop.warehouse.describe(TableName(moved, "nps")) is None

    thread, states = in_background(workers=2)
    thread.join(400)
    try:
        assert states and states[0].type is StateType.COMPLETED, states and states[0].message
        rows = shop.warehouse.fetch(f'SELECT COUNT(*) FROM "{moved}"."nps"')
        assert rows[0][0] == 4 * DAYS
    finally:
        shop.warehouse.execute(f'DROP SCHEMA IF EXISTS "{moved}" CASCADE')


@pytest.mark.nights
def test_days_that_are_found_to_be_missing_on_the_way_are_carried_by_the_workers_too(
    shop: Any, two_workers: list[ProcessWorker]
) -> None:
    backfill(table="nps", **RANGE)
    shop.warehouse.execute(f'DELETE FROM "{shop.schema}"."nps" WHERE id < 8')
    shop.warehouse.execute(
        f"DELETE FROM ferry.receipts WHERE table_name = '{shop.schema}.nps' AND "
        "window_label IN ('2023-07-01', '2023-07-02')"
    )
    shop.sql("ALTER TABLE nps ADD COLUMN score INT DEFAULT 5")

    thread, states = in_background(workers=2)
    thread.join(240)

    assert [state.type for state in states] == [StateType.COMPLETED]
    assert shop.target("nps", "id, score") == [(n, 5) for n in range(4 * DAYS)]
