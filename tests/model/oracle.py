"""What has to be true of the target, judged by the source's history and nothing of Ferry's.

It asks Ferry for two things: the receipts, which say that a batch landed, and the coverage, which
says which days are loaded. Both are claims, and are held against the history.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from ferry.coverage.standings import Coverage, Status
from ferry.receipts.receipt import Receipt
from ferry.windows import Window
from tests.model.source_history import History, Version, ids_on_time, on_time
from tests.model.world import World

Row = dict[str, Any]
Rows = list[Row] | None
"""The target's; None if there is no such table."""


class BrokenPromiseError(BaseException):
    """The first row that differs, and why it was promised; nothing that Ferry would handle."""


@dataclass
class Oracle:
    """Judges one world.

    Attributes:
        world: The world.
        history: What its source showed.
        known: The newest version of each row that the target has had since it was made.
        last_full: When the newest full copy in the target was read.
    """

    world: World
    history: History
    known: dict[int, Version] = field(default_factory=dict)
    last_full: datetime | None = None

    def target_is_gone(self) -> None:
        """Somebody dropped or renamed the target."""
        self.known, self.last_full = {}, None

    def landed(
        self,
        receipts: Sequence[Receipt],
        before: Rows,
        after: Rows,
        read_at: datetime,
        own: Window | None,
    ) -> None:
        """A batch landed: judge the target by what the source held when the batch was read.

        Args:
            receipts: The batch's: several if its windows travelled together.
            before: The target before the transaction.
            after: The target after it.
            read_at: When the source was read.
            own: What a scheduled run has to carry, its lookback included; None for all others.
        """
        self._check_rows(after or [])
        self._check_receipts(receipts, before or [], after or [])
        for receipt in receipts:
            is_own = own and receipt.mode == "window" and receipt.window_end == own.end
            self._landed(receipt, before, after, read_at, own if is_own else None)

    def _landed(
        self, receipt: Receipt, before: Rows, after: Rows, read_at: datetime, window: Window | None
    ) -> None:
        rows = self._by_key(after or [])
        source = self.history.at(read_at)
        if receipt.mode == "full":
            self._check_full(before, rows, source, read_at)
        else:
            for version in self._promised(receipt, source, window, read_at):
                self._check_there(version, rows, f"{receipt.mode} read at {read_at:%m-%d %H:%M:%S}")
            for key, version in self.known.items():
                self._check_there(version, rows, f"the target had it ({key})")
        for key, there in rows.items():
            self.known[key] = there
        for version in self._promised(receipt, source, window, read_at):
            if version.stamp > getattr(self.known.get(version.key), "stamp", 0):
                self.known[version.key] = version

    def claims(self, coverage: Coverage, rows: Rows, now: datetime) -> None:
        """Hold every day that is called loaded against what the source held."""
        if self.world.kind.mode == "full" or self.world.kind.by_id:
            return
        found = self._by_key(rows or [])
        for window in self._windows(now):
            if coverage.of(window).status is Status.LOADED:
                self._check_claim(window, found, rows, now)

    def loaded(self, coverage: Coverage, now: datetime) -> None:
        """All that is over is to be loaded, when everything was done for it."""
        for window in self._windows(now):
            standing = coverage.of(window)
            over = window.end + self.world.grace <= now and window.end <= self._end
            if over and window.start >= self.world.start and standing.status is not Status.LOADED:
                raise BrokenPromiseError(f"{window.label} is {standing.status} in the end")

    def equal(self, rows: Rows, now: datetime) -> None:
        """After everything was carried again, the target is the source."""
        found = self._by_key(rows or [])
        state = self.history.at(now)
        for version in state.values():
            within = self.world.start <= version.cursor < self._end
            if within or self.world.kind.mode == "full":
                self._check_there(version, found, "everything was carried again", exactly=True)
        if self.world.kind.mode == "full":
            for key in found:
                if key not in state:
                    raise BrokenPromiseError(f"id {key} is gone from the source, not the target")

    @property
    def _end(self) -> datetime:
        return self.world.midnight(14)

    def _windows(self, now: datetime) -> Iterable[Window]:
        """The days, or the hours, from a day before the first to some that are to come."""
        zone = ZoneInfo(self.world.spec.zone)
        days = (now - self.world.start).days + 3
        for number in range(-1, days):
            start, end = self.world.midnight(number), self.world.midnight(number + 1)
            if self.world.spec.every == "hour":
                while start < end:
                    yield Window(start, start + timedelta(hours=1), str(zone))
                    start += timedelta(hours=1)
            else:
                yield Window(start, end, str(zone))

    def _check_claim(
        self, window: Window, found: dict[int, Version], rows: Rows, now: datetime
    ) -> None:
        start, end = window.start.astimezone(UTC), window.end.astimezone(UTC)
        until = end + self.world.grace
        if until > now:
            raise BrokenPromiseError(
                f"{window.label} is called loaded at {now:%m-%d %H:%M:%S}, by the source's clock "
                f"before {until:%m-%d %H:%M:%S}, when it is complete"
            )
        why = f"{window.label} is called loaded: complete since {until:%m-%d %H:%M:%S}"
        for version in self.history.at(until).values():
            if not start <= version.cursor < end or not self._in_time(version):
                continue
            later = self.history.after(version.key, until)
            if all(start <= v.cursor < end and not v.gone for v in later):
                self._check_there(version, found, why)
                self._check_extra(version.key, rows or [], why)

    def _in_time(self, version: Version) -> bool:
        """Whether it was committed so soon after its cursor that coverage promises it.

        Receipts cover a day moment by moment: the morning may have been read at noon. So what
        counts is the row's own moment, not the day's end; of a date, that is the whole day.
        """
        if self.world.kind.mode == "watermark":
            return on_time(version, self.world.grace)
        whole_day = self.world.kind.cursor_type == "DATE"
        return whole_day or version.at <= version.cursor + self.world.grace

    def _promised(
        self, receipt: Receipt, source: dict[int, Version], window: Window | None, read_at: datetime
    ) -> list[Version]:
        """What the batch has to hold, of what the source held when it was read."""
        if receipt.mode == "full":
            return list(source.values())
        if receipt.mode == "window":
            assert receipt.window_start and receipt.window_end
            start, end = (
                bound.astimezone(UTC)
                for bound in (
                    (window.start, window.end)
                    if window
                    else (receipt.window_start, receipt.window_end)
                )
            )
            return [v for v in source.values() if start <= v.cursor < end]
        if self.world.kind.by_id:
            allowed = self.world.spec.cursor_jumps == "allow"
            stamps = ids_on_time(self.history, self.world.spec.lag, with_jumps=allowed)
            return [v for v in source.values() if v.stamp in stamps]
        return [v for v in source.values() if on_time(v, self.world.grace)]

    def _check_full(
        self, before: Rows, rows: dict[int, Version], source: dict[int, Version], read_at: datetime
    ) -> None:
        why = f"full copy read at {read_at:%m-%d %H:%M:%S}"
        if before and not source and not self.world.spec.allow_empty:
            raise BrokenPromiseError(f"{why}: the source had no rows, and the target lost its own")
        if self.last_full and read_at < self.last_full:
            raise BrokenPromiseError(f"{why}: over one read at {self.last_full:%m-%d %H:%M:%S}")
        self.last_full = read_at
        for version in source.values():
            self._check_there(version, rows, why, exactly=True)
        for key, version in {**self.known, **rows}.items():
            gone = any(v.gone for v in self.history.versions if v.key == key and v.at <= read_at)
            if key not in source and not gone and not version.deleted:
                raise BrokenPromiseError(f"{why}: over a newer row: {version}")
            if key in rows and key not in source:
                raise BrokenPromiseError(f"{why}: a row that it did not have: {version}")
        self.known = {}

    def _check_there(
        self, version: Version, rows: dict[int, Version], why: str, *, exactly: bool = False
    ) -> None:
        """The row is in the target, as this version or a newer one."""
        there = rows.get(version.key)
        if there is None:
            applied = self.world.spec.soft_deletes == "apply"
            later = [] if exactly else self.history.after(version.key, version.at)
            if applied and any(v.deleted for v in (version, *later)):
                return
            raise BrokenPromiseError(f"missing: {version} ({why})")
        if there.stamp < version.stamp:
            raise BrokenPromiseError(f"older: {there}; promised: {version} ({why})")
        if exactly and there.stamp != version.stamp:
            raise BrokenPromiseError(f"another: {there}; promised: {version} ({why})")
        if exactly and version.deleted and self.world.spec.soft_deletes == "apply":
            raise BrokenPromiseError(f"not deleted: {version} ({why})")

    def _check_extra(self, key: int, rows: list[Row], why: str) -> None:
        for row in rows:
            if row["id"] == key and "extra" in row:
                expected = self.history.extra_of(self.history.by_stamp[row["stamp"]])
                if row["extra"] != expected:
                    raise BrokenPromiseError(
                        f"extra of id {key} is {row['extra']!r}, not {expected!r} ({why})"
                    )

    def _check_rows(self, rows: list[Row]) -> None:
        """No row twice, none that the source never had, no value changed."""
        twice = [value for value, n in Counter(row["id"] for row in rows).items() if n > 1]
        if twice:
            raise BrokenPromiseError(f"id {twice[0]} is in the target more than once")
        for row in rows:
            version = self.history.by_stamp.get(row["stamp"])
            if version is None or version.gone:
                raise BrokenPromiseError(f"the source never had this row: {row}")
            expected = {"id": version.key, "note": version.note, "deleted": version.deleted}
            if not self.world.kind.by_id:
                expected[self.world.kind.cursor] = version.wall
            for name, value in expected.items():
                told = row[name]
                if name == self.world.kind.cursor and not isinstance(value, int):
                    told = told.isoformat(*([" ", "seconds"] if isinstance(told, datetime) else []))
                if told != value:
                    raise BrokenPromiseError(f"{name} is {told!r} in the target: {version}")
            if row.get("extra") not in (None, self.history.extra_of(version)):
                raise BrokenPromiseError(f"extra is {row['extra']!r} in the target: {version}")

    def _check_receipts(
        self, receipts: Sequence[Receipt], before: list[Row], after: list[Row]
    ) -> None:
        """What is counted adds up, and is what happened to the target, window by window."""
        for receipt in receipts:
            self._check_sum(receipt)
        old, new = (
            {r["id"]: (r["stamp"], r.get("extra")) for r in rows} for rows in (before, after)
        )
        told = ", and ".join(_counts(receipt) for receipt in receipts)
        if old != new and not any(receipt.changed for receipt in receipts):
            raise BrokenPromiseError(f"the target changed, the receipt says no: {told}")
        if receipts[0].mode == "full" or not self.world.kind.keyed:
            return
        added = new.keys() - old.keys()
        altered = {key for key in old.keys() & new.keys() if old[key] != new[key]}
        found = len(added), len(altered), len(old.keys() - new.keys())
        sums = tuple(
            sum(getattr(receipt, name) for receipt in receipts)
            for name in ("rows_inserted", "rows_updated", "rows_deleted")
        )
        if sums != found:
            raise BrokenPromiseError(f"the receipt says {told}; found {found}")
        for receipt in receipts if len(receipts) > 1 else ():
            within = {row["id"] for row in after if self._is_within(row, receipt)}
            if (receipt.rows_inserted, receipt.rows_updated) != (
                len(added & within),
                len(altered & within),
            ):
                raise BrokenPromiseError(
                    f"the receipt of {receipt.window_label} says {_counts(receipt)}; "
                    f"found {len(added & within)} inserted, {len(altered & within)} updated"
                )

    def _is_within(self, row: Row, receipt: Receipt) -> bool:
        assert receipt.window_start and receipt.window_end
        cursor = self.history.by_stamp[row["stamp"]].cursor
        start, end = (bound.astimezone(UTC) for bound in (receipt.window_start, receipt.window_end))
        return start <= cursor < end

    def _check_sum(self, receipt: Receipt) -> None:
        counted = receipt.rows_inserted + receipt.rows_updated + receipt.rows_unchanged
        counted += receipt.rows_superseded or 0
        applied = self.world.spec.soft_deletes == "apply" and receipt.mode != "full"
        counted += receipt.rows_deleted if applied else 0
        if counted != receipt.rows_extracted:
            raise BrokenPromiseError(f"the receipt does not add up: {_counts(receipt)}")

    def _by_key(self, rows: list[Row]) -> dict[int, Version]:
        return {row["id"]: self.history.by_stamp[row["stamp"]] for row in rows}


def _counts(receipt: Receipt) -> str:
    names = ("extracted", "inserted", "updated", "deleted", "unchanged", "superseded")
    return ", ".join(f"{getattr(receipt, 'rows_' + name)} {name}" for name in names)
