"""After a run: what killed runs left behind is removed, whether this one failed or not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from prefect.logging import get_run_logger

from blocks.stage import Stage
from blocks.warehouse import Warehouse
from blocks.work_folder import remove_forgotten
from ferry.errors import FerryError
from ferry.specs.tables import TableSpec
from tasks.stage import discard_forgotten
from tasks.target.prepare import drop_forgotten


@contextmanager
def tidied(spec: TableSpec, stage: Stage, warehouse: Warehouse) -> Iterator[None]:
    """Tidy up after the block, also when it fails; not when it is cancelled, which is to end soon.

    A failure to tidy is logged and does not fail the run: its rows have landed, or its own error
    counts. The next run tidies.
    """
    try:
        yield
    except Exception:
        tidy(spec, stage, warehouse)
        raise
    tidy(spec, stage, warehouse)


def tidy(spec: TableSpec, stage: Stage, warehouse: Warehouse) -> None:
    """Remove what nobody uses any more: staged files, staging tables, local part files.

    Each place on its own: one that cannot be reached does not keep the others. What is forgotten,
    each place tells by its own clock, or by a lock: never by this machine's clock.
    """
    places: dict[str, Callable[[], int]] = {
        "staged files": lambda: discard_forgotten(spec, stage),
        "staging tables": lambda: drop_forgotten(warehouse),
        "folders of part files": remove_forgotten,
    }
    for what, remove in places.items():
        _remove(what, remove, str(spec.target))


def _remove(what: str, remove: Callable[[], int], table: str) -> None:
    log = get_run_logger()
    try:
        removed = remove()
    except Exception as error:  # noqa: BLE001  # whatever it is, the run has an outcome of its own
        reason = str(error) if isinstance(error, FerryError) else type(error).__name__
        log.warning("%s: %s of killed runs could not be removed yet: %s", table, what, reason)
        return
    if removed:
        log.info("%s: removed %s %s that killed runs left behind", table, removed, what)
