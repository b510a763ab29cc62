"""What SQLite's errors mean, told without the values that their texts hold."""

from __future__ import annotations

import re
import sqlite3

from ferry.errors import (
    AccessError,
    BusyError,
    ConfigurationError,
    ConnectionLostError,
    DataError,
    FerryError,
    SchemaError,
)
from ferry.target.value_advice import EXCLUDE

_LOCKED = (
    BusyError,
    "is locked by another program",
    "If it stays so: end that program's transaction, or read a copy; then retry the run.",
)
_CLOSED = (
    AccessError,
    "cannot be opened",
    "Let the user that runs the flow read it and, if it is in WAL mode, write to its folder.",
)
_UNFINISHED = (
    AccessError,
    "was left, or copied, in the middle of a change, which its -journal or -wal file has",
    "Ferry never writes to it: open it once by a program that may, `sqlite3 FILE .tables` say. A "
    "copy is to be made anew, by `VACUUM INTO` or `.backup`.",
)
_TOLD: dict[int, tuple[type[FerryError], str, str]] = {
    sqlite3.SQLITE_BUSY: _LOCKED,
    sqlite3.SQLITE_LOCKED: _LOCKED,
    sqlite3.SQLITE_CANTOPEN: _CLOSED,
    sqlite3.SQLITE_PERM: _CLOSED,
    sqlite3.SQLITE_AUTH: _CLOSED,
    sqlite3.SQLITE_READONLY_ROLLBACK: _UNFINISHED,
    sqlite3.SQLITE_READONLY_RECOVERY: _UNFINISHED,
    sqlite3.SQLITE_READONLY: (
        AccessError,
        "is in WAL mode, which takes more than the right to read it",
        "Let the user that runs the flow write to its folder, and to the -wal and -shm files in "
        "it; or read a copy that `VACUUM INTO` has made.",
    ),
    sqlite3.SQLITE_NOTADB: (
        ConfigurationError,
        "is not a SQLite database",
        "Correct the block's `path`. If it is the right file, it is encrypted, damaged, or of a "
        "newer SQLite.",
    ),
    sqlite3.SQLITE_CORRUPT: (
        ConfigurationError,
        "is damaged",
        "Put a copy of it back. `PRAGMA integrity_check` tells what is damaged, `sqlite3 FILE "
        ".recover` writes out what can still be read.",
    ),
    sqlite3.SQLITE_IOERR: (
        ConnectionLostError,
        "could not be read",
        "If it stays so: check the disk, or the network that it is reached by; then retry the run.",
    ),
}
"""By SQLite's codes; an extended one comes before the one that it extends."""


def ferry_error(error: sqlite3.Error, path: str) -> FerryError:
    """Ferry's error for one of SQLite's. https://sqlite.org/rescode.html.

    Args:
        error: SQLite's.
        path: The file.
    """
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    if told := _TOLD.get(code) or _TOLD.get(code & 0xFF):
        kind, problem, todo = told
        return kind(f"{path} {problem}", todo=todo)
    undecoded = re.match(r"Could not decode to UTF-8 column '(.*?)' with text '", str(error))
    if undecoded:
        return DataError(
            f"{path} holds text that is not UTF-8",
            step="extract",
            found=f"some in column {undecoded[1]!r}",
            todo=f"Correct it, declare that column as BLOB, or {EXCLUDE}.",
        )
    gone = re.match(r"no such column: (.*)", str(error))
    problem = f"has no column {gone[1]!r}, which was there" if gone else "refused the statement"
    return SchemaError(f"{path} {problem}", todo="Run again: the declarations are read anew.")
