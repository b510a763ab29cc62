"""sync-all: carry every table that is due, concurrently; one failure does not stop the others."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from threading import Event
from typing import Any

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from prefect.states import Failed
from prefect.task_runners import ThreadPoolTaskRunner

from ferry.backfills.outcomes import Outcome, failed_lines, failures_of, receipts_of, windows_of
from ferry.batch import Batch
from ferry.bounded import MAX_REASONS, MAX_ROWS, first_of, on_one_line
from ferry.errors import IncompleteReadError, RequestError
from ferry.reasons import reason_of
from ferry.receipts.receipt import Receipt
from ferry.specs.chosen import chosen_specs, may_write
from ferry.specs.tables import TableSpec
from ferry.windows import Every, Window, check_begun, run_window
from flows.pipeline.audit_tables import audit_tables
from flows.pipeline.carry_batch import TaskRuns, carry
from flows.pipeline.catch_up import catch_up_tables, caught_up_lines
from flows.pipeline.given_dates import Day, Moment
from flows.pipeline.make_batch import Dates, Routes, make_batch, scheduled_start
from flows.pipeline.notify import notify
from flows.pipeline.settle import wait_until_settled
from flows.pipeline.summaries.follow import follow_tables
from flows.pipeline.table_specs import load_table_specs
from flows.pipeline.tidy import tidied, tidy_scratch
from tasks.gather import gather
from tasks.pages.artifacts import cosmetic
from tasks.pages.cells import short
from tasks.pages.receipt import EARLIER, is_earlier, receipt_line
from tasks.step import explains, known

MAX_TABLES_AT_ONCE = 4

DATES_FOR_NONE = "the dates were for none of them: no table is in mode window"


@task(
    name="sync table",
    task_run_name="sync {batch}",
    cache_policy=NO_CACHE,
    persist_result=False,
)
@explains
def sync_one(batch: Batch, routes: Routes, *, stop: Event, settle: bool) -> Receipt:
    """Carry one table; its steps have retries of their own, those of a larger one task runs, too.

    Args:
        batch: What is to be carried.
        routes: The routes of the run's tables.
        stop: Once it is set, nothing waits any more.
        settle: Whether the window has to settle first.
    """
    route = routes.of(batch.spec, stop)
    if settle:
        wait_until_settled(batch, route.source, stop)
    with tidied(batch.spec, route.stage, route.warehouse, scratch=False):
        return carry(batch, route, TaskRuns.SMALL_IN_PLACE)


def _run_name() -> str:
    given = flow_run.parameters
    which = "tables" if given.get("tables") == ["all"] else given["every"]
    when = given.get("run_date") or given.get("window_start")
    return f"sync all {which}" + (f" {when}" if when else "")


@flow(
    name="sync-all",
    persist_result=False,
    flow_run_name=_run_name,
    on_failure=[notify],
    on_crashed=[notify],
    task_runner=ThreadPoolTaskRunner(max_workers=MAX_TABLES_AT_ONCE),  # type: ignore[arg-type]
)
@explains
def sync_all(
    every: Every = "day",
    tables: list[str] | None = None,
    run_date: Day | None = None,
    window_start: Moment | None = None,
    window_end: Moment | None = None,
    zone: str | None = None,
) -> Any:
    """Carry every table that is due, each with its own receipt.

    Tables in mode `window` carry the dates given, or the day (or hour) before the run's scheduled
    start; the others carry what their mode says. Without dates, a table with `catch_up: true` then
    carries its past windows that are not loaded, and one with `audit_days` is compared with its
    source for these days and repaired. The run fails if any table or window failed, after
    all the others are done, and names each one with its reason.

    Args:
        every: Which tables are due where none are named: those whose spec says `day`, or `hour`.
        tables: Only these tables, due or not; `all` is every one but those of `every: never`.
        run_date: Carry this whole day.
        window_start: Carry from this moment on, together with `window_end`. Without an offset it
            is meant in `zone`; the form's picker writes an offset of its own, which counts.
        window_end: Carry up to, but not including, this moment.
        zone: Zone in which days are counted, and moments without an offset are meant; by default
            each table's own.

    Returns:
        The receipts of the run's own windows, by table.

    Raises:
        RequestError: An unknown table, dates that cannot be or a zone that there is not. No retry
            helps.
    """
    dates = Dates(run_date, window_start, window_end, zone)
    due = _due(every, tables, dates)
    batches: list[Batch] = []
    stop, routes, began = Event(), Routes(), datetime.now(UTC)
    futures: dict[str, PrefectFuture[Receipt]] = {}
    failures: dict[str, str] = {}
    for spec in sorted(due, key=lambda each: each.settle_seconds):  # who waits holds a place
        try:
            batch = make_batch(spec, dates if spec.mode == "window" else Dates())
        except Exception as error:  # noqa: BLE001  # the others are carried, whatever it is
            failures[str(spec.target)] = reason_of(known(error, table=str(spec.target)))
        else:
            batches.append(batch)
            futures[str(spec.target)] = sync_one.submit(
                batch, routes, stop=stop, settle=not dates.given
            )
    try:
        receipts, errors = gather(futures)
    except BaseException:  # a cancelled run ends here, by a signal
        stop.set()
        raise
    tidy_scratch(routes.warehouses, "sync-all")
    failures |= {name: reason_of(error) for name, error in errors.items()}
    partly = [name for name, error in errors.items() if isinstance(error, IncompleteReadError)]
    caught_up = {} if dates.given else catch_up_tables(batches, routes)
    landed = [batch for batch in batches if str(batch.target) in receipts]
    audited = {} if dates.given else audit_tables(landed, routes)
    failures |= {name: each.reason for name, each in audited.items() if each.reason}
    _show(receipts, failures, caught_up)
    outcomes = [outcome for each in caught_up.values() for outcome in each]
    repaired = [name for name, each in audited.items() if each.repaired]
    published = follow_tables(
        [*receipts, *partly, *(r.table_name for r in receipts_of(outcomes)), *repaired]
    )
    late = failures_of(outcomes)
    if failures or late:
        counts = [f"{len(failures)} of {len(due)} tables failed"] if failures else []
        counts += [f"{_past(late)} could not be caught up"] if late else []
        behind = len(published.failures)
        counts += [f"{behind} summaries are not up to date"] if behind else []
        kinds = (failures.values(), published.failures.values())
        reasons = [each for kind in kinds for each in first_of(map(on_one_line, kind), MAX_REASONS)]
        reasons += failed_lines(late)
        head = " and ".join(counts) + ":"
        return Failed(message=(" " if len(reasons) == 1 else "\n").join([head, *reasons]))
    parts = [
        _carried_line(receipts, began),
        *_dates_line(dates, due),
        *first_of(caught_up_lines(caught_up), MAX_REASONS),
    ]
    parts += first_of((each.line for each in audited.values() if each.line), MAX_REASONS)
    return published.after("; ".join(parts), receipts)


def _past(late: Sequence[Outcome]) -> str:
    """How much could not be caught up; of a table that failed as a whole, no windows are known."""
    many, tables = windows_of(late), sum(not each.windows for each in late)
    whole = f"{tables:,} table" + ("" if tables == 1 else "s")
    if not many:
        return f"past windows of {whole}"
    return f"{many:,} past window(s)" + (f", and those of {whole}," if tables else "")


def due_tables(specs: dict[str, TableSpec], every: Every) -> list[TableSpec]:
    """The tables that are carried this often."""
    return [spec for spec in specs.values() if spec.every == every]


def _due(every: Every, tables: list[str] | None, dates: Dates) -> list[TableSpec]:
    """The tables that the run carries; its dates are checked with them."""
    specs = load_table_specs()
    if tables is None:
        due = due_tables(specs, every)
    else:
        asked = chosen_specs(specs, tables, "tables")
        due = [spec for spec in asked if may_write(spec, tables)]
    _check_dates(dates, due, every)
    return due


def _check_dates(dates: Dates, due: Sequence[TableSpec], every: Every) -> None:
    """Refuse dates that no table could be carried for; those of one table it refuses itself.

    Also where no table has windows: a mistake would go unseen.

    Raises:
        RequestError: Such dates, or a zone that there is not.
    """
    start, windows, refused = scheduled_start(), list[Window](), list[RequestError]()
    zones = [dates.zone] if dates.zone else [spec.zone for spec in due] or ["UTC"]
    for zone in dict.fromkeys(zones):
        given = {"window_start": dates.window_start, "window_end": dates.window_end}
        try:
            window = run_window(
                scheduled_start=start, zone=zone, every=every, run_date=dates.run_date, **given
            )
            if dates.given:
                check_begun(window, min(start, datetime.now(UTC)))
        except RequestError as error:
            refused.append(error)
        else:
            windows.append(window)
    if not windows:  # else another zone's tables can be carried
        raise refused[0]


def _show(
    receipts: dict[str, Receipt],
    failures: dict[str, str],
    caught_up: dict[str, list[Outcome]],
) -> None:
    log = get_run_logger()
    for receipt in receipts.values():
        log.info("%s", receipt_line(receipt))
    for reason in failures.values():
        log.error("%s", reason)
    late = caught_up.values()
    kinds = (
        [_row(receipt) for receipt in receipts.values()],
        [_failed_row(name, reason) for name, reason in failures.items()],
        [_row(r, "caught up: ") for each in late for r in reversed(receipts_of(each))],
        [_failed_row(o.table, o.reason) for each in late for o in reversed(failures_of(each))],
    )
    more = "| and {:,} more | | | | | | |"
    rows = [row for kind in kinds for row in first_of(kind, MAX_ROWS, more)]
    with cosmetic("what was carried"):
        create_markdown_artifact(
            key="sync-all",
            markdown="| table | window | read | inserted | updated | deleted | unchanged |\n"
            "| --- | --- | ---: | ---: | ---: | ---: | ---: |\n" + "\n".join(rows),
        )


def _carried_line(receipts: dict[str, Receipt], began: datetime) -> str:
    earlier = sum(is_earlier(receipt, began) for receipt in receipts.values())
    return f"{len(receipts)} tables carried" + (f"; of them {earlier} {EARLIER}" if earlier else "")


def _dates_line(dates: Dates, due: Sequence[TableSpec]) -> list[str]:
    """What became of dates where no table has windows; nothing otherwise."""
    if not dates.given or any(spec.mode == "window" for spec in due):
        return []
    get_run_logger().warning(DATES_FOR_NONE)
    return [DATES_FOR_NONE]


def _row(r: Receipt, what: str = "") -> str:
    return (
        f"| {r.table_name} | {what}{r.window_label} | {r.rows_extracted:,} | {r.rows_inserted:,} | "
        f"{r.rows_updated:,} | {r.rows_deleted:,} | {r.rows_unchanged:,}"
        + (f", {r.rows_superseded:,} superseded |" if r.rows_superseded else " |")
    )


def _failed_row(name: str, reason: str) -> str:
    return f"| {name} | **failed**: {short(reason)} | | | | | |"
