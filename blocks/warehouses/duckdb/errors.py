"""What DuckDB's errors mean, told without the values that their texts hold."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import duckdb

from ferry.errors import (
    AccessError,
    BusyError,
    ConfigurationError,
    ConflictError,
    DataError,
    FatalError,
    FerryError,
    SchemaError,
)
from ferry.target.value_advice import CORRECT

_VALUES = (
    duckdb.ConversionException,
    duckdb.ConstraintException,
    duckdb.OutOfRangeException,
    duckdb.TypeMismatchException,
    duckdb.InvalidInputException,
    duckdb.InvalidTypeException,
)
_OF_ITS_TYPE = (
    duckdb.ConversionException,
    duckdb.OutOfRangeException,
    duckdb.TypeMismatchException,
)
"""Of these, another type of the column may hold the value."""

_LOCKED = re.compile(r"could not set lock|conflicting lock|used by another process", re.IGNORECASE)
_DENIED = re.compile(r'^[^"]*"[^"]*": permission denied', re.IGNORECASE)  # of a file, by its path
_TYPE = re.compile(r"to (?:type )?'?([A-Z][A-Z0-9]*(?: WITH TIME ZONE)?(?:\(\d+,\d+\))?)'?(?=\W|$)")

_NO_DATABASE = (
    "there is something else than a DuckDB database",
    "Correct the block's `path`: it names another kind of file, or a folder.",
)
_DAMAGED = (
    "the database file is damaged",
    "Put a copy of it back; or move it and its .wal away, and carry the tables anew.",
)
_NO_ROOM = ("the disk is full", "Make room where the database is, and run it again.")
_OF_THE_FILE = {
    "not a valid duckdb database": _NO_DATABASE,
    "_scanner": _NO_DATABASE,  # the extension that would read it, as one of SQLite
    "is a directory": _NO_DATABASE,
    "corrupt database file": _DAMAGED,
    "could not read enough bytes": _DAMAGED,
    "failure while replaying wal": _DAMAGED,
    "database file with version number": (
        "another version of DuckDB has written the database",
        "Upgrade DuckDB here, or write the file by the older one.",
    ),
    "no space left": _NO_ROOM,
    "disk quota exceeded": _NO_ROOM,
    "file too large": _NO_ROOM,
    "read-only file system": (
        "the database cannot be written",
        "Put it on a file system that can be written.",
    ),
}
"""By what DuckDB says, in small letters, without the path: the problem, and what to do."""


@contextmanager
def translated(columns: Sequence[str] = (), file: str = "") -> Iterator[None]:
    """Raise what DuckDB raises as a `FerryError`, chained and free of values.

    Args:
        columns: The columns that are being loaded: a name is told only if it is one of them.
        file: The file that is being loaded.
    """
    try:
        yield
    except duckdb.Error as error:
        raise ferry_error(error, columns, file) from error


def ferry_error(error: duckdb.Error, columns: Sequence[str] = (), file: str = "") -> FerryError:
    """The driver's error as one of ours; the driver's own is redacted in place."""
    message = str(error)
    translation = _translate(error, message, file)
    if isinstance(translation, DataError):
        translation.found = _position(message, columns, file)
    error.args = (f"{type(error).__name__}: {translation}",)
    return translation


def _translate(  # noqa: PLR0911 - a table
    error: duckdb.Error, message: str, file: str
) -> FerryError:
    lower, first_line = message.lower(), message.partition("\n")[0]
    if isinstance(error, duckdb.TransactionException) and "conflict" in lower:
        return ConflictError(
            "the transaction conflicts with another one", todo="Repeat the whole transaction."
        )
    if isinstance(error, duckdb.IOException) and _LOCKED.search(message):
        return BusyError(
            "another process has the database open",
            todo="DuckDB lets one process write: close the other one, or try again later.",
        )
    if isinstance(error, duckdb.ResourceInUseException):  # another thread is closing the file
        return BusyError("the database is being closed", todo="Try again.")
    if isinstance(error, duckdb.InterruptException | duckdb.OutOfMemoryException):
        return BusyError(
            "DuckDB gave up",
            found=type(error).__name__,
            todo="Try again; if it comes back, give the machine more memory.",
        )
    if isinstance(error, duckdb.ConnectionException):
        return ConfigurationError(
            "this process has the database open with other settings",
            todo="Open it read-write and without settings of its own, or close it.",
        )
    if isinstance(error, _VALUES):  # before any text is looked at: a value's words are in it
        of_its_type = isinstance(error, _OF_ITS_TYPE) and "json" not in lower
        return DataError(
            "the warehouse cannot hold a value",
            todo="Correct the value in the source, or the column's type."
            if of_its_type
            else CORRECT,
        )
    if isinstance(error, duckdb.PermissionException) or _DENIED.search(message):
        return _denied(first_line, file)
    if type(error) in (duckdb.IOException, duckdb.Error):  # of no statement, so of no value
        for said, told in _OF_THE_FILE.items():
            if said in lower and (told is _NO_ROOM or not file):  # else of the file it loads
                problem, todo = told
                return ConfigurationError(problem, found=type(error).__name__, todo=todo)
    if "ambiguous reference to catalog or schema" in lower:
        return ConfigurationError(
            "the database file is named like a schema in it",
            todo="Rename the file, to warehouse.duckdb say, and correct the block's `path`.",
        )
    if isinstance(error, duckdb.CatalogException | duckdb.BinderException):
        return SchemaError(
            "the warehouse does not know the table or column, or its type does not fit",
            found=first_line,
            todo="Compare the table's columns with what is loaded.",
        )
    # What remains may quote the statement, and that may hold values.
    return FatalError("DuckDB refuses the statement", found=type(error).__name__)


def _denied(first_line: str, file: str) -> AccessError:
    """Which file may not be read or written."""
    if file and file in first_line:
        return AccessError(
            f"the staged file {file} cannot be read",
            todo="Check its permissions, and those of the stage's folder.",
        )
    return AccessError("the database cannot be opened", todo="Check the file's permissions.")


def _position(message: str, columns: Sequence[str], file: str) -> str:
    """File, line, column and type, as far as the message tells them; never a value."""
    line = re.match(r"\w[\w ]*: CSV Error on Line: (\d+)", message)
    column = re.search(r"converting column \"(.*)\"\. ", message) or re.search(
        r"NOT NULL constraint failed: [^\n]*\.(\w+)", message
    )
    types = _TYPE.findall(message.partition("\nColumn ")[0])
    parts = [
        f"file {file}" if file else "",
        f"line {line[1]}" if line else "",
        f"column {column[1]}" if column and column[1] in columns else "",
        "a NULL where none may be" if "NOT NULL constraint" in message else "",
        f"a value that is no {types[-1]}" if types and types[-1] in _TYPE_NAMES else "",
    ]
    return ", ".join(part for part in parts if part) or "a value of another type"


_TYPE_NAMES = {
    *("BOOLEAN", "SMALLINT", "INTEGER", "BIGINT", "FLOAT", "DOUBLE", "DATE", "TIME", "TIMESTAMP"),
    *("TIMESTAMP WITH TIME ZONE", "VARCHAR", "BLOB", "JSON", "INT16", "INT32", "INT64"),
    *(f"DECIMAL({precision},{scale})" for precision in range(1, 39) for scale in range(39)),
}
