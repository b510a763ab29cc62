"""A time of the day in a spec, `due: "09:30"`."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time
from typing import Annotated, Any

from pydantic import BeforeValidator

from ferry.windows import zone_info

_DUE = re.compile(r"(?:[01][0-9]|2[0-3]):[0-5][0-9]")


def _due_time(value: Any) -> Any:
    if isinstance(value, int):
        raise ValueError('a time is written in quotes, "09:30": YAML takes it for a number else')
    if not isinstance(value, str) or not _DUE.fullmatch(value):
        raise ValueError('a time of the day is written as "09:30", from "00:00" to "23:59"')
    return value


DueTime = Annotated[str, BeforeValidator(_due_time)]
"""A time of the day, such as 09:30."""


def due_moment(day: date, due: str, zone: str) -> datetime:
    """The moment at which that is on the local day's clock, in UTC.

    A time that the clocks skip is as much later as they skip; of one that they repeat it is the
    first.
    """
    hour, minute = map(int, due.split(":"))
    return datetime.combine(day, time(hour, minute), zone_info(zone)).astimezone(UTC)
