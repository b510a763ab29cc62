"""What an audit found: by bucket, by class, and row by row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from ferry.day_ranges import DayRange
from ferry.fingerprints.canonical import NOTHING, Fingerprint
from ferry.windows import Window

EQUAL = "equal"
ONE_DAY = timedelta(days=1)


class Difference(StrEnum):
    """How a row differs between a source and its target."""

    MISSING = "missing"  # at the source, not in the target
    CHANGED = "changed"  # in both, with other values
    EXTRA = "extra"  # in the target; the source has deleted it, or has changed its key
    PENDING = "pending"  # changed at the source after what has been carried: no difference


DIFFERENCES = (Difference.MISSING, Difference.CHANGED, Difference.EXTRA)
"""Those that are differences."""

_WORDS = {
    Difference.MISSING: "missing",
    Difference.CHANGED: "changed",
    Difference.EXTRA: "deleted at the source",
    Difference.PENDING: "pending",
}


@dataclass(frozen=True)
class DifferentRow:
    """One row that differs, or is pending.

    Attributes:
        how: How.
        key: Its key's canonical text.
        target_key: Its key as the warehouse's driver has it; None if it is not there.
        at: The value of the ordering column: the source's, or of an extra row the target's.
        versions: What tells how new it is: the source's, and the target's.
        ahead: Whether the target's version of it is newer than the source's, so that carrying it
            again would not replace it.
        marked: Whether the target marks it as deleted, and the source has it.
    """

    how: Difference
    key: str = field(repr=False)
    target_key: tuple[object, ...] | None = field(default=None, repr=False)
    at: Any = field(default=None, repr=False)
    versions: tuple[Any, Any] = field(default=(None, None), repr=False)
    ahead: bool = False
    marked: bool = False


@dataclass(frozen=True)
class AuditedBucket:
    """One bucket, as both sides had it.

    Attributes:
        label: The day, the month, or a part of the keys.
        window: Its stretch of time; None where it is parted by keys.
        source: What the source said.
        target: What the warehouse said.
        rows: The rows that differ, or are pending.
        unclassified: How many rows are in parts that differ as a whole and are too many to be
            looked at one by one.
        unclassified_extra: About how many of them the source has no more: the same share as of the
            rows that were looked at, and no fewer than the target has more of them.
    """

    label: str
    window: Window | None
    source: Fingerprint = NOTHING
    target: Fingerprint = NOTHING
    rows: tuple[DifferentRow, ...] = ()
    unclassified: int = 0
    unclassified_extra: int = 0

    @property
    def unit(self) -> str:
        """What it is: a day or a month; empty where it is parted by keys."""
        if self.window is None:
            return ""
        days = DayRange.of(self.window)
        return "day" if days.end - days.start <= ONE_DAY else "month"

    @property
    def counts(self) -> Counter[Difference]:
        """How many rows there are of each class."""
        return Counter(row.how for row in self.rows)

    @property
    def differing(self) -> int:
        """How many of its rows differ, pending ones apart."""
        return self.unclassified + sum(row.how in DIFFERENCES for row in self.rows)

    @property
    def differs(self) -> bool:
        """Whether any of its rows does."""
        return self.differing > 0

    @property
    def loses_all(self) -> bool:
        """Whether all rows that the target has are gone at the source, or older there.

        Where the source shows none but older versions, it may be one that was restored. Rows that
        were too many to be looked at count as those that were: perhaps the source has some of them.
        """
        others = [row for row in self.rows if row.how is not Difference.EXTRA]
        if not self.rows or (others and self.source.rows):
            return False
        rows = len(self.rows) + self.unclassified
        return all(row.ahead for row in others) and rows >= self.target.rows


@dataclass(frozen=True)
class Audit:
    """A table, compared.

    Attributes:
        table: The target, as the warehouse names it.
        at: When it was compared.
        buckets: What was compared.
        not_exact: Columns that are not part of a row's number, with how they are compared.
        judges: Whether pending rows can be told: some column says when a row changed.
        left: What could not be compared any more, and why; empty if all was.
    """

    table: str
    at: datetime
    buckets: tuple[AuditedBucket, ...]
    not_exact: tuple[str, ...] = ()
    judges: bool = True
    left: str = ""

    @property
    def different(self) -> list[AuditedBucket]:
        """The buckets that differ."""
        return [bucket for bucket in self.buckets if bucket.differs]

    @property
    def counts(self) -> Counter[Difference]:
        """How many rows there are of each class; one that has moved is in two buckets, and once."""
        rows = {row.key: row.how for bucket in self.buckets for row in bucket.rows}
        return Counter(rows.values())

    @property
    def counts_only_extra(self) -> bool:
        """Whether no rows differ but extra ones, and all was compared."""
        others = [how for how in DIFFERENCES if how is not Difference.EXTRA and self.counts[how]]
        return not (others or self.unclassified or self.left)

    @property
    def unclassified(self) -> int:
        """How many rows were too many to be looked at one by one."""
        return sum(bucket.unclassified for bucket in self.buckets)

    @property
    def unclassified_extra(self) -> int:
        """About how many of them the source has no more."""
        return sum(bucket.unclassified_extra for bucket in self.buckets)

    @property
    def rows(self) -> int:
        """How many rows were compared: the greater number of both sides', of each bucket."""
        return sum(max(each.source.rows, each.target.rows) for each in self.buckets)

    @property
    def compared(self) -> str:
        """What was compared: `35 months and 31 days`; of a table that is one bucket, all."""
        return _units(self.buckets) or "all"

    def different_rows(self, *how: Difference) -> list[DifferentRow]:
        """The rows that differ so, each once."""
        rows = {row.key: row for bucket in self.buckets for row in bucket.rows}
        return [row for row in rows.values() if row.how in how]

    def __str__(self) -> str:
        line = f"{self.table}: {self.compared} compared, {self.rows:,} rows"
        counts, different = self.counts, self.different
        words = [f"{counts[how]:,} {_WORDS[how]}" for how in Difference if counts[how]]
        if self.unclassified:
            words.append(f"{self.unclassified:,} rows in parts that differ as a whole")
        if different:
            many = _units(different)
            differ = "differs" if len(different) == 1 else "differ"
            line += f", {many} {differ}" if many else f", {differ}"
            line += f": {', '.join(words)}"
        else:
            line += f", {EQUAL}" + (f", {words[0]}" if words else "")
        return line + (f"; not compared: {self.left}" if self.left else "")


def _units(buckets: Iterable[AuditedBucket]) -> str:
    """How many months and days they are; empty where the table is one bucket."""
    counts = Counter(bucket.unit for bucket in buckets)
    return " and ".join(
        f"{counts[unit]:,} {unit}" + ("" if counts[unit] == 1 else "s")
        for unit in ("month", "day")
        if counts[unit]
    )
