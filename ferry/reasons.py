"""Why something failed, as it may be told: with the error's code, and without what is not ours.

The text of an error of ours says what happened and holds no secret and no row's value. That of any
other, a driver's or Python's own, may hold anything. So of those only the class is told: in a
state, a message or an artifact, and also in the traceback that a log shows.
"""

from __future__ import annotations

from ferry.errors import FerryError, UnknownError

SEE_THE_LOG = "see the run's log"


class WithheldError(Exception):
    """Stands in a chain for an error that is not ours: of its text only the class remains."""


def reason_of(error: BaseException) -> str:
    """The reason in one text, such as `FERRY-ACCESS: extract raw_data.nps 2023-01-05: …`.

    The code has a heading in the runbook. What is not ours has the code of `UnknownError`.
    """
    if isinstance(error, FerryError):
        return str(error)
    return f"{UnknownError.code}: {type(error).__name__}, {SEE_THE_LOG}"


def explained(error: Exception) -> FerryError:
    """The error as one of ours, with nothing in its chain that is not; to be raised as it is.

    One of ours stays the same object; what caused it keeps its class and traceback only.
    """
    if isinstance(error, FerryError):
        _clean_chain(error, {id(error)})
        return error
    unknown = UnknownError(
        f"failed in a way that Ferry does not know: {type(error).__name__}",
        todo="The run's log has the traceback, without the text of the error: it may hold values.",
    )
    unknown.__cause__ = _without_text(error, set())
    return unknown


def _without_text(error: BaseException | None, seen: set[int]) -> BaseException | None:
    if error is None or id(error) in seen:
        return None
    seen.add(id(error))
    if isinstance(error, FerryError | WithheldError):
        _clean_chain(error, seen)
        return error
    stand_in = WithheldError(f"{type(error).__module__}.{type(error).__qualname__}")
    stand_in.__cause__ = _without_text(error.__cause__, seen)
    stand_in.__context__ = _without_text(error.__context__, seen)
    stand_in.__suppress_context__ = error.__suppress_context__
    return stand_in.with_traceback(error.__traceback__)


def _clean_chain(error: BaseException, seen: set[int]) -> None:
    suppressed = error.__suppress_context__
    error.__cause__ = _without_text(error.__cause__, seen)
    error.__context__ = _without_text(error.__context__, seen)
    error.__suppress_context__ = suppressed
