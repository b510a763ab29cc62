"""What a run that tells people of others has done itself, and what it could not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from prefect.logging import get_run_logger
from prefect.states import Completed, Failed

from ferry.bounded import MAX_REASONS, first_of
from ferry.reasons import reason_of


class RunReport:
    """Collects what one run has done and what failed, each also a line of its log.

    Attributes:
        done: What it has done, a few words each.
        failures: What could not be done, by what it is about: one line each.
    """

    def __init__(self) -> None:
        self.done: list[str] = []
        self.failures: dict[str, str] = {}
        self._log = get_run_logger()

    def note(self, what: str) -> None:
        """Take down that this was done."""
        self.done.append(what)
        self._log.info("%s", what)

    def fail(self, about: str, why: str) -> None:
        """Take down that this could not be done; of what it is about only the last is kept."""
        self.failures[about] = why
        self._log.error("%s", why)

    @contextmanager
    def telling(self, what: str) -> Iterator[None]:
        """Let nothing that cannot be told keep the rest from being told.

        A failure is forgotten when the same thing is told after all.
        """
        try:
            yield
        except Exception as error:  # noqa: BLE001  # whatever it is, the rest is told
            self.fail(what, f"{what} could not be told: {reason_of(error)}")
        else:
            self.failures.pop(what, None)

    def ended(self, nothing: str) -> Any:
        """The state of the run: Failed if anything could not be done.

        Args:
            nothing: What is said when nothing was to be done.
        """
        done = "; ".join(first_of(self.done, MAX_REASONS)) or nothing
        if self.failures:
            lines = first_of(self.failures.values(), MAX_REASONS)
            return Failed(message="\n".join([*lines, done]))
        return Completed(message=done)
