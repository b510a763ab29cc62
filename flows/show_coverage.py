"""coverage: show, table by date, what is loaded, missing or failed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from prefect.futures import PrefectFuture
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from prefect.states import Completed, Failed
from prefect.task_runners import ThreadPoolTaskRunner

from ferry.bounded import MAX_REASONS, first_of, on_one_line
from ferry.coverage.days import TableTotals, gaps_first
from ferry.coverage.standings import Status
from ferry.day_ranges import check_ends
from ferry.reasons import reason_of
from ferry.specs.chosen import ALL, are_all, chosen_specs, some_names
from ferry.windows import zone_info
from flows.pipeline.given_dates import Day
from flows.pipeline.make_batch import Warehouses, scheduled_start
from flows.pipeline.notify import notify
from flows.pipeline.table_specs import load_table_specs
from tasks.gather import gather
from tasks.pages.artifacts import cosmetic
from tasks.pages.coverage import overview_page
from tasks.record_coverage import record_coverage
from tasks.step import explains, known, with_retries

MAX_TABLES_AT_ONCE = 4


def _run_name() -> str:
    return f"coverage {some_names(flow_run.parameters.get('table') or ALL)}"


@flow(
    name="coverage",
    persist_result=False,
    flow_run_name=_run_name,
    on_failure=[notify],
    on_crashed=[notify],
    task_runner=ThreadPoolTaskRunner(max_workers=MAX_TABLES_AT_ONCE),  # type: ignore[arg-type]
)
@explains
def show_coverage(
    table: str | list[str] | None = None,
    start_date: Day | None = None,
    end_date: Day | None = None,
    zone: str | None = None,
) -> Any:
    """Show, table by date, what is loaded, missing or failed.

    Each table gets a page with a calendar, and the command that repairs what is not loaded; with
    dates, a page beside the one of all its days. The table `ferry.coverage` in the warehouse gets
    all its days. A run that starts late, or is retried, tells of the days up to then. It is
    Completed, whatever is missing; it fails only if a table's days cannot be told.

    Args:
        table: One table, several, or `all`, which it is by default.
        start_date: Show the days from this one on; by default from the spec's `start_date`, else
            from the first that has a receipt or a failure.
        end_date: Show the days before this one; by default all that are over.
        zone: Zone in which days are counted; by default each table's own.

    Returns:
        How many of the days shown stand how, by table.
    """
    table = ALL if table is None else table
    # What is told replaces what was told before, so that a retry tomorrow tells of today, too.
    now = max(scheduled_start(), datetime.now(UTC))
    check_ends(start_date, end_date)
    if zone:
        zone_info(zone)
    futures: dict[str, PrefectFuture[TableTotals]] = {}
    unknown: dict[str, str] = {}
    warehouses = Warehouses()
    for spec in chosen_specs(load_table_specs(), table):
        try:
            warehouse = warehouses.of(spec)
        except Exception as error:  # noqa: BLE001  # the others are told, whatever it is
            unknown[str(spec.target)] = reason_of(known(error, table=str(spec.target)))
            continue
        futures[str(spec.target)] = with_retries(record_coverage, spec).submit(
            spec,
            warehouse,
            zone=zone,
            now=now,
            start=start_date,
            end=end_date,
        )
    told, errors = gather(futures)
    found = dict(sorted(told.items(), key=lambda each: gaps_first(each[1])))
    unknown |= {name: reason_of(error) for name, error in errors.items()}
    _show(found, unknown, of_all=are_all(table), whole=not (start_date or end_date))
    summary = "; ".join([*_total(found), *first_of(map(str, found.values()), MAX_REASONS)])
    if unknown:
        reasons = "; ".join(first_of(map(on_one_line, unknown.values()), MAX_REASONS))
        of = f"{len(unknown)} of {len(found) + len(unknown)} tables cannot be told"
        return Failed(message=f"{of}: {reasons}" + (f"; {summary}" if summary else ""))
    return Completed(message=summary, data=found)


def _total(found: dict[str, TableTotals]) -> list[str]:
    """How many of them have gaps, where they are not all named."""
    if len(found) <= MAX_REASONS:
        return []
    gaps = sum(each.newest_gap is not None for each in found.values())
    total = f"{gaps:,} of {len(found):,} tables have days that are missing or failed"
    whole = sum(each.whole in (Status.MISSING, Status.FAILED) for each in found.values())
    if whole:
        total += f", and {whole:,} without days {'are' if whole > 1 else 'is'}"
    return [total]


def _show(
    found: dict[str, TableTotals], unknown: dict[str, str], *, of_all: bool, whole: bool
) -> None:
    """Show them; the page of all tables stays as it is where it is not these, or not all days."""
    log = get_run_logger()
    for each in found.values():
        log.info("%s", each)
    for reason in unknown.values():
        log.error("%s", reason)
    with cosmetic("the coverage"):
        create_markdown_artifact(
            key="coverage" if of_all and whole else "selected-coverage",
            description="What is loaded, missing or failed",
            markdown=overview_page(found.values(), unknown, whole=whole),
        )
