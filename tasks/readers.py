"""How many read from one source at once, kept across processes and machines by Prefect.

Two global concurrency limits stand for a source: one for all readers, and one, a reader smaller,
for backfills, so that the daily run always finds a place. `deployments/register.py` makes them;
without them nothing is limited.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import httpx
from prefect.client.orchestration import get_client
from prefect.concurrency.asyncio import ConcurrencySlotAcquisitionError
from prefect.concurrency.sync import concurrency
from prefect.exceptions import ObjectNotFound, PrefectException
from prefect.logging import get_run_logger

from ferry.errors import BusyError

LEASE_SECONDS = 60.0
"""A place that a killed process held is free again after this."""

_TRUSTED_SECONDS = 60.0
_known: dict[str, tuple[float, bool]] = {}
_asking = threading.Lock()


def readers_limit(source: str) -> str:
    """The name of the limit for all readers of this source block."""
    return f"ferry-readers-{source}"


def backfill_limit(source: str) -> str:
    """The name of the limit for backfills that read from this source block."""
    return f"ferry-backfill-readers-{source}"


@contextmanager
def place_among_readers(source: str, *, backfill: bool) -> Iterator[None]:
    """Hold a place among the readers of the source, waiting for one if there is none.

    Args:
        source: The name of the source block.
        backfill: Whether it is a backfill, which leaves a place to others.

    Raises:
        BusyError: Prefect could not be asked for a place; a retry may help.
    """
    names = [readers_limit(source), *([backfill_limit(source)] if backfill else [])]
    there = [name for name in names if _is_there(name)]
    if not there:
        yield
        return
    place = concurrency(there, lease_duration=LEASE_SECONDS, raise_on_lease_renewal_failure=False)
    with ExitStack() as held:
        try:
            held.enter_context(place)
        except ConcurrencySlotAcquisitionError as error:
            raise BusyError(
                f"Prefect gave no place among the readers of {source!r}",
                todo="Look whether its server is up.",
            ) from error
        yield


def _is_there(name: str) -> bool:
    """Whether the limit exists; asked once a minute, since asking costs as much as a place."""
    with _asking:
        at, there = _known.get(name, (0.0, False))
        if at and time.monotonic() - at < _TRUSTED_SECONDS:
            return there
        try:
            with get_client(sync_client=True) as client:
                client.read_global_concurrency_limit_by_name(name)
            there = True
        except ObjectNotFound:
            there = False
            get_run_logger().debug("there is no limit %s: readers are not limited", name)
        except (PrefectException, httpx.HTTPError) as error:
            get_run_logger().warning("the limit %s is unknown: %s", name, type(error).__name__)
        _known[name] = (time.monotonic(), there)
        return there
