"""Versions that a wall clock wrote: where its clocks go back, the later time may be the older one.

In the hour that a zone repeats, a row that is changed at 02:50 and, twenty minutes later, at 02:10
again has a version that seems older. Nothing in the values tells the two passes apart, so two
versions within one repeated stretch are taken as equal ones are: what was read last is what the
source has, and what was read before another batch landed is read again.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from ferry.batch import Batch
from ferry.plan import BatchPlan
from ferry.schema import Kind
from ferry.windows import RepeatedTimes, read_stretch, repeated_times, same_clock, zone_info


@dataclass(frozen=True)
class VersionClock:
    """The clock that wrote the versions of a batch's rows.

    Attributes:
        column: The column that tells which version is newer, a time without a zone.
        zone: The zone of its times.
        until: When the rows that it is about were read at the latest; what comes after that has
            not been repeated yet.
        between: The moments between which the versions lie; None if only the rows tell it.
    """

    column: str
    zone: str
    until: datetime
    between: tuple[datetime, datetime] | None

    @classmethod
    def of(cls, batch: Batch, plan: BatchPlan, until: datetime) -> VersionClock | None:
        """The clock; None where the version is no wall clock's, or no row replaces another's."""
        name = plan.version or (plan.cursor.name if plan.cursor else None)
        column = next((c for c in plan.columns if c.name == name), None)
        zone = batch.spec.wall_clock_zone
        if batch.mode == "full" or not plan.key or column is None or same_clock(zone, "UTC"):
            return None
        if column.type.kind is not Kind.TIMESTAMP:
            return None
        between = None
        if column == plan.cursor and batch.window:
            between = read_stretch(batch.window, zone)
        elif column == plan.cursor and isinstance(plan.start, datetime) and plan.start.tzinfo:
            between = plan.start, until
        return cls(column.name, zone, until, between)

    def repeated(
        self, lowest: datetime | None = None, highest: datetime | None = None
    ) -> tuple[RepeatedTimes, ...]:
        """The times that the clock has shown twice, of those that the batch may hold.

        Args:
            lowest: The rows' lowest version, where only they tell it; None if none has any.
            highest: Their highest.
        """
        if self.between:
            first, last = self.between
            return repeated_times(first, min(last, self.until), self.zone)
        if lowest is None or highest is None:
            return ()
        clock = zone_info(self.zone)
        start, end = lowest.replace(tzinfo=clock), highest.replace(tzinfo=clock, fold=1)
        return repeated_times(start, min(end, self.until), self.zone)
