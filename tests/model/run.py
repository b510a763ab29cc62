"""A fortnight in a world: its writers, its runs, its operator, and the judge after each step."""

from __future__ import annotations

import shutil
import tempfile
import traceback
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

from ferry.backfills.plan import Reprocess
from tests.model.oracle import BrokenPromiseError
from tests.model.runs import Job, Runs
from tests.model.scene import Outcome, Scene
from tests.model.world import DAYS, Hazard, World


def live(world: World) -> Outcome:
    """Let a world pass, in a folder of its own, and judge it."""
    base = "/dev/shm" if Path("/dev/shm").is_dir() else None  # faster; it is removed
    folder = Path(tempfile.mkdtemp(prefix="ferry-model-", dir=base))
    try:
        life = Life(world, folder)
        with life.scene.installed(), life.runs.installed():
            life.pass_by()
        return life.scene.outcome
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Life:
    """One world under way."""

    def __init__(self, world: World, folder: Path) -> None:
        self.scene = Scene(world, folder)
        self.runs = Runs(self.scene)
        self._world, self._spec, self._chance = world, world.spec, world.random
        self._clock = self.scene.clock

    def pass_by(self) -> None:
        """The fortnight, then a quiet day on which all is carried."""
        try:
            for at, do in sorted(self._events(), key=lambda event: event[0]):
                self._clock.now = max(self._clock.now, at)
                self.scene.table.pump(self._clock.now)
                do()
            self._end()
        except BrokenPromiseError as broken:
            self.scene.outcome.broken = str(broken)
        except Exception as error:  # noqa: BLE001  # no error but Ferry's is expected of a run
            told = "".join(traceback.format_exception(error)[-4:])
            self.scene.outcome.broken = f"{type(error).__name__}, which nobody expected:\n{told}"

    def _events(self) -> Iterator[tuple[datetime, Callable[[], None]]]:
        world, chance, start = self._world, self._chance, self._world.start
        for _ in range(DAYS * 3):
            at = start + timedelta(seconds=chance.randint(-7200, DAYS * 86_400))
            yield at, lambda: self.scene.writer.transact(self._clock.now)
        for number in range(1, DAYS + 1):
            yield from self._near_midnight(world.midnight(number))
            at = world.midnight(number) + world.run_at
            job = self.runs.scheduled(at, f"day {number - 1}")
            if not world.has(Hazard.SKIPPED_RUNS, 0.25):
                yield at - world.skew, partial(self.runs.start, job)
        if self._spec.every == "hour":
            first = world.midnight(chance.randint(5, 8)) + timedelta(minutes=5)
            for number in range(12):
                at = first + timedelta(hours=number)
                job = self.runs.scheduled(at, f"hour {number}")
                if not world.has(Hazard.SKIPPED_RUNS, 0.25):
                    yield at - world.skew, partial(self.runs.start, job)
        yield from self._operator()

    def _near_midnight(self, midnight: datetime) -> Iterator[tuple[datetime, Callable[[], None]]]:
        """Much is written where one day becomes another."""
        for _ in range(2):
            at = midnight + timedelta(seconds=self._chance.randint(-600, 300))
            yield at, lambda: self.scene.writer.transact(self._clock.now)

    def _operator(self) -> Iterator[tuple[datetime, Callable[[], None]]]:
        world, chance = self._world, self._chance

        def sometime() -> datetime:
            return world.start + timedelta(seconds=chance.randint(86_400, DAYS * 86_400))

        if world.has(Hazard.TARGET_DROPPED, 0.4):
            yield sometime(), self._drop
        if world.has(Hazard.NEW_COLUMN, 0.4):
            at = sometime()
            yield at, lambda: self.scene.table.add_column_at(at)
        for _ in range(chance.randint(0, 2)):
            if world.has(Hazard.BACKFILLS) and self.runs.has_days:
                yield sometime(), lambda: self.runs.start(self.runs.backfill("missing"))
        if world.has(Hazard.FULL_RELOADS, 0.3):
            yield sometime(), lambda: self.runs.start(self.runs.full())
        if world.has(Hazard.EMPTY_SOURCE, 0.5) and world.kind.mode == "full":
            at = world.midnight(chance.randint(2, DAYS)) + world.run_at - timedelta(seconds=60)
            yield at, self._empty

    def _drop(self) -> None:
        """Now, or while the next run is under way."""
        if self._chance.random() < 0.5:
            self.scene.drop_target()
        else:
            self.scene.calls_to_drop = self._chance.randint(1, 30)

    def _empty(self) -> None:
        now = self._clock.now
        self.scene.writer.empty(now, now + timedelta(minutes=20))

    def _end(self) -> None:
        """Nobody writes, nothing goes wrong, and all is carried."""
        scene, clock = self.scene, self._clock
        scene.many, scene.quiet, scene.calls_to_drop = False, True, 0
        late = scene.table.last_pending() or clock.now
        clock.now = max(clock.now, late, self._world.midnight(DAYS) + timedelta(days=2))
        scene.table.pump(clock.now)
        if self._spec.mode == "window" and self._spec.every != "hour":
            self._finish("missing")
            scene.oracle.loaded(scene.coverage(), clock.now)
            if self._chance.random() < 0.4:  # it takes as long as a week of the fortnight
                self._finish("all")
                scene.oracle.equal(scene.rows(), clock.now)
            return
        ended = self.runs.quietly(Job("the last", clock.workers))
        if self._spec.mode == "full" and not ended:
            scene.oracle.equal(scene.rows(), clock.now)

    def _finish(self, reprocess: Reprocess) -> None:
        days = (self._world.first, self._world.first + timedelta(days=DAYS))
        job = Job("the last", self._clock.workers, days=days, reprocess=reprocess)
        ended = self.runs.quietly(job)
        if ended:
            raise BrokenPromiseError(f"the last backfill, with nothing in its way: {ended}")
