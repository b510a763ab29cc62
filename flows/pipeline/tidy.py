"""After a run: what killed runs left behind is removed, whether this one failed or not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial

from prefect.logging import get_run_logger

from blocks.stage import Stage
from blocks.warehouse import Warehouse
from blocks.work_folder import remove_forgotten
from ferry.errors import FerryError
from ferry.specs.tables import TableSpec
from tasks.stage import discard_forgotten
from tasks.staging_tables import drop_forgotten


@contextmanager
def tidied(
    spec: TableSpec, stage: Stage, warehouse: Warehouse, *, scratch: bool = True
) -> Iterator[None]:
    """Tidy up after the block, also when it fails; not when it is cancelled, which is to end soon.

    A failure to tidy is logged and does not fail the run: its rows have landed, or its own error
    counts. The next run tidies.

    Args:
        spec: The table.
        stage: Where its files were staged.
        warehouse: Where its staging tables were.
        scratch: Whether `tidy_scratch` is done, too; of many tables, it is done once for all.
    """

    def tidy() -> None:
        tidy_stage(spec, stage)
        if scratch:
            tidy_scratch([warehouse], str(spec.target))

    try:
        yield
    except Exception:
        tidy()
        raise
    tidy()


def tidy_stage(spec: TableSpec, stage: Stage) -> None:
    """Remove the table's staged files that nobody uses any more."""
    _remove("staged files", lambda: discard_forgotten(spec, stage), str(spec.target))


def tidy_scratch(warehouses: Iterable[Warehouse], what: str) -> None:
    """Remove staging tables and local part files that nobody uses any more.

    Each on its own: a warehouse that cannot be reached does not keep the others. What is forgotten,
    a warehouse tells by its own clock, and a folder by a lock: never this machine's clock.

    Args:
        warehouses: Where staging tables may be.
        what: For whom it is done, for the log.
    """
    for warehouse in warehouses:
        _remove("staging tables", partial(drop_forgotten, warehouse), what)
    _remove("folders of part files", remove_forgotten, what)


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
