"""compare: a source's table with its target, each asked in its own SQL, down to rows that differ.

Both sides are asked for two numbers for each bucket. Only where these differ is a bucket parted by
the numbers of its keys, and only of the parts that still differ do keys travel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeVar

from ferry.audits.buckets import AT_ONCE, unit_of
from ferry.audits.classify import (
    by_key,
    classify,
    refuse_incomplete,
    refuse_repeated,
    same_bucket,
    suspects,
)
from ferry.audits.outcome import Audit, AuditedBucket, Difference, DifferentRow
from ferry.bounded import in_groups
from ferry.day_ranges import DayRange, split_days
from ferry.errors import DataError, FerryError, RequestError, SchemaError
from ferry.fingerprints.canonical import NOTHING, Fingerprint
from ferry.fingerprints.columns import ComparedBy
from ferry.fingerprints.queries import Bucket, Part, Row
from ferry.reasons import reason_of
from ferry.windows import Window
from tasks.audits.sides import End, Sides

LEAF_ROWS = 1000
"""The rows of so small a part are asked for one by one."""

MOST_ROWS = 200_000
"""Of a bucket in which more rows stand in small parts that differ, the others are not looked at."""

MOST_IN_ALL = 1_000_000
"""Of an audit. Once so many rows were looked at, it is `LEAF_ROWS` of each bucket that is left.

