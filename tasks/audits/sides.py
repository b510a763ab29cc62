"""Both sides of a table, ready to be asked: which columns, which rows, and which are pending."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from blocks.source import Source
from blocks.warehouse import Warehouse
from ferry import statements as sql
from ferry.audits.buckets import MOST_YEARS, day_of, stored
from ferry.audits.carried import Carried
from ferry.audits.classify import FLOAT_ERROR
from ferry.audits.deleted import marked_as_deleted
from ferry.batch import CursorValue
from ferry.coverage.days import goes_by_no_time
from ferry.coverage.standings import ALWAYS, coverage_of
from ferry.cursors import find_cursor
from ferry.day_ranges import DayRange
from ferry.errors import RequestError, SchemaError
from ferry.fingerprints.canonical import DIGESTS
from ferry.fingerprints.columns import ComparedBy, Pair, pair_columns, short_float
from ferry.fingerprints.queries import Bucket, Part, Row, Side
from ferry.fingerprints.sums import RELATIVE_ERROR
from ferry.plan import check_version, find_deleted
from ferry.receipts.receipt import RECONCILE, VOID
from ferry.receipts.table import rows_held
from ferry.schema import EXACT, NUMBERS, TIMES, Column, Kind, TableSchema
from ferry.specs.tables import TableSpec
from ferry.statements import Statement
from ferry.windows import Window, clamped, union
from ferry.write.deletions import Deletion, deletion
from tasks.landed.history import read_history
from tasks.plan_batch import describe_source


@dataclass(frozen=True)
class End:
    """One end of a table's way, and the questions that it answers.

    Attributes:
        block: The source, or the warehouse.
        side: The table there, and how its engine writes a question.
        spec: The table's spec.
        keyed: The same, for rows that are asked for by their keys: also those that are marked as
            deleted; None where that is no other.
    """

    block: Source | Warehouse
    side: Side
    spec: TableSpec
    keyed: Side | None = None

    def count(self) -> int:
        """How many rows there are."""
        ((rows,),) = self.block.fetch(self.side.count())
        return int(rows)

    def by_range(self, bounds: Sequence[datetime]) -> dict[int, Bucket]:
        """The buckets between these moments of the cursor, by position; none that are empty."""
        question = self.side.by_range([self.stored(bound) for bound in bounds])
        return dict(self.side.bucket(row) for row in self.block.fetch(question))

    def by_key(self, part: Part, parts: int) -> dict[int, Bucket]:
        """The buckets of a part of the table by the numbers of its keys."""
        question = self.side.by_key(part, parts)
        return dict(self.side.bucket(row) for row in self.block.fetch(question))

    def rows(self, part: Part) -> list[Row]:
        """Each row of a part of the table."""
        return [self.side.row(row) for row in self.block.fetch(self.side.rows(part))]

    def rows_of(self, keys: Sequence[Sequence[object]]) -> list[Row]:
        """The rows of these keys, and of others that the engine takes for the same."""
        side = self.keyed or self.side
        return [side.row(row) for row in self.block.fetch(side.rows_of(keys))]

    def part(self, window: Window) -> Part:
        """The rows whose cursor is in a window."""
        return Part(self.stored(window.start), self.stored(window.end))

    def stored(self, moment: datetime) -> CursorValue:
        """A moment, as the cursor's column holds it here."""
        assert self.side.ordering is not None
        return stored(moment, self.side.ordering.type.kind, self.spec)


@dataclass(frozen=True)
class Sides:
    """Both sides of a table, ready to be asked.

    Attributes:
        spec: The table's spec.
        source: The source, without the rows that it marks as deleted, where that is applied.
        target: The target.
        deleted: The source with just those rows; None where there are none.
        pairs: The columns that are compared.
        carried: Which rows of the source have been carried.
        judges: Whether a column tells when a row changed.
        mark_by: How the target marks a deleted row, if rows are to be marked there.
        marked_rows: The target with just the rows that are marked so; None where none are to be.
    """

    spec: TableSpec
    source: End
    target: End
    deleted: End | None
    pairs: tuple[Pair, ...]
    carried: Carried
    judges: bool
    mark_by: Deletion | None = None
    marked_rows: End | None = None

    @property
    def compares_marks(self) -> bool:
        """Whether the column that marks deleted rows is one of those that are compared."""
        name = self.mark_by.column.name if self.mark_by else ""
        return any(pair.target.name == name for pair in self.pairs)

    @property
    def errors(self) -> tuple[float, ...]:
        """For each column that is compared nearly, by how much sums may differ (`classify`)."""
        near = [pair for pair in self.pairs if pair.how is ComparedBy.NEARLY]
        return tuple(FLOAT_ERROR if short_float(pair) else RELATIVE_ERROR for pair in near)


