"""DuckDB's files, opened for a call and closed after it, so that other processes can have them.

To start DuckDB takes this process 15 ms, to attach a file to a DuckDB that runs already takes one.
So those that were started stay, without a file, for the next call.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import duckdb

# In memory only what is needed, and nothing from the network: JSON and ICU are built in.
CONFIG = {"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"}

_OWN_NAMES = ("memory", "system", "temp")
"""Of the databases that every DuckDB has."""

# Opening and closing take turns. A file that one thread closes for the last time while another one
# opens it can be left open without DuckDB's cache of open files knowing of it; then nobody else in
# this process can open it ("Unique file handle conflict").
_door = threading.Lock()


@dataclass
class Running:
    """A DuckDB that runs in this process.

    Attributes:
        main: What further connections are made of.
        path: The file that is attached to it; None if none is.
        users: How many connections use that file.
    """

    main: duckdb.DuckDBPyConnection
    path: Path | None = None
    users: int = 0


_running: list[Running] = []


def opened(path: Path) -> tuple[duckdb.DuckDBPyConnection, Running]:
    """A connection of its own to the file, in UTC; `close` ends it. The file is made if missing.

    Raises:
        duckdb.Error: The file cannot be opened: another process has it, it is no database, …
    """
    with _door:
        running = _with(path)
        connection = running.main.cursor()
        try:
            connection.execute(f"USE {_name(path)}")
            connection.execute("SET TimeZone = 'UTC'")
        except BaseException:
            connection.close()
            _leave(running)
            raise
        return connection, running


def close(connection: duckdb.DuckDBPyConnection, running: Running) -> None:
    """End the connection; with the last one, the file is closed."""
    with _door:
        connection.close()
        _leave(running)


def _with(path: Path) -> Running:
    """The DuckDB that has the file; one more connection uses it."""
    running = next((each for each in _running if each.path == path), None)
    if running is None:
        running = next((each for each in _running if each.path is None), None)
        if running is None:
            running = Running(duckdb.connect(":memory:", config=dict(CONFIG)))
            _running.append(running)
        running.main.execute(f"SET temp_directory = {_text(_spill(path))}")
        running.main.execute(f"ATTACH {_text(path)} AS {_name(path)}")
        running.path = path
    running.users += 1
    return running


def _leave(running: Running) -> None:
    running.users -= 1
    if running.users or running.path is None:
        return
    path, running.path = running.path, None
    spilled = _spill(path).exists()  # one that has used the folder keeps to it as long as it runs
    try:
        running.main.execute(f"DETACH {_name(path)}")
    except duckdb.Error:  # what was committed stands; nothing else of this one is to be used
        spilled = True
    if spilled:
        _running.remove(running)
        with suppress(duckdb.Error):
            running.main.close()


def _spill(path: Path) -> Path:
    """Where DuckDB itself would put what does not fit in memory: beside the file."""
    return path.with_name(f"{path.name}.tmp")


def _text(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"


def _name(path: Path) -> str:
    """The database's name, as DuckDB itself would call it."""
    name = path.stem + ("_db" if path.stem.lower() in _OWN_NAMES else "")
    return '"' + name.replace('"', '""') + '"'
