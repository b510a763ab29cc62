"""Places that nobody holds any more, though Prefect's server counts them as taken.

A server that keeps its leases in memory forgets them when it restarts, and goes on counting. Then
nothing gives those places back. They are told from places that are held by waiting: what a process
holds it tells within a second, and the lease of one that died before it told ends by itself.
"""

from __future__ import annotations

from collections.abc import Sequence

from tasks.places.limits import LimitState

ENDED_AFTER_SECONDS = 90.0
"""By then the lease of whoever died has ended, 60 s, and its server has seen that, 15 s."""


_GAP_SECONDS = 45.0
"""Looks that lie further apart do not tell what was between them."""


class LeakWatch:
    """How many places nobody told of, at every look since the first.

    Args:
        seconds: How long that has to have been so.
    """

    def __init__(self, seconds: float = ENDED_AFTER_SECONDS) -> None:
        self._seconds = seconds
        self._since: dict[str, tuple[float, int]] = {}
        self._looked_at = 0.0

    def see(self, states: Sequence[LimitState], now: float) -> dict[str, int]:
        """Look once more; returns the limits' places that nobody holds, if that is certain."""
        if now - self._looked_at > _GAP_SECONDS:
            self.forget()
        self._looked_at, leaked = now, {}
        for state in states:
            since, fewest = self._since.get(state.name, (now, state.unknown))
            fewest = min(fewest, state.unknown)
            if not fewest:
                self._since.pop(state.name, None)
                continue
            self._since[state.name] = (since, fewest)
            if now - since >= self._seconds:
                leaked[state.name] = fewest
                del self._since[state.name]
        return leaked

    def forget(self) -> None:
        """Begin anew: what was seen is no longer of this time."""
        self._since.clear()
