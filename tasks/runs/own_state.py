"""A run looks at its own state, and stops when it is not to go on any more.

Its worker ends a run that is cancelled. Of a run whose worker is gone nobody does: it would go on
for hours, while the UI says Cancelled. So does a run that was ended as Crashed though it lives, and
may have been begun once more elsewhere; and a run that was begun for another one, where that one is
cancelled while no process of it is left to cancel the others.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import copy_context
from threading import Event, Thread
from typing import Any
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.exceptions import Abort, PrefectException
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from prefect.states import Cancelled

LOOK_EVERY_SECONDS = 10.0
TO_COME = (StateType.SCHEDULED, StateType.PENDING)
"""What a run that was under way is in when another attempt of it is to come."""


class OwnState:
    """Says when the current flow run is not to go on; made inside it, by `while_running`.

    Args:
        stop: Set once it is not to go on.
        begun_by: The run that has begun this one and waits for it, if there is one.

    Attributes:
        stop: Set once it is not; who works for the run looks at it before each step.
        begun_again: Whether that is because the run goes on elsewhere, as another attempt: what was
            begun for it is then that one's.
    """

    def __init__(self, stop: Event, begun_by: UUID | None = None) -> None:
        self.stop = stop
        self._begun_by = begun_by
        self.begun_again = False
        self._id = flow_run.id
        self._attempt: int | None = None
        self._over = Event()
        self._why = ""
        self._log: logging.Logger | logging.LoggerAdapter[Any] = get_run_logger()

    def raise_if_ended(self) -> None:
        """End the process's part of a run that is over already; its state stays as it is.

        Raises:
            Abort: Prefect's own signal for just that. It is no Exception, as that of a worker.
        """
        if self._why:
            self._log.warning("this run stops: %s", self._why)
            raise Abort(self._why)

    def goes_on(self) -> bool:
        """Whether the run goes on as another attempt, or is to, as far as its server knows.

        Whoever evicts a process and puts its run off does that before. Where it is left to the
        infrastructure to begin the run once more (`relinquish`), the server does not know: the run
        stays Running, as one that ends for good. A server that cannot be asked leaves it at what is
        known.
        """
        if self._id and not self.begun_again:
            with suppress(PrefectException, httpx.HTTPError), get_client(sync_client=True) as asked:
                run = asked.read_flow_run(UUID(str(self._id)))
                to_come = run.state is not None and run.state.type in TO_COME
                self.begun_again = to_come or self._is_later(run)
        return self.begun_again

    def _watch(self) -> None:
        while not self._over.wait(LOOK_EVERY_SECONDS):
            # Whoever cannot be asked just now, is asked the next time.
            with suppress(PrefectException, httpx.HTTPError), get_client(sync_client=True) as asked:
                self._why = self._look(asked)
            if self._why:
                self.stop.set()
                return

    def _look(self, client: SyncPrefectClient) -> str:
        run = client.read_flow_run(UUID(str(self._id)))
        state = run.state
        if state is None:
            return ""
        if state.is_cancelling():  # its worker, which would end it, may be gone
            client.set_flow_run_state(run.id, Cancelled(message="it stopped, as it was told to"))
            return "it was cancelled"
        if self._attempt is None:  # not what the process was told: an answer may have been lost
            self._attempt = run.run_count
        if self._is_later(run):
            self.begun_again = True
            return f"it was begun once more, as attempt {run.run_count}"
        if state.is_final():
            return f"its state is {state.name}"
        return self._look_at_the_other(client, run)

    def _is_later(self, run: FlowRun) -> bool:
        """Whether it is another attempt by now than when it was first looked at."""
        return self._attempt is not None and run.run_count > self._attempt

    def _look_at_the_other(self, client: SyncPrefectClient, run: FlowRun) -> str:
        """Whether the run that has begun this one is cancelled: then this one is, too."""
        other = self._begun_by and client.read_flow_run(self._begun_by).state
        if not other or not (other.is_cancelling() or other.is_cancelled()):
            return ""
        why = f"the run that has begun it, {self._begun_by}, was cancelled"
        client.set_flow_run_state(run.id, Cancelled(message=why))
        return why


@contextmanager
def while_running(stop: Event, begun_by: UUID | None = None) -> Iterator[OwnState]:
    """Set `stop` when the current flow run is not to go on; at the end, leave it at that.

    Outside of a flow run there is nothing to look at.

    Args:
        stop: What those who work for the run look at.
        begun_by: The run that has begun this one and waits for it: once that one is cancelled, this
            one is, too.

    Raises:
        Abort: The run's state says that it is over; nothing is written to it any more.
    """
    own = OwnState(stop, begun_by)
    # In a copy of the context: a thread without one would start a server of its own.
    thread = Thread(target=copy_context().run, args=(own._watch,), daemon=True)
    if flow_run.id:
        thread.start()
    try:
        yield own
        own.raise_if_ended()
    finally:
        own._over.set()
