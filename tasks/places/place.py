"""A place among readers that this process holds, and a thread that waits for one."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from tasks.places.limits import Lease


@dataclass(eq=False)
class Place:
    """A place that this process holds.

    Attributes:
        lease: The server's; None while it reads without one: the server has forgotten it, or could
            not be asked.
        since: When this process got it.
        renew_at: When it is to be renewed, or when to try again to give it back.
        used: Whether somebody reads.
        idle_since: Since when nobody does.
    """

    lease: Lease | None
    since: float
    renew_at: float
    used: bool = False
    idle_since: float = 0.0


@dataclass(eq=False)
class Waiter:
    """A thread in line.

    Attributes:
        since: When it came.
        served: Set once it may read.
        place: Its place then; None if there is no limit.
        refused: Set where it got none, which only one that does not wait for others is told.
    """

    since: float
    served: threading.Event = field(default_factory=threading.Event)
    place: Place | None = None
    refused: bool = False
