"""reconcile: one table compared with its source, and what was found kept in `ferry.audits`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from prefect import task

from blocks.source import Source
from blocks.warehouse import Warehouse
from ferry.audits.buckets import Days, check_days
from ferry.audits.outcome import Audit
from ferry.audits.table import AUDIT_COLUMNS, AUDITS, insert_records, record_of
from ferry.errors import RequestError
from ferry.specs.tables import TableSpec
from tasks.audits.compare import compare
from tasks.audits.sides import all_days, both_sides
from tasks.own_tables import make_missing
from tasks.places.readers import place_among_readers
from tasks.step import STEP, explains, placed, repeat_on_conflict


@task(name="reconcile", task_run_name="reconcile {spec.target}", **STEP)
@explains
def reconcile(
    spec: TableSpec,
    days: Days | None,
    source: Source,
    warehouse: Warehouse,
    *,
    zone: str,
    flow_run_id: str,
) -> Audit:
    """The table compared with its source, where their rows are; nothing is changed.

    Safe to repeat: it reads, and adds rows to `ferry.audits`.

    Args:
        spec: The table's spec.
        days: The days to compare; None for everything.
        source: Where it is read from.
        warehouse: Where the target is.
        zone: The zone in which days are counted.
        flow_run_id: The run, for the record.

    Raises:
        RequestError: The table has no key or takes no days, or the source no SQL. No retry helps.
        SchemaError: There is no target, or the two have other columns. No retry helps.
        DataError: The key is not unique on a side. No retry helps.
        ConnectionLostError, BusyError: A retry may help.
    """
    with (
        placed(str(spec.target), None, "reconcile"),
        place_among_readers(spec.source, backfill=True),
    ):
        sides = both_sides(spec, source, warehouse)
        if days is not None:
            check_days(days, str(spec.target))
            if sides.ours.side.ordering is None:
                raise RequestError(
                    "the table has no column that tells when its rows came, so it takes no days",
                    todo="Leave the dates out: it is compared as a whole, by its key.",
                )
        audit = compare(sides, days or all_days(sides, zone), datetime.now(UTC))
        record(audit, warehouse, flow_run_id)
        return audit


def record(
    audit: Audit,
    warehouse: Warehouse,
    flow_run_id: str,
    repaired: Mapping[str, int] | None = None,
) -> None:
    """Keep what was found.

    Args:
        audit: What was found.
        warehouse: Where.
        flow_run_id: The run.
        repaired: How many rows a repair has made equal, by the buckets' labels.
    """
    make_missing(AUDITS, AUDIT_COLUMNS, warehouse)
    rows = [
        record_of(audit, bucket, flow_run_id, repaired.get(bucket.label, 0) if repaired else None)
        for bucket in audit.buckets
    ]

    def transact() -> None:
        with warehouse.transaction() as tx:
            for statement in insert_records(rows):
                tx.execute(statement)

    repeat_on_conflict(transact, f"the audit of {audit.table}")
