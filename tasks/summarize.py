"""build ▶ check ▶ publish: a summary, built aside, checked, and shown to its readers at once."""

from __future__ import annotations

import json
import shlex
from contextlib import AbstractContextManager
from datetime import UTC, datetime

from prefect import task
from prefect.logging import get_run_logger

import ferry
from blocks.warehouse import Warehouse
from ferry import statements as sql
from ferry.errors import CheckFailedError, SchemaError, StaleReadError
from ferry.schema import OWN_SCHEMA, Kind, TableName
from ferry.summaries.build import Build, Built
from ferry.summaries.check_specs import SqlCheck
from ferry.summaries.check_subject import Subject
from ferry.summaries.checks import CheckResult, Side, built_in, judged, question
from ferry.summaries.moments import Zoned, by_moments, moment_values
from ferry.summaries.partitions import to_text, window_values
from ferry.summaries.publications import (
    CHECK_COLUMNS,
    CHECK_RESULTS,
    Publication,
    check_rows,
    outcome,
)
from ferry.summaries.publish import (
    by_window,
    count_publications,
    find_publication,
    missing_columns,
    publication_moment,
    replace,
    rows_held,
    write_publication,
)
from ferry.summaries.query import bound, insert_selected, parse_query
from ferry.summaries.specs import SummarySpec
from ferry.target.changes import check_limits
from tasks.own_tables import make, make_schema
from tasks.staging_tables import drop_quietly, emptied_is_told, new_staging_table
from tasks.step import STEP, error_context, explains, repeat_on_conflict
from tasks.target.lock import lock_target

MAX_COMMANDS = 3
"""Of so many stretches of days a message has the commands."""


@task(name="build", task_run_name="build {build}", **STEP)
@explains
def build_aside(build: Build, warehouse: Warehouse) -> Built:
    """Run the summary's query into a table of its own, which nobody reads.

    Safe to repeat: every attempt makes a table of its own, and drops it when it fails.

    Raises:
        SchemaError: The query does not fit the tables it reads. No retry helps.
        DataError: A value that does not fit the summary's column. No retry helps.
        ConnectionLostError, BusyError: A retry may help.
    """
    spec, capabilities = build.spec, warehouse.capabilities
    with error_context(str(build.spec.target), build.label, "build", warehouse):
        check_limits(spec.target, spec.schema_columns, capabilities)
        table = new_staging_table(build.id, spec.table, warehouse)
        make_schema(warehouse, OWN_SCHEMA)
        kind = capabilities.staging_table_kind
        create = sql.create_table(table, spec.schema_columns, warehouse.native_type, kind=kind)
        warehouse.execute(create)
        names = [column.name for column in spec.schema_columns]
        query = by_moments(spec.query(capabilities.dialect), _zoned(spec, warehouse))
        insert = insert_selected(table, query, names, capabilities)
        try:
            rows = 0
            for span in build.spans:
                values = {**window_values(span), **moment_values(span, spec.zone)}
                rows += warehouse.execute(bound(insert, values))
        except Exception:
            drop_quietly(warehouse, table)
            raise
        get_run_logger().info("build %s: %s rows", build, f"{rows:,}")
        return Built(build, table, rows)


@task(name="check", task_run_name="check {side} of {build}", **STEP)
@explains
def check(build: Build, side: Side, built: Built | None, warehouse: Warehouse) -> list[CheckResult]:
    """Ask the summary's checks of one side, and write down how each went.

    Args:
        build: What is built.
        side: input_check, before it is built, or output_check.
        built: What was built, for output_check.
        warehouse: Where.

    Raises:
        CheckFailedError: One that is not a warning failed; with check, expected and found.
        StaleReadError: One failed as what was built is gone. It has to be built again.
        SchemaError: A check's SQL does not fit the tables.
        ConnectionLostError, BusyError: A retry may help.
    """
    spec, capabilities = build.spec, warehouse.capabilities
    with error_context(str(build.spec.target), build.label, side, warehouse):
        there = warehouse.describe(spec.target) if built else None
        gained = (name for name in spec.columns if there and there.column(name) is None)
        subject = Subject(
            target=spec.target,
            columns=tuple(spec.columns),
            built=built.table if built else None,
            published=there is not None,
            spans=build.spans,
            partition=spec.partition.column if spec.partition else None,
            reads={name: read.column if read else None for name, read in spec.reads.items()},
            zoned=_zoned(spec, warehouse),
            zone=spec.zone,
            gained=frozenset(gained),
            by_window=spec.publish == "by_window",
        )
        own = built_in(subject, spec.grain, capabilities) if built else []
        asked = own + [
            question(each, side, subject, capabilities)
            for each in (spec.output_check if built else spec.input_check)
        ]
        with warehouse.transaction() as tx:
            results = [judged(each, [tx.fetch(s) for s in each.statements]) for each in asked]
        _record(build, results, warehouse)
        with _rows_are_there(built, warehouse):
            _log_results(build, results)
        return results


