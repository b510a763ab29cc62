"""After tables were carried: the summaries that read them, for just the partitions touched."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from prefect.logging import get_run_logger

from ferry.errors import SpecError
from ferry.reasons import reason_of
from ferry.receipts.receipt import Receipt
from flows.pipeline.table_specs import load_table_specs

if TYPE_CHECKING:
    from flows.pipeline.publish_summaries import Published


def follow(receipts: Iterable[Receipt]) -> Published:
    """Build the summaries that read these tables, or summaries of them; call it inside a flow.

    Call it once for all the receipts of a run. What is built follows from the warehouse's own
    records: every change that a summary has not taken in yet, those of these receipts and those
    that an earlier run failed to. So a run that changed nothing builds nothing, or what is overdue.

    A failure is told by the result, never raised: the rows have arrived.

    Args:
        receipts: What the run carried.
    """
    return follow_tables(receipt.table_name for receipt in receipts)


def follow_tables(names: Iterable[str]) -> Published:
    """As `follow`, for a run whose receipts are elsewhere: by the tables' names, schema.table."""
    # Not before: sqlglot takes 26 MB, which the reading of large tables need not share.
    from flows.pipeline.publish_summaries import BuildRequest, Published, publish_summaries  # noqa: PLC0415
    from flows.pipeline.summary_specs import load_summaries  # noqa: PLC0415

    carried = set(names)
    if not carried:
        return Published()
    try:
        summaries, tables = load_summaries(), load_table_specs()
    except SpecError as error:
        get_run_logger().error("no summary is built: %s", error)
        return Published(failures={"summaries": reason_of(error)})
    changed = [(t.warehouse, str(t.target)) for t in tables.values() if str(t.target) in carried]
    requests = [BuildRequest(spec) for spec in summaries.reached_from(changed)]
    reached = [str(request.spec.target) for request in requests]
    behind = summaries.broken_from([*carried, *reached])
    for broken in summaries.broken:
        if broken.target not in behind:
            get_run_logger().warning("another summary is left alone: %s", broken.error)
    return publish_summaries(requests, summaries, tables, broken=behind)