Each that differs is kept in memory, half a kilobyte and more. Of a table that another tool has
written, with a column that it rounds otherwise, all rows do.
"""

_MOST_DIFFERING = 1000
"""So many parts that differ are parted again."""

_ROWS_OF_A_PART = 100
_MOST_PARTS = 4096
"""Of the keys, at first; those that differ are parted again."""

_PARTED_AGAIN = 64
_KEYS_AT_ONCE = 200
T = TypeVar("T")


def compare(sides: Sides, days: DayRange | None, at: datetime) -> Audit:
    """The table, or these days of it, compared.

    If a side cannot be asked any more after some of it, what was compared stands. Rows that cannot
    be told apart are refused wherever they are found: no other day is repaired then.

    Args:
        sides: Both sides.
        days: The days; None for all of the table, by its key.
        at: When it is compared.

    Raises:
        DataError: The key is not unique on a side, or rows have none, with their day. No retry
            helps.
        ConnectionLostError, BusyError: Nothing was compared; a retry may help.
    """
    audit = Audit(
        str(sides.spec.target),
        at,
        (),
        tuple(f"{p.target.name} ({p.how})" for p in sides.pairs if p.how is not ComparedBy.EXACTLY),
        sides.judges,
    )
    comparison = _Comparison(sides)
    if days is None:
        return replace(audit, buckets=(comparison.whole_table(),))
    unit = unit_of(days)
    found: list[AuditedBucket] = []
    for chunk in chunks(split_days(days, unit), AT_ONCE[unit]):
        try:
            found += comparison.of_windows(chunk, by_day=unit == "month")
        except FerryError as error:
            if not found or isinstance(error, SchemaError | RequestError | DataError):
                raise
            left = f"from {chunk[0].start.date()} on, {reason_of(error)}"
            return replace(audit, buckets=tuple(found), left=left)
    return replace(audit, buckets=tuple(found))


@dataclass
class _Comparison:
    """A comparison of a table, under way.

    Attributes:
        sides: Both sides.
        looked_at: How many rows have been looked at one by one.
    """

    sides: Sides
    looked_at: int = 0

    def of_windows(self, parts: Sequence[Window], *, by_day: bool) -> list[AuditedBucket]:
        """A bucket for each window; with `by_day`, one for each day of those that differ."""
        bounds = [parts[0].start, *(window.end for window in parts)]
        source, target = self._both(lambda end: end.by_range(bounds))
        found: list[AuditedBucket] = []
        for position, window in enumerate(parts):
            here, there = source.get(position, self._empty), target.get(position, self._empty)
            if by_day and not self._same(here, there):
                found += self.of_windows(split_days(DayRange.of(window), "day"), by_day=False)
            else:
                found.append(self._looked_at(window, here, there))
        return found

    def whole_table(self) -> AuditedBucket:
        """The table as one bucket."""
        rows = max(self._both(lambda end: end.count()))
        return self._by_key(AuditedBucket("all", None), rows, lambda _: Part())

    def _looked_at(self, window: Window, here: Bucket, there: Bucket) -> AuditedBucket:
        bucket = AuditedBucket(_label(window), window, here.fingerprint, there.fingerprint)
        if self._same(here, there):
            return bucket

        def part(end: End) -> Part:
            return end.part(window)

        count = max(here.fingerprint.rows, there.fingerprint.rows)
        try:
            if count <= LEAF_ROWS:
                self.looked_at += count
                return replace(bucket, rows=tuple(self._rows(part)))
            return self._by_key(bucket, count, part)
        except FerryError as error:
            error.at(window=bucket.label)
            raise

    def _by_key(
        self, bucket: AuditedBucket, rows: int, part: Callable[[End], Part]
    ) -> AuditedBucket:
        """The bucket with the rows that differ, found by the numbers of their keys."""
        parts = max(1, min(_MOST_PARTS, -(-rows // _ROWS_OF_A_PART)))
        source, target = self._both(lambda end: end.by_key(part(end), parts))
        bucket = replace(bucket, source=_sum(source.values()), target=_sum(target.values()))
        sizes, left, surplus = self._differing(source, target), 0, 0
        while sizes and max(sizes.values()) > 2 * _ROWS_OF_A_PART and parts < _MOST_PARTS**2:
            sizes, more = _first(sizes, _MOST_DIFFERING)
            left += sum(more.values())
            surplus += _surplus(more, source, target)
            within, parts = _at_positions(part, parts, list(sizes)), parts * _PARTED_AGAIN
            source, target = self._both(_by_key_within(within, parts))
            sizes = self._differing(source, target)
        found: list[DifferentRow] = []
        looked_at = 0
        room = min(MOST_ROWS, max(LEAF_ROWS, MOST_IN_ALL - self.looked_at))
        for positions in in_groups(sizes.items(), LEAF_ROWS):
            rows = sum(sizes[position] for position in positions)
            if rows > room:
                left += rows
                surplus += _surplus(positions, source, target)
                continue
            found += self._rows(_at_positions(part, parts, positions))
            looked_at += rows
            room -= rows
        self.looked_at += looked_at
        extra = sum(row.how is Difference.EXTRA for row in found)
        # Parts are made by digests, so those that were looked at are a fair sample of the others.
        surplus = max(surplus, -(-left * extra // looked_at) if looked_at else 0)
        if left and self._never_carried(bucket):
            left = 0  # all of its rows are pending, however many were looked at
        return replace(bucket, rows=tuple(found), unclassified=left, unclassified_extra=surplus)

    def _never_carried(self, bucket: AuditedBucket) -> bool:
        """Whether the target has nothing of the bucket, and no run was to carry any of it."""
        if bucket.window is None or bucket.target.rows:
            return False
        start, end = map(self.sides.source.stored, (bucket.window.start, bucket.window.end))
        return not self.sides.carried.any_between(start, end)

    def _differing(
        self, source: Mapping[int, Bucket], target: Mapping[int, Bucket]
    ) -> dict[int, int]:
        """The positions of the parts that differ, with how many rows they have."""
        sizes: dict[int, int] = {}
        for position in sorted({*source, *target}):
            here, there = source.get(position, self._empty), target.get(position, self._empty)
            if not self._same(here, there):
                sizes[position] = max(here.fingerprint.rows, there.fingerprint.rows)
        return sizes

    def _same(self, here: Bucket, there: Bucket) -> bool:
        return same_bucket(here, there, self.sides.errors)

    def _rows(self, part: Callable[[End], Part]) -> list[DifferentRow]:
        """The rows of a part that differ, judged by what both sides then have of their keys."""
        source, target = self._both(lambda end: end.rows(part(end)))
        table = str(self.sides.spec.target)
        refuse_incomplete(source, target, table)
        refuse_repeated(source, target, table)
        suspected = suspects(by_key(source), by_key(target))
        found: list[DifferentRow] = []
        for some in chunks(suspected, _KEYS_AT_ONCE):
            found += self._judged(some)
        return found

    def _judged(self, suspected: Sequence[Row]) -> list[DifferentRow]:
        keys = [row.keys for row in suspected]
        wanted = {row.key for row in suspected}
        source, target = self._both(lambda end: end.rows_of(keys))
        deleted = self.sides.deleted.rows_of(keys) if self.sides.deleted else []
        marked = self.sides.marked_rows.rows_of(keys) if self.sides.marked_rows else []
        there = {row.key for row in source} | {row.key for row in deleted}
        # What the source has no more, and is marked in the target, is as the spec wants it.
        marks = {row.key for row in marked}
        wanted -= marks - there
        # What is there again is marked wrongly, where the source has no such column to compare.
        back = set() if self.sides.compares_marks else marks & there
        return classify(
            [row.key for row in suspected],
            # An engine may take other rows' keys for the same, such as `a` for `A`.
            by_key(row for row in source if row.key in wanted),
            by_key(deleted),
            by_key(row for row in target if row.key in wanted),
            self.sides.carried,
            marked=back,
        )

    def _both(self, question: Callable[[End], T]) -> tuple[T, T]:
        """What both sides answer, asked at the same time."""
        ends = (self.sides.source, self.sides.target)
        with ThreadPoolExecutor(2, thread_name_prefix="compare") as threads:
            asked = [threads.submit(copy_context().run, question, end) for end in ends]
            return asked[0].result(), asked[1].result()

    @property
    def _empty(self) -> Bucket:
        side = self.sides.source.side
        return Bucket(NOTHING, ((0, 0.0, 0.0),) * len(side.nearly), (0,) * len(side.presence))


def _first(sizes: Mapping[int, int], limit: int) -> tuple[dict[int, int], dict[int, int]]:
    """The first so many of these positions, and the others."""
    items = list(sizes.items())
    return dict(items[:limit]), dict(items[limit:])


def _surplus(
    positions: Iterable[int], source: Mapping[int, Bucket], target: Mapping[int, Bucket]
) -> int:
    """How many rows the target has more than the source, in those parts where it has more."""
    nothing = Bucket()
    rows = (
        [side.get(position, nothing).fingerprint.rows for side in (source, target)]
        for position in positions
    )
    return sum(max(0, there - here) for here, there in rows)


def _at_positions(
    part: Callable[[End], Part], parts: int, positions: Sequence[int]
) -> Callable[[End], Part]:
    """Some positions of a part that is parted by the numbers of its keys."""

    def some(end: End) -> Part:
        return replace(part(end), divisor=parts, remainders=tuple(positions))

    return some


def _by_key_within(part: Callable[[End], Part], parts: int) -> Callable[[End], dict[int, Bucket]]:
    return lambda end: end.by_key(part(end), parts)


def _label(window: Window) -> str:
    """The day; of a month, its year and number."""
    first = DayRange.of(window).start
    return window.label if window.label == first.isoformat() else f"{first:%Y-%m}"


def _sum(buckets: Iterable[Bucket]) -> Fingerprint:
    return sum((bucket.fingerprint for bucket in buckets), NOTHING)


def chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """The items in their order, so many at a time."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
