"""The runs of a world: Ferry's own code below the flows, with what goes wrong in it."""

from __future__ import annotations

import traceback
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from threading import Event
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch
from zoneinfo import ZoneInfo

from ferry.backfills.outcomes import failures_of
from ferry.backfills.plan import PlannedWindow, Reprocess, landed_labels, lost_since
from ferry.day_ranges import DayRange, Granularity
from ferry.errors import FerryError, UnknownError
from ferry.windows import Every, Window, scheduled_window
from flows.pipeline.carry_batch import Coordination, carry_together
from flows.pipeline.carry_many import run_windows, window_batches
from flows.pipeline.catch_up import catch_up
from flows.pipeline.make_batch import Dates, Route, make_batch
from flows.pipeline.settle import wait_until_settled
from tasks.landed.history import read_coverage, read_run
from tasks.plan_backfill import plan_backfill
from tests.model.oracle import BrokenPromiseError
from tests.model.places import (
    Fault,
    KilledError,
    Moment,
    Place,
    Watch,
    WatchedSource,
    WatchedWarehouse,
)
from tests.model.scene import Scene
from tests.model.turns import Turns
from tests.model.world import Hazard

_flow_run: ContextVar[SimpleNamespace] = ContextVar("_flow_run")


@dataclass(frozen=True)
class Job:
    """A run to be made: its id and scheduled start stay the same over its attempts."""

    name: str
    scheduled: datetime
    window: Window | None = None
    mode: str | None = None
    days: tuple[date, date] | None = None
    reprocess: Reprocess = "missing"
    explicit: bool = False
    id: str = ""


