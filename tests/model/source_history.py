"""The source of a world: a SQLite table, and every version of every row that it ever showed."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

DEFAULT_EXTRA = "none"


@dataclass(frozen=True)
class Version:
    """A row as the source showed it from one commit on.

    Attributes:
        key: Its `id`.
        stamp: The number of this version: unique in the world, and growing.
        cursor: The moment of its cursor, in UTC; for a date, the day's first moment.
        written: When the statement ran, by the source's clock.
        at: When it was committed, by the source's clock.
        wall: What the cursor column holds.
        note: Some other column.
        deleted: Whether it is marked as deleted.
        gone: Whether it was deleted for good: from here on there is no such row.
        extra: The column that the table gained; None before that.
        jump: Whether its cursor is far ahead of its time.
    """

    key: int
    stamp: int
    cursor: datetime
    written: datetime
    at: datetime
    wall: str | int
    note: str
    deleted: bool = False
    gone: bool = False
    extra: str | None = None
    jump: bool = False

    def __str__(self) -> str:
        marks = "".join(
            f", {mark}"
            for mark, on in (("deleted", self.deleted), ("gone", self.gone), ("jump", self.jump))
            if on
        )
        return (
            f"id {self.key} version {self.stamp} cursor {self.wall} written "
            f"{self.written:%m-%d %H:%M:%S} committed {self.at:%m-%d %H:%M:%S}{marks}"
        )


@dataclass
class History:
    """All versions, in the order in which they were committed."""

    versions: list[Version] = field(default_factory=list)
    by_stamp: dict[int, Version] = field(default_factory=dict)
    extra_since: datetime | None = None

    def add(self, version: Version) -> None:
        """A version was committed."""
        self.versions.append(version)
        self.by_stamp[version.stamp] = version

    def at(self, moment: datetime) -> dict[int, Version]:
        """The rows as they stood at a moment, by key."""
        rows: dict[int, Version] = {}
        for version in self.versions:
            if version.at > moment:
                break
            rows[version.key] = version
        return {key: version for key, version in rows.items() if not version.gone}

    def after(self, key: int, moment: datetime) -> list[Version]:
        """The versions of a row that were committed after a moment."""
        return [v for v in self.versions if v.key == key and v.at > moment]

    def extra_of(self, version: Version) -> str | None:
        """What the gained column holds in this version today."""
        return DEFAULT_EXTRA if version.extra is None and self.extra_since else version.extra


class SourceTable:
    """The table in SQLite, and the transactions that are under way in it.

    Args:
        path: The file.
        name: The table.
        cursor_name: Its cursor column; `id` if that is the cursor.
        cursor_type: How that is declared: DATETIME, DATE, INTEGER (Unix seconds) or "" for `id`.
        zone: The zone of its wall clocks.
        primary_key: Whether `id` is its primary key.
    """

    def __init__(
        self,
        path: Path,
        name: str,
        *,
        cursor_name: str,
        cursor_type: str,
        zone: str,
        primary_key: bool,
    ) -> None:
        self.name, self.cursor_name, self.cursor_type = name, cursor_name, cursor_type
        self.zone = ZoneInfo(zone)
        self.history = History()
        self._pending: list[list[Version]] = []
        self._new_column: datetime | None = None
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._connection.execute("PRAGMA synchronous = OFF")
        key = " PRIMARY KEY" if primary_key else ""
        cursor = f"{cursor_name} {cursor_type} NOT NULL, " if cursor_type else ""
        self._connection.execute(
            f"CREATE TABLE {name} (id INTEGER NOT NULL{key}, {cursor}"
            "stamp INTEGER NOT NULL, note TEXT, deleted BOOLEAN NOT NULL)"
        )

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def wall(self, moment: datetime) -> tuple[str | int, datetime]:
        """What the cursor column holds for a moment, and the moment that it tells."""
        local = moment.astimezone(self.zone)
        if self.cursor_type == "DATE":
            midnight = datetime(local.year, local.month, local.day, tzinfo=self.zone)
            return local.date().isoformat(), midnight.astimezone(UTC)
        if self.cursor_type == "INTEGER":
            return int(moment.timestamp()), moment
        return local.replace(tzinfo=None).isoformat(" ", "seconds"), moment

    def busy(self) -> set[int]:
        """The keys that a transaction has locked."""
        return {version.key for transaction in self._pending for version in transaction}

    def commit_later(self, versions: list[Version]) -> None:
        """A transaction that commits at its versions' `at`."""
        self._pending.append(versions)

    def add_column_at(self, moment: datetime) -> None:
        """The table gains a column, NOT NULL with a default, at a moment."""
        self._new_column = moment

    def pump(self, now: datetime) -> None:
        """Commit what is due."""
        while True:
            due = min(self._pending, key=lambda each: each[0].at, default=None)
            column = self._new_column
            if column and column <= now and (due is None or column <= due[0].at):
                self._gain_column(column)
            elif due and due[0].at <= now:
                self._pending.remove(due)
                self._commit(due)
            else:
                return

    def last_pending(self) -> datetime | None:
        """When the last transaction that is under way commits."""
        return max((each[0].at for each in self._pending), default=None)

    def _gain_column(self, moment: datetime) -> None:
        self._connection.execute(
            f"ALTER TABLE {self.name} ADD COLUMN extra TEXT NOT NULL DEFAULT '{DEFAULT_EXTRA}'"
        )
        self.history.extra_since, self._new_column = moment, None

    def _commit(self, versions: list[Version]) -> None:
        run = self._connection.execute
        run("BEGIN")
        for version in versions:
            run(f"DELETE FROM {self.name} WHERE id = ?", (version.key,))
            if not version.gone:
                values = dict(self._values(version))
                names, marks = ", ".join(values), ", ".join("?" * len(values))
                run(f"INSERT INTO {self.name} ({names}) VALUES ({marks})", list(values.values()))
            self.history.add(version)
        run("COMMIT")

    def _values(self, version: Version) -> Iterator[tuple[str, object]]:
        yield "id", version.key
        if self.cursor_type:
            yield self.cursor_name, version.wall
        yield "stamp", version.stamp
        yield "note", version.note
        yield "deleted", int(version.deleted)
        if self.history.extra_since and version.extra is not None:
            yield "extra", version.extra


def on_time(version: Version, lag: timedelta) -> bool:
    """Whether a watermark of times promises to carry it: committed within the lag of its cursor."""
    return version.at <= max(version.cursor, version.written) + lag


def ids_on_time(history: History, lag: int, *, with_jumps: bool) -> set[int]:
    """The stamps that a watermark over ids promises: none so much higher was committed before."""
    highest, found = None, set()
    for version in history.versions:
        if highest is None or version.key >= highest - lag:
            found.add(version.stamp)
        if with_jumps or not version.jump:
            highest = max(version.key, highest or version.key)
    return found
