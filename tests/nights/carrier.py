"""What runs at night in these tests: a flow of Ferry's name and hooks that takes its time.

It is loaded by its path, in a process that a worker starts.
"""

from __future__ import annotations

import time
from pathlib import Path

from prefect import flow

from flows.pipeline.notify import notify


@flow(name="sync-table", on_failure=[notify], on_crashed=[notify])
def carry(table: str, until: str) -> None:
    """Run until there is a file of this name."""
    while not Path(until).exists():
        time.sleep(0.2)
