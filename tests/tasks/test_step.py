"""What every step has in common: retries by kind of error, errors that say where, run names."""

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from prefect import flow, task
from prefect.client.schemas.objects import StateType, TaskRun
from prefect.logging import disable_run_logger
from prefect.runtime import flow_run
from prefect.states import Failed

from blocks.sources import SQLiteSource
from ferry.batch import Batch
from ferry.errors import (
    BusyError,
    ConflictError,
    ConnectionLostError,
    CountMismatchError,
    DataError,
    FerryError,
    OutcomeUnknownError,
    SchemaError,
    StoppedError,
)
from ferry.specs.tables import TableSpec
from ferry.windows import day_window
from flows.sync_table import sync_table
from tasks.copy_in import copy
from tasks.extract import extract
from tasks.stage import stage
from tasks.step import STEP, in_place, located, with_retries
from tasks.upsert import upsert
from tests.harness.api import Api, eventually


def spec(**fields: Any) -> TableSpec:
    table = {"name": "nps", "source": "s", "mode": "window", "key": ["id"]}
    return TableSpec.model_validate({**table, **fields})


def fail(api: Api, error: FerryError, **fields: Any) -> tuple[int, FerryError, TaskRun]:
    """Let a step fail like this each time: the attempts, what was raised, and the task's run."""
    batch = Batch(
        spec(**fields), "window", day_window(date(2023, 1, 5)), "r", datetime.now(UTC), Path("/x")
    )
    attempts: list[str] = []

    @task(name="copy", task_run_name="copy {batch}", **STEP)
    def failing(batch: Batch) -> None:
        attempts.append(str(flow_run.id))
        with located(batch, "copy", SQLiteSource(path="shop.sqlite")):
            raise error

    @flow
    def journey() -> None:
        with_retries(failing, batch.spec)(batch)

    with pytest.raises(FerryError) as caught:
        journey()

    def ended() -> TaskRun | None:
        return next(
            (r for r in api.task_runs(attempts[0]) if r.state and r.state.type in ENDED), None
        )

    task_run = eventually(ended)
    assert task_run is not None
    return len(attempts), caught.value, task_run


ENDED = (StateType.FAILED, StateType.CRASHED, StateType.COMPLETED)


def is_tried_again(error: FerryError) -> bool:
    """What every step answers the engine, which asks it after each failed attempt."""
    return bool(STEP["retry_condition_fn"](None, None, Failed(data=error)))


def test_a_retriable_error_is_tried_again_as_often_as_the_spec_says(api: Api) -> None:
    attempts, raised, _ = fail(api, BusyError("not now"), retries=2, retry_delay_seconds=0)
    assert attempts == 3
    assert type(raised) is BusyError
    for kind in (ConnectionLostError, BusyError, ConflictError, OutcomeUnknownError):
        assert is_tried_again(kind("not now")), kind


def test_a_fatal_error_is_not_tried_again(api: Api) -> None:
    attempts, raised, _ = fail(api, DataError("never"), retries=2, retry_delay_seconds=0)
    assert attempts == 1
    assert type(raised) is DataError
    for kind in (SchemaError, DataError, CountMismatchError):
        assert not is_tried_again(kind("never")), kind


def test_an_error_says_table_window_and_step_also_on_the_run_s_page(api: Api) -> None:
    _, raised, task_run = fail(api, BusyError("a lock is held"), retries=0)
    where = "copy raw_data.nps 2023-01-05"
    assert str(raised) == f"FERRY-BUSY: {where}: a lock is held"
    assert task_run.name == where
    assert f"{where}: a lock is held" in (task_run.state.message or "")


@pytest.mark.usefixtures("task_runs_recorded")
def test_a_retry_waits_as_long_as_the_spec_says_and_up_to_half_of_it_more(api: Api) -> None:
    _, _, task_run = fail(api, BusyError("not now"), retries=1, retry_delay_seconds=1)
    states = api.client.read_task_run_states(task_run.id)
    (waiting,) = [state for state in states if state.name == "AwaitingRetry"]
    scheduled = waiting.state_details.scheduled_time
    assert scheduled is not None
    assert 0.5 <= (scheduled - waiting.timestamp).total_seconds() <= 1.6


@pytest.mark.parametrize("step", [extract, stage, copy, upsert], ids=lambda step: step.name)
def test_by_default_a_step_is_tried_once_more_after_three_minutes_with_jitter(step: Any) -> None:
    asked = with_retries(step, spec())
    assert (asked.retries, asked.retry_delay_seconds) == (1, 180)
    assert asked.retry_jitter_factor == 0.5
    assert asked.retry_condition_fn is STEP["retry_condition_fn"]


@pytest.mark.usefixtures("task_runs_recorded")
@pytest.mark.parametrize("route", ["sqlite-folder-duckdb"], indirect=True)
def test_runs_are_named_after_step_table_and_window(journey: Any, api: Api) -> None:
    journey.sql("CREATE TABLE nps (id INT PRIMARY KEY, modified DATETIME)")
    journey.sql("INSERT INTO nps VALUES (1, '2023-01-05 10:00:00')")
    journey.write_specs(nps={"mode": "window", "key": ["id"]})

    receipt = sync_table(table="nps", run_date=date(2023, 1, 5))

    what = f"{journey.schema}.nps 2023-01-05"
    expected = {f"{step} {what}" for step in ("plan", "extract", "stage", "copy", "upsert")}
    names = eventually(
        lambda: (
            (found := {run.name for run in api.task_runs(receipt.flow_run_id)}) == expected
            and found
        )
    )
    assert names == expected
    assert api.flow_run(receipt.flow_run_id).name == "sync nps 2023-01-05"


class TestInPlace:
    def carry(self, errors: list[FerryError], retries: int) -> list[str]:
        """Let a step fail with one error after the other; what it did."""
        done: list[str] = []

        @task(name="copy", **STEP)
        def failing() -> None:
            done.append("tried")
            if errors:
                raise errors.pop(0)

        @flow
        def journey() -> None:
            in_place(failing, spec(retries=retries, retry_delay_seconds=0))()

        journey()
        return done

    def test_it_is_tried_again_as_often_as_the_spec_says(self, prefect_server: Any) -> None:
        assert self.carry([BusyError("x"), BusyError("y")], retries=2) == ["tried"] * 3
        with pytest.raises(BusyError, match="y"):
            self.carry([BusyError("x"), BusyError("y")], retries=1)

    def test_what_is_over_is_not_tried_again_nor_waits(self) -> None:
        done: list[str] = []
        over: list[str] = []

        @task(name="copy", **STEP)
        def failing() -> None:
            done.append("tried")
            over.append("cancelled")
            raise BusyError("x")

        def go_on() -> None:
            if over:
                raise StoppedError("the run was cancelled")

        step = in_place(failing, spec(retries=2, retry_delay_seconds=600), go_on=go_on)
        with disable_run_logger(), pytest.raises(StoppedError):
            step()
        assert done == ["tried"]

    def test_an_error_that_no_retry_helps_is_not_tried_again(self, prefect_server: Any) -> None:
        with pytest.raises(DataError, match="x"):
            self.carry([DataError("x"), DataError("y")], retries=2)