def both_sides(spec: TableSpec, source: Source, warehouse: Warehouse) -> Sides:
    """Both sides of a table, ready to be asked.

    Raises:
        RequestError: The table has no key, or the source takes no SQL. No retry helps.
        SchemaError: There is no target, or the two have other columns. No retry helps.
        ConnectionLostError, BusyError: A retry may help.
    """
    table = str(spec.target)
    if not spec.key:
        raise RequestError(
            "a table without a key cannot be compared row by row",
            table=table,
            todo="Add `key` to the table's spec: the columns that tell its rows apart.",
        )
    if source.fingerprints is None:
        raise RequestError(
            "the source takes no SQL, so that its rows cannot be compared where they are",
            table=table,
            todo="Leave the table out.",
        )
    schema, existing = describe_source(spec, source), warehouse.describe(spec.target)
    if existing is None:
        raise SchemaError(
            "there is no such table in the warehouse",
            table=table,
            todo="Carry the table first, or correct `schema` in its spec.",
        )
    check_version(spec, schema.columns)
    pairs = pair_columns(
        schema,
        existing,
        key=spec.key,
        target_only=spec.target_only,
        wall_clock_zone=spec.wall_clock_zone,
        digests_bytes=warehouse.capabilities.digests_bytes,
    )
    cursor = _ordering(spec, schema.columns)
    algorithm = next(each for each in DIGESTS if each in source.digests())
    dialect = replace(source.fingerprints, algorithm=algorithm, ignored=_ignored(spec, cursor))
    there = replace(warehouse.fingerprints, algorithm=algorithm)
    columns = (pairs, spec.key, cursor.name if cursor else None, spec.version)
    zero_is_none = spec.cursor_unit is not None and spec.null_cursors == "ignore"
    source_side, target_side = (
        replace(side, zero_is_none=zero_is_none)
        for side in (
            Side.of(*columns, dialect, spec.source_name, is_target=False),
            Side.of(*columns, there, spec.target, is_target=True),
        )
    )
    deleted = None
    applied = find_deleted(spec, schema.columns)
    if applied:
        only_deleted = replace(source_side, only=marked_as_deleted(applied, dialect))
        deleted = End(source, only_deleted, spec)
        source_side = _unmarked(source_side, applied)
    marks = _marks(spec, existing) if spec.hard_deletes == "mark" else None
    only_marked, source_keyed, target_keyed = None, source_side, target_side
    if marks:
        only_marked = End(
            warehouse, replace(target_side, only=marked_as_deleted(marks, there)), spec
        )
        target_side = _unmarked(target_side, marks)
        if not applied and (column := schema.column(spec.deleted_column)):
            source_side = _unmarked(source_side, deletion(column, spec.deleted_values, spec.target))
    return Sides(
        spec,
        End(source, source_side, spec, source_keyed),
        End(warehouse, target_side, spec, target_keyed),
        deleted,
        pairs,
        _carried(spec, source_side, target_side, warehouse),
        judges=cursor is not None,
        mark_by=marks,
        marked_rows=only_marked,
    )


def has_days(sides: Sides) -> bool:
    """Whether a column tells the days of the table's rows."""
    ordering = sides.source.side.ordering
    return ordering is not None and (
        ordering.type.kind in TIMES or sides.spec.cursor_unit is not None
    )


def all_days(sides: Sides, zone: str) -> DayRange | None:
    """All days that either side has rows of; None for a table that is compared by its key."""
    spec, source_side, target_side = sides.spec, sides.source.side, sides.target.side
    if spec.mode == "full" or source_side.ordering is None or not has_days(sides):
        return None
    assert target_side.ordering is not None
    source = sides.source.block
    assert isinstance(source, Source)
    ends = list(source.bounds(spec.source_name, source_side.ordering.name) or ())
    statement = sql.lowest_and_highest(spec.target, target_side.ordering.name)
    ends += [value for value in sides.target.block.fetch(statement)[0] if value is not None]
    if not ends:
        return None
    days = [day_of(value, spec, zone) for value in ends]
    if max(days).year - min(days).year > MOST_YEARS:
        return None
    return DayRange(min(days), max(days) + timedelta(days=1), zone)


