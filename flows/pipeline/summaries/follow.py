"""After tables were carried: the summaries that read them, for just the partitions touched."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger

from ferry.batch import Batch
from ferry.errors import IncompleteReadError
from flows.pipeline.carry_batch import carry
from flows.pipeline.make_batch import Route
from flows.pipeline.summaries.published import ANY_WAREHOUSE, Published
from flows.pipeline.table_specs import load_table_specs
from flows.pipeline.tidy import tidied
from tasks.pages.receipt import receipt_line
from tasks.step import log_failure


def carry_and_follow(batch: Batch, route: Route) -> State[Any]:
    """Carry one batch, and build the summaries that read its table; the state of the run.

    Args:
        batch: One window, or all, of one table.
        route: The blocks it travels over.

    Raises:
        FerryError: As `carry`. Of an IncompleteReadError the rest has landed, and is followed.
    """
    table, began = str(batch.target), datetime.now(UTC)
    with tidied(batch.spec, route.stage, route.warehouse):
        try:
            receipt = carry(batch, route)
        except IncompleteReadError as error:
            published = follow_tables([table])
            if published.failures:
                behind = len(published.failures)
                summaries = "summary is" if behind == 1 else "summaries are"
                return published.failed(f"{error} And {behind} {summaries} not up to date:")
            raise
    return follow_tables([table]).after(receipt_line(receipt, began), receipt)


def follow_tables(names: Iterable[str]) -> Published:
    """Build the summaries that read these tables, or summaries of them; call it inside a flow.

    Call it once for all that a run has carried. What is built follows from the warehouse's own
    records: every change that a summary has not taken in yet, those of this run and those that an
    earlier run failed to. So a run that changed nothing builds nothing, or what is overdue.

    A failure is told by the result, never raised: the rows have arrived.

    Args:
        names: The tables that the run carried, as the warehouse names them: schema.table.
    """
    carried = set(names)
    if not carried:
        return Published()
    try:
        return _follow(carried)
    except Exception as error:  # noqa: BLE001  # a file that was changed under the run, for one
        return Published(failures={(ANY_WAREHOUSE, "summaries"): log_failure(error, "summaries")})


def _follow(carried: set[str]) -> Published:
    # Not before: sqlglot takes 26 MB, which the reading of large tables need not share.
    from flows.pipeline.summaries.publish import BuildRequest, publish_summaries  # noqa: PLC0415
    from flows.pipeline.summaries.specs import load_summaries  # noqa: PLC0415

    summaries, tables = load_summaries(), load_table_specs()
    changed = [(t.warehouse, str(t.target)) for t in tables.values() if str(t.target) in carried]
    requests = [BuildRequest(spec) for spec in summaries.reached_from(changed)]
    reached = [str(request.spec.target) for request in requests]
    behind = summaries.broken_from([*carried, *reached])
    for broken in summaries.broken:
        if broken.target not in behind:
            get_run_logger().warning("another summary is left alone: %s", broken.error)
    return publish_summaries(requests, summaries, tables, broken=behind)
