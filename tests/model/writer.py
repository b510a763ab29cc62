"""The programs that write to the source of a world."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from tests.model.source_history import SourceTable, Version
from tests.model.world import Hazard, World

MAX_ROWS = 40
BEYOND = 0.04
"""The share of transactions that take longer than the spec allows for."""


class Writer:
    """Makes transactions at random; what they hold, the history tells once they are committed."""

    def __init__(self, world: World, table: SourceTable) -> None:
        self._world, self._table = world, table
        self._random = world.random
        self._next_key, self._stamp = 1, 0

    def transact(self, now: datetime) -> None:
        """One transaction of a few rows: it runs its statements now, and commits now or later."""
        taken = set(self._table.busy())
        versions: list[Version] = []
        for _ in range(self._random.randint(1, 3)):
            version = self._change(now, taken)
            if version:
                taken.add(version.key)
                versions.append(version)
        if versions:
            at = now + self._duration(versions)
            self._table.commit_later([replace(version, at=at) for version in versions])

    def empty(self, now: datetime, until: datetime) -> None:
        """Empty the table, and fill it again with the same rows."""
        busy = self._table.busy()
        rows = [v for v in self._table.history.at(now).values() if v.key not in busy]
        if rows and not busy:
            self._table.commit_later([self._of(v, at=now, gone=True) for v in rows])
            self._table.commit_later([self._of(v, at=until, gone=False) for v in rows])

    def _duration(self, versions: list[Version]) -> timedelta:
        world, chance = self._world, self._random
        if world.has(Hazard.LATE_COMMITS, BEYOND):
            return timedelta(seconds=chance.randint(1, 4 * max(world.commit_seconds, 900)))
        if world.kind.by_id:
            late = Hazard.LATE_COMMITS in world.hazards
            return timedelta(seconds=chance.choice((0, 0, 0, 7200, 86_400)) if late else 0)
        return timedelta(seconds=chance.randint(0, world.commit_seconds))

    def _change(self, now: datetime, taken: set[int]) -> Version | None:
        kind, chance = self._world.kind, self._random
        rows = self._table.history.at(now)
        if not kind.updates or len(rows) < 3 or (len(rows) < MAX_ROWS and chance.random() < 0.5):
            return self._insert(now)
        newest = sorted(rows)[-6:] if chance.random() < 0.6 else sorted(rows)
        row = rows[chance.choice(newest)]
        if row.key in taken or row.jump or (row.deleted and chance.random() < 0.8):
            return None
        if kind.mode == "full" and chance.random() < 0.2:
            return self._of(row, at=now, gone=True)
        deleted = kind.bumped and chance.random() < 0.2
        changed = replace(self._of(row, at=now, gone=False), deleted=deleted)
        if not kind.bumped:
            return changed
        wall, cursor = self._table.wall(now)
        # A clock that goes back, as in the hour that is repeated, cannot tell what is newer.
        if wall < row.wall:  # type: ignore[operator]
            return None
        return replace(changed, wall=wall, cursor=cursor)

    def _insert(self, now: datetime) -> Version:
        kind, chance = self._world.kind, self._random
        key, told, jump = self._next_key, now, False
        self._next_key += 1
        often = 0.02 if kind.by_id else 0.05
        if self._world.has(Hazard.DATED_AHEAD, often) and kind.mode != "full":
            jump = True
            if kind.by_id:
                key += 1_000_000_000
            else:
                told += timedelta(days=chance.choice((1, 3, 40, 3000)))
        wall, cursor = (key, told) if kind.by_id else self._table.wall(told)
        return self._of(Version(key, 0, cursor, now, now, wall, "", jump=jump), at=now, gone=False)

    def _of(self, row: Version, *, at: datetime, gone: bool) -> Version:
        self._stamp += 1
        since = self._table.history.extra_since
        return replace(
            row,
            stamp=self._stamp,
            written=at,
            at=at,
            gone=gone,
            note=f"note {self._random.randint(0, 9)}",
            extra=f"extra {self._random.randint(0, 9)}" if since and since <= at else None,
        )