class Runs:
    """Makes runs in a scene, one or two at a time, and lets the judge look after each."""

    def __init__(self, scene: Scene) -> None:
        self._scene, self._world, self._spec = scene, scene.world, scene.spec
        self._chance, self._clock = scene.chance, scene.clock
        self._turns = Turns(lambda names: self._chance.choice(sorted(names)))

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Let Ferry's code below the flows find a flow run, and blocks, where there are none."""
        clock = self._clock

        def monotonic() -> float:
            return clock.now.timestamp()

        with ExitStack() as stack:
            stack.enter_context(patch("flows.pipeline.make_batch.flow_run", _Current()))
            stack.enter_context(
                patch("flows.pipeline.settle.time", SimpleNamespace(monotonic=monotonic))
            )
            yield

    @property
    def has_days(self) -> bool:
        """Whether there is anything that a backfill can carry."""
        kind = self._world.kind
        return kind.keyed and kind.mode != "full" and not kind.by_id

    def scheduled(self, at: datetime, name: str) -> Job:
        every: Every = "hour" if self._spec.every == "hour" else "day"
        window = scheduled_window(at, self._spec.zone, every)
        if self._spec.mode != "window":
            return Job(name, at)
        start = window.start.astimezone(UTC) - timedelta(seconds=self._spec.lookback)
        if self._spec.start_date:
            begins = self._world.midnight((self._spec.start_date - self._world.first).days)
            start = min(window.start, max(start, begins))
        return Job(name, at, Window(start, window.end, window.zone))

    def full(self) -> Job:
        return Job("full", self._clock.workers, mode="full")

    def backfill(self, reprocess: Reprocess) -> Job:
        zone = ZoneInfo(self._spec.zone)
        today = self._clock.workers.astimezone(zone).date()
        first = self._spec.start_date or self._world.first
        if reprocess == "all":  # beside another run: not all of it, or the worlds take too long
            first = max(first, today - timedelta(days=3))
        return Job("backfill", self._clock.workers, days=(first, today), reprocess=reprocess)

    def start(self, job: Job) -> None:
        """One run, perhaps with another at the same time, each perhaps more than once."""
        jobs = [self._identified(job)]
        if self._world.has(Hazard.OVERLAPS, 0.25):
            jobs.append(self._identified(self._another(job)))
        self._scene.many = len(jobs) > 1
        errors: list[BaseException] = []

        def work(job: Job) -> Callable[[], None]:
            def attempts() -> None:
                try:
                    self._attempts(job)
                except BaseException as error:  # noqa: BLE001  # told below
                    errors.append(error)

            return lambda: copy_context().run(attempts)

        if self._scene.many:
            self._turns.run({one.id: work(one) for one in jobs})
        else:
            work(jobs[0])()
        if errors:
            raise errors[0]
        self._scene.judge_claims()

    def _identified(self, job: Job) -> Job:
        """The job with an id of its own, thrown by the world's dice."""
        return replace(job, id=str(uuid.UUID(int=self._chance.getrandbits(128))))

    def _another(self, job: Job) -> Job:
        chance, now = self._chance, self._clock.workers
        choices = [Job(f"{job.name} again", now, job.window, job.mode, explicit=True)]
        if self.has_days:
            choices.append(self.backfill("all"))
        if Hazard.FULL_RELOADS in self._world.hazards:
            choices.append(self.full())
        if job.days:
            return choices[-1]
        return chance.choice(choices)

    def _attempts(self, job: Job) -> None:
        for attempt in range(1, 4):
            watch = self._watch(job, attempt)
            self._scene.outcome.runs += 1
            ended = self._attempt(job, watch, attempt)
            struck = f", {watch.struck}" if watch.struck else ""
            self._scene.log(f"{watch.name}: {ended or 'done'}{struck}")
            if not ended or self._chance.random() < 0.3:
                return
            self._clock.advance(self._chance.randint(10, 600))

    def _watch(self, job: Job, attempt: int) -> Watch:
        def step(may_pause: bool) -> None:
            self._scene.step(inside=not may_pause)
            if may_pause and self._scene.many:
                self._turns.give_way(job.id)

        def landing(watch: Watch, moment: Moment) -> None:
            self._scene.landing(watch, moment, None if job.explicit else job.window)

        name = f"{job.name} {job.id[:4]}" + (f" attempt {attempt}" if attempt > 1 else "")
        watch = Watch(name, job.id, self._clock, step, landing)
        kinds = [] if Hazard.FAULTS not in self._world.hazards else ["lost", "busy", "conflict"]
        kinds += ["die"] if Hazard.DEATHS in self._world.hazards else []
        if kinds and not self._scene.quiet and self._chance.random() < 0.25:
            call = self._chance.randint(1, 40)
            watch.fault = Fault(call, self._chance.random() < 0.5, self._chance.choice(kinds))
        return watch

    def _attempt(self, job: Job, watch: Watch, number: int) -> str:
        """Why it failed; empty if it did not."""
        _flow_run.set(
            SimpleNamespace(id=job.id, scheduled_start_time=job.scheduled, run_count=number)
        )
        route = Route(
            WatchedSource(self._scene.source, watch, "source"),  # type: ignore[arg-type]
            Place(self._scene.stage, watch, "stage"),  # type: ignore[arg-type]
            WatchedWarehouse(self._scene.warehouse, watch, "warehouse"),  # type: ignore[arg-type]
        )
        try:
            if job.days:
                return self._carry_days(job, route)
            explicit = job.window if job.explicit else None
            start, end = (explicit.start, explicit.end) if explicit else (None, None)
            batch = make_batch(self._spec, Dates(None, start, end, None), job.mode)  # type: ignore[arg-type]
            if not job.explicit and not job.mode:
                wait_until_settled(batch, route.source, self._nobody_stops())  # type: ignore[arg-type]
            carry_together(batch, route, Coordination())
            if self._spec.catch_up and not job.explicit and not job.mode:
                routes: Any = SimpleNamespace(of=lambda *_: route)
                caught = catch_up.fn(batch, routes, Event())
                for reason in (each.reason for each in failures_of(caught)):
                    self._scene.outcome.refused[f"catch up: {reason[:80]}"] += 1
        except KilledError:
            return "died"
        except FerryError as error:
            return self._refused(error)
        return ""

    def _nobody_stops(self) -> SimpleNamespace:
        """What a run that waits looks at: nobody stops it, and time passes."""

        def wait(seconds: float) -> bool:
            self._clock.advance(seconds)
            self._scene.table.pump(self._clock.now)
            return False

        return SimpleNamespace(wait=wait)

    def _refused(self, error: FerryError) -> str:
        """A run may fail by any error of Ferry's that says what is wrong."""
        if isinstance(error, UnknownError):
            told = "".join(traceback.format_exception(error)[-6:])
            raise BrokenPromiseError(f"an error that nobody expected:\n{told}")
        self._scene.outcome.refused[f"{type(error).__name__}: {error.problem}"] += 1
        return f"failed: {error}"

    def _carry_days(self, job: Job, route: Route) -> str:
        assert job.days
        days = DayRange(*job.days, self._spec.zone)
        granularity: Granularity = "hour" if self._spec.every == "hour" else "day"
        now = job.scheduled
        if days.end <= days.start:
            return ""
        if granularity == "hour":  # a fortnight has too many
            days = DayRange(max(days.start, days.end - timedelta(days=2)), days.end, days.zone)
        plan = plan_backfill.fn(
            self._spec,
            days,
            granularity,
            job.reprocess,
            route.source,
            route.warehouse,
            now=now,
            flow_run_id=job.id,
        )
        failed = self._carry_windows(plan.to_run, job, route)
        if job.reprocess == "missing" and plan.to_run:
            coverage = read_coverage(self._spec, route.warehouse)
            own = read_run.fn(job.id, self._spec.target, route.warehouse).receipts.values()
            labels = landed_labels(own, self._spec, plan.cursor)
            lost = lost_since(plan, job.reprocess, coverage, void=(), landed=labels)
            failed = self._carry_windows(lost, job, route) or failed
        return failed

    def _carry_windows(self, planned: list[PlannedWindow], job: Job, route: Route) -> str:
        windows = [each.window for each in planned]
        attempt = _flow_run.get().run_count
        again = {each.window: attempt for each in planned if each.again}
        batches = window_batches(self._spec, windows, job.id, job.scheduled, again=again)
        failed = failures_of(run_windows(batches, route, at_once=1, stop=Event()))
        for each in failed:
            if UnknownError.code in each.reason:
                raise BrokenPromiseError(f"an error that nobody expected: {each.reason}")
            self._scene.outcome.refused[f"backfill: {each.reason[:80]}"] += 1
        return f"failed: {failed[0].reason}" if failed else ""

    def quietly(self, job: Job) -> str:
        """One attempt of a run that nothing disturbs; why it failed, if it did."""
        job = self._identified(job)
        ended = self._attempt(job, self._watch(job, 1), 1)
        self._scene.judge_claims()
        return ended


class _Current:
    """`prefect.runtime.flow_run` of whichever run is moving."""

    def __getattr__(self, name: str) -> Any:
        return getattr(_flow_run.get(), name)
