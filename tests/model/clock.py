"""One clock for a whole world: the source's, and the workers', which may be minutes off."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any
from unittest.mock import patch

OURS = ("ferry", "tasks", "blocks", "flows")


@dataclass
class Clock:
    """What time it is in the world.

    Attributes:
        now: The source's clock, in UTC. The history of the source is written in it.
        skew: What the workers' clock is ahead of the source's.
    """

    now: datetime
    skew: timedelta = timedelta()

    @property
    def workers(self) -> datetime:
        """The workers' clock."""
        return self.now + self.skew

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += timedelta(seconds=seconds)


@contextmanager
def simulated(clock: Clock) -> Iterator[None]:
    """Let every module of Ferry's that reads the time read this clock; a sleep only moves it."""

    class Meta(type):
        def __instancecheck__(cls, instance: object) -> bool:
            return isinstance(instance, datetime)

    class Simulated(datetime, metaclass=Meta):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return clock.workers.astimezone(tz or UTC)

    modules: list[Any] = [
        module
        for name, module in list(sys.modules.items())
        if name.split(".")[0] in OURS and getattr(module, "datetime", None) is datetime
    ]
    for module in modules:
        module.datetime = Simulated
    try:
        with patch.object(time, "sleep", lambda _: clock.advance(1)):
            yield
    finally:
        for module in modules:
            module.datetime = datetime
