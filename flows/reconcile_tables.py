"""reconcile: compare tables with their sources where the rows are, and repair what differs."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, Literal

from prefect import flow
from prefect.futures import PrefectFuture
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from prefect.states import Failed
from prefect.task_runners import ThreadPoolTaskRunner
from pydantic import Field

from ferry.audits.outcome import Audit
from ferry.bounded import MAX_REASONS, first_of, on_one_line
from ferry.day_ranges import DayRange, check_first_day
from ferry.errors import RequestError
from ferry.reasons import reason_of
from ferry.specs.chosen import ALL, are_all, chosen_specs, may_write, some_names
from ferry.specs.tables import TableSpec
from ferry.windows import business_date, zone_info
from flows.pipeline.given_dates import Day
from flows.pipeline.make_batch import Route, Routes, scheduled_start
from flows.pipeline.notify import notify
from flows.pipeline.repair import Repaired, repair_table
from flows.pipeline.summaries.follow import follow_tables
from flows.pipeline.table_specs import load_table_specs
from tasks.audits.compare_table import compare_table
from tasks.gather import gather
from tasks.pages.audit import advice, show_audits
from tasks.step import explains, known, with_retries

MAX_TABLES_AT_ONCE = 4
NEVER_CARRIED = "no run has carried it yet"

Repair = Literal["none", "carry", "all"]
LastDays = Annotated[int, Field(ge=1, le=36_500)]
Percent = Annotated[int, Field(ge=0, le=100)]


def _run_name() -> str:
    given = flow_run.parameters
    start, end = given.get("start_date"), given.get("end_date")
    return f"reconcile {some_names(given.get('table') or ALL)}" + (
        f" {start or '…'} to {end or '…'}" if start or end else ""
    )


@flow(
    name="reconcile",
    persist_result=False,
    flow_run_name=_run_name,
    on_failure=[notify],
    on_crashed=[notify],
    task_runner=ThreadPoolTaskRunner(max_workers=MAX_TABLES_AT_ONCE),  # type: ignore[arg-type]
)
@explains
def reconcile(
    table: str | list[str] = ALL,
    start_date: Day | None = None,
    end_date: Day | None = None,
    last_days: LastDays | None = None,
    repair: Repair = "none",
    max_delete_percent: Percent | None = None,
    zone: str | None = None,
) -> Any:
    """Compare tables with their sources, each where its rows are, and say what differs.

    Rows that the source changed after what has been carried are pending, and no difference. The run
    fails if something differs in the end, so that there is one message, with the command that
    repairs it. What was compared stands in `ferry.audits`.

    Args:
        table: A table as in the table specs, several, or `all`.
        start_date: The first day to compare, together with `end_date`; without both, everything is
            compared. It has to be over.
        end_date: The day after the last one, together with `start_date`.
        last_days: In place of dates: so many days up to the day before the scheduled start.
        repair: none: only say what differs. carry: carry windows again that have rows which are
            missing or changed. all: also what the table's `hard_deletes` says of rows that the
            source has no more. With both, a table in mode full that differs is copied whole, which
            takes such rows out. Of `all`, tables of `every: never` are compared alone.
        max_delete_percent: Mark or delete at most so many percent of the target's rows; by default
            as the table's spec says.
        zone: Zone in which days are counted; by default each table's own.

    Returns:
        What was found in the end, by table.
    """
    if zone:
        zone_info(zone)
    specs = chosen_specs(load_table_specs(), table)
    futures: dict[str, PrefectFuture[Audit | None]] = {}
    found, routes = _Found(), Routes()
    for spec in specs:
        name = str(spec.target)
        try:
            days = _days(spec, start_date, end_date, last_days, zone)
            route = routes.of(spec)
            if are_all(table) and (why := _why_left_out(spec, route.source.fingerprints is None)):
                found.left_out[name] = why
                continue
        except Exception as error:  # noqa: BLE001  # the others are compared, whatever it is
            found.failures[name] = reason_of(known(error, table=name))
            continue
        futures[name] = with_retries(compare_table, spec).submit(
            spec,
            days,
            route.source,
            route.warehouse,
            zone=zone or spec.zone,
            flow_run_id=str(flow_run.id),
            begun_at=datetime.now(UTC),
            whole_without_days=last_days is not None or are_all(table),
            may_be_new=are_all(table),
        )
    audits, errors = gather(futures)
    found.audits = {name: audit for name, audit in audits.items() if audit}
    found.left_out |= {name: NEVER_CARRIED for name, audit in audits.items() if not audit}
    found.failures |= {name: reason_of(error) for name, error in errors.items()}
    for each in found.audits.values():
        get_run_logger().info("%s", each)
    if repair != "none":
        for spec in specs:
            audit = found.audits.get(str(spec.target))
            if audit and audit.different and may_write(spec, table):
                route = routes.of(spec)
                _repair(spec, route, audit, found, zone or spec.zone, repair, max_delete_percent)
    repaired = [str(done) for done in found.repaired.values()]
    show_audits(found.audits, specs, found.failures, found.left_out, repaired)
    published = follow_tables(name for name, done in found.repaired.items() if done.changed)
    lines = [str(found.audits[name]) for name in found.audits]
    lines += repaired
    lines += [f"{name} is left out: {why}" for name, why in found.left_out.items()]
    reasons = [
        *(_advice(spec, found) for spec in specs if _differs(spec, found)),
        *found.failures.values(),
        *(reason for done in found.repaired.values() for reason in done.reasons),
    ]
    if reasons:
        reported = [*reasons, *map(on_one_line, published.failures.values())]
        return Failed(message="\n".join(first_of(map(on_one_line, reported), 2 * MAX_REASONS)))
    return published.after("; ".join(first_of(lines, MAX_REASONS)), found.audits)


@dataclass
class _Found:
    """What is known so far, by table."""

    audits: dict[str, Audit] = field(default_factory=dict)
    repaired: dict[str, Repaired] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)


def _why_left_out(spec: TableSpec, without_sql: bool) -> str:
    """Why a table is not compared where all are; empty if it is."""
    if without_sql:
        return "its source takes no SQL"
    return "" if spec.key else "it has no key"


def _days(
    spec: TableSpec,
    start: date | None,
    end: date | None,
    last_days: int | None,
    zone: str | None,
) -> DayRange | None:
    """The days that were asked for; None for everything.

    Raises:
        RequestError: Dates and `last_days`, only one of the dates, or no day of them is over.
    """
    if last_days is not None and (start or end):
        raise RequestError(
            "last_days stands in place of dates",
            found=f"last_days={last_days}, start_date={start}, end_date={end}",
            todo="Give the one or the others.",
        )
    if (start is None) != (end is None):
        raise RequestError(
            "a range has a start and an end",
            found=f"start_date={start}, end_date={end}",
            todo="Give both dates, or none to compare everything.",
        )
    own = zone or spec.zone
    if last_days is not None:
        if spec.mode == "full":
            return None  # it is as it was when it was copied last, whatever the day
        last = business_date(scheduled_start(), own) + timedelta(days=1)
        return DayRange(last - timedelta(days=last_days), last, own)
    if start is None or end is None:
        return None
    days = DayRange(start, end, own)
    check_first_day(days, scheduled_start(), str(spec.target))
    return days


def _repair(
    spec: TableSpec,
    route: Route,
    audit: Audit,
    found: _Found,
    zone: str,
    repair: Repair,
    max_delete_percent: int | None,
) -> None:
    name = str(spec.target)
    limit = spec.max_delete_percent if max_delete_percent is None else max_delete_percent
    try:
        done, again = repair_table(spec, audit, route, zone, remove=repair == "all", limit=limit)
    except Exception as error:  # noqa: BLE001  # the other tables are repaired, whatever it is
        found.failures[name] = reason_of(known(error, table=name))
        return
    found.repaired[name] = done
    found.audits[name] = again
    get_run_logger().info("%s", done)


def _differs(spec: TableSpec, found: _Found) -> bool:
    audit = found.audits.get(str(spec.target))
    return audit is not None and bool(audit.different or audit.left)


def _advice(spec: TableSpec, found: _Found) -> str:
    """What differs, and the command that repairs it."""
    audit = found.audits[str(spec.target)]
    name = str(spec.target)
    if name in found.failures or not audit.different:
        return str(audit)
    return f"{audit}. {advice(spec, audit)}"
