"""sync-all: carry every table that is due, concurrently; one failure does not stop the others."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture, wait
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from prefect.states import Completed, Failed
from prefect.task_runners import ThreadPoolTaskRunner

from ferry.batch import Batch
from ferry.errors import FerryError
from ferry.receipts import Receipt
from ferry.specs import TableSpec
from ferry.windows import Every
from flows.carry_batch import Dates, carry, load_road, make_batch, summary_line, tidy
from flows.notify_failure import tell
from flows.table_specs import load_table_specs
from tasks.artifacts import cosmetic

MAX_TABLES_AT_ONCE = 4


@task(
    name="sync table",
    task_run_name="sync {batch}",
    cache_policy=NO_CACHE,
    persist_result=False,
)
def sync_one(batch: Batch) -> Receipt:
    """Carry one table; its steps are tasks of their own, with retries of their own."""
    road = load_road(batch.spec)
    receipt = carry(batch, road)
    tidy(batch, road)
    return receipt


def _run_name() -> str:
    given = flow_run.parameters
    when = given.get("run_date") or given.get("window_start")
    return f"sync all {given['every']}" + (f" {when}" if when else "")


@flow(
    name="sync-all",
    flow_run_name=_run_name,
    on_failure=[tell],
    on_crashed=[tell],
    task_runner=ThreadPoolTaskRunner(max_workers=MAX_TABLES_AT_ONCE),  # type: ignore[arg-type]
)
def sync_all(
    every: Every = "day",
    tables: list[str] | None = None,
    run_date: date | None = None,
    window_start: datetime | None = None,
    window_end: datetime | None = None,
    zone: str | None = None,
) -> Any:
    """Carry every table that is due, each with its own receipt.

    Tables in mode `window` carry the dates given, or the day (or hour) before the run's scheduled
    start; the others carry what their mode says. The run fails if any table failed, after all the
    others are done, and names each one with its reason.

    Args:
        every: Which tables are due: those whose spec says `day`, or `hour`.
        tables: Only these tables, due or not.
        run_date: Carry this whole day.
        window_start: Carry from this moment on, together with `window_end`.
        window_end: Carry up to, but not including, this moment.
        zone: Zone in which the business date is counted; by default each table's own.

    Returns:
        The receipts by table.
    """
    specs = load_table_specs()
    due = (
        list({spec.name: spec for spec in map(specs.named, tables)}.values())
        if tables
        else due_tables(specs, every)
    )
    dates = Dates(run_date, window_start, window_end, zone)
    futures: dict[str, PrefectFuture[Receipt]] = {}
    receipts: dict[str, Receipt] = {}
    failures: dict[str, str] = {}
    for spec in due:
        try:
            batch = make_batch(spec, dates if spec.mode == "window" else Dates())
        except FerryError as error:
            failures[str(spec.target)] = str(error)
        else:
            futures[str(spec.target)] = sync_one.submit(batch)
    wait(list(futures.values()))
    for name, future in futures.items():
        result = future.result(raise_on_failure=False)
        if isinstance(result, Receipt):
            receipts[name] = result
        else:
            failures[name] = str(result)
    _show(receipts, failures)
    if failures:
        head = f"{len(failures)} of {len(due)} tables failed:"
        reasons = [" ".join(reason.split()) for reason in failures.values()]  # one line each
        return Failed(message=(" " if len(reasons) == 1 else "\n").join([head, *reasons]))
    return Completed(message=f"{len(receipts)} tables carried", data=receipts)


def due_tables(specs: dict[str, TableSpec], every: Every) -> list[TableSpec]:
    """The tables that are carried this often."""
    return [spec for spec in specs.values() if spec.every == every]


def _show(receipts: dict[str, Receipt], failures: dict[str, str]) -> None:
    log = get_run_logger()
    for receipt in receipts.values():
        log.info("%s", summary_line(receipt))
    for reason in failures.values():
        log.error("%s", reason)
    rows = [
        f"| {name} | {r.window_label} | {r.rows_extracted:,} | {r.rows_inserted:,} | "
        f"{r.rows_updated:,} | {r.rows_deleted:,} | {r.rows_unchanged:,} |"
        for name, r in receipts.items()
    ]
    rows += [
        f"| {name} | **failed**: {reason.replace('|', '/')} | | | | | |"
        for name, reason in failures.items()
    ]
    with cosmetic("what was carried"):
        create_markdown_artifact(
            key="sync-all",
            markdown="| table | window | read | inserted | updated | deleted | unchanged |\n"
            "| --- | --- | ---: | ---: | ---: | ---: | ---: |\n" + "\n".join(rows),
        )
