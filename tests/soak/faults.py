"""What goes wrong: at random, one after the other, each ended by starting again what was killed."""

from __future__ import annotations

import random
import signal
from collections import Counter
from dataclasses import dataclass

from tests.soak.servers import Servers, descendants, kill
from tests.soak.told import Busy, say

BETWEEN_SECONDS = (15.0, 50.0)


@dataclass(frozen=True)
class Fault:
    """One kind of fault.

    Attributes:
        what: As people say it.
        victim: The name of the process in the stack.
        how: The signal.
        down: How long it stays away, in seconds, at least and at most.
        whom: The process itself; `runs`: one of the runs that it started; `all`: both.
        weight: How often, beside the others.
    """

    what: str
    victim: str
    how: signal.Signals
    down: tuple[float, float] = (1, 15)
    whom: str = "itself"
    weight: int = 2


KILL, END = signal.SIGKILL, signal.SIGTERM
FAULTS = (
    Fault("Prefect server killed", "prefect", KILL, (2, 60), weight=4),
    Fault("Prefect server restarted", "prefect", END, (0, 5)),
    Fault("worker killed", "worker", KILL, weight=2),
    Fault("worker restarted", "worker", END, (0, 5)),
    Fault("worker and its runs killed", "worker", KILL, whom="all", weight=3),
    Fault("a run killed", "worker", KILL, whom="runs", weight=4),
    Fault("a run asked to end", "worker", END, whom="runs", weight=2),
    Fault("watcher and its runs killed", "watcher", KILL, whom="all", weight=1),
    Fault("MariaDB killed", "mariadb", KILL),
    Fault("MariaDB restarted", "mariadb", END, weight=1),
    Fault("PostgreSQL killed", "postgres", KILL),
    Fault("PostgreSQL restarted", "postgres", signal.SIGINT, weight=1),
    Fault("Redshift double killed", "redshift", KILL),
    Fault("S3 killed", "s3", KILL),
)


class Faults(Busy):
    """Makes things go wrong until it is stopped; then everything is up."""

    def __init__(self, servers: Servers, seed: int) -> None:
        super().__init__()
        self._servers = servers
        self._random = random.Random(f"faults of {seed}")
        self.counts: Counter[str] = Counter()

    def go_on(self) -> None:
        possible = [each for each in FAULTS if each.victim in self._servers.programs]
        while not self.over.wait(self._random.uniform(*BETWEEN_SECONDS)):
            (fault,) = self._random.choices(possible, [each.weight for each in possible])
            self._make(fault, self._random.uniform(*fault.down))
        for name in self._servers.names:
            self._servers.bring_up(name)

    def _make(self, fault: Fault, down_seconds: float) -> None:
        process = self._servers.process(fault.victim)
        runs = descendants(process.pid) if fault.whom != "itself" else []
        if fault.whom == "runs":
            if not runs:
                return
            runs = [self._random.choice(runs)]
        for pid in runs:
            kill(pid, fault.how)
        self.counts[fault.what] += 1
        away = f", away for {down_seconds:.0f} s" if fault.whom != "runs" else ""
        say(fault.what + away)
        if fault.whom != "runs":
            self._servers.take_down(fault.victim, fault.how)
            self.over.wait(down_seconds)
            self._servers.bring_up(fault.victim)
