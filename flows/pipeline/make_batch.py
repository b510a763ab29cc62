"""How the batch of a run comes about: its dates and window, and the blocks it travels over."""

from __future__ import annotations

import threading
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Generic, TypeVar

from prefect.runtime import flow_run

from blocks.registry import load_blocks, load_warehouse
from blocks.source import Source
from blocks.stage import Stage
from blocks.warehouse import Warehouse
from blocks.work_folder import work_folder
from ferry.batch import Batch
from ferry.day_ranges import check_start_date
from ferry.errors import FerryError, RequestError, StoppedError
from ferry.plan import choose_window
from ferry.specs.tables import Mode, TableSpec
from ferry.windows import check_begun
from tasks.step import Retries, retried

if TYPE_CHECKING:
    from ferry.summaries.specs import SummarySpec

L = TypeVar("L")


@dataclass(frozen=True)
class Route:
    """The three blocks that a table travels over."""

    source: Source
    stage: Stage
    warehouse: Warehouse


def load_route(spec: TableSpec) -> Route:
    """The blocks that the spec names, asked for once more as often as it says of retries.

    Raises:
        ConfigurationError: One is missing, or Prefect's server is of another version.
        AccessError, ConnectionLostError: Prefect's server does not give them.
    """
    return Routes().of(spec)


class _Shared(Generic[L]):
    """What the tables or summaries of one run share, by the names of its blocks.

    Each is loaded once. Where it cannot be, that stands for all that ask for the same: each would
    wait anew for a server that gives nothing.
    """

    def __init__(self) -> None:
        self._found: dict[tuple[str, ...], L | FerryError] = {}
        self._lock = threading.Lock()

    def _of(
        self,
        load: Callable[..., L],
        names: tuple[str, ...],
        spec: Retries,
        stop: threading.Event | None = None,
    ) -> L:
        def go_on() -> None:
            if stop and stop.is_set():
                raise StoppedError("stopped while its blocks were waited for")

        with self._lock:
            if names not in self._found:
                try:
                    self._found[names] = retried(load, spec, go_on)(*names)
                except FerryError as error:
                    self._found[names] = error
            found = self._found[names]
        if isinstance(found, FerryError):
            # Each table says of its own that it happened there.
            raise copy(found) from found.__cause__
        return found


class Routes(_Shared[Route]):
    """Routes that the tables of one run share: each is loaded once."""

    def of(self, spec: TableSpec, stop: threading.Event | None = None) -> Route:
        """The table's, asked for once more as often as the first spec says that needs it.

        Args:
            spec: The table's spec.
            stop: Once it is set, blocks are not waited for any more.

        Raises:
            ConfigurationError: A block is missing, or Prefect's server is of another version.
            AccessError, ConnectionLostError: Prefect's server does not give them, or has not when
                the run asked for them before.
            StoppedError: `stop` was set meanwhile.
        """
        names = (spec.source, spec.stage, spec.warehouse)
        return self._of(lambda *names: Route(*load_blocks(*names)), names, spec, stop)

    @property
    def warehouses(self) -> list[Warehouse]:
        """Those of the routes that were loaded, each once."""
        with self._lock:
            found = self._found.items()
            routes = {names[2]: each for names, each in found if isinstance(each, Route)}
        return [route.warehouse for route in routes.values()]


class Warehouses(_Shared[Warehouse]):
    """Warehouses that the tables or summaries of one run share: each is loaded once."""

    def of(self, spec: TableSpec | SummarySpec) -> Warehouse:
        """The table's or summary's, with the errors of `Routes.of`."""
        return self._of(load_warehouse, (spec.warehouse,), spec)


@dataclass(frozen=True)
class Dates:
    """The dates that a run was given, if any, and the zone in which its days are counted."""

    run_date: date | None = None
    window_start: datetime | None = None
    window_end: datetime | None = None
    zone: str | None = None

    @property
    def given(self) -> bool:
        """Whether a person, and not the schedule, says what is carried."""
        return bool(self.run_date or self.window_start or self.window_end)


def scheduled_start() -> datetime:
    """When the current flow run was to start: the same over retries and late starts.

    A plain datetime: Prefect gives one of pendulum's, which loses its zone when a timedelta is
    added to it or taken from it, unless the zone is one of pendulum's own.
    """
    moment = flow_run.scheduled_start_time.astimezone(UTC)
    return datetime.combine(moment.date(), moment.time(), UTC)


def make_batch(spec: TableSpec, dates: Dates, mode: Mode | None = None) -> Batch:
    """The batch of the current flow run; call it inside a flow.

    The window is fixed by the run's scheduled start, so a retry tomorrow carries the same rows.

    Raises:
        RequestError: The dates or the mode do not fit the table; dates that a person gives may not
            begin before its `start_date`.
    """
    start = scheduled_start()
    chosen, window = choose_window(
        spec,
        scheduled_start=start,
        mode=mode,
        zone=dates.zone,
        run_date=dates.run_date,
        window_start=dates.window_start,
        window_end=dates.window_end,
    )
    if window:
        if dates.given:  # a scheduled window is not refused, and its lookback ends there by itself
            check_start_date("window", window.start.date(), spec.start_date, str(spec.target))
        try:
            check_begun(window, min(start, datetime.now(UTC)))
        except RequestError as error:
            raise error.at(table=str(spec.target)) from None
    return Batch(
        spec=spec,
        mode=chosen,
        window=window,
        flow_run_id=str(flow_run.id),
        scheduled_start=start,
        work_folder=work_folder(),
        attempt=flow_run.run_count,
    )
