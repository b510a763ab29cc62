"""DuckDB's files, opened for a call and closed after it, so that other processes can have them.

To start DuckDB takes this process 15 ms, to attach a file to a DuckDB that runs already takes one.
So those that were started stay, without a file, for the next call.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import duckdb

# In memory only what is needed, and nothing from the network: JSON and ICU are built in.
_CONFIG = {"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"}

_NO_FILE = '"ferry: no file"'
"""The database of a DuckDB that has no file: not `memory`, which may be a file's or a schema's."""

# Opening and closing take turns. A file that one thread closes for the last time while another one
# opens it can be left open without DuckDB's cache of open files knowing of it; then nobody else in
# this process can open it ("Unique file handle conflict").
_door = threading.Lock()


@dataclass
class _Running:
    """A DuckDB that runs in this process.

    Attributes:
        main: What further connections are made of.
        path: The file that is attached to it; None if none is.
        name: What it calls that file.
        users: How many connections use it.
    """

    main: duckdb.DuckDBPyConnection
    path: Path | None = None
    name: str = ""
    users: int = 0


_running: list[_Running] = []

_names: dict[Path, str] = {}
"""What DuckDB calls each file: to ask it takes as long as to attach the file."""


@contextmanager
def opened(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection of its own to the file, in UTC, for the block; with the last, it is closed.

    The file is made if it is missing.

    Raises:
        duckdb.Error: The file cannot be opened: another process has it, it is no database, …
    """
    running: _Running | None = None
    connection: duckdb.DuckDBPyConnection | None = None
    try:
        with _door:
            running = _with(path)
            connection = running.main.cursor()
            connection.execute(f'USE {running.name}."main"')
        yield connection
    finally:
        with _door:
            try:
                if connection is not None:
                    connection.close()
            finally:
                if running is not None:
                    _leave(running)


def _with(path: Path) -> _Running:
    """The DuckDB that has the file; one more connection uses it."""
    running = next((each for each in _running if each.path == path), None)
    if running is None:
        running = _free(_spill(path))
        running.path = path  # from here on it is nobody else's
        try:
            running.main.execute(f"ATTACH {_text(path)}")
            running.name = _names.get(path) or _names.setdefault(path, _name(running))
        except BaseException:
            _discard(running)
            raise
    running.users += 1
    return running


def _free(spill: Path) -> _Running:
    """One without a file, in UTC, that would spill there; it is started if there is none."""
    spill_there = f"SET temp_directory = {_text(spill)}"
    for running in [each for each in _running if each.path is None]:
        try:
            running.main.execute(spill_there)
        except duckdb.Error:  # it has used that of another file, and keeps to it
            _discard(running)
        else:
            return running
    main = duckdb.connect(":memory:", config=dict(_CONFIG))
    main.execute(f"ATTACH ':memory:' AS {_NO_FILE}")
    main.execute(f"USE {_NO_FILE}")
    main.execute("DETACH memory")
    main.execute("SET GLOBAL TimeZone = 'UTC'")
    main.execute(spill_there)
    _running.append(running := _Running(main))
    return running


def _name(running: _Running) -> str:
    """The file's name as DuckDB has it, which follows from the path: quoted."""
    ((name,),) = running.main.execute(
        "SELECT database_name FROM duckdb_databases() WHERE NOT internal AND path IS NOT NULL"
    ).fetchall()
    return '"' + str(name).replace('"', '""') + '"'


def _leave(running: _Running) -> None:
    running.users -= 1
    if running.users or running.path is None:
        return
    if _spill(running.path).exists():  # its folder goes when it ends
        _discard(running)
        return
    try:
        running.main.execute(f"DETACH {running.name}")
    except duckdb.Error:  # what was committed stands; nothing else of this one is to be used
        _discard(running)
    else:
        running.path = None


def _discard(running: _Running) -> None:
    """End it, whatever state it is in; its file is closed by that."""
    if running in _running:
        _running.remove(running)
    with suppress(duckdb.Error):
        running.main.close()


def _spill(path: Path) -> Path:
    """Where DuckDB itself would put what does not fit in memory: beside the file."""
    return path.with_name(f"{path.name}.tmp")


def _text(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"
