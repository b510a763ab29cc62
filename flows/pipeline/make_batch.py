"""How the batch of a run comes about: its dates and window, and the blocks it travels over."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import UTC, date, datetime

from prefect.runtime import flow_run

from blocks.registry import load_blocks
from blocks.source import Source
from blocks.stage import Stage
from blocks.warehouse import Warehouse
from blocks.work_folder import work_folder
from ferry.batch import Batch
from ferry.day_ranges import check_start_date
from ferry.errors import RequestError
from ferry.plan import choose_window
from ferry.specs.tables import Mode, TableSpec
from ferry.windows import check_begun
from tasks.step import retried


@dataclass(frozen=True)
class Route:
    """The three blocks that a table travels over."""

    source: Source
    stage: Stage
    warehouse: Warehouse


def load_route(spec: TableSpec) -> Route:
    """The blocks that the spec names, asked for once more as often as it says of retries.

    Raises:
        ConfigurationError: One is missing.
        AccessError, ConnectionLostError: Prefect's server does not give them.
    """
    return Route(*retried(load_blocks, spec)(spec.source, spec.stage, spec.warehouse))


class Routes:
    """Routes that the tables of one run share: each is loaded once."""

    def __init__(self) -> None:
        self._loaded: dict[tuple[str, str, str], Route] = {}
        self._lock = threading.Lock()

    def of(self, spec: TableSpec) -> Route:
        """The table's. Raises ConfigurationError if a block is missing."""
        names = (spec.source, spec.stage, spec.warehouse)
        with self._lock:
            if names not in self._loaded:
                self._loaded[names] = load_route(spec)
            return self._loaded[names]

    @property
    def warehouses(self) -> list[Warehouse]:
        """Those of the routes that were loaded, each once."""
        with self._lock:
            return list(
                {names[2]: route.warehouse for names, route in self._loaded.items()}.values()
            )


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
