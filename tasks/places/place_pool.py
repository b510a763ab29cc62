"""The places among readers that this process holds, shared by its threads.

A thread that begins to read takes a place that nobody uses, else waits in line; the background
thread (`keeper.py`) asks Prefect's server for as many as there are threads in line, one at a time.
So a thread that waits costs the server nothing.
"""

from __future__ import annotations

import math
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import copy_context
from functools import partial

from ferry.errors import BusyError
from tasks.places.keeper import Keeper, insistently, logger
from tasks.places.limits import Limits, LimitState
from tasks.places.place import Place, Waiter
from tasks.places.times import Times

LOOK_UP_SECONDS = 0.5
"""A thread in line looks up so often, whether it has waited too long."""

LOG_AGAIN_SECONDS = 600.0

TURNS_APART = 4
"""So many pauses lie between two places that go back for others' sake: one at a time is away."""


class PlacePool:
    """The places of this process among one kind of readers of one source.

    Args:
        source: The name of the source block.
        limits: The limits at Prefect's server.
        times: How long everything takes.
    """

    def __init__(self, source: str, limits: Limits, times: Times) -> None:
        self.source, self.limits, self.times = source, limits, times
        self.wake = threading.Condition()
        self.places: list[Place] = []
        self.owed: list[Place] = []
        self.waiters: deque[Waiter] = deque()
        self.extras: deque[Waiter] = deque()
        """For places more than one for a read: served if some are free, and refused if not."""
        self.states: list[LimitState] = []
        self.keeper: Keeper | None = None
        self.closed = False
        self.reporting = threading.Lock()
        """Held while the server is told what this process holds: what is told last is true."""
        self.unlimited_until = 0.0
        self.ask_at = 0.0
        self.silent_since: float | None = None
        self._read_at = time.monotonic()
        self._next_turn_at = 0.0
        self._logged_at: dict[str, float] = {}

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold a place meanwhile, waiting for one.

        Raises:
            BusyError: Nobody in this process got one for a long time; a retry may help.
        """
        place = self._take()
        try:
            yield
        finally:
            self.put(place)

    @contextmanager
    def more(self, count: int) -> Iterator[More]:
        """Hold up to so many places besides one's own, as many as are free: none is waited for.

        So two who want more than there are cannot wait for each other.
        """
        more = More(self, self._take_free(count))
        try:
            yield more
        finally:
            more.keep(0)

    def _take_free(self, count: int) -> list[Place | None]:
        now = time.monotonic()
        with self.wake:
            if now < self.unlimited_until:
                return [None] * count
            if count < 1 or self.waiters:  # others come first
                return []
            idle = [place for place in self.places if not place.used][:count]
            for place in idle:
                place.used = True
            taken: list[Place | None] = [*idle]
            asking = [Waiter(now) for _ in range(count - len(taken))]
            self.extras.extend(asking)
            self._start_keeper()
            self.wake.notify()
        try:
            for each in asking:
                each.served.wait(max(0.0, now + self.times.at_once - time.monotonic()))
        except BaseException:
            More(self, taken + self._answered(asking)).keep(0)
            raise
        return taken + self._answered(asking)

    def _answered(self, asking: Sequence[Waiter]) -> list[Place | None]:
        """What those got who asked for a place more; one without an answer by now asks no more."""
        with self.wake:
            for each in asking:
                if each in self.extras:
                    self.extras.remove(each)
                    each.refused = True
            return [each.place for each in asking if not each.refused]

    def refuse_extras(self) -> None:
        """Let nobody wait for a place more; call it with the lock held."""
        while self.extras:
            extra = self.extras.popleft()
            extra.refused = True
            extra.served.set()

    def _take(self) -> Place | None:
        waiter = Waiter(time.monotonic())
        with self.wake:
            if waiter.since < self.unlimited_until:
                return None
            idle = [place for place in self.places if not place.used]
            if idle and not self.waiters:
                idle[-1].used = True
                return idle[-1]
            self.waiters.append(waiter)
            self._start_keeper()
            self.wake.notify()
        try:
            while not waiter.served.wait(LOOK_UP_SECONDS):
                self._look_up(waiter)
        except BaseException:
            self._leave(waiter)
            raise
        return waiter.place

    def put(self, place: Place | None) -> None:
        """Give a place on, or back; None was none."""
        if place is None:
            return
        with self.wake:
            now = self._read_at = time.monotonic()
            place.used = False
            if place not in self.places:  # by now the source has no limit
                return
            if place.lease is None:
                self.places.remove(place)
            elif now - place.since >= self.times.turn and now >= self._next_turn_at:
                self.ask_at = now + self.times.pause
                self._next_turn_at = now + TURNS_APART * self.times.pause
                self.give_up(place)
            else:
                self.hand_on(place)
            self._start_keeper()
            self.wake.notify()

    def hand_on(self, place: Place) -> None:
        """Let whoever is first in line have the place; call it with the lock held."""
        line = self.waiters or self.extras
        if line:
            waiter = line.popleft()
            place.used = True
            waiter.place = place
            waiter.served.set()
        else:
            place.idle_since = time.monotonic()

    def give_up(self, place: Place) -> None:
        """Owe the place to the server; call it with the lock held."""
        self.places.remove(place)
        if place.lease:
            place.idle_since = place.renew_at = time.monotonic()
            self.owed.append(place)

    def may_log(self, what: str) -> bool:
        """Whether it is time to tell this: at most every ten minutes, by one of all threads."""
        with self.wake:
            now = time.monotonic()
            if now - self._logged_at.get(what, -math.inf) < LOG_AGAIN_SECONDS:
                return False
            self._logged_at[what] = now
            return True

    def held(self) -> dict[str, int]:
        """How many places of each limit this process holds; call it with the lock held."""
        leases = [place.lease for place in (*self.places, *self.owed) if place.lease]
        return dict(Counter(name for lease in leases for name in lease.limits))

    def read_without(self) -> None:
        """Let all in line read without a place until there is one; call it with the lock held."""
        self.refuse_extras()
        now = time.monotonic()
        while self.waiters:
            place = Place(None, now, now)
            self.places.append(place)
            self.hand_on(place)

    def close(self) -> None:
        """Give everything back at once, as far as the server can be asked: the process ends."""
        with self.wake:
            self.closed = True
            leases = [place.lease for place in (*self.places, *self.owed) if place.lease]
            self.places, self.owed = [], []
        if not (leases or self.limits.reported):
            return
        busy = self.times.busy
        with self.limits.opened():
            for lease in leases:
                if not insistently(partial(self.limits.give_back, lease), busy):
                    break  # they end by themselves; asking for each may take seconds
            with self.reporting:  # what the keeper is just reporting comes before it
                insistently(partial(self.limits.report, {}), busy)

    def _start_keeper(self) -> None:
        if self.keeper is None:
            self.keeper = Keeper(self)
            # In a copy of the context: it holds the flow run to whose log it writes.
            run = copy_context().run
            threading.Thread(
                target=run, args=(self.keeper.run,), name="ferry-places", daemon=True
            ).start()

    def _leave(self, waiter: Waiter) -> None:
        """Leave the line: the run was cancelled, or has waited for too long."""
        with self.wake:
            if waiter in self.waiters:
                self.waiters.remove(waiter)
        self.put(waiter.place)

    def _look_up(self, waiter: Waiter) -> None:
        """Tell of a long wait, and end one that is too long.

        While this process itself reads, the wait is for its own reading, and never too long; it is
        told all the same.
        """
        with self.wake:
            now = time.monotonic()
            if self.silent_since is not None or any(place.used for place in self.places):
                self._read_at = now
            waited = now - max(waiter.since, self._read_at)
            states = [str(state) for state in self.states]
        if waited >= self.times.give_up:
            raise BusyError(
                f"no place among the readers of {self.source!r} came free "
                f"within {self.times.give_up / 60:.0f} minutes",
                found="; ".join(states) or None,
                todo="See whether these runs still read, and cancel what hangs; or give the limit "
                "more places, in Prefect's UI under Concurrency.",
            )
        if now - waiter.since >= self.times.log_after and self.may_log("wait"):
            logger().warning(
                "waiting for a place among the readers of %r for %.0f s; %s",
                self.source,
                now - waiter.since,
                "; ".join(states) or "who holds them is not known yet",
            )


class More:
    """Places that somebody holds besides their own.

    Args:
        pool: Whose.
        places: These; None for each where there is no limit.
    """

    def __init__(self, pool: PlacePool, places: list[Place | None]) -> None:
        self._pool, self._places = pool, places

    @property
    def count(self) -> int:
        """How many."""
        return len(self._places)

    def keep(self, count: int) -> None:
        """Keep so many of them, and give the others on."""
        while len(self._places) > count:
            self._pool.put(self._places.pop())
