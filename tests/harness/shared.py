"""What the processes of one test run make once and share, in a folder that ends with the run."""

from __future__ import annotations

import fcntl
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from deployments.local.servers import PrefectServer


def unused_home(shared: Path) -> Path:
    """The home of a Prefect server that nobody has used yet, for new servers to begin with.

    Whichever process asks first makes it, while the others wait: to make and migrate a database
    costs twice as much as all the rest of a server's start.
    """
    home, made = shared / "unused-home", shared / "unused-home.made"
    with (shared / "unused-home.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            with PrefectServer.start(shared / "unused-prefect") as server:
                pass
            # Whole in one file: what the server has just written may still be in the log beside it.
            with closing(sqlite3.connect(server.home / "prefect.db")) as database:
                database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            shutil.rmtree(home, ignore_errors=True)
            shutil.copytree(server.home, home)
            made.touch()
    return home


class Noted:
    """A set of words that one process writes down and all the others then know."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __contains__(self, word: str) -> bool:
        return self._path.exists() and word in self._path.read_text().split()

    def add(self, word: str) -> None:
        with self._path.open("a") as file:  # one short line: never mixed with another process's
            file.write(f"{word}\n")
