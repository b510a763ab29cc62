"""Which column tells when a row changed: the spec's `cursor`, or what its name says."""

from __future__ import annotations

import re

from ferry.errors import SchemaError
from ferry.schema import NUMBERS, TIMES, Column, Kind, named_columns
from ferry.specs.tables import CHANGE_TIMES, CREATION_TIME, Mode, TableSpec

_NUMBERS = (Kind.INT32, Kind.INT64, Kind.DECIMAL)  # shorter ones are flags and counts
_NO_TIMES = (Kind.BOOLEAN, Kind.INT16, Kind.BINARY, Kind.JSON)
"""Kinds in which nobody keeps a time, whatever the column's name."""

_LOOKS_LIKE = re.compile(r"updat|modif|mtime|(?:^|_)(?:chang|edit|touch|alter|revis)")
_MAY_LOOK_LIKE = re.compile(r"(?:^|_)last")  # last_seen, last_login_at


def choose_cursor(spec: TableSpec, columns: tuple[Column, ...], mode: Mode) -> Column | None:
    """The cursor column that bounds a read; None if there is none.

    Raises:
        SchemaError: The spec's cursor is not in the table; or the spec names none, and the table
            has several columns that may tell when a row changed, or only one whose name Ferry does
            not know for sure. No retry helps.
    """
    found = find_cursor(spec, columns, mode)
    if spec.cursor or mode == "full":
        return found
    if candidates := _in_question(spec, columns, mode):
        if found and found not in candidates:
            candidates = [*candidates, found]
        raise SchemaError(
            "more than one column may tell when a row changed, and the spec names no cursor"
            if len(candidates) > 1
            else "a column may tell when a row changed, and the spec names no cursor",
            table=str(spec.target),
            expected="`cursor` in the table's spec",
            found=", ".join(column.name for column in candidates),
            todo=_say_which(spec, candidates, mode),
        )
    return found


def find_cursor(
    spec: TableSpec, columns: tuple[Column, ...], mode: Mode | None = None
) -> Column | None:
    """The cursor column: the spec's, else the first of `CHANGE_TIMES`, else `created_at`.

    Of columns that the spec does not name, only those that can be the cursor of that mode. Where
    several may be meant it takes one all the same: `choose_cursor` refuses. None if there is none.

    Args:
        spec: The table's spec.
        columns: The columns of the source, or of the target, whose names are in lower case.
        mode: How the table is carried; by default as the spec says.

    Raises:
        SchemaError: The spec's cursor is not in the table.
    """
    if spec.cursor:
        (name,) = named_columns((spec.cursor,), [c.name for c in columns], spec.target, "cursor")
        return next(c for c in columns if c.name.lower() == name)
    not_carried = {name.lower() for name in spec.target_only}
    usable = [
        c
        for c in columns
        if c.type.kind in _usable_kinds(spec, mode or spec.mode)
        and c.name.lower() not in not_carried
    ]
    by_name = {_plain(column.name): column for column in reversed(usable)}
    for name in (*CHANGE_TIMES, CREATION_TIME):
        if column := by_name.get(_plain(name)):
            return column
    return None


def counts_no_time(spec: TableSpec, cursor: Column) -> bool:
    """Whether the cursor is a number that counts something else than time."""
    return cursor.type.kind in NUMBERS and spec.cursor_unit is None


def cursor_line(spec: TableSpec, cursor: str) -> str:
    """The cursor for people, who are told when nobody named it."""
    return f"cursor {cursor!r}" + ("" if spec.cursor else ", which the spec does not name")


def _in_question(spec: TableSpec, columns: tuple[Column, ...], mode: Mode) -> list[Column]:
    """The columns that may tell when a row changed; none if it is plain which one does."""
    known_names = {_plain(name) for name in CHANGE_TIMES}
    usable = _usable_kinds(spec, mode)
    known: list[Column] = []
    like: list[Column] = []
    perhaps: list[Column] = []
    for column in columns:
        kind, words = column.type.kind, _words(column.name)
        if _plain(column.name) in known_names and kind not in _NO_TIMES:
            (known if kind in usable else like).append(column)
        elif kind in TIMES and _LOOKS_LIKE.search(words):
            like.append(column)
        elif kind in TIMES and _MAY_LOOK_LIKE.search(words):
            perhaps.append(column)
    if known:
        return known + like if len(known) + len(like) > 1 else []
    return like + perhaps


def _say_which(spec: TableSpec, candidates: list[Column], mode: Mode) -> str:
    """What to do: an example that can be the cursor, and what the others would need for it."""
    kinds = _usable_kinds(spec, mode)
    usable = [column.name for column in candidates if column.type.kind in kinds]
    others = {column.type.kind for column in candidates} - {*kinds, *TIMES}
    example = f", such as `cursor: {usable[0]}`" if usable else ""
    todo = f"Say which it is{example}: a change is seen only if it changes the cursor."
    if others.intersection(_NUMBERS):
        todo += " A number needs a `cursor_unit`, too."
    if others.difference(_NUMBERS):
        todo += " One of another type cannot be it: carry a view that makes a time of it."
    return todo


def _usable_kinds(spec: TableSpec, mode: Mode) -> tuple[Kind, ...]:
    if spec.cursor_unit:
        return _NUMBERS
    return TIMES if mode == "window" else TIMES + _NUMBERS


def _plain(name: str) -> str:
    """The name by which columns are compared: `updatedAt` is `updated_at`."""
    return name.lower().replace("_", "")


def _words(name: str) -> str:
    """The name's words, in lower case and apart: `lastSeen` is `last_seen`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
