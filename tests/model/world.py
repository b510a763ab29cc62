"""A world, made from one seed: a table, how it is carried, what its writers do, what goes wrong."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo

from ferry.specs.tables import TableSpec

DAYS = 14
FIRST_DAYS = (date(2023, 3, 19), date(2023, 10, 22), date(2024, 2, 20))
"""A fortnight from there holds the hour that Berlin skips, the one it repeats, a leap day."""


class Hazard(StrEnum):
    """What can go wrong in a world; each kind can be left out."""

    LATE_COMMITS = "late commits"  # within what the spec allows for, and now and then beyond
    DATED_AHEAD = "rows dated ahead"
    SKIPPED_RUNS = "skipped runs"
    OVERLAPS = "overlapping runs"
    DEATHS = "runs that die"
    FAULTS = "lost connections, conflicts, answers lost at COMMIT"
    CLOCK_SKEW = "clocks that differ"
    TARGET_DROPPED = "a target that is made anew"
    BACKFILLS = "backfills"
    FULL_RELOADS = "full copies in between"
    NEW_COLUMN = "a column that the source gains"
    EMPTY_SOURCE = "a source that is empty for a while"


class Kind(StrEnum):
    """Which table it is: its mode, its key, its cursor."""

    WINDOW = "window over a time that every change sets"
    WINDOW_DATE = "window over a date that every change sets"
    WINDOW_UNIX = "window over Unix time that every change sets"
    WINDOW_CREATED = "window over a time that no change sets"
    WINDOW_VERSION = "window over a time that no change sets, with a version"
    WATERMARK = "watermark over a time, by key"
    WATERMARK_DATE = "watermark over a date, by key"
    WATERMARK_ID = "watermark over an id, by key"
    APPEND = "watermark over a time, without a key"
    APPEND_ID = "watermark over an id, without a key"
    FULL = "full, by key"
    FULL_KEYLESS = "full, without a key"

    @property
    def mode(self) -> str:
        """The spec's mode."""
        if self in (Kind.FULL, Kind.FULL_KEYLESS):
            return "full"
        return "window" if self.name.startswith("WINDOW") else "watermark"

    @property
    def keyed(self) -> bool:
        """Whether the spec has a key."""
        return self not in (Kind.APPEND, Kind.APPEND_ID, Kind.FULL_KEYLESS)

    @property
    def by_id(self) -> bool:
        """Whether the cursor is a growing id."""
        return self in (Kind.WATERMARK_ID, Kind.APPEND_ID)

    @property
    def cursor_type(self) -> str:
        """How SQLite declares the cursor; empty where it is the id."""
        if self in (Kind.WINDOW_DATE, Kind.WATERMARK_DATE):
            return "DATE"
        if self is Kind.WINDOW_UNIX:
            return "INTEGER"
        return "" if self.by_id else "DATETIME"

    @property
    def cursor(self) -> str:
        """The cursor column."""
        if self.by_id:
            return "id"
        created = (Kind.WINDOW_CREATED, Kind.WINDOW_VERSION)
        return "created_at" if self in created else "modified"

    @property
    def bumped(self) -> bool:
        """Whether a change sets the cursor."""
        return self.cursor == "modified"

    @property
    def updates(self) -> bool:
        """Whether rows change at all."""
        return not self.by_id and self is not Kind.APPEND


