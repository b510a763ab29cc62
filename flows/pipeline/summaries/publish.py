"""Summaries through their steps: check ▶ build ▶ check ▶ publish, in order of what they read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from prefect.logging import get_run_logger
from prefect.runtime import flow_run

from blocks.warehouse import Warehouse
from ferry.errors import CheckFailedError, FerryError, SchemaError, SpecError, StaleReadError
from ferry.specs.tables_file import TableSpecs
from ferry.summaries.build import Build
from ferry.summaries.checks import CheckResult
from ferry.summaries.files import Summaries
from ferry.summaries.partitions import Span
from ferry.summaries.publications import Publication
from ferry.summaries.specs import SummarySpec
from flows.pipeline.make_batch import Warehouses
from flows.pipeline.summaries.published import ANY_WAREHOUSE, Published
from tasks.pages.newest import newest_rows, show
from tasks.plan_summary import changed_since, is_there, missing_tables, plan_summary
from tasks.staging_tables import drop_quietly
from tasks.step import in_place, log_failure, with_retries
from tasks.summarize import build_aside, check, publish

STALE_ATTEMPTS = 3


@dataclass(frozen=True)
class BuildRequest:
    """A summary to be built.

    Attributes:
        spec: The summary.
        asked: What is asked for; None for just what changes have touched.
        accepted: Labels of its checks that may fail this once.
        by_person: Whether a person asks, not an event.
    """

    spec: SummarySpec
    asked: Span | None = None
    accepted: tuple[str, ...] = ()
    by_person: bool = True


def publish_summaries(
    requests: Sequence[BuildRequest],
    summaries: Summaries,
    tables: TableSpecs,
    broken: Mapping[str, str] | None = None,
) -> Published:
    """Build and publish these summaries, one after the other; call it inside a flow.

    One that fails does not stop the others, but for those that read it: they wait for it.

    Args:
        requests: What to build, each after those that it reads.
        summaries: All summaries.
        tables: All table specs.
        broken: Why others cannot be built at all, by their tables' names.
    """
    log = get_run_logger()
    unreadable = {(ANY_WAREHOUSE, name): reason for name, reason in (broken or {}).items()}
    published = Published(failures=unreadable)
    failures = published.failures
    for reason in unreadable.values():
        log.error("%s", reason)
    warehouses = Warehouses()
    _warn_of_not_followed(requests, summaries, tables, warehouses)
    for request in requests:
        spec, target = request.spec, str(request.spec.target)
        place = spec.warehouse, target
        anywhere = (spec.warehouse, ANY_WAREHOUSE)
        waiting = [name for name in spec.reads if any((w, name) in failures for w in anywhere)]
        if waiting:
            failures[place] = f"{target}: waits for {', '.join(waiting)}"
            log.error("%s", failures[place])
            continue
        try:
            warehouse = warehouses.of(spec)
            _refuse_carried(spec, tables)
            missing = in_place(missing_tables, spec)(spec, warehouse)
            new = bool(missing) and not in_place(is_there, spec)(spec, warehouse)
            if new and request.asked is None:
                log.info("%s is left alone: there is no %s yet", target, ", ".join(missing))
                continue
            if missing:
                raise _missing(spec, missing)
            publication = _publish_one(request, summaries, tables, warehouse)
        except Exception as error:  # noqa: BLE001  # the others are built, whatever it is
            failures[place] = log_failure(error, target)
        else:
            published.publications += [publication] if publication else []
    return published


def _warn_of_not_followed(
    requests: Sequence[BuildRequest],
    summaries: Summaries,
    tables: TableSpecs,
    warehouses: Warehouses,
) -> None:
    """Name what summaries read whose changes no run tells them, if they are, or are being, built.

    A warning is all that it is: what cannot be asked fails nothing.
    """
    wanted = {request.spec.name for request in requests}
    carried = [(table.warehouse, str(table.target)) for table in tables.values()]
    for spec, names in summaries.not_followed(carried):
        with suppress(Exception):
            if spec.name not in wanted and not is_there.fn(spec, warehouses.of(spec)):
                continue
            get_run_logger().warning(
                "%s reads %s, neither a table of the specs nor a summary: changes there are not "
                "followed; read the tables behind it, or emit ferry.table.changed",
                spec.target,
                ", ".join(names),
            )


def _publish_one(
    request: BuildRequest,
    summaries: Summaries,
    tables: TableSpecs,
    warehouse: Warehouse,
) -> Publication | None:
    """Build and publish one summary; built again if another run published it meanwhile.

    So it is where a check has failed and what it reads has changed: the check may have compared
    what was built of it with what is there now.
    """
    for attempt in range(1, STALE_ATTEMPTS + 1):
        build = in_place(plan_summary, request.spec)(
            request.spec,
            request.asked,
            summaries,
            tables,
            warehouse,
            str(flow_run.id),
            request.accepted,
            by_person=request.by_person,
        )
        if build is None:
            return None
        try:
            return _steps(build, tables, warehouse)
        except (StaleReadError, CheckFailedError) as error:
            checked = isinstance(error, CheckFailedError)
            if checked and not _has_changed(build, tables, warehouse):
                raise
            if attempt == STALE_ATTEMPTS:
                raise
            why = "what it reads has changed, and: " if checked else ""
            get_run_logger().warning("%s is built again: %s%s", build, why, error)
    raise AssertionError("unreachable")


def _has_changed(build: Build, tables: TableSpecs, warehouse: Warehouse) -> bool:
    try:
        return in_place(changed_since, build.spec)(build, tables, warehouse)
    except StaleReadError:
        return True


def _steps(build: Build, tables: TableSpecs, warehouse: Warehouse) -> Publication:
    spec = build.spec
    results = _check_inputs(build, warehouse)
    built = with_retries(build_aside, spec)(build, warehouse)
    try:
        checked = with_retries(check, spec)(build, "output_check", built, warehouse)
        if in_place(changed_since, spec)(build, tables, warehouse):
            # Rows may be in what was built that had not landed when the inputs were checked.
            results = _check_inputs(build, warehouse)
        results += checked
        before = newest_rows(spec, warehouse)
        publication = with_retries(publish, spec)(built, results, warehouse)
    finally:
        drop_quietly(warehouse, built.table)
    show(spec, before, newest_rows(spec, warehouse), results)
    return publication


def _check_inputs(build: Build, warehouse: Warehouse) -> list[CheckResult]:
    if not build.spec.input_check:
        return []
    return with_retries(check, build.spec)(build, "input_check", None, warehouse)


def _refuse_carried(spec: SummarySpec, tables: TableSpecs) -> None:
    for table in tables.values():
        if (table.warehouse, table.target) == (spec.warehouse, spec.target):
            raise SpecError(
                "the summary would replace a table that is carried from a source",
                table=str(spec.target),
                step="build",
                todo="Give it another `schema` or `table` in its summary.yaml.",
            )


def _missing(spec: SummarySpec, missing: Sequence[str]) -> FerryError:
    return SchemaError(
        f"it reads tables that the warehouse does not have: {', '.join(missing)}",
        table=str(spec.target),
        step="build",
        todo="Carry them first, or correct `reads` and the query.",
    )
