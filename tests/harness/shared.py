"""What the processes of one test run make once and share, in a folder that ends with the run."""

from __future__ import annotations

import atexit
import fcntl
import os
import shutil
import sqlite3
import tempfile
from collections.abc import MutableMapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import certifi

from ferry.settings import ELSEWHERE

if TYPE_CHECKING:
    from deployments.local.servers import MariaDB

_IN_MEMORY = Path("/dev/shm")  # Linux's folder for it
_NEEDED_BYTES = 8 << 30
"""What the servers and tests of a run put there, 3 GB, with plenty left for everything else."""

_FORGOTTEN = ("FERRY_", "PREFECT_", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "AWS_", "PG")
_NOT_FORGOTTEN = {*ELSEWHERE, "PREFECT_SERVER_ANALYTICS_ENABLED"}

WITHOUT_SERVICES = {
    "PREFECT_UI_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_CANCELLATION_CLEANUP_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_CLEANUP_RECONCILER_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_FOREMAN_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_LATE_RUNS_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_PAUSE_EXPIRATIONS_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_SCHEDULER_RECENT_DEPLOYMENTS_LOOP_SECONDS": "60",
    "PREFECT_SERVER_EVENTS_PROACTIVE_GRANULARITY": "PT60S",
}
"""No test looks at the shared server's pages, or waits for what these find every few seconds."""


def forget_settings(environment: MutableMapping[str, str]) -> None:
    """Take out what this machine is set up for: a server of Prefect's, table specs, a proxy, keys.

    The first process of a run does it for all. Prefect still reads `.env` and `prefect.toml` of the
    folder that the tests run in, and libpq its files at home.
    """
    if "PYTEST_XDIST_WORKER" in environment:
        return
    for name in set(environment) - _NOT_FORGOTTEN:
        if name.upper().startswith(_FORGOTTEN):
            del environment[name]


def keep_files_in_memory() -> None:
    """Let temporary files of this run, and of its processes, be in memory where there is room.

    Servers write to a disk with each table that a test makes; of tests over MySQL that is a
    quarter of the time. The folder that the environment names stays, if it names one.
    """
    if "TMPDIR" in os.environ or not _has_room():
        return
    os.environ["TMPDIR"] = tempfile.tempdir = str(_IN_MEMORY)


def look_at_no_home() -> None:
    """Let Prefect, and AWS's clients, look for their files in places that are the run's.

    Else they find a person's profiles and keys, and leave results there. It comes before Prefect is
    imported; the first process of a run does it for all.
    """
    if "PREFECT_HOME" in os.environ:
        return
    folder = tempfile.mkdtemp(prefix="ferry-home-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    nothing = f"{folder}/nothing"
    os.environ |= {
        "PREFECT_HOME": folder,
        "AWS_CONFIG_FILE": nothing,
        "AWS_SHARED_CREDENTIALS_FILE": nothing,
    }


def trust_one_authority() -> None:
    """Let Prefect's clients, here and in this run's processes, read one authority, not a hundred.

    Each client reads them anew, in 25 ms of CPU, and each page of a run has a client of its own.
    No server of the tests has a certificate of the world's. It comes before Prefect is imported;
    the first process of a run does it for all.
    """
    if "PREFECT_API_SSL_CERT_FILE" in os.environ:
        return
    first, end, _ = Path(certifi.where()).read_text().partition("-----END CERTIFICATE-----\n")
    folder = Path(tempfile.mkdtemp(prefix="ferry-authority-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    (path := folder / "authority.pem").write_text(first + end)
    os.environ["PREFECT_API_SSL_CERT_FILE"] = str(path)


def _has_room() -> bool:
    try:
        told = Path("/proc/meminfo").read_text()
        there = os.statvfs(_IN_MEMORY)
    except OSError:  # not Linux
        return False
    (available,) = [line.split()[1] for line in told.splitlines() if "MemAvailable" in line]
    room = min(int(available) * 1024, there.f_bavail * there.f_frsize)
    return room > _NEEDED_BYTES and not there.f_flag & os.ST_NOEXEC


def unused_home(shared: Path) -> Path:
    """The home of a Prefect server that nobody has used yet, for new servers to begin with.

    Whichever process asks first makes it, while the others wait: to make and migrate a database
    costs twice as much as all the rest of a server's start.
    """
    from deployments.local.servers import PrefectServer

    home, made = shared / "unused-home", shared / "unused-home.made"
    with (shared / "unused-home.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            with PrefectServer.start(
                shared / "unused-prefect", settings=WITHOUT_SERVICES
            ) as server:
                pass
            # Whole in one file: what the server has just written may still be in the log beside it.
            with closing(sqlite3.connect(server.home / "prefect.db")) as database:
                database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            shutil.rmtree(home, ignore_errors=True)
            shutil.copytree(server.home, home)
            made.touch()
    return home


def copy_unused_data(kind: type[MariaDB], shared: Path, folder: Path) -> None:
    """Let the server of this folder begin with data that nobody has used yet.

    Whichever process asks first makes them, while the others wait, as with `unused_home`.
    """
    made = shared / f"unused-{kind.name}"
    with (shared / f"unused-{kind.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        (temporary := made / "tmp").mkdir(parents=True, exist_ok=True)
        data = kind._make_data(made, temporary)
    shutil.copytree(data, folder / "data")


class Noted:
    """A set of words that one process writes down and all the others then know."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __contains__(self, word: str) -> bool:
        return self._path.exists() and word in self._path.read_text().split()

    def add(self, word: str) -> None:
        with self._path.open("a") as file:  # one short line: never mixed with another process's
            file.write(f"{word}\n")
