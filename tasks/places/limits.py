"""What Prefect's server is asked about places: leases on limits, and who holds how many of them.

The server tells nobody who holds a limit. So each process that holds places says so in a variable
of its own, `ferry_places_…`, and takes it away with its last place.
"""

from __future__ import annotations

import os
import socket
import threading
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import VariableCreate, VariableUpdate
from prefect.client.schemas.objects import ConcurrencyLeaseHolder
from prefect.context import FlowRunContext
from prefect.exceptions import ObjectNotFound, PrefectException
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from tasks.runs.paging import PAGE, all_pages

TAG = "ferry-places"
"""On the variables in which processes tell what they hold."""

SILENT_FOR = timedelta(seconds=90)
"""A process that has not told for so long has died, and its leases have ended."""

FORGOTTEN_AFTER = timedelta(hours=1)

_FULL, _TOO_FEW, _GONE, _NO_SUCH, _BUSY = 423, 422, 410, 404, 503
_TIMEOUT_SECONDS = 10.0
_UNREACHABLE = (httpx.HTTPError, PrefectException, OSError, RuntimeError, ValueError)


class UnreachableError(Exception):
    """Prefect's server gave no good answer; says the kind of failure.

    Args:
        kind: The kind.
        busy: Whether it answered that it is busy, as it does while its database is being written.
    """

    def __init__(self, kind: str, *, busy: bool = False) -> None:
        super().__init__(kind)
        self.busy = busy


Entry = tuple[str, timedelta, dict[str, Any]]


@dataclass(frozen=True)
class Lease:
    """A place that the server keeps for whoever renews it.

    Attributes:
        id: The server's.
        limits: The limits that it counts for; none where none is registered.
    """

    id: uuid.UUID
    limits: tuple[str, ...]


@dataclass(frozen=True)
class LimitState:
    """One limit, as the server sees it.

    Attributes:
        name: Its name.
        limit: How many places it has.
        taken: How many of them are taken.
        holders: Whoever tells that it holds some, and how many.
    """

    name: str
    limit: int
    taken: int
    holders: tuple[tuple[str, int], ...]

    @property
    def unknown(self) -> int:
        """How many of those taken nobody tells of."""
        return max(0, self.taken - sum(count for _, count in self.holders))

    def __str__(self) -> str:
        names = [f"{who} ({count})" for who, count in self.holders if count]
        names += [f"nobody that is known ({self.unknown})"] if self.unknown else []
        by = f" by {', '.join(names)}" if names else ""
        return f"{self.name}: {self.taken} of {self.limit} places taken{by}"


class Limits:
    """The limits of one kind of readers of one source, asked for one process.

    Every method raises `UnreachableError` where the server gives no good answer, after seconds and
    without trying again: whoever asks knows better when to.

    Args:
        names: The limits: a place counts for each of them that there is.

    Attributes:
        reported: Whether the server may have been told what this process holds, and not that it
            holds nothing any more.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self._variable = f"ferry_places_{uuid.uuid4().hex[:12]}"
        self._own = threading.local()  # one thread's client does not end in another's request
        self.reported = False

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Keep a client of this thread's own: a flow run's is closed when the run ends."""
        with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}):
            try:
                yield
            finally:
                client = self._own.__dict__.pop("client", None)
                if client:
                    client.__exit__(None, None, None)

    def ask(self, seconds: float) -> Lease | None:
        """A place, for so many seconds unless it is renewed; None where all are taken."""
        with _answered():
            try:
                answer = self._open().increment_concurrency_slots_with_lease(
                    list(self.names), 1, "concurrency", seconds, _holder()
                )
            except httpx.HTTPStatusError as error:
                if error.response.status_code in (_FULL, _TOO_FEW):
                    return None
                raise
            granted = answer.json()
            return Lease(
                uuid.UUID(granted["lease_id"]), tuple(limit["name"] for limit in granted["limits"])
            )

    def renew(self, lease: Lease, seconds: float) -> bool:
        """Keep the place for so many seconds from now; False: the server knows it no more."""
        with _answered():
            try:
                self._open().renew_concurrency_lease(lease.id, seconds)
            except httpx.HTTPStatusError as error:
                if error.response.status_code in (_GONE, _NO_SUCH):
                    return False
                raise
            return True

    def give_back(self, lease: Lease) -> None:
        """Give the place back; a lease that the server does not know any more is ignored."""
        with _answered():
            self._open().release_concurrency_slots_with_lease(lease.id)

    def report(self, held: Mapping[str, int]) -> None:
        """Tell how many places of each limit this process holds; again and again, or it is dead."""
        with _answered():
            client = self._open()
            if not held:
                self._take_back(client)
                return
            value: Any = {"holder": _who(), "held": dict(held)}
            if self.reported:
                try:
                    client.update_variable(VariableUpdate(name=self._variable, value=value))
                    return
                except ObjectNotFound:
                    pass
                except httpx.HTTPStatusError as error:
                    if error.response.status_code != _NO_SUCH:
                        raise
            self.reported = True  # also if the answer is lost
            client.create_variable(VariableCreate(name=self._variable, value=value, tags=[TAG]))

    def _take_back(self, client: SyncPrefectClient) -> None:
        if self.reported:
            with suppress(ObjectNotFound):
                client.delete_variable_by_name(self._variable)
            self.reported = False

    def state(self) -> list[LimitState]:
        """Each limit that there is, and who holds it."""
        with _answered():
            return read_limits(self._open(), self.names)

    def correct(self, name: str, places: int) -> None:
        """Count so many places fewer as taken, which nobody holds."""
        with _answered():
            correct(self._open(), name, places)

    def _open(self) -> SyncPrefectClient:
        found: SyncPrefectClient | None = getattr(self._own, "client", None)
        if found is None:
            # Other settings than a flow run's client, so that it is not that one.
            settings = {
                "timeout": httpx.Timeout(_TIMEOUT_SECONDS),
                "event_hooks": {"response": [_refuse_busy]},
            }
            found = get_client(sync_client=True, httpx_settings=settings).__enter__()
            self._own.client = found
        return found


