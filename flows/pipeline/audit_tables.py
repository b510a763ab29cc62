"""The last days of tables, compared with their sources after a scheduled run, and repaired."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from prefect.futures import PrefectFuture
from prefect.logging import get_run_logger
from prefect.runtime import flow_run

from ferry.audits.outcome import Audit
from ferry.batch import Batch
from ferry.bounded import on_one_line
from ferry.day_ranges import DayRange
from ferry.lookback import own_window
from ferry.reasons import reason_of
from ferry.windows import zone_info
from flows.pipeline.make_batch import Route, Routes
from flows.pipeline.repair import repair_table
from tasks.audits.compare_table import compare_table
from tasks.gather import gather
from tasks.step import known, with_retries


@dataclass(frozen=True)
class Audited:
    """What came of it.

    Attributes:
        line: What was repaired, for people; empty if nothing differed.
        repaired: Whether anything of the target was changed.
        reason: Why it could not be compared, or what still differs; empty if nothing does.
    """

    line: str = ""
    repaired: bool = False
    reason: str = ""


def audit_tables(batches: Iterable[Batch], routes: Routes) -> dict[str, Audited]:
    """Compare the tables whose spec asks for it (`audit_days`), several at once, and repair them.

    Call it inside a flow, when what these tables' batches carry has landed.

    Args:
        batches: The run's own batches.
        routes: The routes of the run's tables.
    """
    chosen = {str(b.target): b for b in batches if b.spec.audit_days and b.window}
    futures: dict[str, PrefectFuture[Audit | None]] = {}
    done: dict[str, Audited] = {}
    for name, batch in chosen.items():
        try:
            futures[name] = _submit(batch, routes.of(batch.spec))
        except Exception as error:  # noqa: BLE001  # the others are compared, whatever it is
            done[name] = Audited(reason=reason_of(known(error, table=name)))
    audits, errors = gather(futures)
    done |= {name: Audited(reason=reason_of(error)) for name, error in errors.items()}
    return done | {
        name: _repaired(chosen[name], audit, routes) for name, audit in audits.items() if audit
    }


def _submit(batch: Batch, route: Route) -> PrefectFuture[Audit | None]:
    spec = batch.spec
    assert batch.window is not None
    own = own_window(spec, batch.window, batch.scheduled_start)
    # To the end of the day that has the window's last moment: of an hour, the day is not over.
    last = (own.end - timedelta(microseconds=1)).astimezone(zone_info(spec.zone)).date()
    end = last + timedelta(days=1)
    return with_retries(compare_table, spec).submit(
        spec,
        DayRange(end - timedelta(days=spec.audit_days), end, spec.zone),
        route.source,
        route.warehouse,
        zone=spec.zone,
        flow_run_id=str(flow_run.id),
        begun_at=datetime.now(UTC),
    )


def _repaired(batch: Batch, audit: Audit, routes: Routes) -> Audited:
    spec = batch.spec
    if not audit.different:
        return Audited(reason=str(audit) if audit.left else "")
    get_run_logger().warning("%s", audit)
    try:
        repair, again = repair_table(
            spec,
            audit,
            routes.of(spec),
            spec.zone,
            remove=True,
            limit=spec.max_delete_percent,
        )
    except Exception as error:  # noqa: BLE001  # the other tables are repaired, whatever it is
        return Audited(reason=reason_of(known(error, table=str(spec.target))))
    if repair.equal or (again.counts_only_extra and spec.hard_deletes == "report"):
        return Audited(str(repair) if repair.equal else str(again), repair.changed)
    left = "; ".join([str(again), *repair.reasons])
    return Audited(str(repair), repair.changed, on_one_line(left))
