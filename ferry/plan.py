"""From a run's parameters to a batch and its plan: which window, what is read, how it lands.

All of it is decided before a row moves.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from functools import partial

from ferry.batch import CursorValue, ExtractQuery, StageFormat
from ferry.cursors import choose_cursor
from ferry.errors import RequestError, SchemaError, no_window_without_key
from ferry.lookback import from_midnight, window_length, with_lookback
from ferry.receipts.columns_carried import ColumnsCarried
from ferry.receipts.table import LandedBefore
from ferry.schema import NUMBERS, TIMES, Column, Kind, TableSchema, named_columns
from ferry.specs.tables import CHANGE_TIMES, CREATION_TIME, Mode, TableSpec
from ferry.unix_time import to_unix
from ferry.watermark import Watermark, less_lag
from ferry.windows import Window, local_midnight, on_clock, run_window, zone_info
from ferry.write.deletions import Deletion, deletion


@dataclass(frozen=True)
class BatchPlan:
    """What a batch reads and how it lands, as source and target were asked before a row moved.

    It rides beside the batch through all steps; what a step makes itself is in `ferry.batch`. What
    has to be made or altered in the target is not in it: that is decided just before writing.

    Attributes:
        query: Which rows are read, and which columns.
        columns: The columns as the target has them, in the query's order.
        format: How the part files are written.
        in_older_rows: Columns that the target gains with this batch, or that the table begins to
            carry with it, and that rows which were carried before have a value in.
        key: The columns of the spec's key.
        version: The column that tells which row of a key is newer; None if that is the cursor.
        deleted: How rows are marked that are to be deleted in the target; None if none are.
        unique_key: Whether the source itself vouches that no key occurs twice.
        watermark: What a watermark continues from; None to read all.
        start: The lower bound that a watermark reads from; None if it reads all.
        columns_before: The names of the target's columns; none if it did not exist.
        landed_before: What had landed that may hold the same rows (`Batch.time_bounds`), and how
            often what had landed had been said to be void.
        columns_landed: With which columns all of the table had landed; none where a batch replaces
            every row, or where all had landed with the batch's.
    """

    query: ExtractQuery
    columns: tuple[Column, ...]
    format: StageFormat
    in_older_rows: tuple[str, ...]
    key: tuple[Column, ...]
    version: str | None
    deleted: Deletion | None
    unique_key: bool
    watermark: Watermark | None
    start: CursorValue | None
    columns_before: frozenset[str]
    landed_before: LandedBefore
    columns_landed: tuple[ColumnsCarried, ...] = ()

    @property
    def cursor(self) -> Column | None:
        """The cursor's column as the target has it; None if nothing bounds what is read."""
        name = self.query.cursor
        return next((c for c in self.columns if name and c.name == name.lower()), None)


def choose_window(
    spec: TableSpec,
    *,
    scheduled_start: datetime,
    mode: Mode | None = None,
    zone: str | None = None,
    run_date: date | None = None,
    window_start: datetime | None = None,
    window_end: datetime | None = None,
) -> tuple[Mode, Window | None]:
    """The mode and the window of a run; a window only for mode window.

    Without dates the table's `lookback` is in it, too.

    Raises:
        RequestError: Dates for a mode that takes none, a mode that the spec has no key for, or
            wrong dates.
    """
    chosen: Mode = mode or spec.mode
    if chosen == "window" and not spec.key:
        raise no_window_without_key(str(spec.target))
    if chosen != "window":
        if run_date or window_start or window_end:
            raise RequestError(
                f"a table in mode {chosen} takes no dates",
                table=str(spec.target),
                expected="no run_date and no window",
                found=f"run_date={run_date}, window_start={window_start}, window_end={window_end}",
                todo="Leave the dates empty"
                + (", or start the run with mode=window." if spec.key else "."),
            )
        return chosen, None
    try:
        window = run_window(
            scheduled_start=scheduled_start,
            zone=zone or spec.zone,
            every=window_length(spec),
            run_date=run_date,
            window_start=window_start,
            window_end=window_end,
        )
    except RequestError as error:
        raise error.at(table=str(spec.target)) from error.__cause__
    by_schedule = not (run_date or window_start or window_end)
    return chosen, with_lookback(spec, window) if by_schedule else window


