"""What one fresh process does to be measured: one flow run, or Prefect's own cost.

    python -m deployments.bench.one extract-and-stage nps_postgres
    python -m deployments.bench.one extract nps_sqlite
    python -m deployments.bench.one whole-path nps_postgres full|window
    python -m deployments.bench.one path-with-sums nps_postgres digests|lengths|none
    python -m deployments.bench.one backfill nps_double 2023-01-01 2024-01-01 day 4
    python -m deployments.bench.one month nps_month 2023-01-01 2023-02-01
    python -m deployments.bench.one tables
    python -m deployments.bench.one plan nps_double 3650
    python -m deployments.bench.one fingerprints nps_double
    python -m deployments.bench.one compare nps_double 0|7
    python -m deployments.bench.one flow-run
    python -m deployments.bench.one task-runs

The last line of the output is a JSON object with the seconds: of the steps, measured within the
flow, so without the start of Python and of the flow run. `servers.BenchServers.env` says where
the servers are.
"""

from __future__ import annotations

import json
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, cast
from unittest.mock import patch

from prefect import flow, task
from prefect.runtime import flow_run as this_run

import tasks.copy_in
from blocks.stages.parts.batch_sums import BatchSums
from deployments.bench.servers import TINY, YEAR
from ferry.audits.outcome import DIFFERENCES
from ferry.backfills.outcomes import Outcome
from ferry.day_ranges import DayRange, Granularity
from ferry.fingerprints.sums import no_sums
from ferry.specs.tables import Mode, TableSpec
from flows.backfill_tables import backfill
from flows.pipeline import carry_plan
from flows.pipeline.carry_batch import carry
from flows.pipeline.make_batch import Dates, load_route, make_batch
from flows.pipeline.table_specs import load_table_specs
from flows.sync_all import sync_all
from tasks.audits.compare_table import compare_table
from tasks.audits.sides import both_sides
from tasks.extract import extract
from tasks.landed.history import read_run
from tasks.plan_backfill import plan_backfill
from tasks.plan_batch import plan as make_plan
from tasks.stage import discard, stage
from tasks.step import STEP, with_retries

WINDOWS = 50
STEPS = ("extract", "stage", "copy", "upsert", "summarize")


@flow(name="bench-extract-and-stage")
def extract_and_stage(table: str) -> dict[str, float]:
    """Carry the table as far as the stage: the seconds, and the rows staged."""
    spec = load_table_specs().named(table)
    batch, route = make_batch(spec, Dates(), "full"), load_route(spec)
    begun = time.perf_counter()
    try:
        planned = with_retries(make_plan, spec)(batch, route.source, route.warehouse)
        capabilities = route.warehouse.capabilities
        extracted = with_retries(extract, spec)(
            batch, planned, route.source, route.stage, capabilities
        )
        staged = with_retries(stage, spec)(batch, extracted, route.stage)
        seconds = time.perf_counter() - begun
    finally:
        shutil.rmtree(batch.folder, ignore_errors=True)
    discard(spec, staged, route.stage)
    return {"seconds": seconds, "rows": staged.rows}


@flow(name="bench-extract")
def extract_alone(table: str) -> dict[str, float]:
    """Extract all of the table into part files: the seconds of this task alone, and the rows."""
    spec = load_table_specs().named(table).model_copy(update={"resume_rows": 0})  # stages nothing
    batch, route = make_batch(spec, Dates(), "full"), load_route(spec)
    try:
        planned = with_retries(make_plan, spec)(batch, route.source, route.warehouse)
        begun = time.perf_counter()
        extracted = with_retries(extract, spec)(
            batch, planned, route.source, route.stage, route.warehouse.capabilities
        )
        return {"seconds": time.perf_counter() - begun, "rows": extracted.rows}
    finally:
        shutil.rmtree(batch.folder, ignore_errors=True)


@flow(name="bench-whole-path")
def whole_path(table: str, mode: Mode) -> dict[str, float]:
    """Carry the table into its target: the seconds, and the rows that landed."""
    return _carried(load_table_specs().named(table), mode)


