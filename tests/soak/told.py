"""What the soak says while it goes on, and threads that fail aloud."""

from __future__ import annotations

import sys
import threading
from datetime import UTC, datetime


def say(text: str) -> None:
    """Say it, with the time."""
    sys.stderr.write(f"{datetime.now(UTC):%H:%M:%S} {text}\n")
    sys.stderr.flush()


class Busy:
    """Something that goes on in a thread until it is told to stop."""

    def __init__(self) -> None:
        self.over = threading.Event()
        self._broken: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True, name=type(self).__name__)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Tell it to stop, and wait for it."""
        self.over.set()
        self._thread.join()
        self.raise_if_broken()

    def raise_if_broken(self) -> None:
        """A mistake of the soak's own is no finding."""
        if self._broken:
            raise self._broken

    def go_on(self) -> None:
        """What it does until `over` is set."""
        raise NotImplementedError

    def _run(self) -> None:
        try:
            self.go_on()
        except BaseException as error:  # noqa: BLE001  # for the thread that looks after this one
            self._broken = error
