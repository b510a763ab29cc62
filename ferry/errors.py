"""Every error Ferry raises on purpose, in one tree; a block may have its own kind of one of them.

```
FerryError
├── RetriableError            the same step may succeed if it is tried again
│   ├── ConnectionLostError   the network or the server went away, before any commit was sent
│   ├── BusyError             a lock, a throttle, too many connections, a time limit
│   ├── ConflictError         a serialization conflict; repeat the whole transaction
│   └── OutcomeUnknownError   the connection was lost at COMMIT; look the batch up first
└── FatalError                trying again cannot help; somebody has to change something
    ├── ConfigurationError    no such block, a setting that is missing or wrong
    │   └── SpecError         a table's or summary's spec that cannot be read or is misspelled
    ├── RequestError          the run's parameters are wrong, or ask for what is not done unasked
    ├── AccessError           wrong password, wrong certificate, no permission, no such bucket
    ├── SchemaError           columns or types that are missing or do not fit
    ├── DataError             values that the warehouse cannot hold as they are
    ├── IncompleteReadError   a part of what was asked for could not be read; the rest was
    ├── CountMismatchError    two steps disagree about the number of rows
    ├── ValuesDifferError     two steps disagree about the values of a column
    ├── CheckFailedError      a summary's check failed; what is published stays as it was
    ├── StaleReadError        what was planned or read is out of date; read it again
    ├── StoppedError          the run was cancelled before this was written
    ├── ApartError            windows that cannot travel together: each is carried by itself
    └── UnknownError          anything else: a mistake in Ferry, an answer that it does not know
```

Tasks retry the first branch only (`is_retriable`). A message begins with the error's code, which
has a heading in docs/runbook.md. Then it says which table, window and step, what was expected and
what was found, and what to do. It never holds a secret or a row's values.
"""

from __future__ import annotations

from typing import ClassVar, Self

from ferry.bounded import shortened

CODE_BEGINS = "FERRY-"
"""What every code begins with. A code is never changed and never given to another error."""

MAX_TODO_CHARACTERS = 10_000
"""Of what is to be done: statements to run, as a rule for a few columns."""


def may_pass(status: int) -> bool:
    """Whether this status of HTTP is over by itself: took too long, too many, a server at fault."""
    return status in (408, 429) or status >= 500


class FerryError(Exception):
    """Something that Ferry understood and can explain.

    Args:
        problem: What is wrong, in one sentence without a final full stop.
        table: The table it happened to, as people know it (`raw_data.nps`).
        window: The label of the window it happened in.
        step: extract, stage, copy, upsert, or the like.
        block: The block it came from, `mysql-source/billing`.
        expected: What should have been there.
        found: What was there instead. Never a row's values.
        todo: What the reader can do about it.

    Attributes:
        code: What stands first in the message. Each class that is raised has one of its own, with a
            heading in docs/runbook.md; this class and `RetriableError` are never raised.
    """

    code: ClassVar[str] = f"{CODE_BEGINS}ERROR"

    def __init__(
        self,
        problem: str,
        *,
        table: str | None = None,
        window: str | None = None,
        step: str | None = None,
        block: str | None = None,
        expected: object = None,
        found: object = None,
        todo: str | None = None,
    ) -> None:
        super().__init__(problem)
        self.problem = problem
        self.table = table
        self.window = window
        self.step = step
        self.block = block
        self.expected = expected
        self.found = found
        self.todo = todo

    def at(
        self,
        *,
        table: str | None = None,
        window: str | None = None,
        step: str | None = None,
        block: str | None = None,
    ) -> Self:
        """Fill in where it happened, keeping what is already known; returns the same error."""
        self.table = self.table or table
        self.window = self.window or window
        self.step = self.step or step
        self.block = self.block or block
        return self

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"

    @property
    def message(self) -> str:
        """The text without the code, to be quoted in the message of another error."""
        at = f"at {self.block}" if self.block else None
        where = " ".join(part for part in (self.step, self.table, self.window, at) if part)
        problem = shortened(self.problem)
        text = f"{where}: {problem}" if where else problem
        if self.expected is not None:
            text += f"; expected {shortened(str(self.expected))}"
        if self.found is not None:
            text += f"; found {shortened(str(self.found))}"
        if self.todo:
            text += f". {shortened(self.todo, MAX_TODO_CHARACTERS)}"
        return text

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (self.problem,), self.__dict__)