@dataclass(frozen=True)
class World:
    """One table and all that befalls it.

    Attributes:
        seed: It makes this very world again.
        hazards: What may go wrong.
        kind: Which table it is.
        spec: How it is carried.
        first: The fortnight's first day.
        skew: What the workers' clock is ahead of the source's.
        commit_seconds: The longest that a transaction takes, but for those that are beyond.
        run_at: How long after a day's end its run is scheduled.
        step_seconds: The longest that a step of a run takes.
    """

    seed: int
    hazards: frozenset[Hazard]
    kind: Kind
    spec: TableSpec
    first: date
    skew: timedelta
    commit_seconds: int
    run_at: timedelta
    step_seconds: float
    random: random.Random = field(compare=False)

    @property
    def start(self) -> datetime:
        """The fortnight's first moment, in UTC."""
        return self.midnight(0)

    def midnight(self, number: int) -> datetime:
        """The first moment of its day of that number, in UTC."""
        day = self.first + timedelta(days=number)
        return datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(self.spec.zone)).astimezone(
            UTC
        )

    def has(self, hazard: Hazard, chance: float = 1.0) -> bool:
        """Whether this goes wrong now."""
        return hazard in self.hazards and self.random.random() < chance

    @property
    def grace(self) -> timedelta:
        """How late a row may be committed, by its spec."""
        by_watermark = self.kind.mode == "watermark" and not self.kind.by_id
        return timedelta(seconds=self.spec.lag if by_watermark else self.spec.settle_seconds)

    def __str__(self) -> str:
        unset = {"name", "source", "target_schema", "source_table"}
        spec = self.spec.model_dump(exclude_defaults=True, exclude=unset)
        return (
            f"world {self.seed}: {self.kind}; {spec}; from {self.first}, workers' clock "
            f"{self.skew.total_seconds():+.0f} s, runs {self.run_at} after midnight, commits take "
            f"up to {self.commit_seconds} s"
        )


def make_world(
    seed: int, hazards: frozenset[Hazard] = frozenset(Hazard), kinds: tuple[Kind, ...] = tuple(Kind)
) -> World:
    """The world of this seed. Other hazards or kinds make another world of it."""
    chance = random.Random(seed)
    kind = chance.choice(kinds)
    zone = chance.choice(("UTC", "Europe/Berlin", "Asia/Seoul"))
    late = chance.choice((0, 0, 60, 300, 1800)) if Hazard.LATE_COMMITS in hazards else 0
    content: dict[str, Any] = {
        "name": "t",
        "source": "model",
        "mode": kind.mode,
        "key": ("id",) if kind.keyed else (),
        "zone": zone,
        "retry_delay_seconds": 0,
        "insert_rows": chance.choice((50, 50, 0)),
    }
    if kind.mode != "full":
        content["cursor"] = kind.cursor
    if kind.cursor_type == "INTEGER":
        content["cursor_unit"] = "s"
    if kind.cursor_type == "DATETIME" and chance.random() < 0.4:
        content["source_zone"] = chance.choice(("UTC", "Europe/Berlin", "Asia/Seoul"))
    if kind is Kind.WINDOW_VERSION:
        content["version"] = "stamp"
    if kind.mode == "window":
        content |= _of_a_window(chance, kind, late)
    if kind.mode == "watermark":
        content["lag"] = chance.choice((3, 10)) if kind.by_id else late
        if kind.by_id:
            content["cursor_jumps"] = chance.choice(("error", "allow"))
    if kind.keyed and kind.bumped and chance.random() < 0.4:
        content["soft_deletes"] = "apply"
    if chance.random() < 0.4 and kind.mode == "window":
        content |= {"catch_up": True, "start_date": FIRST_DAYS[0]}
    first = chance.choice(FIRST_DAYS)
    if "start_date" in content:  # there are too many hours in a fortnight
        hourly = "every" in content
        content["start_date"] = first + timedelta(days=chance.randint(10, 12) if hourly else 0)
    skew = chance.choice((-240, -20, 0, 20, 240)) if Hazard.CLOCK_SKEW in hazards else 0
    return World(
        seed=seed,
        hazards=hazards,
        kind=kind,
        spec=TableSpec.model_validate(content),
        first=first,
        skew=timedelta(seconds=skew),
        commit_seconds=late,
        run_at=timedelta(seconds=chance.choice((30, 400, 3 * 3600, 9 * 3600))),
        step_seconds=chance.choice((0.5, 5, 60)),
        random=chance,
    )


def _of_a_window(chance: random.Random, kind: Kind, late: int) -> dict[str, Any]:
    """What only windows have. What commits late is left to `settle` or to `lookback`."""
    content: dict[str, Any] = {}
    if kind.cursor_type != "DATE" and chance.random() < 0.15:
        content["every"] = "hour"
    if chance.random() < 0.7:
        content["settle"] = late
    if chance.random() < 0.4:
        content["lookback"] = 86_400 if kind.cursor_type == "DATE" else max(late, 3600)
    return content
