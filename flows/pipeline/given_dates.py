"""The dates that people give a run, as they write them: in a form, in a command, or in JSON."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import BeforeValidator

from ferry.specs.written_day import WrittenDay, parsed_moment

_MOMENT = "write a moment as 2026-01-05T06:00, or with an offset, 2026-01-05T06:00+01:00"


def _moment(value: Any) -> Any:
    if isinstance(value, bool | int | float):
        raise ValueError(f"{value} is no moment: {_MOMENT}")
    if not isinstance(value, str):
        return value
    try:
        return parsed_moment(value)
    except ValueError:
        raise ValueError(f"{value!r} is no moment: {_MOMENT}") from None


Day = WrittenDay
"""A day: `2026-01-05`, or a text of digits, `"20260105"`. A number is refused, for it would be
taken for seconds since 1970; Prefect's command line makes one of digits, and refuses it before."""

Moment = Annotated[datetime, BeforeValidator(_moment)]
"""A moment, with an offset or without: `2026-01-05T06:00`. A number is refused, as for a day."""
