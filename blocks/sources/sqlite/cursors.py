"""Which values of a cursor column a window or a watermark can reach, in a file that takes any."""

from __future__ import annotations

import sqlite3
from typing import Any, cast

from blocks.sources.sqlite.types import from_storage, type_arguments
from ferry.batch import CursorValue
from ferry.schema import DataType, Kind

Bounds = tuple[CursorValue | None, CursorValue | None]

_CARRIES = "ferry_carries"

_BITS = {Kind.INT16: 15, Kind.INT32: 31, Kind.INT64: 63}
# SQLite's own functions give back what is in their own spelling, if such a date exists.
_PLAIN = {Kind.DATE: "date", Kind.TIMESTAMP: "datetime"}


def carried_value(raw: Any, data_type: DataType) -> Any:
    """The stored value as one of the type; None if it has no place in the column's order."""
    if data_type.kind is Kind.TEXT:
        return raw  # every text has its place, also one that is too long to travel
    try:
        return from_storage(raw, data_type)
    except (ValueError, ArithmeticError):
        return None


def add_carries(connection: sqlite3.Connection, bounds: Bounds = (None, None)) -> None:
    """Let statements on this connection ask what `carried_condition` has, with these bounds.

    Text comes to it as its bytes, which are in the file's encoding: of text that is not in it
    SQLite makes something else, or nothing that Python takes.
    """
    encoding = str(connection.execute("PRAGMA encoding").fetchone()[0])

    def carries(kind: str, precision: int, scale: int, raw: Any) -> bool:
        try:
            raw = raw.decode(encoding) if isinstance(raw, bytes) else raw
        except UnicodeDecodeError:
            return False
        return is_within(carried_value(raw, DataType(Kind(kind), precision, scale)), bounds)

    connection.create_function(_CARRIES, 4, carries, deterministic=True)


def is_within(value: Any, bounds: Bounds) -> bool:
    """Whether the value is there, and within the bounds."""
    low, high = bounds
    return value is not None and (low is None or value >= low) and (high is None or value < high)


def carried_condition(name: str, data_type: DataType, bounds: Bounds = (None, None)) -> str:
    """What is true of the rows that a window or a watermark over a column can reach, as SQL.

    Most values are told by SQLite alone: Python is asked only where that is not enough, by what
    `add_carries` adds.

    Args:
        name: The column's name, quoted.
        data_type: The column's type.
        bounds: Between which it can; of text there are none.
    """
    kind = data_type.kind
    low, high = bounds
    carries = f"{_CARRIES}({type_arguments(data_type)}, "
    if kind is Kind.TEXT:
        return f"{name} IS NOT NULL"
    if kind in _BITS:
        limit = (1 << _BITS[kind]) - 1
        first = -limit if low is None else max(-limit, int(cast("int", low)) + 1)
        last = limit if high is None else min(limit, int(cast("int", high)) - 1)
        return f"typeof({name}) = 'integer' AND {name} BETWEEN {first} - 1 AND {last}"
    if kind in _PLAIN:
        again = f"{_PLAIN[kind]}({name}, '+0 days')"  # without it, 31 February stays one
        # A day that is not one of the bounds' own; what is before Christ begins with a minus.
        days = [str(bound)[:10] for bound in (low or "0000-12-31", high or "9999-12-32")]
        inside = f"substr({name}, 1, 10) > '{days[0]}' AND substr({name}, 1, 10) < '{days[1]}'"
        plain = f"({again} IS {name} AND {inside})"
        asked = f"{carries}CAST({name} AS BLOB))"
        return f"CASE WHEN typeof({name}) <> 'text' THEN 0 WHEN {plain} THEN 1 ELSE {asked} END"
    return (
        f"CASE typeof({name}) WHEN 'null' THEN 0 WHEN 'blob' THEN 0 "
        f"WHEN 'text' THEN {carries}CAST({name} AS BLOB)) ELSE {carries}{name}) END"
    )
