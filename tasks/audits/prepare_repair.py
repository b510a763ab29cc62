"""prepare_repair: both sides of a table that is to be repaired, before anything is changed."""

from __future__ import annotations

from prefect import task

from blocks.source import Source
from blocks.warehouse import Warehouse
from ferry import statements as sql
from ferry.errors import RequestError
from ferry.receipts.read_as import refuse_rows_of_others
from ferry.specs.tables import TableSpec
from tasks.audits.sides import Sides, both_sides
from tasks.landed.receipts import whose_rows
from tasks.step import STEP, error_context, explains


@task(name="prepare repair", task_run_name="prepare repair {spec.target}", **STEP)
@explains
def prepare_repair(
    spec: TableSpec,
    source: Source,
    warehouse: Warehouse,
    *,
    carries: bool,
    to_take_out: int,
    of_them_estimated: int,
    limit: int,
    command: str,
) -> Sides:
    """Both sides of the table, if its rows may be added to, and no more taken out than may be.

    Safe to repeat: it only asks.

    Args:
        spec: The table's spec.
        source: Where it is read from.
        warehouse: Where the target is.
        carries: Whether windows are to be carried again.
        to_take_out: How many rows the repair is to mark or delete.
        of_them_estimated: How many of these were not looked at one by one.
        limit: The most percent of the target's rows that may be.
        command: What repairs just the days that differ.

    Raises:
        RequestError: There are more, the table has no key, or the source takes no SQL. No retry
            helps.
        SchemaError: There is no target, or the two have other columns. No retry helps.
        DataError: Windows would add rows to those of others in the target. No retry helps.
        ConnectionLostError, BusyError: A retry may help.
    """
    with error_context(str(spec.target), None, "prepare repair"):
        sides = both_sides(spec, source, warehouse)
        if carries:  # of many past windows none asks by itself
            names = {name.lower() for name in spec.key}
            key = [pair.source for pair in sides.pairs if pair.source.name.lower() in names]
            # By which cursor rows came decides nothing where there is a key.
            landed = whose_rows(spec.target, warehouse)
            refuse_rows_of_others(landed, spec, "window", None, key)
        if to_take_out:
            found = f"{to_take_out:,} rows"
            if of_them_estimated:
                found = f"about {found}, of which {of_them_estimated:,} were not looked at: the "
                found += "same share as of those that were, or as many as the target has more"
            _refuse_too_many(to_take_out, found, spec, warehouse, limit, command)
        return sides


def _refuse_too_many(
    rows: int, found: str, spec: TableSpec, warehouse: Warehouse, limit: int, command: str
) -> None:
    """Refuse to take out more than a share of the target.

    Raises:
        RequestError: It is more. Nothing was changed.
    """
    ((there,),) = warehouse.fetch(sql.count_rows(spec.target))
    if rows * 100 > int(there) * limit:
        raise RequestError(
            "too many rows of the target are not at the source any more to take them out unasked",
            expected=f"at most {limit} % of {int(there):,} rows (`max_delete_percent`)",
            found=found,
            todo="Nothing was changed. If the source is what it should be, raise "
            f"`max_delete_percent` in the table's spec, or for once: {command} --param "
            "max_delete_percent=…",
        )
