"""plan: what a batch reads and how it lands, asked of source and target before a row moves."""

from __future__ import annotations

import dataclasses

from prefect import task
from prefect.logging import get_run_logger

from blocks.source import Source
from blocks.warehouse import Warehouse
from ferry import statements as sql
from ferry.batch import Batch, ExtractQuery, StageFormat
from ferry.capabilities import Capabilities
from ferry.cursors import find_cursor
from ferry.errors import ConfigurationError
from ferry.lookback import own_window
from ferry.plan import BatchPlan, find_deleted, plan_query
from ferry.receipts.columns_carried import ColumnsCarried, begun_to_carry, renamed
from ferry.schema import Column, TableSchema, target_columns
from ferry.specs.tables import TableSpec
from ferry.target.changes import TargetChanges, within_limits
from ferry.target.declared_key import kept_key, refuse_untrue_key
from ferry.target.side_effects import refuse_side_effects
from ferry.target.value_types import carried_as_text, check_types
from tasks.landed.carried_otherwise import in_older_rows, warn_of_other_readings
from tasks.landed.receipts import columns_carried, landed_before
from tasks.landed.uncarried import refuse_never_carried
from tasks.landed.watermark import watermark
from tasks.step import STEP, explains, located
from tasks.target.retype import plan_columns
from tasks.target.target_only import refuse_emptying_columns
from tasks.target.text_case import refuse_ignored_case


@task(name="plan", task_run_name="plan {batch}", **STEP)
@explains
def plan(batch: Batch, source: Source, warehouse: Warehouse) -> BatchPlan:
    """What the batch reads and how it lands; what cannot land is refused here.

    Safe to repeat: it only asks. What it was told can change: extract looks at the source again,
    and upsert at the target; what another batch has landed since counts as landed since the read.

    Args:
        batch: What to carry.
        source: Where from.
        warehouse: Where to: it tells the formats it takes, the target's columns, the watermark.

    Raises:
        SchemaError: The table or a column that the spec names is missing, or does not fit the
            target; the target's rows cannot be replaced, or need not keep to a primary key that it
            declares. No retry helps.
        DataError: Rows that no window and no watermark would ever carry. No retry helps.
        ConfigurationError: The warehouse does not take the spec's format, or ignores case. No
            retry helps.
        ConnectionLostError, BusyError: A retry may help.
    """
    spec, capabilities = batch.spec, warehouse.capabilities
    with located(batch, "plan", source):
        schema = describe_source(spec, source)
        columns = within_limits(target_columns(schema.columns, batch.target), capabilities)
        refuse_ignored_case(warehouse)
        # First of all that is asked of the target: what lands from here on was not there yet.
        cursor = find_cursor(spec, schema.columns, batch.mode)
        before = landed_before(batch, cursor, columns, warehouse)
        landed = columns_carried(batch, before, warehouse)
        existing = warehouse.describe(batch.target)
        if existing:
            refuse_side_effects(batch.target, warehouse.side_effects(batch.target))
        changes = plan_columns(batch, existing, columns, warehouse)
        check_types(batch.target, columns, warehouse.native_type)
        known = watermark(batch, schema, existing, warehouse)
        query = plan_query(
            spec,
            batch.mode,
            batch.window,
            schema,
            known.value if known else None,
            batch.window and own_window(spec, batch.window, batch.scheduled_start),
        )
        if not batch.backfill:  # whoever planned many past windows has looked
            refuse_never_carried(spec, batch.mode, query, source, warehouse)
            if query.cursor and (column := schema.column(query.cursor)):
                key = [schema.column(name) for name in spec.key]
                warn_of_other_readings(batch, column, key, warehouse)
        older = _gained_with_values(batch, _gained(schema, changes), query, source, warehouse)
        older += _begun_with_values(batch, existing, landed, query, source, warehouse)
        if older and batch.mode == "watermark":
            query, known = dataclasses.replace(query, start=None), None  # all get the value
        refuse_emptying_columns(batch, existing, columns, query.start, warehouse)
        if existing:
            kept = kept_key(schema, None if batch.mode == "full" else spec.key)
            refuse_untrue_key(batch.target, warehouse.declared_key(batch.target), kept)
        target = TableSchema(batch.target, columns)
        return BatchPlan(
            query=query,
            columns=columns,
            format=_stage_format(batch, columns, capabilities),
            in_older_rows=older,
            key=tuple(column for name in spec.key if (column := target.column(name))),
            version=spec.version.lower() if spec.version else None,
            deleted=find_deleted(spec, columns),
            unique_key=is_unique(spec, schema),
            watermark=known,
            start=query.start if batch.mode == "watermark" else None,
            columns_before=frozenset(c.name for c in existing.columns) if existing else frozenset(),
            landed_before=before,
            columns_landed=landed,
        )


