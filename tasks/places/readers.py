"""How many read from one source at once, kept across processes and machines by Prefect.

Two global concurrency limits stand for a source: one for all readers, and one, a reader smaller,
for backfills, so that the daily run always finds a place. `deployments/register.py` makes
them; a source without them is read without a limit.
"""

from __future__ import annotations

import atexit
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from prefect.settings import PREFECT_API_URL

from tasks.places.limits import Limits
from tasks.places.place_pool import More, PlacePool
from tasks.places.times import Times

TIMES = Times()
"""Of the pools that this process makes from now on."""

_pools: dict[tuple[str | None, str, bool], PlacePool] = {}
_making = threading.Lock()


def readers_limit(source: str) -> str:
    """The name of the limit for all readers of this source block."""
    return f"ferry-readers-{source}"


def backfill_limit(source: str) -> str:
    """The name of the limit for backfills that read from this source block."""
    return f"ferry-backfill-readers-{source}"


@contextmanager
def place_among_readers(source: str, *, backfill: bool) -> Iterator[None]:
    """Hold a place among the readers of the source, waiting for one if there is none.

    The threads of a process share its places, and keep them for as long as they read; a place that
    was held for a minute is given back between two reads, so that other processes get their turn.
    A wait of a minute is told, with who holds the places. Places that nobody holds any more are
    found after another and given back to the limit. What Prefect's server does to a place while
    somebody reads, or its absence, does not end the reading. Where it cannot be asked for a place
    for two minutes, the source is read without one: the night's data is worth more than that the
    source is spared.

    Args:
        source: The name of the source block.
        backfill: Whether it is a backfill, which leaves a place to others.

    Raises:
        BusyError: For half an hour, no thread of this process got a place; a retry may help.
    """
    with _pool(source, backfill).place():
        yield


@contextmanager
def more_places(source: str, count: int, *, backfill: bool) -> Iterator[More]:
    """Hold up to so many places more, besides the one that is held: as many as are free now.

    None is waited for longer than Prefect's server needs to answer: whoever holds a place and
    waited for others could wait for somebody who does the same.

    Args:
        source: The name of the source block.
        count: How many, at most.
        backfill: Whether it is a backfill, which leaves a place to others.
    """
    with _pool(source, backfill).more(count) as more:
        yield more


def _pool(source: str, backfill: bool) -> PlacePool:
    key = (PREFECT_API_URL.value(), source, backfill)
    with _making:
        if key not in _pools:
            names = [readers_limit(source), *([backfill_limit(source)] if backfill else [])]
            _pools[key] = PlacePool(source, Limits(names), TIMES)
        return _pools[key]


@atexit.register
def _give_all_back() -> None:
    url = PREFECT_API_URL.value()
    for (server, *_), pool in _pools.items():
        if url and server == url:  # a server of this process's own ends with it
            pool.close()
