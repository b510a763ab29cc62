"""Which fields of a table's spec a receipt depends on: they decide which rows its window holds.

The receipt has them in `read_as`. Where the spec says something else by now, the rows of that
window may be others, or may have hidden one another: it does not count as loaded any more. The
cursor, which may be chosen by its name, has a column of its own.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ferry.errors import DataError
from ferry.receipts.receipt import Receipt
from ferry.schema import Column, Kind
from ferry.specs.source_names import written
from ferry.specs.tables import Mode, TableSpec
from ferry.windows import same_clock

_VERSION, _DELETES = "version", "soft_deletes"
"""What tells which version of a row is newer, and which rows are deleted; not in older receipts."""

_OF_ALL = ("source_table", _DELETES)
_OF_WINDOWS = ("source_table", "cursor_unit", _VERSION, _DELETES)
_OF_ROWS = ("source_table", "key")
"""What decides which row of the target another one replaces."""
_LONGEST_MARKS = 200
"""So long at most are the values that mark a deleted row told; of longer ones a digest."""

_SPELLED = "key_spelled"
"""In which spelling the source writes a key's text and bytes; not in older receipts."""


@dataclass(frozen=True)
class PastReading:
    """What has landed in a target, read alike.

    Attributes:
        read_as: As what, as the receipts say; None in older receipts.
        cursor: By which cursor; None if all was read.
        mode: full, window or watermark.
        status: loaded or partial.
        landed_at: When the last of it landed.
        read_at: When the last of it was read, by the source's clock.
    """

    read_as: str | None
    cursor: str | None
    mode: str
    status: str
    landed_at: datetime
    read_at: datetime


def read_as(
    spec: TableSpec, mode: Mode, cursor: Kind | None, key: Iterable[Column | None] = ()
) -> str:
    """What a receipt says, as JSON.

    Args:
        spec: The table's spec.
        mode: How the batch was read. Of a full copy, nothing matters but the table, which rows
            are deleted, and how its key is spelled.
        cursor: The kind of the cursor. The zone of the source's clock matters to one that has none.
        key: The columns of the key.
    """
    now: dict[str, Any] = _now(spec)
    names = list(_OF_ALL if mode == "full" else (*_OF_WINDOWS, "key"))
    if mode != "full" and cursor in {Kind.DATE, Kind.TIMESTAMP}:
        names.append("source_zone")
    if spelled := _spelled(key):
        now[_SPELLED] = spelled
        names.append(_SPELLED)
    return json.dumps({name: now[name] for name in names}, sort_keys=True)


def read_otherwise(
    recorded: str | None, spec: TableSpec, *only: str, cursor: str | None = None
) -> str:
    """In what the spec differs from what a receipt says, for people; empty if in nothing.

    Args:
        recorded: What the receipt says; None in older receipts, of which nobody can tell.
        spec: The table's spec.
        cursor: By which cursor it was read, as the receipt says: to name it as the `version`, too,
            decides nothing.
        only: Compare just these fields; by default all.
    """
    now = _now(spec)
    for name, then in sorted(json.loads(recorded).items()) if recorded else ():
        if (not only or name in only) and name in now and not _same(name, now[name], then, cursor):
            return f"it was carried with {name} {_text(then)}, and {name} is now {_text(now[name])}"
    return ""


def by_another_cursor(then: str | None, now: str | None) -> str:
    """That a batch was read by another cursor than the table has now; empty if not, or unknown."""
    if not then or not now or then == now:
        return ""
    return f"it was carried by the cursor {then}, and the cursor is now {now}"


def as_it_is_now(receipt: Receipt, spec: TableSpec, cursor: str) -> bool:
    """Whether a batch was read as the table's spec says now, and by this cursor."""
    otherwise = read_otherwise(receipt.read_as, spec, cursor=receipt.cursor_name)
    return not (otherwise or by_another_cursor(receipt.cursor_name, cursor.lower()))


def replaced_others(recorded: str | None, spec: TableSpec) -> str:
    """Why what was read so may have replaced rows of other windows; empty if it has not."""
    return read_otherwise(recorded, spec, *_OF_ROWS)