def describe_source(spec: TableSpec, source: Source) -> TableSchema:
    """The source's table, with the columns and types that the spec carries.

    Raises:
        SchemaError: The table or a column that the spec names is missing. No retry helps.
    """
    return carried_as_text(source.describe(spec.source_name, spec.exclude), spec.as_text)


def _gained_with_values(
    batch: Batch,
    gained: list[Column],
    query: ExtractQuery,
    source: Source,
    warehouse: Warehouse,
) -> tuple[str, ...]:
    """Columns that the target gains, and that rows with a value in them landed without."""
    if query.cursor is None or query.start is None:
        # All rows are read, so that nobody has to ask. But the column is there before they land,
        # and should they not, the next run would see nothing new in the table.
        return () if batch.spec.mode == "full" else tuple(c.name.lower() for c in gained)
    return in_older_rows(batch, gained, query, source, warehouse)


def _begun_with_values(
    batch: Batch,
    existing: TableSchema | None,
    landed: tuple[ColumnsCarried, ...],
    query: ExtractQuery,
    source: Source,
    warehouse: Warehouse,
) -> tuple[str, ...]:
    """Columns that the target has, and that rows with a value in them landed without."""
    if existing is None:
        return ()
    there = [c for c in query.schema.columns if existing.column(c.name.lower())]
    begun = begun_to_carry({c.name.lower() for c in there}, landed)
    names = [column.name for column in existing.columns]
    for name in renamed(begun, names, landed):
        if warehouse.fetch(sql.any_row(batch.target, with_value_in=name)):
            begun -= {name}
    columns = [column for column in there if column.name.lower() in begun]
    return in_older_rows(batch, columns, query, source, warehouse)


def _gained(schema: TableSchema, changes: TargetChanges) -> list[Column]:
    """The source's columns that the target is going to gain."""
    names = {column.name for column in changes.add}
    return [column for column in schema.columns if column.name.lower() in names]


def _stage_format(
    batch: Batch, columns: tuple[Column, ...], capabilities: Capabilities
) -> StageFormat:
    """The format of the staged files; the log says so where it is another than the spec's."""
    chosen = stage_format(batch.spec, columns, capabilities)
    if batch.spec.stage_format not in (None, chosen) and not batch.backfill:
        refused = [c.name for c in columns if c.type.kind in capabilities.not_in_parquet]
        get_run_logger().info(
            "%s is staged as %s: the warehouse does not read %s from %s",
            batch.target,
            chosen,
            ", ".join(refused),
            batch.spec.stage_format,
        )
    return chosen


def stage_format(
    spec: TableSpec, columns: tuple[Column, ...], capabilities: Capabilities
) -> StageFormat:
    """The format of the staged files: the spec's, else what the warehouse prefers.

    Of columns that the warehouse does not read from Parquet it is CSV, whatever the spec says.

    Raises:
        ConfigurationError: The warehouse does not take the spec's format.
    """
    chosen = spec.stage_format or capabilities.stage_formats[0]
    if chosen not in capabilities.stage_formats:
        raise ConfigurationError(
            f"the warehouse does not load {chosen} files",
            expected=" or ".join(capabilities.stage_formats),
            todo="Correct `stage_format` in the table's spec.",
        )
    unread = any(column.type.kind in capabilities.not_in_parquet for column in columns)
    return StageFormat.CSV if unread and chosen is StageFormat.PARQUET else chosen


def is_unique(spec: TableSpec, schema: TableSchema) -> bool:
    """Whether the spec's key is the source's primary key: never NULL, never twice."""
    key = [schema.column(name) for name in spec.key]
    whole = {c.name for c in key if c} == set(schema.key)
    return bool(key) and whole and schema.unique and not any(c.nullable for c in key if c)
