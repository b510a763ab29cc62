"""The three real blocks of a world, behind what watches each call and lets some of them fail."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any

from ferry.batch import ExtractQuery
from ferry.errors import BusyError, ConflictError, ConnectionLostError, OutcomeUnknownError
from ferry.statements import Statement
from tests.model.clock import Clock

PLAIN = {"native_type", "capabilities"}
"""What needs no server."""


class Moment(Enum):
    """Where a transaction stands."""

    BEGUN = "begun"
    COMMITTED = "committed"
    UNDONE = "undone"


class KilledError(BaseException):
    """The process of a run is gone: nothing that it still does has an effect."""


@dataclass(frozen=True)
class Fault:
    """What is to go wrong with one call.

    Attributes:
        call: The number of the call, from 1 on, in its run.
        after: Whether it is too late to undo what the call does.
        kind: die, lost, busy or conflict.
    """

    call: int
    after: bool
    kind: str

    def __str__(self) -> str:
        return f"{self.kind} {'after' if self.after else 'before'} call {self.call}"


@dataclass
class Watch:
    """One attempt of one run: its calls, its reads, its end.

    Attributes:
        name: What the log calls it.
        job: The id of its run.
        clock: The world's.
        step: Called around each call: time passes, others get their turn.
        landing: Called before and after each transaction.
        fault: What is to go wrong.
        read_at: When the source was last read, by the source's clock.
    """

    name: str
    job: str
    clock: Clock
    step: Callable[[bool], None]
    landing: Callable[[Watch, Moment], None]
    fault: Fault | None = None
    read_at: datetime | None = None
    query: ExtractQuery | None = None
    dead: bool = False
    calls: int = 0
    struck: str = ""
    inside: int = 0
    trace: list[str] = field(default_factory=list)

    def before(self, point: str) -> None:
        """A call begins."""
        self._alive()
        self.calls += 1
        self.step(self.inside == 0)
        self.trace.append(point)
        self._strike(point, after=False)

    def after(self, point: str) -> None:
        """A call has taken effect."""
        self._strike(point, after=True)

    def _alive(self) -> None:
        if self.dead:
            raise KilledError

    def _strike(self, point: str, *, after: bool) -> None:
        fault = self.fault
        if fault is None or fault.call != self.calls or fault.after is not after or self.struck:
            return
        self.struck = f"{fault.kind} {'after' if after else 'before'} {point}"
        if fault.kind == "die":
            self.dead = True
            raise KilledError
        if after and point == "commit":
            raise OutcomeUnknownError("the answer to COMMIT was lost")
        if fault.kind == "conflict" and self.inside:
            raise ConflictError("another transaction was first")
        raise (BusyError if fault.kind == "busy" else ConnectionLostError)("no server")


class Place:
    """A block whose calls are watched."""

    def __init__(self, block: Any, watch: Watch, name: str) -> None:
        self._block, self._watch, self._name = block, watch, name

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._block, name)
        if name in PLAIN or not callable(found):
            return found
        point, watch = f"{self._name}.{name}", self._watch

        def call(*args: Any, **kwargs: Any) -> Any:
            watch.before(point)
            result = found(*args, **kwargs)
            watch.after(point)
            return result

        return call


class WatchedSource(Place):
    """The source: its clock is the world's, a read is of one moment."""

    def now(self) -> datetime:
        self._watch.before("source.now")
        return self._watch.clock.now

    def read(self, query: ExtractQuery) -> Iterator[Any]:
        self._watch.before("source.read")
        self._watch.read_at, self._watch.query = self._watch.clock.now, query
        batches = list(self._block.read(query))
        self._watch.after("source.read")
        yield from batches


class WatchedWarehouse(Place):
    """The warehouse: its transactions end in ways of which nobody is told."""

    @contextmanager
    def transaction(self) -> Iterator[Any]:
        watch = self._watch
        watch.before("begin")
        watch.landing(watch, Moment.BEGUN)
        watch.inside += 1
        try:
            try:
                with self._block.transaction() as transaction:
                    yield WatchedTransaction(transaction, watch)
                    watch.before("commit")
            except BaseException:
                watch.landing(watch, Moment.UNDONE)
                raise
            watch.landing(watch, Moment.COMMITTED)
            watch.after("commit")
        finally:
            watch.inside -= 1


class WatchedTransaction:
    """A transaction whose statements are watched."""

    def __init__(self, transaction: Any, watch: Watch) -> None:
        self._transaction, self._watch = transaction, watch

    def execute(self, statement: Statement | str) -> int:
        self._watch.before("statement")
        return int(self._transaction.execute(statement))

    def fetch(self, statement: Statement | str) -> list[tuple[Any, ...]]:
        self._watch.before("query")
        return list(self._transaction.fetch(statement))
