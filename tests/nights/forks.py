"""Runs in processes that have everything imported, some of them killed at a moment by chance."""

from __future__ import annotations

import multiprocessing
import random
import time
from collections.abc import Callable
from typing import Any

_FORKS = multiprocessing.get_context("forkserver")
"""Python's start would be most of each trial."""


class Killer:
    """Begins runs, and kills each at some moment of the time that a whole one takes here.

    Args:
        preload: Modules that each process has from the beginning.
        run: What is run; a function of a module, not a flow, which does not travel.
        first: What a whole run is given, of which its time is learned; it is run twice.
    """

    def __init__(self, preload: list[str], run: Callable[..., None], *first: tuple[Any, ...]):
        _FORKS.set_forkserver_preload(preload)
        self.chance = random.Random(7)
        self._run = run
        for given in first:  # with the first the fork server starts, too
            self._took = self._until_its_end(given)

    def kill(self, *given: Any) -> None:
        """Begin a run, and kill it at a moment by chance, or shortly after its end."""
        process = _FORKS.Process(target=self._run, args=given)
        begun = time.monotonic()
        process.start()
        process.join(self.chance.uniform(0, 1.2 * self._took))
        process.kill()
        process.join()
        if process.exitcode == 0:
            self._took = 0.9 * self._took + 0.1 * (time.monotonic() - begun)

    def _until_its_end(self, given: tuple[Any, ...]) -> float:
        process = _FORKS.Process(target=self._run, args=given)
        begun = time.monotonic()
        process.start()
        process.join()
        assert process.exitcode == 0
        return time.monotonic() - begun
