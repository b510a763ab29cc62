"""coverage: how the days of one table stand, worked out, written to the warehouse and shown."""

from __future__ import annotations

from datetime import UTC, date, datetime

from prefect import task
from prefect.artifacts import create_markdown_artifact

from blocks.warehouse import Warehouse
from ferry.audits.table import AUDIT_COLUMNS, AUDITS, read_found, select_found
from ferry.coverage.days import DayAudit, TableDays, TableTotals, table_days
from ferry.coverage.table import COVERAGE, COVERAGE_COLUMNS, rewrite
from ferry.specs.tables import TableSpec
from tasks.landed.history import read_history
from tasks.own_tables import is_made, make_missing
from tasks.pages.artifacts import cosmetic
from tasks.pages.coverage import artifact_key, table_page
from tasks.step import STEP, error_context, explains, repeat_on_conflict
from tasks.target.lock import lock


@task(name="coverage", task_run_name="coverage of {spec.name}", **STEP)
@explains
def record_coverage(
    spec: TableSpec,
    warehouse: Warehouse,
    *,
    zone: str | None,
    now: datetime,
    start: date | None = None,
    end: date | None = None,
) -> TableTotals:
    """Write all days of the table up to the last one that is over to `ferry.coverage`; show them.

    Safe to repeat: what has changed of the table's rows is written, in one transaction. Days
    before the table's first, which are told where they are asked for, are not written.

    Args:
        spec: The table's spec.
        warehouse: Where its receipts are.
        zone: The zone in which days are counted; None for the spec's own.
        now: What tells which days are over.
        start: Tell of the days from here on, too, and show no others.
        end: Show the days before this one.

    Returns:
        How many of the days shown stand how; they themselves are on the table's page.

    Raises:
        ConnectionLostError, BusyError, ConflictError, OutcomeUnknownError: A retry may help.
        AccessError: The warehouse refuses. No retry helps.
    """
    with error_context(str(spec.target), None, "coverage"):
        history = read_history.fn(spec, warehouse)
        audits = read_audits(spec, warehouse)

        def told(first: date | None) -> TableDays:
            return table_days(
                spec,
                history.receipts,
                history.failures,
                cursor=history.cursor,
                cursor_kind=history.cursor_kind,
                zone=zone or spec.zone,
                now=now,
                start=first,
                audits=audits,
            )

        days = told(start)
        make_missing(COVERAGE, COVERAGE_COLUMNS, warehouse)
        _write(told(None) if start else days, warehouse)
    shown = days.within(start, end)
    with cosmetic("the coverage"):
        create_markdown_artifact(
            key=artifact_key(spec.name, whole=not (start or end)),
            description=str(shown),
            markdown=table_page(shown),
        )
    return shown.totals


def read_audits(spec: TableSpec, warehouse: Warehouse) -> dict[tuple[datetime, datetime], DayAudit]:
    """What was found last of each part of the table that was compared with its source."""
    if not is_made(AUDITS, AUDIT_COLUMNS, warehouse):
        return {}
    found = map(read_found, warehouse.fetch(select_found(spec.target)))
    return {
        (start.astimezone(UTC), end.astimezone(UTC)): DayAudit(at, text)
        for start, end, at, text in found
    }


def _write(days: TableDays, warehouse: Warehouse) -> None:
    """Write the days; a conflict with another run, or an answer lost at COMMIT, does so again."""

    def transact() -> None:
        with warehouse.transaction() as tx:
            lock(tx, COVERAGE, warehouse)
            rewrite(tx, days, datetime.now(UTC))

    repeat_on_conflict(transact, f"coverage of {days.spec.name}")