class RetriableError(FerryError):
    """The same step may succeed if it is tried again."""


class ConnectionLostError(RetriableError):
    """The network or the server went away before any commit was sent."""

    code = "FERRY-CONNECTION"


class BusyError(RetriableError):
    """A lock, a throttle, too many connections, or a time limit."""

    code = "FERRY-BUSY"


class ConflictError(RetriableError):
    """A serialization conflict: the whole transaction has to be repeated."""

    code = "FERRY-CONFLICT"


class OutcomeUnknownError(RetriableError):
    """An answer was lost: to a COMMIT, so look the batch up in the receipts, or to a message."""

    code = "FERRY-OUTCOME"


class FatalError(FerryError):
    """Trying again cannot help; somebody has to change something."""

    code = "FERRY-REFUSED"


class ConfigurationError(FatalError):
    """No such block, or a setting that is missing or wrong."""

    code = "FERRY-CONFIGURATION"


class SpecError(ConfigurationError):
    """A table's or summary's spec that cannot be read or is misspelled."""

    code = "FERRY-SPEC"


class RequestError(FatalError):
    """The run's parameters are wrong, or ask for what is not done unasked."""

    code = "FERRY-REQUEST"


class AccessError(FatalError):
    """Wrong password, wrong certificate, no permission, no such bucket."""

    code = "FERRY-ACCESS"


class SchemaError(FatalError):
    """Columns or types that are missing or do not fit."""

    code = "FERRY-SCHEMA"


class DataError(FatalError):
    """Values that the warehouse cannot hold as they are.

    Attributes:
        window_number: Which window the value is of, of those that travel together, where that is
            known.
    """

    code = "FERRY-DATA"
    window_number: int | None = None


class IncompleteReadError(FatalError):
    """A part of what was asked for could not be read, such as a symbol that there is not.

    A source raises it after it has yielded everything else, which a window still lands. Its receipt
    then says `partial`, and the run fails with this error.
    """

    code = "FERRY-INCOMPLETE"


class CountMismatchError(FatalError):
    """Two steps disagree about the number of rows."""

    code = "FERRY-COUNTS"


class ValuesDifferError(FatalError):
    """Two steps disagree about the values of a column."""

    code = "FERRY-VALUES"


class CheckFailedError(FatalError):
    """A summary's check failed; what is published stays as it was."""

    code = "FERRY-CHECK"


class StaleReadError(FatalError):
    """Something has changed since the batch was planned, so that what was read must not land.

    Trying the same step again cannot help; reading the batch again does.
    """

    code = "FERRY-STALE"


class StoppedError(FatalError):
    """The run was cancelled; the target is as it was before this window."""

    code = "FERRY-STOPPED"


class ApartError(FatalError):
    """Windows of a batch cannot travel together, as each could not be told what became of it.

    Whoever put them together carries each by itself; nothing else has to be done.
    """

    code = "FERRY-APART"


class UnknownError(FatalError):
    """Something that Ferry does not know: a mistake of its own, or an answer never met before.

    It has the class of the error that was met, and never its text, which may hold anything.
    """

    code = "FERRY-UNKNOWN"


def no_window_without_key(table: str) -> RequestError:
    """Why a table without a key has no windows, whoever asks for one."""
    return RequestError(
        "a table without a key has no windows",
        table=table,
        expected="a key, which tells which rows of the target a window replaces",
        found="none in the table's spec",
        todo="Add `key` to the table's spec, or carry it in mode full or watermark.",
    )


def is_retriable(error: BaseException | None) -> bool:
    """Whether trying the same step again may help."""
    return isinstance(error, RetriableError)
