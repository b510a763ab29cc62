"""As what a batch was read: what of its table's spec decides which rows its window holds.

A receipt says it, in `read_as`. Where the spec says something else by now, the rows of that window
may be others, or may have hidden one another: it does not count as loaded any more. The cursor,
which may be chosen by its name, has a column of its own.
"""

from __future__ import annotations

import json
from typing import Any

from ferry.schema import Kind
from ferry.specs import Mode, TableSpec
from ferry.windows import same_clock

_OF_ALL = ("source_table",)
_OF_WINDOWS = ("source_table", "cursor_unit")


def read_as(spec: TableSpec, mode: Mode, cursor: Kind | None) -> str:
    """What a receipt says, as JSON.

    Args:
        spec: The table's spec.
        mode: How the batch was read. Of a full copy, nothing matters but the table.
        cursor: The kind of the cursor. The zone of the source's clock matters to one that has none.
    """
    now = _now(spec)
    names = list(_OF_ALL if mode == "full" else _OF_WINDOWS)
    if mode != "full" and spec.key:
        names.append("key")
    if mode != "full" and cursor in {Kind.DATE, Kind.TIMESTAMP}:
        names.append("source_zone")
    return json.dumps({name: now[name] for name in names}, sort_keys=True)


def read_otherwise(told: str | None, spec: TableSpec, only: str = "") -> str:
    """In what the spec differs from what a receipt says, for people; empty if in nothing.

    Args:
        told: What the receipt says; None in receipts of Ferry 0.1, of which nobody can tell.
        spec: The table's spec.
        only: Compare just this field.
    """
    now = _now(spec)
    for name, then in sorted(json.loads(told).items()) if told else ():
        if only in ("", name) and name in now and not _same(name, now[name], then):
            return f"it was carried with {name} {_text(then)}, and {name} is now {_text(now[name])}"
    return ""


def _now(spec: TableSpec) -> dict[str, Any]:
    now = {
        "source_table": str(spec.source_name),
        "cursor_unit": spec.cursor_unit,
        "source_zone": spec.wall_clock_zone,
    }
    return now | ({"key": sorted(name.lower() for name in spec.key)} if spec.key else {})


def _same(name: str, now: Any, then: Any) -> bool:
    return bool(now == then) or (name == "source_zone" and same_clock(now, then))


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(value)
    return str(value) if value is not None else "unset"
