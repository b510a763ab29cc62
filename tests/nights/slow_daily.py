"""The daily run, over a source that answers only when a file is gone; loaded by its path.

Its deployment's turn is renewed every few seconds instead of every 225, so that the test need not
wait for the moment in which a run notices that its server has forgotten it, and tried again within
a second. A file tells that the turn is lost.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

from prefect.concurrency import _leases

from blocks.sources import SQLiteSource
from flows.sync_all import sync_all

__all__ = ["sync_all"]

_leases._RENEWAL_FRACTION = 0.01
_leases._RENEWAL_RETRY_MAX_DELAY = 1
_lost = _leases._handle_lease_renewal_failure
_now = SQLiteSource.now


def _when_the_file_is_gone(source: SQLiteSource) -> object:
    barrier = Path(os.environ["NIGHT_BARRIER"])
    barrier.with_suffix(".reached").touch()
    while barrier.exists():
        time.sleep(0.1)
    return _now(source)


def _tell_that_it_is_lost(*given: Any) -> None:
    _lost(*given)
    Path(os.environ["NIGHT_BARRIER"]).with_suffix(".lost").touch()


patch.object(_leases, "_handle_lease_renewal_failure", _tell_that_it_is_lost).start()
patch.object(SQLiteSource, "now", _when_the_file_is_gone).start()