def check_version(spec: TableSpec, columns: tuple[Column, ...]) -> None:
    """Refuse a `version` that cannot tell which row is newer.

    Raises:
        SchemaError: There is no such column, or its values have no order in time.
    """
    if spec.version is None:
        return
    (name,) = named_columns((spec.version,), [c.name for c in columns], spec.target, "version")
    column = next(c for c in columns if c.name.lower() == name)
    if column.type.kind not in TIMES + NUMBERS:
        raise SchemaError(
            f"column {column.name!r} cannot tell which version of a row is newer",
            table=str(spec.target),
            expected="a date, a time or a number",
            found=column.native or str(column.type),
            todo="Choose another `version` in the table's spec.",
        )


def find_deleted(spec: TableSpec, columns: tuple[Column, ...]) -> Deletion | None:
    """How rows are marked whose deletions are to be applied; None to carry deletions over.

    Raises:
        SchemaError: Deletions are to be applied, and the column is not there or cannot tell them.
    """
    if spec.soft_deletes != "apply":
        return None
    there = [c.name for c in columns]
    (name,) = named_columns((spec.deleted_column,), there, spec.target, "deleted_column")
    column = next(c for c in columns if c.name.lower() == name)
    return deletion(column, spec.deleted_values, spec.target)


def plan_query(
    spec: TableSpec,
    mode: Mode,
    window: Window | None,
    schema: TableSchema,
    watermark: CursorValue | None = None,
    own: Window | None = None,
) -> ExtractQuery:
    """Which rows of the source to read.

    Args:
        spec: The table's spec.
        mode: How it is carried this time.
        window: The window, for mode window.
        schema: The source table, with the columns that are carried.
        watermark: From where on to read, for mode watermark (`ferry.watermark`); None to read all.
        own: The window without the lookback (`ferry.lookback`); None if it has none.

    Raises:
        SchemaError: A column that the spec names is missing, the cursor is of no use as one, or
            nobody says which of several columns it is.
    """
    columns, there = schema.columns, schema.column_names
    named_columns(spec.key, there, spec.target, "key")
    named_columns(spec.sort_key, there, spec.target, "sort_key")
    named_columns((spec.dist_key,) if spec.dist_key else (), there, spec.target, "dist_key")
    find_deleted(spec, columns)
    check_version(spec, columns)
    cursor = choose_cursor(spec, columns, mode)
    zone = spec.wall_clock_zone
    if spec.cursor_unit and cursor:
        _refuse_no_unix_time(spec, cursor)
    if mode == "full":
        return ExtractQuery(schema, zone=zone, zero_dates=spec.zero_dates)
    _refuse_part_of_the_primary_key(spec, schema)
    if cursor is None:
        raise SchemaError(
            f"mode {mode} needs a cursor column",
            table=str(spec.target),
            expected=f"one with a usual name, such as {CHANGE_TIMES[0]}, or {CREATION_TIME}",
            found=", ".join(c.name for c in columns),
            todo="Set `cursor` in the table's spec, or use mode full.",
        )
    by_number = mode == "watermark" or spec.cursor_unit is not None
    if cursor.type.kind not in (TIMES + NUMBERS if by_number else TIMES):
        raise SchemaError(
            f"column {cursor.name!r} cannot be the cursor of mode {mode}",
            table=str(spec.target),
            expected="a date or time" + ("" if mode == "window" else ", or a number"),
            found=cursor.native or str(cursor.type),
            todo="Choose another `cursor` in the table's spec"
            + (
                ", or say what it counts, if that is Unix time: `cursor_unit: s`, ms or us."
                if cursor.type.kind in NUMBERS
                else "."
            ),
        )
    bounded = partial(
        ExtractQuery,
        schema,
        cursor.name,
        zone=zone,
        zero_dates=spec.zero_dates,
        null_cursors=spec.null_cursors,
        unix_time=spec.cursor_unit is not None,
    )
    if window is None:
        watermark = less_lag(watermark, spec.lag, zone, spec.cursor_unit)
        return bounded(watermark, None)
    if cursor.type.kind is Kind.DATE:
        if own not in (None, window):
            window = from_midnight(window, zone)  # a lookback is whole days there
        _refuse_part_of_a_day(spec, cursor, window)
    start, end = window_bounds(spec, window)
    return bounded(start, end)


