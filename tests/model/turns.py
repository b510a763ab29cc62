"""Runs that are under way at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence


class Turns:
    """Runs that are under way at once: one moves at a time, and who is next is up to chance."""

    def __init__(self, choose: Callable[[Sequence[str]], str]) -> None:
        self._choose = choose
        self._turn = threading.Condition()
        self._running: dict[str, Callable[[], None]] = {}
        self._now = ""

    def run(self, work: dict[str, Callable[[], None]]) -> None:
        """Run them all to their ends."""
        names = list(work)
        self._running, self._now = dict(work), self._choose(names)
        threads = [threading.Thread(target=self._one, args=(name,), daemon=True) for name in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def give_way(self, name: str) -> None:
        """Let somebody move, perhaps oneself."""
        with self._turn:
            self._now = self._choose(list(self._running))
            self._turn.notify_all()
            self._turn.wait_for(lambda: self._now == name)

    def _one(self, name: str) -> None:
        with self._turn:
            self._turn.wait_for(lambda: self._now == name)
        try:
            self._running[name]()
        finally:
            with self._turn:
                del self._running[name]
                self._now = self._choose(list(self._running)) if self._running else ""
                self._turn.notify_all()