@flow(name="bench-path-with-sums")
def path_with_sums(table: str, sums: str) -> dict[str, float]:
    """Carry the whole table into its target with these `text_sums`: the seconds, and the rows.

    `none` is what no user can have: for this process alone, what sums the batches is replaced by
    nothing, and so is the question for the sums of the staging table. Both are those of no rows.
    """
    spec = load_table_specs().named(table)
    if sums != "none":
        spec = spec.model_copy(update={"text_sums": sums})
    with _without_sums() if sums == "none" else nullcontext():
        return _carried(spec, "full")


@contextmanager
def _without_sums() -> Iterator[None]:
    with (
        patch.object(BatchSums, "add", lambda _sums, _batch: None),
        patch.object(tasks.copy_in, "_sums", lambda _table, what, _warehouse: no_sums(what)),
    ):
        yield


def _carried(spec: TableSpec, mode: Mode) -> dict[str, float]:
    batch = make_batch(spec, _year() if mode == "window" else Dates(), mode)
    route = load_route(spec)
    begun = time.perf_counter()
    receipt = carry(batch, route)
    return {"seconds": time.perf_counter() - begun, "rows": receipt.rows_inserted}


def _year() -> Dates:
    """The window in which all of the shop's rows are."""
    start, end = (_midnight(day) for day in (0, YEAR.days))
    return Dates(window_start=start, window_end=end)


def carry_days(
    table: str, start: str, end: str, granularity: Granularity, at_once: str
) -> dict[str, float]:
    """Carry windows by the flow `backfill`: from the first to the last, and the rows."""
    carried: Any = backfill(
        table=table,
        start_date=date.fromisoformat(start),
        end_date=date.fromisoformat(end),
        granularity=granularity,
        reprocess="all",
        max_concurrency=int(at_once),
    )
    receipts = [receipt for receipts in carried.values() for receipt in receipts]
    began = min(receipt.started_at for receipt in receipts).timestamp()
    ended = max(receipt.finished_at for receipt in receipts).timestamp()
    rows = sum(receipt.rows_extracted for receipt in receipts)
    return {"seconds": ended - began, "rows": rows, "began": began, "ended": ended}


def many_tables() -> dict[str, float]:
    """Carry all tiny tables by `sync-all`: the seconds from call to answer, and the rows."""
    begun = time.perf_counter()
    carried: Any = sync_all(tables=list(TINY), run_date=YEAR.start)
    seconds = time.perf_counter() - begun
    return {"seconds": seconds, "rows": sum(each.rows_inserted for each in carried.values())}


def carry_in_spite(table: str, start: str, end: str) -> dict[str, float]:
    """As `carry_days`, also where days fail: from the first begun to the last ended, and how many.

    What fails has no receipt that would tell when it began, so the clock is held to what carries.
    """
    seconds: list[float] = []
    carry_many: Callable[..., list[Outcome]] = vars(carry_plan)["carry_many"]

    def timed(*args: Any, **options: Any) -> list[Outcome]:
        begun = time.perf_counter()
        try:
            return carry_many(*args, **options)
        finally:
            seconds.append(time.perf_counter() - begun)

    vars(carry_plan)["carry_many"] = timed
    days = (date.fromisoformat(start), date.fromisoformat(end))
    state: Any = backfill(table, *days, reprocess="all", return_state=True)
    spec = load_table_specs().named(table)
    landed = read_run.fn(
        str(state.state_details.flow_run_id), spec.target, load_route(spec).warehouse
    )
    receipts = landed.receipts.values()
    return {
        "seconds": seconds[0],
        "rows": sum(receipt.rows_extracted for receipt in receipts),
        "windows": len(receipts),
    }


@flow(name="bench-plan")
def plan(table: str, days: str) -> dict[str, float]:
    """Plan a backfill of so many days, up to the end of the year: the seconds, and the windows."""
    spec = load_table_specs().named(table)
    route, end = load_route(spec), YEAR.start + timedelta(days=YEAR.days)
    whole = DayRange(end - timedelta(days=int(days)), end, "UTC")
    begun = time.perf_counter()
    planned = with_retries(plan_backfill, spec)(
        spec,
        whole,
        "day",
        "all",
        route.source,
        route.warehouse,
        now=datetime.now(UTC),
        flow_run_id="bench",
    )
    return {"seconds": time.perf_counter() - begun, "windows": len(planned.windows)}


