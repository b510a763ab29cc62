"""What is dear to open waits here for its next use: connections, reading processes.

It is kept by the process, not by a block: blocks stay plain values that threads share and that can
be copied and pickled. Each open thing has one user at a time, and is used again only if

- its last use ended without any error, and left it as it was when it was new;
- it waited no longer than `IDLE_SECONDS`, and is not older than `MAX_AGE_SECONDS`;
- it is still good, which its kind can tell without disturbing it.

Else it is closed. So an error always ends what it happened on, and whoever tries again begins with
something new, or with something that was just found to be good.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")

IDLE_SECONDS = 30.0
"""Shorter than what servers, proxies and firewalls wait before they forget a silent connection."""

MAX_AGE_SECONDS = 600.0
"""A server's name may point elsewhere by now, and a password may have been changed."""

MAX_IDLE = 8
"""For each key."""


@dataclass
class Lease(Generic[T]):
    """An open thing and its one user.

    Attributes:
        thing: It.
        keep: Whether it may be used again; the user sets it to False if not.
        opened: When, by the monotonic clock.
        returned: When its last use ended.
    """

    thing: T
    keep: bool = True
    opened: float = field(default_factory=time.monotonic)
    returned: float = 0.0


class Pool(Generic[T]):
    """Open things of one kind that wait for their next use.

    Args:
        close: Closes one; must not raise.
        is_good: Whether one that has waited for so many seconds can still be used; must not raise.
        max_age_seconds: When even a good one is closed after its use.
    """

    def __init__(
        self,
        close: Callable[[T], None],
        is_good: Callable[[T, float], bool],
        max_age_seconds: float = MAX_AGE_SECONDS,
    ) -> None:
        self._close = close
        self._is_good = is_good
        self._max_age_seconds = max_age_seconds
        self._waiting: dict[tuple[int, Hashable], list[Lease[T]]] = {}
        self._guard = threading.Lock()
        self._timer: threading.Timer | None = None
        atexit.register(self.close_all)

    @contextmanager
    def lease(self, key: Hashable, open: Callable[[], T]) -> Iterator[Lease[T]]:
        """One that was opened with this key, or else a new one; closed if the block raises.

        Args:
            key: All that it depends on how one is opened.
            open: Opens a new one; what it raises passes.
        """
        own_key = (os.getpid(), key)  # what a parent process opened is not ours
        lease = self._take(own_key) or Lease(open())
        try:
            yield lease
        except BaseException:
            self._close(lease.thing)
            raise
        self._give(own_key, lease)

    def close_all(self) -> None:
        """Close all that wait in this process; those in use are closed after their use, or wait."""
        self._close_waiting(older_than=-1.0)

    def _take(self, key: tuple[int, Hashable]) -> Lease[T] | None:
        while True:
            with self._guard:
                waiting = self._waiting.get(key)
                lease = waiting.pop() if waiting else None  # the one used last
            if lease is None:
                return None
            idle_seconds = time.monotonic() - lease.returned
            if idle_seconds <= IDLE_SECONDS and self._is_good(lease.thing, idle_seconds):
                return lease
            self._close(lease.thing)

    def _give(self, key: tuple[int, Hashable], lease: Lease[T]) -> None:
        lease.returned = time.monotonic()
        if lease.keep and lease.returned - lease.opened < self._max_age_seconds:
            with self._guard:
                waiting = self._waiting.setdefault(key, [])
                if len(waiting) < MAX_IDLE:
                    waiting.append(lease)
                    self._wake_later()
                    return
        self._close(lease.thing)

    def _wake_later(self) -> None:
        """Close in time what nobody comes back for; called behind the guard."""
        if self._timer is None or not self._timer.is_alive():
            self._timer = threading.Timer(IDLE_SECONDS, self._close_late)
            self._timer.daemon = True
            self._timer.start()

    def _close_late(self) -> None:
        self._close_waiting(older_than=IDLE_SECONDS)
        with self._guard:
            self._timer = None
            if self._waiting:
                self._wake_later()

    def _close_waiting(self, older_than: float) -> None:
        now, ours = time.monotonic(), os.getpid()
        late: list[Lease[T]] = []
        with self._guard:
            for key in [key for key in self._waiting if key[0] == ours]:
                late += [each for each in self._waiting[key] if now - each.returned > older_than]
                kept = [each for each in self._waiting[key] if now - each.returned <= older_than]
                if kept:
                    self._waiting[key] = kept
                else:
                    del self._waiting[key]
        for lease in late:
            self._close(lease.thing)