def refuse_rows_of_others(
    readings: Iterable[PastReading],
    spec: TableSpec,
    mode: Mode,
    cursor: str | None,
    key: Iterable[Column | None],
) -> None:
    """Refuse to add to a target what other rows in it would hide, or would be taken out by it.

    Those of another source table have the same keys, ids and days. Of what was carried without a
    key, several versions of a row may be there, and stay beside the one that a key replaces.
    Without a key, a row is known by its cursor alone: read by another one, nothing tells which rows
    of the target the source has purged. Where the source has altered a key's type to one that
    writes it otherwise, as CHAR(32) to UUID, no row is found any more by its key: each that changes
    would stand there twice. A full copy replaces all of them.

    Args:
        readings: What has landed in the target as it is now, also if it is void by now.
        spec: The table's spec.
        mode: How the table is to be read.
        cursor: The cursor by which it is to be read.
        key: The columns of its key, as the source has them now.

    Raises:
        DataError: There are such rows. No retry helps.
    """
    if mode == "full":
        return
    spelled = _spelled(key)
    for each in sorted(readings, key=lambda each: each.landed_at, reverse=True):
        found = read_otherwise(each.read_as, spec, "source_table")
        if found:
            raise _others("of another source table", found, spec)
        found = _spelled_otherwise(each.read_as, spelled)
        if found:
            raise _others("whose key the source wrote otherwise", found, spec)
        if each.mode == "full":
            return
        recorded = json.loads(each.read_as) if each.read_as else {"key": "not known"}
        if spec.key and each.mode == "watermark" and not recorded.get("key"):
            found = f"it was carried without a key, and key is now {', '.join(spec.key)}"
            raise _others("that were carried without a key", found, spec)
        found = by_another_cursor(each.cursor, cursor and cursor.lower())
        if found and not spec.key:
            raise _others("that were read by another cursor, and has no key", found, spec)


def _spelled(key: Iterable[Column | None]) -> dict[str, str]:
    """By the name of each of the key's columns that travels as text or bytes, how it is spelled."""
    return {
        column.name.lower(): column.spelled or str(column.type.kind)
        for column in key
        if column is not None and column.type.kind in (Kind.TEXT, Kind.BINARY)
    }


def _spelled_otherwise(recorded: str | None, now: dict[str, str]) -> str:
    then = json.loads(recorded).get(_SPELLED, {}) if recorded else {}
    for name in sorted(then.keys() & now.keys()):
        if then[name] != now[name]:
            return f"it was carried with {name} written as {then[name]}, and it is now {now[name]}"
    return ""


def _others(whose: str, found: str, spec: TableSpec) -> DataError:
    return DataError(
        f"the target holds rows {whose}: nothing tells which of them a new one replaces",
        table=str(spec.target),
        expected="rows as the spec says that they are read",
        found=found,
        todo="Correct the spec, or carry it once in mode full, which replaces all rows by those "
        "that the source has now.",
    )


def _now(spec: TableSpec) -> dict[str, Any]:
    return {
        "source_table": written(spec.source_name),
        "cursor_unit": spec.cursor_unit,
        "source_zone": spec.wall_clock_zone,
        "key": sorted(name.lower() for name in spec.key),
        _VERSION: spec.version and spec.version.lower(),
        _DELETES: _deletes(spec),
    }


def _deletes(spec: TableSpec) -> str:
    """Which rows are taken out as deleted, in words."""
    if spec.soft_deletes == "carry":
        return "carry"
    marks = json.dumps(sorted(map(str, spec.deleted_values)), ensure_ascii=False)[1:-1]
    if len(json.dumps(marks)) > _LONGEST_MARKS:  # as they are kept
        digest = hashlib.sha256(marks.encode()).hexdigest()
        marks = f"{len(spec.deleted_values)} values, {digest[:16]}"
    return f"apply ({spec.deleted_column.lower()}{marks and f': {marks}'})"


def _same(name: str, now: Any, then: Any, cursor: str | None) -> bool:
    if name == "source_zone":
        return now == then or same_clock(now, then)
    if name == _VERSION and cursor:
        now, then = (None if each == cursor.lower() else each for each in (now, then))
    return bool(now == then)


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(value) or "unset"
    return str(value) if value is not None else "unset"
