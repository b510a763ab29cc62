"""check-due: say which tables are not loaded by the time that their specs say.

It asks the receipts and nobody else, so that it does not matter why a table is late. It runs on the
pool of the watch: it is not to depend on the worker that carries the tables.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from prefect import flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from prefect.states import Completed

from blocks.registry import load_warehouse
from blocks.warehouse import Warehouse
from ferry.coverage.deadline_notice import arrived_notice, late_table_notice, unjudged_notice
from ferry.coverage.deadlines import (
    Arrival,
    Deadline,
    DeadlineState,
    arrival,
    deadlines_to_judge,
    next_state,
)
from ferry.errors import BusyError, RetriableError, SchemaError
from ferry.reasons import reason_of
from ferry.receipts.receipt import RECEIPTS
from ferry.specs.tables import TableSpec
from ferry.statements import any_row
from flows.pipeline.notify import NOBODY, notifier_slug
from flows.pipeline.run_report import RunReport
from flows.pipeline.table_specs import load_table_specs
from tasks.landed.history import History, look_for_rows, read_history
from tasks.runs.missed_looks import drop_missed_looks
from tasks.runs.notice_claims import (
    PERHAPS,
    PREFIX,
    SENDING,
    SENT,
    NoticeClaim,
    all_claims,
    claim_name,
)
from tasks.runs.standing_notices import notify_once, notify_over
from tasks.step import explains

SPECS = "the file of table specs"
PAUSE_SECONDS = 5.0
LONGEST_SECONDS = 240.0
"""Less than the five minutes until the next look, which judges what this one has left."""

TIME_LIMIT = "statement_timeout_seconds"
LOCK_SECONDS = 60
"""A table that a batch is landing in is locked: it is looked at again five minutes later."""

WAITED = (
    f"check-due itself waits no longer than {LOCK_SECONDS} s, whatever the block says: see who "
    "holds the table, in pg_locks, or on Redshift in svv_transactions, or what is ahead in the "
    "queue. It asks again five minutes later."
)

LOCKED_FOR = timedelta(hours=1)
"""After its deadline and its last receipt: then it is told that the table cannot be asked."""


@flow(name="check-due", persist_result=False, flow_run_name="check what is due")
@explains
def check_due() -> Any:
    """Say once of each table with a `due` time that it is late, and once that it has arrived.

    A warehouse is asked only while there is something to be known: what was there in time is not
    asked for again that day.

    Raises:
        ConfigurationError: A setting is misspelled, perhaps the one that says whom to notify.
    """
    slug = notifier_slug()
    if not slug:
        return Completed(message=NOBODY)
    with get_client(sync_client=True) as client:
        drop_missed_looks(client, flow_run.id)
        report = RunReport()
        _Check(client, slug, report).all()
    return report.ended("nothing is late that was not told")


class _Check:
    """What one run judges."""

    def __init__(self, client: SyncPrefectClient, slug: str, report: RunReport) -> None:
        self._client, self._slug, self._report = client, slug, report
        self._claims = all_claims(client, "due_", "unjudged_")
        self._told = {
            name.removeprefix(PREFIX): state
            for name, value in self._claims.items()
            if (state := _noted(value))
        }
        self._warehouses: dict[str, Warehouse] = {}
        self._log = get_run_logger()
        self._unasked: set[str] = set()
        self._answered: set[str] = set()

    def all(self) -> None:
        """Judge every table whose deadline has passed, as far as there is time."""
        until = time.monotonic() + LONGEST_SECONDS
        specs: list[TableSpec] = []
        try:
            specs += load_table_specs().values()
            self._answered.add(SPECS)
        except Exception as error:  # noqa: BLE001  # whatever it is, it is told
            self._cannot_ask(SPECS, error)
        due = self._due(specs)
        for number, (spec, deadlines) in enumerate(due):
            if time.monotonic() > until:
                self._report.note(f"{len(due) - number:,} tables are left to the next look")
                break
            self._table(spec, deadlines)
        for what in self._answered - self._unasked:
            with self._report.telling(what):
                if self._claims.pop(_unjudged(what), None) in (SENT, PERHAPS):
                    notify_over(NoticeClaim(self._client, _unjudged(what)), None, self._slug)

    def _due(self, specs: Sequence[TableSpec]) -> list[tuple[TableSpec, list[Deadline]]]:
        """The tables to judge with their deadlines, first those of which nothing was told yet.

        Else in no order: where there is never time for all, none of them is always the last.
        """
        now = datetime.now(UTC)
        judged = ((spec, deadlines_to_judge(spec, now, self._told)) for spec in specs)
        due = [each for each in judged if each[1]]
        random.shuffle(due)
        return sorted(due, key=lambda each: self._is_told(*each))

    def _is_told(self, spec: TableSpec, deadlines: Sequence[Deadline]) -> bool:
        late = all(each.key in self._told for each in deadlines)
        return late or _unjudged(str(spec.target)) in self._claims

    def _table(self, spec: TableSpec, deadlines: Sequence[Deadline]) -> None:
        if spec.warehouse in self._unasked:
            return
        try:
            history = self._asked_twice(spec)
            if any(_arrival(each, history).there for each in deadlines):
                try:
                    warehouse = self._warehouse(spec.warehouse)
                    history = look_for_rows(history, spec, warehouse)
                except BusyError as error:  # as while a batch lands: the next looks ask again
                    last = max(each.finished_at for each in history.receipts)
                    if datetime.now(UTC) - max(last, deadlines[-1].due_at) > LOCKED_FOR:
                        raise
                    self._log.info("%s is not judged just now: %s", spec.target, error)
                    return
        except Exception as error:  # noqa: BLE001  # whatever it is, the others are judged
            answers = self._answers(spec.warehouse)
            self._cannot_ask(str(spec.target) if answers else spec.warehouse, error)
            return
        self._answered |= {spec.warehouse, str(spec.target)}
        for each in deadlines:
            with self._report.telling(spec.name):
                self._judge(each, history)
            if spec.name in self._report.failures:
                break  # what is later is judged when this has been told: nothing falls between

    def _warehouse(self, name: str) -> Warehouse:
        if name not in self._warehouses:
            self._warehouses[name] = _impatient(load_warehouse(name))
        return self._warehouses[name]

    def _answers(self, name: str) -> bool:
        """Whether the warehouse can be asked for receipts: then it is one table that cannot."""
        try:
            self._warehouse(name).fetch(any_row(RECEIPTS))
        except SchemaError:  # nothing has landed yet
            return True
        except Exception:  # noqa: BLE001  # whatever it is, it is told of what failed first
            return False
        return True

    def _asked_twice(self, spec: TableSpec) -> History:
        """What the receipts say; a connection that was just lost is no reason for a message.

        Nor is one to Prefect's server, of which the warehouse's block is asked.
        """
        try:
            return self._asked(spec)
        except RetriableError:
            time.sleep(PAUSE_SECONDS)
            return self._asked(spec)

    def _asked(self, spec: TableSpec) -> History:
        return read_history.fn(spec, self._warehouse(spec.warehouse), look_at_target=False)

    def _judge(self, deadline: Deadline, history: History) -> None:
        """Act on what is known by now, by the claim as it is by now: runs may overlap."""
        arrived = _arrival(deadline, history)
        claim = NoticeClaim(self._client, PREFIX + deadline.key)
        if claim.is_being_sent():
            return  # the next look knows what came of it
        said = claim.value()
        in_doubt = said in (SENDING, PERHAPS) and not arrived.there
        state = next_state(None if in_doubt else _noted(said), arrived)
        if state is DeadlineState.LATE:
            if notify_once(
                claim, late_table_notice(deadline, arrived), self._slug, DeadlineState.LATE
            ):
                self._report.note(f"{deadline.spec.name} is late")
        elif state is DeadlineState.ARRIVED:
            notice = arrived_notice(deadline, arrived)
            if notify_over(claim, notice, self._slug, DeadlineState.ARRIVED):
                self._report.note(f"{deadline.spec.name} has arrived after all")
        elif state is DeadlineState.KEPT and claim.take(DeadlineState.KEPT):
            self._report.note(f"{deadline.spec.name} is there")

    def _cannot_ask(self, what: str, error: Exception) -> None:
        """Tell once that this cannot be asked: a table, a whole warehouse, the specs."""
        if isinstance(error, BusyError) and TIME_LIMIT in (error.todo or ""):
            error.todo = WAITED  # the block's own limit, which it names, is not what ended it
        reason = reason_of(error)
        self._unasked.add(what)
        self._report.fail(f"asking {what}", f"{what} cannot be asked: {reason}")
        with self._report.telling(what):
            notice = unjudged_notice(what, reason)
            notify_once(NoticeClaim(self._client, _unjudged(what)), notice, self._slug)


def _arrival(deadline: Deadline, history: History) -> Arrival:
    return arrival(deadline, history.receipts, history.failures, history.cursor)


def _noted(value: str | None) -> DeadlineState | None:
    """What a claim says of a deadline: that it is late, too, where that was perhaps told."""
    if value in (SENDING, PERHAPS):
        return DeadlineState.LATE
    return DeadlineState(value) if value in set(DeadlineState) else None


def _impatient(warehouse: Warehouse) -> Warehouse:
    """The warehouse, whose statements wait neither for a lock nor in a queue for long."""
    if TIME_LIMIT not in type(warehouse).model_fields:
        return warehouse
    return warehouse.model_copy(update={TIME_LIMIT: LOCK_SECONDS})


def _unjudged(what: str) -> str:
    return claim_name(f"unjudged_{what}")
