"""Waiting until nothing lands in a table any more that makes what is read of it stale."""

from __future__ import annotations

import time
from collections.abc import Callable

from prefect.logging import get_run_logger

from blocks.warehouse import Warehouse
from ferry.batch import Batch
from ferry.receipts.table import LandedBefore, read_landed_before
from tasks.landed.receipts import from_receipts

MOST_WAIT_SECONDS = 30 * 60
LONGEST_PAUSE_SECONDS, SHORTEST_PAUSE_SECONDS = 5.0, 0.1


def wait_until_quiet(
    batch: Batch, warehouse: Warehouse, seconds: float, stopped: Callable[[], bool]
) -> None:
    """Wait until nothing has landed for so long that would make the batch's read stale.

    That is a full copy, a repair, or a void; any batch, where the batch replaces newer rows, too.
    Half an hour at most.

    Args:
        batch: The batch, whose read something has made stale again and again.
        warehouse: Where to.
        seconds: For how long: what its read has taken.
        stopped: Whether it is to stop meanwhile.

    Raises:
        ConnectionLostError, BusyError: The warehouse cannot be asked; a retry may help.
    """
    get_run_logger().info(
        "%s waits until no repair and no full copy has landed in its table for the %.0f s that its "
        "read takes, %d minutes at most",
        batch,
        seconds,
        MOST_WAIT_SECONDS // 60,
    )
    deadline = time.monotonic() + MOST_WAIT_SECONDS
    pause = max(SHORTEST_PAUSE_SECONDS, min(LONGEST_PAUSE_SECONDS, seconds / 5))
    landed, since = _landed(batch, warehouse), time.monotonic()
    while time.monotonic() < min(since + seconds, deadline) and not stopped():
        time.sleep(pause)
        if (now := _landed(batch, warehouse)) != landed:
            landed, since = now, time.monotonic()


def _landed(batch: Batch, warehouse: Warehouse) -> tuple[int, ...]:
    found = from_receipts(
        lambda: read_landed_before(warehouse, batch.target, None, None), LandedBefore(), warehouse
    )
    any_batch = found.batches if batch.overwrites_newer else 0
    return (found.removals, found.voids, any_batch)
