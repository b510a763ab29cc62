"""How the batch of a run comes about: its dates and window, and the blocks it travels over."""

from __future__ import annotations

import threading
import time
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
from ferry.errors import FerryError, RequestError, StoppedError, is_retriable
from ferry.plan import choose_window
from ferry.specs.tables import Mode, TableSpec
from ferry.windows import check_begun
from tasks.step import LOOK_SECONDS, Retries, retried

if TYPE_CHECKING:
    from ferry.summaries.specs import SummarySpec

L = TypeVar("L")

REFUSED_SECONDS = 300.0
"""So long blocks that were not given are not asked for anew.

Each of many tables would wait for them; one that is caught up an hour later finds a server that is
back.
"""


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


@dataclass(frozen=True)
class _Refused:
    """Why blocks could not be loaded, for those that ask for the same."""

    error: FerryError
    retries: int
    until: float

    def stands_for(self, spec: Retries) -> bool:
        """Whether the table would hear the same; of what may pass, only for a while."""
        lately = time.monotonic() < self.until and spec.retries <= self.retries
        return lately or not is_retriable(self.error)


class _Shared(Generic[L]):
    """What the tables or summaries of one run share, by the names of its blocks.

    Each is loaded once. Where it cannot be, that stands for some minutes for all that ask for the
    same no more often: each would wait anew for a server that gives nothing.
    """

    def __init__(self) -> None:
        self._found: dict[tuple[str, ...], L] = {}
        self._refused: dict[tuple[str, ...], _Refused] = {}
        self._locks: dict[tuple[str, ...], threading.Lock] = {}

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

        if names in self._found:
            return self._found[names]
        lock = self._locks.setdefault(names, threading.Lock())
        while not lock.acquire(timeout=LOOK_SECONDS):  # another table waits for them
            go_on()
        try:
            return self._loaded(retried(load, spec, go_on), names, spec)
        finally:
            lock.release()

    def _loaded(self, load: Callable[..., L], names: tuple[str, ...], spec: Retries) -> L:
        """The one that was found meanwhile, or is now."""
        if names in self._found:
            return self._found[names]
        refused = self._refused.get(names)
        if refused is None or not refused.stands_for(spec):
            try:
                return self._found.setdefault(names, load(*names))
            except StoppedError:
                raise
            except FerryError as error:
                until = time.monotonic() + REFUSED_SECONDS
                refused = self._refused[names] = _Refused(error, spec.retries, until)
        # Each table says of its own that it happened there.
        raise copy(refused.error) from refused.error.__cause__


class Routes(_Shared[Route]):
    """Routes that the tables of one run share: each is loaded once."""

    def of(self, spec: TableSpec, stop: threading.Event | None = None) -> Route:
        """The table's, asked for once more as often as the spec says of retries.

        Args:
            spec: The table's spec.
            stop: Once it is set, blocks are not waited for any more.

        Raises:
            ConfigurationError: A block is missing, or Prefect's server is of another version.
            AccessError, ConnectionLostError: Prefect's server does not give them, or has not
                when the run asked for them as often some minutes before.
            StoppedError: `stop` was set meanwhile.
        """
        names = (spec.source, spec.stage, spec.warehouse)
        return self._of(lambda *names: Route(*load_blocks(*names)), names, spec, stop)

    @property
    def warehouses(self) -> list[Warehouse]:
        """Those of the routes that were loaded, each once."""
        return list({names[2]: route.warehouse for names, route in [*self._found.items()]}.values())


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