def _zoned(spec: SummarySpec, warehouse: Warehouse) -> Zoned:
    """The columns that have a zone, of its own table and of those that it or its checks read.

    Empty in UTC, where the days' bounds are the same moments.
    """
    if spec.zone == "UTC":
        return {}
    own = frozenset(name for name in spec.columns if spec.kind(name) is Kind.TIMESTAMPTZ)
    read = set(spec.query(warehouse.capabilities.dialect).tables)
    for each in (*spec.input_check, *spec.output_check):
        for text in each.texts if isinstance(each, SqlCheck) else ():
            read |= parse_query(text, each.label).tables
    zoned = {spec.target: own}
    for table in read - {spec.target}:
        there = warehouse.describe(table)
        zoned[table] = frozenset(
            column.name.lower()
            for column in (there.columns if there else ())
            if column.type.kind is Kind.TIMESTAMPTZ
        )
    return zoned


def _record(build: Build, results: list[CheckResult], warehouse: Warehouse) -> None:
    if not results:
        return
    rows = check_rows(build, results, datetime.now(UTC))
    warehouse.execute(sql.insert_rows(CHECK_RESULTS, CHECK_COLUMNS, rows))


def _log_results(build: Build, results: list[CheckResult]) -> None:
    """Log what only warns. Raises CheckFailedError for the others."""
    for result in results:
        if outcome(build, result) in ("warned", "accepted"):
            get_run_logger().warning("%s: %s: %s", build, outcome(build, result), result)
    failed = [result for result in results if outcome(build, result) == "failed"]
    if failed:
        raise CheckFailedError(
            f"{len(failed)} of {len(results)} checks failed: "
            + "; ".join(result.label for result in failed),
            expected="; ".join(result.expected for result in failed),
            found="; ".join(result.found for result in failed),
            todo="What is published stays as it was. Correct the data, or the check."
            + _how_let_pass(build, [result.label for result in failed]),
        )


def _how_let_pass(build: Build, labels: list[str]) -> str:
    """The commands that let these checks pass once, for what was built, and for no other day.

    Empty where one of them is made without being written, and is never let pass.
    """
    written = {each.label for each in (*build.spec.input_check, *build.spec.output_check)}
    if not written.issuperset(labels):
        return ""
    command = f"prefect deployment run 'build-summary/on-demand' --param summary={build.spec.name}"
    accept = f" --param {shlex.quote(f'accept={json.dumps(labels, ensure_ascii=False)}')}"
    spans = [] if build.whole else build.spans
    dates = [
        f" --param start_date={span.start.date()} --param end_date={span.end.date()}"
        for span in spans[:MAX_COMMANDS]
    ]
    commands = "; ".join(f"{command}{each}{accept}" for each in dates or [""])
    more = len(spans) - len(dates)
    return f" If the data is right, and only unusual, let it pass this once: {commands}" + (
        f"; and so of {more:,} more stretches of days" if more > 0 else ""
    )


