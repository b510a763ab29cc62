"""A limit that many pools may share, as an object in this process, and threads that read."""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from tasks.places.limits import Lease, LimitState, UnreachableError
from tasks.places.place_pool import PlacePool
from tasks.places.times import Times

NAME = "ferry-readers-shop"
QUICK = Times(
    renew=0.1, idle=0.1, ask=0.05, ask_more=0.1, again=0.05, look=0.1, leaked=0.3, pause=0.2
)


@dataclass
class FakeLimits:
    """A limit that many pools may share."""

    limit: int = 4
    there: bool = True
    away: bool = False
    busy: int = 0
    leases: set[uuid.UUID] = field(default_factory=set)
    leaked: int = 0
    most: int = 0
    asked: int = 0
    reported: dict[str, int] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)

    @contextmanager
    def opened(self) -> Iterator[None]:
        yield

    def ask(self, seconds: float) -> Lease | None:
        self._call("ask")
        if not self.there:
            return Lease(uuid.uuid4(), ())
        if len(self.leases) + self.leaked >= self.limit:
            return None
        lease = Lease(uuid.uuid4(), (NAME,))
        self.leases.add(lease.id)
        self.most = max(self.most, len(self.leases))
        return lease

    def renew(self, lease: Lease, seconds: float) -> bool:
        self._call("renew")
        return lease.id in self.leases

    def give_back(self, lease: Lease) -> None:
        self._call("give back")
        self.leases.discard(lease.id)

    def report(self, held: Mapping[str, int]) -> None:
        self._call("tell")
        self.reported = dict(held)

    def state(self) -> list[LimitState]:
        self._call("look")
        holders = (("flow run calm-otter", len(self.leases)),)
        return [LimitState(NAME, self.limit, len(self.leases) + self.leaked, holders)]

    def correct(self, name: str, places: int) -> None:
        self._call("correct")
        self.leaked -= places

    def _call(self, what: str) -> None:
        self.calls[what] += 1
        if self.away:
            raise UnreachableError("ConnectError")
        if self.busy:
            self.busy -= 1
            raise UnreachableError("HTTP 503", busy=True)


def pool(limits: FakeLimits, times: Times = QUICK) -> PlacePool:
    return PlacePool("shop", limits, times)  # type: ignore[arg-type]


class Reading(threading.Thread):
    """A thread that reads until it is ended; `begun` is set once it does."""

    def __init__(self, pool: PlacePool) -> None:
        super().__init__(daemon=True)
        self.pool, self.begun, self.ended = pool, threading.Event(), threading.Event()
        self.start()

    def run(self) -> None:
        with self.pool.place():
            self.begun.set()
            self.ended.wait(60)


@contextmanager
def reading(pool: PlacePool, count: int = 1) -> Iterator[list[Reading]]:
    """So many threads that read until the end of the block."""
    threads = [Reading(pool) for _ in range(count)]
    try:
        yield threads
    finally:
        for thread in threads:
            thread.ended.set()
        for thread in threads:
            thread.join(60)