def read_limits(client: SyncPrefectClient, names: Iterable[str]) -> list[LimitState]:
    """Each of the limits that there is, and who tells that it holds it.

    What processes told that died long ago is removed on the way: nobody else might, for weeks.
    """
    entries = _entries(client)
    _forget_the_dead(client, entries)
    found = []
    for name in names:
        try:
            limit = client.read_global_concurrency_limit_by_name(name)
        except ObjectNotFound:
            continue
        holders = tuple(
            (str(value["holder"]), int(value["held"][name]))
            for _, age, value in entries
            if age < SILENT_FOR and name in value["held"]
        )
        found.append(LimitState(name, limit.limit, limit.active_slots, holders))
    return found


def correct(client: SyncPrefectClient, name: str, places: int) -> None:
    """Count so many places of the limit fewer as taken."""
    client.release_concurrency_slots([name], places, 1.0)


def _forget_the_dead(client: SyncPrefectClient, entries: Iterable[Entry]) -> None:
    for name, age, _ in entries:
        if age > FORGOTTEN_AFTER:
            with suppress(ObjectNotFound):  # somebody else has just done it
                client.delete_variable_by_name(name)


def _entries(client: SyncPrefectClient) -> list[Entry]:
    """What processes tell: the variable, how old it is by the server's clock, and its value."""
    return [
        (each["name"], now - datetime.fromisoformat(each["updated"]), each["value"])
        for now, each in all_pages(lambda offset: _variables(client, offset))
        if isinstance(each["value"], dict) and "held" in each["value"]
    ]


def _variables(client: SyncPrefectClient, offset: int) -> list[tuple[datetime, dict[str, Any]]]:
    """Some of the variables, each with the moment of the answer by the server's clock."""
    chosen = {
        "variables": {"tags": {"all_": [TAG]}},
        "sort": "NAME_ASC",
        "offset": offset,
        "limit": PAGE,
    }
    answer = client.request("POST", "/variables/filter", json=chosen)
    date = answer.headers.get("date")
    now = parsedate_to_datetime(date) if date else datetime.now(UTC)
    return [(now, each) for each in answer.json()]


@contextmanager
def _answered() -> Iterator[None]:
    try:
        yield
    except _UNREACHABLE as error:
        raise UnreachableError(_kind(error), busy=isinstance(error, _BusyError)) from error


def _kind(error: Exception) -> str:
    """What kind of failure, without an address or an answer's text."""
    if isinstance(error, httpx.HTTPStatusError):
        return f"HTTP {error.response.status_code}"
    return type(error).__name__


class _BusyError(httpx.HTTPStatusError):
    """The server is busy, and does not say for how long."""


def _refuse_busy(response: httpx.Response) -> None:
    """Raise before Prefect's client sees it: it would sleep for two seconds, and not ask again.

    An answer that says when to come back is left to it.
    """
    if response.status_code == _BUSY and "Retry-After" not in response.headers:
        raise _BusyError("busy", request=response.request, response=response)


def _who() -> str:
    """The flow run that reads, as people find it, and its process."""
    process = f"process {os.getpid()} on {socket.gethostname()}"
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        return process
    return f"flow run {context.flow_run.name} {context.flow_run.id}, {process}"


def _holder() -> ConcurrencyLeaseHolder | None:
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        return None
    return ConcurrencyLeaseHolder(type="flow_run", id=context.flow_run.id)
