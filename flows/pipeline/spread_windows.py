"""Many windows of one table over many machines: groups of them as runs of `carry-windows`.

Prefect's work pool is the engine. A few runs at a time are handed to it, so that its queue stays
short and the daily run, on a queue of higher priority, goes ahead. What became of each window is
read from the receipts and failures, never from the runs: their results stay where they ran.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from threading import Event
from uuid import UUID

import httpx
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import FlowRun
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound, PrefectException, PrefectHTTPStatusError
from prefect.logging import get_run_logger
from prefect.states import Cancelling

from blocks.warehouse import Warehouse
from ferry.backfills.outcomes import NOT_BEGUN, Outcome
from ferry.batch import Batch
from ferry.errors import (
    AccessError,
    ConfigurationError,
    FerryError,
    RetriableError,
    may_pass,
)
from ferry.windows import Window
from flows.pipeline.carry_many import REFUSED_IN_A_ROW, Report, counts
from tasks.landed.history import count_run, landed_of_run, read_run
from tasks.runs.own_state import OwnState, while_running
from tasks.step import with_retries

DEPLOYMENT = "carry-windows/backfill"
MIN_GROUP, MAX_GROUP = 4, 31
"""Windows in a group: a run costs some seconds before its first window."""

GROUPS_EACH = 4
"""So many groups for each run at a time, so that all of them end at about the same moment."""

MAX_CRASHES = 3
POLL_SECONDS = 2.0
COUNT_EVERY_SECONDS = 10.0
WARN_AFTER_SECONDS = 60.0


@dataclass(frozen=True)
class Group:
    """Windows that one run carries.

    Attributes:
        batches: What is to be carried.
        name: The same for the same stretch of the range, however much of it is left.
        attempt: 1 for the first run, 2 for the one that is begun after that ended in vain.
        crashes: How many of them have crashed.
    """

    batches: tuple[Batch, ...]
    name: str
    attempt: int = 1
    crashes: int = 0


def make_groups(batches: Sequence[Batch], whole_range: Sequence[Window], runs: int) -> list[Group]:
    """The batches in groups; the range is cut the same way whatever is left of it to do.

    Those that have landed before, and land once more, are in groups of their own.

    Args:
        batches: What is to be carried, in the order in which it begins.
        whole_range: All windows of the range, in order of time.
        runs: How many runs there are at a time.
    """
    size = min(MAX_GROUP, max(MIN_GROUP, math.ceil(len(whole_range) / (runs * GROUPS_EACH))))
    group_of = {window.label: number // size for number, window in enumerate(whole_range)}
    groups: dict[tuple[int, int], list[Batch]] = {}
    for batch in batches:
        groups.setdefault((group_of[batch.label], batch.again), []).append(batch)
    return [
        Group(tuple(members), whole_range[number * size].label)
        for (number, _), members in groups.items()
    ]


class Spread:
    """Hands groups to the work pool, a few at a time, and gathers what became of them.

    Args:
        table: Name of the table, as in its spec.
        flow_run_id: The backfill's run.
        warehouse: Where receipts and failures are.
        runs: How many runs may be under way at a time.
        max_concurrency: How many batches of windows each of them has under way at a time.
    """

    def __init__(
        self, table: str, flow_run_id: str, warehouse: Warehouse, runs: int, max_concurrency: int
    ) -> None:
        self._table, self._flow_run_id, self._warehouse = table, flow_run_id, warehouse
        self._runs, self._max_concurrency = runs, max_concurrency
        self._under_way: dict[UUID, Group] = {}
        self._why_lost: dict[str, str] = {}
        self._not_begun: set[str] = set()
        self._refused_in_a_row = 0
        self._begun_at = datetime.now(UTC)
        self._log = get_run_logger()

    def carry(self, groups: Sequence[Group], report: Report) -> list[Outcome]:
        """Carry the groups; one that fails does not stop the others, but three that are refused.

        A run that crashed is begun again; its windows that had landed
        are not done again. When this run is cancelled, so are those under way; not when it was, or
        is to be, begun once more, for then they are the new attempt's, which finds them. Where it
        is cancelled before there is one, they end by themselves.

        Raises:
            ConfigurationError: There is no deployment to run.
        """
        batches = [batch for group in groups for batch in group.batches]
        with while_running(Event()) as own:
            try:
                self._feed(deque(groups), batches, own, report)
            except BaseException:
                if not own.goes_on():
                    self._cancel()
                raise
        outcomes = self._gather(batches)
        report(*counts(outcomes))
        return outcomes

    def _feed(
        self, waiting: deque[Group], batches: Sequence[Batch], own: OwnState, report: Report
    ) -> None:
        """Hand over the groups, a few at a time, until all runs have ended."""
        count = _Every(COUNT_EVERY_SECONDS)
        warn = _Every(WARN_AFTER_SECONDS)
        while waiting or self._under_way:
            while waiting and len(self._under_way) < self._runs:
                if not self._begun(waiting[0]):
                    break
                waiting.popleft()
            time.sleep(POLL_SECONDS)
            own.raise_if_ended()
            runs = self._look() if self._under_way else []
            for run in runs:
                if run.state and run.state.is_final():
                    self._end(run, waiting.appendleft)
            if self._refused_in_a_row >= REFUSED_IN_A_ROW:  # each would knock again, in vain
                self._not_begun |= {batch.id for group in waiting for batch in group.batches}
                waiting.clear()
            self._warn_if_none_was_taken(runs, warn)
            if count.due():
                with suppress(RetriableError):  # the next time will do as well
                    landed, failed, rows = count_run(
                        self._flow_run_id, batches[0].target, self._begun_at, self._warehouse
                    )
                    report(min(landed, len(batches)), failed, rows)

    def _warn_if_none_was_taken(self, runs: Sequence[FlowRun], warn: _Every) -> None:
        if not runs or any(run.start_time for run in runs):
            warn.begin()
        elif warn.due():
            self._log.warning(
                "no worker has taken any of %s runs of %s yet: is a worker up, and does its "
                "--limit leave room beside this run?",
                len(runs),
                DEPLOYMENT,
            )

    def _begun(self, group: Group) -> bool:
        """Hand the group to the pool; False if Prefect cannot be asked just now."""
        try:
            self._begin(group)
        except (PrefectHTTPStatusError, httpx.TransportError) as error:
            if isinstance(error, PrefectHTTPStatusError) and not may_pass(
                error.response.status_code
            ):
                raise
            self._log.warning("Prefect cannot be asked just now: %s", type(error).__name__)
            return False
        return True

    def _begin(self, group: Group) -> None:
        """Hand the group to the pool, or find the run that an earlier attempt of this one began.

        One that is over, or is being cancelled, is left behind, whatever its end: these windows
        have not landed, or have to land once more.
        """
        run = self._run(group)
        while run.state and (run.state.is_final() or run.state.is_cancelling()):
            group = replace(group, attempt=group.attempt + 1)
            run = self._run(group)
        self._under_way[run.id] = group

    def _run(self, group: Group) -> FlowRun:
        windows = [batch.window for batch in group.batches if batch.window]
        rows = [batch.estimated_rows for batch in group.batches]
        again = group.batches[0].again
        planned = group.batches[0].spec.as_planned
        spec = hashlib.sha256(json.dumps(planned, sort_keys=True).encode()).hexdigest()[:12]
        try:
            run = run_deployment(
                DEPLOYMENT,
                parameters={
                    "table": self._table,
                    "windows": [_bounds(window) for window in windows],
                    "zone": windows[0].zone,
                    "backfill_run_id": self._flow_run_id,
                    "scheduled_start": group.batches[0].scheduled_start.isoformat(),
                    "max_concurrency": self._max_concurrency,
                    "planned_spec": planned,
                    "rows": rows,
                    **({"again": again} if again else {}),
                },
                timeout=0,
                # The same windows, attempt and spec find the same run, also after this one was
                # restarted.
                idempotency_key=f"{self._flow_run_id} {self._table} {group.name} {group.attempt} "
                + spec
                + (f" again {again}" if again else ""),
            )
        except ObjectNotFound as error:
            raise ConfigurationError(
                f"there is no deployment {DEPLOYMENT}",
                table=self._table,
                todo="Run `python -m deployments.deploy`, or leave `workers` at 1.",
            ) from error
        assert isinstance(run, FlowRun)
        return run

    def _look(self) -> list[FlowRun]:
        """The runs under way, as Prefect knows them; none if it cannot be asked just now."""
        chosen = FlowRunFilter(id=FlowRunFilterId(any_=list(self._under_way)))
        try:
            with get_client(sync_client=True) as client:
                runs = client.read_flow_runs(flow_run_filter=chosen, limit=200)
        except (PrefectException, httpx.HTTPError) as error:
            self._log.warning("Prefect cannot be asked just now: %s", type(error).__name__)
            return []
        for gone in set(self._under_way) - {run.id for run in runs}:
            why = "the run that was to carry it was deleted"
            self._why_lost |= {batch.id: why for batch in self._under_way.pop(gone).batches}
        return runs

    def _end(self, run: FlowRun, again: Callable[[Group], None]) -> None:
        assert run.state is not None
        group = self._under_way.pop(run.id)
        self._refused_in_a_row = self._refused_in_a_row + 1 if self._is_refused(run, group) else 0
        carried, missed = _by_whether_given(group.batches, run)
        if run.state.is_crashed() and group.crashes + 1 < MAX_CRASHES:
            self._log.warning(
                "%s of %s crashed, its windows from %s on are carried again",
                run.name,
                self._table,
                group.name,
            )
            again(replace(group, attempt=group.attempt + 1, crashes=group.crashes + 1))
            return
        if not run.state.is_completed():
            why = f"{run.state.name} run {run.name}: {run.state.message or 'no reason given'}"
            self._why_lost |= {batch.id: why for batch in carried}
        if missed:
            again(replace(group, batches=missed, attempt=group.attempt + 1))

    def _is_refused(self, run: FlowRun, group: Group) -> bool:
        """Whether its run was refused access; not if that was only of some of its windows."""
        assert run.state is not None
        if not run.state.is_failed() or AccessError.code not in (run.state.message or ""):
            return False
        with suppress(FerryError):
            first = group.batches[0]
            windows = [batch.window for batch in group.batches if batch.window]
            read = with_retries(landed_of_run, first.spec)
            landed = read(self._flow_run_id, first.target, windows, self._warehouse)
            return not any(batch.id in landed for batch in group.batches)
        return True

    def _gather(self, batches: Sequence[Batch]) -> list[Outcome]:
        """What became of the windows: the receipt of each, or why there is none.

        One that has landed and has become void since has its receipt still, by which that is seen.
        """
        read = with_retries(read_run, batches[0].spec)
        history = read(self._flow_run_id, batches[0].target, self._warehouse)
        failures = {
            failure.batch_id: failure.text
            for failure in history.failures
            if failure.failed_at >= self._begun_at
        }
        outcomes = []
        for batch in batches:
            begun = batch.id not in self._not_begun
            reason = failures.get(batch.id) or self._why_lost.get(batch.id, "")
            if not begun:
                reason = NOT_BEGUN
            void = None if reason else history.void.get(batch.id)
            outcomes.append(
                Outcome(
                    str(batch.target),
                    batch.window,
                    history.receipts.get(batch.id) or void,
                    reason or "it has no receipt yet",
                    begun,
                )
            )
        return outcomes

    def _cancel(self) -> None:
        """Cancel what is under way; what cannot be, ends by itself, and its receipts tell."""
        for run_id in self._under_way:
            try:
                with get_client(sync_client=True) as client:
                    client.set_flow_run_state(run_id, Cancelling())
            except (PrefectException, httpx.HTTPError) as error:
                kind = type(error).__name__
                self._log.warning("the run %s could not be cancelled: %s", run_id, kind)


def _by_whether_given(
    batches: Sequence[Batch], run: FlowRun
) -> tuple[tuple[Batch, ...], tuple[Batch, ...]]:
    """The batches whose windows the run was given, and the others.

    A run that an earlier attempt of the backfill began has no windows that were loaded then.
    """
    given = {tuple(bounds) for bounds in run.parameters.get("windows", ())}
    parted: tuple[list[Batch], list[Batch]] = [], []
    for batch in batches:
        parted[bool(given) and _bounds(batch.window) not in given].append(batch)
    return tuple(parted[0]), tuple(parted[1])


def _bounds(window: Window | None) -> tuple[str, ...]:
    """A window as a run is given it."""
    return (window.start.isoformat(), window.end.isoformat()) if window else ()


class _Every:
    """Due once in so many seconds, and not at once."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.begin()

    def begin(self) -> None:
        self._next = time.monotonic() + self._seconds

    def due(self) -> bool:
        if time.monotonic() < self._next:
            return False
        self.begin()
        return True