@flow(name="bench-fingerprints")
def fingerprints(table: str) -> dict[str, float]:
    """The bare query of each side, one after the other: the seconds of the slower one."""
    spec = load_table_specs().named(table)
    route = load_route(spec)
    sides = both_sides(spec, route.source, route.warehouse)
    bounds = [_midnight(day) for day in (0, YEAR.days)]
    taken = []
    for end in (sides.source, sides.target):
        begun = time.perf_counter()
        end.by_range(bounds)
        taken.append(time.perf_counter() - begun)
    return {"seconds": max(taken), "source": taken[0], "target": taken[1]}


@flow(name="bench-compare")
def compare_days(table: str, last_days: str) -> dict[str, float]:
    """Compare the year, or its last days: the seconds, the rows, how many differ, and the bytes.

    By the task that the flow `reconcile` runs, with its place among the readers, its task run and
    its record in `ferry.audits`. The bytes are all that goes over the loopback meanwhile, to
    Prefect's server and between the double and its PostgreSQL as well.
    """
    spec = load_table_specs().named(table)
    route = load_route(spec)
    end = YEAR.start + timedelta(days=YEAR.days)
    start = end - timedelta(days=int(last_days)) if int(last_days) else YEAR.start
    for block in (route.source, route.warehouse):
        block.fetch("SELECT 1")  # beside the connections
    before, begun = _loopback_bytes(), time.perf_counter()
    audit = with_retries(compare_table, spec)(
        spec,
        DayRange(start, end, "UTC"),
        route.source,
        route.warehouse,
        zone="UTC",
        flow_run_id=str(this_run.id),
        begun_at=datetime.now(UTC),
    )
    assert audit is not None
    seconds = time.perf_counter() - begun
    wire = _loopback_bytes() - before
    differ = len(audit.different_rows(*DIFFERENCES))
    return {"seconds": seconds, "rows": audit.rows, "differ": differ, "wire_bytes": wire}


def _midnight(day: int) -> datetime:
    return datetime.fromtimestamp(YEAR.at(day) / 1e6, UTC)


def _loopback_bytes() -> int:
    """What has gone over the loopback since the machine began, of whoever sent it."""
    for line in Path("/proc/net/dev").read_text().splitlines():
        name, _, counts = line.partition(":")
        if name.strip() == "lo":
            return int(counts.split()[0])
    return 0


@flow(name="bench-flow-run")
def nothing() -> None:
    """Be a flow run, and no more."""


def flow_run() -> dict[str, float]:
    """The seconds that a flow run costs beside its steps: from the call to the answer."""
    begun = time.perf_counter()
    nothing()
    return {"seconds": time.perf_counter() - begun}


@task(task_run_name="{step} {batch}", **STEP)
def _nothing(step: str, batch: str) -> str:
    return f"{step} {batch}"


@flow(name="bench-task-runs")
def task_runs() -> dict[str, float]:
    """The median seconds that the task runs of one window cost, when they do nothing."""
    taken = []
    for window in range(WINDOWS):
        begun = time.perf_counter()
        for step in STEPS:
            _nothing(step, f"window {window}")
        taken.append(time.perf_counter() - begun)
    return {"seconds": statistics.median(taken)}


MEASURES = {
    "extract-and-stage": extract_and_stage,
    "extract": extract_alone,
    "whole-path": whole_path,
    "path-with-sums": path_with_sums,
    "backfill": carry_days,
    "month": carry_in_spite,
    "tables": many_tables,
    "plan": plan,
    "fingerprints": fingerprints,
    "compare": compare_days,
    "flow-run": flow_run,
    "task-runs": task_runs,
}


def main() -> None:
    """Do what the command line says, and write what it took."""
    what, *arguments = sys.argv[1:]
    measure = cast("Callable[..., object]", MEASURES[what])
    sys.stdout.write("\n" + json.dumps(measure(*arguments)) + "\n")


if __name__ == "__main__":
    main()