def _unmarked(side: Side, marks: Deletion) -> Side:
    """The side without the rows that are marked as deleted: they differ for ever, or are alike."""
    marked = marked_as_deleted(marks, side.dialect)
    return replace(side, only=Statement(f"(NOT {marked.sql})", marked.values))


def _marks(spec: TableSpec, existing: TableSchema) -> Deletion:
    """How the target marks deleted rows.

    Raises:
        SchemaError: It has no such column, or it cannot tell. No retry helps.
    """
    column = existing.column(spec.deleted_column)
    if column is None:
        raise SchemaError(
            f"the target has no column {spec.deleted_column!r} in which to mark rows as deleted",
            table=str(spec.target),
            expected="`deleted_column` of the table's spec, as `hard_deletes: mark` needs it",
            todo="Add the column to the target, and name it in `target_only` of the table's spec; "
            "name another one; or choose `hard_deletes: delete`.",
        )
    return deletion(column, spec.deleted_values, spec.target)


def _ordering(spec: TableSpec, columns: tuple[Column, ...]) -> Column | None:
    """The column that says when a row changed, or in what order rows came; None if none does."""
    cursor = find_cursor(spec, columns, "watermark" if spec.mode == "watermark" else "window")
    if cursor is None or cursor not in columns:
        return None
    return cursor if cursor.type.kind in (*TIMES, *NUMBERS) else None


def _ignored(spec: TableSpec, cursor: Column | None) -> str | None:
    """The cursor, where rows are left behind of which it has no place in its order.

    Not a number of the key, which would be found by no index any more.
    """
    if cursor is None or spec.null_cursors != "ignore":
        return None
    is_key = cursor.name.lower() in (name.lower() for name in spec.key)
    return None if is_key and cursor.type.kind in NUMBERS else cursor.name


def _carried(spec: TableSpec, source: Side, target: Side, warehouse: Warehouse) -> Carried:
    """Which rows of the source have been carried, by the receipts.

    Where none tells of time, as in a table that is carried by a watermark over ids, and where
    another tool fills the table: those up to the highest value in the target. Of a watermark over
    dates, those before it: more rows of its last day may be still to come.
    """
    if source.ordering is None or target.ordering is None:
        return Carried()
    kind = source.ordering.type.kind
    history = read_history.fn(spec, warehouse)
    # A run that failed later has changed no row.
    coverage = coverage_of(history.receipts, (), history.cursor, history.spec)
    loaded = coverage.loaded
    by_time = (kind in TIMES or spec.cursor_unit) and not goes_by_no_time(spec, kind)
    if loaded and by_time and not _filled_by_others(spec, warehouse):
        stretches = union(
            (None if start is ALWAYS else stored(start, kind, spec), stored(end, kind, spec))
            for start, end in loaded
        )
        until = None
        if source.version and source.version.type.kind in TIMES:
            assert coverage.read_until is not None  # something is loaded
            until = stored(coverage.read_until, source.version.type.kind, spec)
        return Carried(tuple(stretches), until, spec.mode == "full")
    told = {receipt.status for receipt in history.receipts if receipt.mode != RECONCILE}
    if by_time and told and spec.every != "never":
        # Nothing of it is valid any more: what had been carried is missing, if anything had.
        return Carried(() if told == {VOID} else None)
    highest = sql.lowest_and_highest(spec.target, target.ordering.name)
    (_, last) = warehouse.fetch(highest)[0]
    if last is None:
        return Carried(())
    last_day = kind is Kind.DATE and spec.mode == "watermark"
    return Carried(((None, last if last_day else _after(last, kind)),))


def _filled_by_others(spec: TableSpec, warehouse: Warehouse) -> bool:
    """Whether a table of `every: never` has rows that no receipt has brought.

    Such a table is another tool's: a receipt there is of a day that was repaired.
    """
    if spec.every != "never":
        return False
    ((there,),) = warehouse.fetch(sql.count_rows(spec.target))  # first: what lands now is in both
    return int(there) > rows_held(warehouse, spec.target)


def _after(value: Any, kind: Kind) -> Any:
    """The first value after this one, as the source's column of this kind has it."""
    if isinstance(value, datetime):
        aware = value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
        after = clamped(aware, timedelta(microseconds=1))
        return after if kind is Kind.TIMESTAMPTZ else after.replace(tzinfo=None)
    if isinstance(value, date):
        return min(value, date.max - timedelta(days=1)) + timedelta(days=1)
    return EXACT.add(value, 1) if isinstance(value, Decimal) else value + 1
