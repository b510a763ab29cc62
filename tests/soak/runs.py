"""What is run: schedules of minutes, windows of a minute, and people who start and cancel."""

from __future__ import annotations

import random
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
from prefect.client.schemas.schedules import IntervalSchedule
from prefect.exceptions import PrefectException
from prefect.states import Cancelling

from tests.soak.servers import Servers
from tests.soak.tables import FIRST_DAY, PAST_DAYS
from tests.soak.told import Busy

SCHEDULES = {
    "sync-all/daily": timedelta(seconds=120),
    "sync-all/hourly": timedelta(seconds=180),
}
NOT_SCHEDULED = ("update-symbols/daily", "coverage/daily")
ORDERS_EVERY_SECONDS = 60.0
COMMITTED_SECONDS = 15.0
"""What is written is committed by then."""


class Runs(Busy):
    """Starts runs until it is stopped."""

    def __init__(self, servers: Servers, seed: int) -> None:
        super().__init__()
        self.servers = servers
        self._random = random.Random(f"runs of {seed}")
        self.counts: Counter[str] = Counter()
        self.begun_at = self._orders_to = datetime.now(UTC)
        self._to_cancel: list[tuple[float, UUID]] = []

    def make_schedules(self) -> None:
        """Minutes in place of days and hours; the flows themselves count days and hours."""
        with self.servers.client as client:
            for name in (*SCHEDULES, *NOT_SCHEDULED):
                deployment = client.read_deployment_by_name(name)
                for before in client.read_deployment_schedules(deployment.id):
                    client.update_deployment_schedule(deployment.id, before.id, active=False)
                if name in SCHEDULES:
                    interval = IntervalSchedule(interval=SCHEDULES[name])
                    client.create_deployment_schedules(deployment.id, [(interval, True)])

    def end_schedules(self) -> None:
        """No run is made any more."""
        with self.servers.client as client:
            for name in SCHEDULES:
                deployment = client.read_deployment_by_name(name)
                for each in client.read_deployment_schedules(deployment.id):
                    client.update_deployment_schedule(deployment.id, each.id, active=False)

    def go_on(self) -> None:
        orders_at, backfill_at = time.monotonic() + ORDERS_EVERY_SECONDS, time.monotonic() + 20
        while not self.over.wait(1):
            now = time.monotonic()
            try:
                if now >= orders_at:
                    orders_at = now + ORDERS_EVERY_SECONDS
                    self._carry_orders()
                if now >= backfill_at:
                    backfill_at = now + self._random.uniform(45, 100)
                    self._backfill()
                self._cancel(now)
            except (PrefectException, httpx.HTTPError):  # the server is away: the next time
                self.counts["not started: the server was away"] += 1

    def _carry_orders(self) -> None:
        end = datetime.now(UTC) - timedelta(seconds=COMMITTED_SECONDS)
        dates = {"window_start": self._orders_to.isoformat(), "window_end": end.isoformat()}
        self.start_run("sync-table/on-demand", table="orders", **dates)
        self._orders_to = end
        self.counts["windows of orders"] += 1

    def _backfill(self) -> None:
        first, length = self._random.randrange(PAST_DAYS - 10), self._random.randrange(5, 60)
        workers = self._random.choice((1, 1, 2))
        start = FIRST_DAY + timedelta(days=first)
        end = FIRST_DAY + timedelta(days=min(PAST_DAYS, first + length))
        reprocess = self._random.choice(("missing", "all", "all"))
        run = self.start_run(
            "backfill/on-demand",
            table="visits",
            start_date=str(start.date()),
            end_date=str(end.date()),
            workers=workers,
            reprocess=reprocess,
        )
        self.counts[f"backfills with {workers} worker(s)"] += 1
        if self._random.random() < 0.15:
            self._to_cancel.append((time.monotonic() + self._random.uniform(8, 30), run))

    def _cancel(self, now: float) -> None:
        for due, run in list(self._to_cancel):
            if now >= due:
                with self.servers.client as client:
                    client.set_flow_run_state(run, Cancelling())
                self._to_cancel.remove((due, run))
                self.counts["cancelled by somebody"] += 1

    def start_run(self, deployment: str, **parameters: Any) -> UUID:
        """A run of the deployment, for a worker to take."""
        with self.servers.client as client:
            found = client.read_deployment_by_name(deployment)
            return client.create_flow_run_from_deployment(found.id, parameters=parameters).id
