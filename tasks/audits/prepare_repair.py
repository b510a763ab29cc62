"""prepare_repair: both sides of a table that is to be repaired, before anything is changed."""

from __future__ import annotations

from dataclasses import replace

from prefect import task

from blocks.source import Source
from blocks.warehouse import Warehouse
from ferry import statements as sql
from ferry.audits.outcome import Audit
from ferry.bounded import first_of
from ferry.errors import RequestError
from ferry.specs.tables import TableSpec
from tasks.audits.sides import Sides, both_sides
from tasks.pages.audit import command_line
from tasks.step import STEP, error_context, explains

MAX_DAYS = 10
"""Of those that would be emptied, so many are named."""


@task(name="prepare repair", task_run_name="prepare repair {spec.target}", **STEP)
@explains
def prepare_repair(
    spec: TableSpec,
    source: Source,
    warehouse: Warehouse,
    audit: Audit,
    *,
    to_take_out: int,
    limit: int,
) -> Sides:
    """Both sides of the table, if no more rows are to be taken out of the target than may be.

    With a limit of 100 % all may be. With less, no day is emptied: that the source shows none of it
    may be passing, as of a replica that lags or a partition that is being filled again.

    Safe to repeat: it only asks.

    Args:
        spec: The table's spec.
        source: Where it is read from.
        warehouse: Where the target is.
        audit: What was found.
        to_take_out: How many rows the repair is to mark or delete.
        limit: The most percent of the target's rows that may be.

    Raises:
        RequestError: There are more, a day would be emptied, the table has no key, or the source
            takes no SQL. No retry helps.
        SchemaError: There is no target, or the two have other columns. No retry helps.
        ConnectionLostError, BusyError: A retry may help.
    """
    with error_context(str(spec.target), None, "prepare repair"):
        sides = both_sides(spec, source, warehouse)
        if to_take_out and limit < 100:
            _refuse_emptied(spec, audit)
            _refuse_too_many(to_take_out, spec, warehouse, limit)
        return sides


def _refuse_emptied(spec: TableSpec, audit: Audit) -> None:
    """Refuse to take out all that the target has of a day.

    Raises:
        RequestError: There are such days. Nothing was changed.
    """
    emptied = [each for each in audit.buckets if each.window and each.loses_all]
    if not emptied:
        return
    rows = sum(each.target.rows for each in emptied)
    labels = ", ".join(first_of([each.label for each in emptied], MAX_DAYS))
    again = command_line(spec, replace(audit, buckets=tuple(emptied)))
    raise RequestError(
        "days of the target would be emptied unasked",
        expected="some rows of each day at the source, or `max_delete_percent` of 100",
        found=f"nothing at the source of {labels}, of which the target has {rows:,} rows",
        todo="Nothing was changed. Look whether the source is what it should be: its replica may "
        "lag, a partition be about to be filled again. If these rows are deleted for good: "
        f"{again} --param max_delete_percent=100",
    )


def _refuse_too_many(rows: int, spec: TableSpec, warehouse: Warehouse, limit: int) -> None:
    """Refuse to take out more than a share of the target.

    Raises:
        RequestError: It is more. Nothing was changed.
    """
    ((there,),) = warehouse.fetch(sql.count_rows(spec.target))
    if rows * 100 > int(there) * limit:
        raise RequestError(
            "too many rows of the target are not at the source any more to take them out unasked",
            expected=f"at most {limit} % of {int(there):,} rows (`max_delete_percent`)",
            found=f"{rows:,} rows",
            todo="Nothing was changed. If the source is what it should be, raise "
            "`max_delete_percent` in the table's spec, or for once: prefect deployment run "
            f"'reconcile/on-demand' --param table={spec.name} "
            "--param repair=all --param max_delete_percent=…",
        )