@task(name="publish", task_run_name="publish {built.build}", **STEP)
@explains
def publish(built: Built, results: list[CheckResult], warehouse: Warehouse) -> Publication:
    """Let readers see what was built, in one transaction: the old rows, or the new ones.

    Safe to repeat: the publication is looked up first, behind the table's lock, on another
    connection. A serialization conflict repeats the transaction at once, a few times.

    Raises:
        StaleReadError: Another run published the summary since this one read its tables, its table
            is gone, or empty, while only some partitions of it were built, or what was built is
            gone.
        CountMismatchError, SchemaError: Nothing is published. No retry helps.
        ConflictError, ConnectionLostError, BusyError, OutcomeUnknownError: A retry may help.
    """
    build = built.build
    with error_context(str(build.spec.target), build.label, "publish", warehouse):
        _prepare(build, warehouse)
        with _rows_are_there(built, warehouse):
            publication = repeat_on_conflict(
                lambda: _publish(built, results, warehouse), f"publish {build}"
            )
        get_run_logger().info("publish %s", publication)
        return publication


def _rows_are_there(built: Built | None, warehouse: Warehouse) -> AbstractContextManager[None]:
    """Let a failure over a table that has lost what was built in it be one to build again after."""
    table, rows = (built.table, built.rows) if built else (None, 0)
    return emptied_is_told(table, rows, warehouse, StaleReadError)


def _publish(built: Built, results: list[CheckResult], warehouse: Warehouse) -> Publication:
    build, target = built.build, built.build.spec.target
    with warehouse.transaction() as tx:
        lock_target(tx, target, warehouse)
        # Looked up on a connection of its own, as `upsert` does.
        published = find_publication(warehouse, build.id)
        if published:
            return published
        found = count_publications(warehouse, target)
        if found != build.published_before:
            raise StaleReadError(
                "another run published the summary since this one read its tables",
                expected=f"{build.published_before} publications",
                found=f"{found} publications",
                todo="Build it again.",
            )
        if not build.whole and not tx.fetch(sql.any_row(target)):
            _refuse_lost_rows(target, warehouse)
        done = replace(tx, built) if build.whole else by_window(tx, built)
        outcomes = [outcome(build, result) for result in results]
        publication = Publication(
            publication_id=build.id,
            summary=str(target),
            window_label=build.label,
            spans=to_text(build.spans),
            definition=build.spec.definition,
            rows_published=done.published,
            rows_replaced=done.replaced,
            checks=outcomes.count("passed"),
            warnings=len(outcomes) - outcomes.count("passed"),
            code_version=ferry.__version__,
            flow_run_id=build.flow_run_id,
            started_at=build.started_at,
            published_at=publication_moment(warehouse, target, datetime.now(UTC)),
        )
        write_publication(tx, publication, build)
    return publication


def _refuse_lost_rows(target: TableName, warehouse: Warehouse) -> None:
    """Refuse to publish some partitions of an empty table whose others are to stay."""
    held = rows_held(warehouse, target)
    if held > 0:
        raise StaleReadError(
            "the summary has lost its rows since this run planned what to build",
            expected=f"{held:,} rows, as was published",
            found="an empty table",
            todo="Build it again, whole.",
        )


def _prepare(build: Build, warehouse: Warehouse) -> None:
    """Make the summary's table and its new columns, where they are missing.

    Raises:
        SchemaError, StaleReadError: As `publish`.
    """
    spec, native = build.spec, warehouse.native_type
    existing = warehouse.describe(spec.target)
    if existing is None and not build.whole:
        raise StaleReadError(
            "the summary's table is gone since this run planned what to build",
            expected="the table, with the partitions that stay",
            found="no table",
            todo="Build it again, whole.",
        )
    if existing is None:
        make_schema(warehouse, spec.target_schema)
        sort_key = (spec.time_column,) if spec.time_column else ()
        keyed = warehouse.capabilities.sort_and_dist_keys
        create = sql.create_table(
            spec.target, spec.schema_columns, native, sort_key=sort_key if keyed else ()
        )
        make(warehouse, create, spec.target)
        return
    gained = missing_columns(spec.target, existing, spec.schema_columns)
    if gained and not build.whole:
        raise SchemaError(
            f"the summary has gained columns: {', '.join(column.name for column in gained)}",
            todo="Build it whole, without dates.",
        )
    for column in gained:
        warehouse.execute(sql.add_column(spec.target, column, native))
        get_run_logger().warning("%s has a new column: %s", spec.target, column.name)
