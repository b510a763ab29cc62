"""A day as people write it, in a spec or for a run: `2026-01-05`."""

from __future__ import annotations

from datetime import date, datetime, time
from typing import Annotated, Any

from pydantic import BeforeValidator

_EXPECTED = "write a day as 2026-01-05"


def written_day(value: Any) -> Any:
    """The day that a text says, also one of digits, `20260105`; what is no text stays as it is.

    Raises:
        ValueError: It is a number, which pydantic takes for seconds since 1970, or no day.
    """
    if isinstance(value, bool | int | float):
        raise ValueError(f"{value} is no day: {_EXPECTED}")
    if isinstance(value, datetime) and value.time() != time():  # so YAML reads one without quotes
        raise ValueError(f"{value} is a moment within a day: {_EXPECTED}")
    if not isinstance(value, str):
        return value
    try:
        moment = parsed_moment(value)
    except ValueError:
        raise ValueError(f"{value!r} is no day: {_EXPECTED}") from None
    if moment.time() != time():
        raise ValueError(f"{value!r} is a moment within a day: {_EXPECTED}")
    return moment.date()


def parsed_moment(text: str) -> datetime:
    """The moment that a text says, in any form of ISO 8601 but a week's.

    Raises:
        ValueError: It says none.
    """
    if "W" in text.upper():  # a week, of which Python takes the Monday
        raise ValueError(text)
    return datetime.fromisoformat(text.strip())


WrittenDay = Annotated[date, BeforeValidator(written_day)]