def window_bounds(spec: TableSpec, window: Window) -> tuple[CursorValue, CursorValue]:
    """Where a window's query begins and ends: moments, or numbers where the cursor counts time."""
    if spec.cursor_unit:
        return to_unix(window.start, spec.cursor_unit), to_unix(window.end, spec.cursor_unit)
    return window.start, window.end


def _refuse_no_unix_time(spec: TableSpec, cursor: Column) -> None:
    """Only whole numbers count Unix time."""
    if cursor.type.kind not in NUMBERS or cursor.type.scale:
        raise SchemaError(
            f"column {cursor.name!r} is no whole number, so it counts no Unix time",
            table=str(spec.target),
            expected=f"a whole number, as `cursor_unit: {spec.cursor_unit}` says",
            found=cursor.native or str(cursor.type),
            todo="Choose another `cursor` in the table's spec, or leave `cursor_unit` out.",
        )


def _refuse_part_of_the_primary_key(spec: TableSpec, schema: TableSchema) -> None:
    """Rows that the source tells apart would be taken for versions of one row."""
    key, primary = {name.lower() for name in spec.key}, {name.lower() for name in schema.key}
    if key and key < primary and spec.on_repeated_key == "error":
        raise SchemaError(
            f"the key ({', '.join(spec.key)}) is only a part of the source's primary key, so rows "
            "that differ would be taken for one",
            table=str(spec.target),
            expected=f"`key: [{', '.join(schema.key)}]`",
            found=f"`key: [{', '.join(spec.key)}]`",
            todo="Name the whole primary key in the table's spec; or say `on_repeated_key: newest`,"
            " and of the rows of one key only the newest is carried.",
        )


def _refuse_part_of_a_day(spec: TableSpec, cursor: Column, window: Window) -> None:
    """A column of dates cannot tell the hours of a day apart."""
    days = [
        bound.astimezone(zone_info(spec.wall_clock_zone)) for bound in (window.start, window.end)
    ]
    if any(bound != local_midnight(bound.date(), spec.wall_clock_zone) for bound in days):
        raise SchemaError(
            f"column {cursor.name!r} has no time of day, so a window over it is whole days",
            table=str(spec.target),
            window=window.label,
            expected=f"bounds at midnight in {spec.wall_clock_zone}",
            found=" and ".join(bound.isoformat() for bound in days),
            todo="Carry whole days, or choose another `cursor` in the table's spec.",
        )


RANGE_ROWS = 10_000
"""A range of fewer rows is not worth a connection of its own."""

AUTO_ROWS = 5_000_000
AUTO_RANGES = 4


def range_count(spec: TableSpec, rows: int | None) -> int:
    """By how many connections to read at once, at most.

    Args:
        spec: The table's spec.
        rows: About how many rows there are; None if nobody can tell.
    """
    if rows is None:
        return 1
    if spec.read_ranges == "auto":
        return min(AUTO_RANGES, max(1, -(-rows // AUTO_ROWS)))
    return max(1, min(spec.read_ranges, rows // RANGE_ROWS))


def stored_bound(value: CursorValue | None, kind: Kind, zone: str) -> CursorValue | None:
    """A bound as a column of this kind holds it.

    A moment becomes the zone's wall clock for a column without a zone, and the zone's day for a
    date; every other value stays as it is.
    """
    if isinstance(value, datetime):
        local = on_clock(value, zone_info(zone)) if value.tzinfo else value
        if kind is Kind.TIMESTAMP:
            return local.replace(tzinfo=None)
        if kind is Kind.DATE:
            return local.date()
    return value
