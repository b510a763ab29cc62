"""The price API's answers: held against their shape, and turned into days of trading.

The shape is that of Yahoo Finance's chart endpoint (`docs/engines/price-api.md`). Unknown fields
are let through, since the API adds some now and then; those that are read have to be as expected.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from ferry.errors import DataError, RequestError
from ferry.windows import zone_info

DAILY = "1d"
NOT_YET_TRADED = "Data doesn't exist for startDate"
"""How the API begins its 400 for a range before a symbol's first day: a range without rows."""


class SymbolError(DataError):
    """One symbol has no usable answer; the other symbols may have one."""


Timestamp = Annotated[int, Field(ge=-30_000_000_000, le=250_000_000_000)]
Volume = Annotated[int, Field(ge=-(2**63), le=2**63 - 1)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)


class _Meta(_Part):
    symbol: str
    zone: str = Field(alias="exchangeTimezoneName")
    granularity: str = Field(default=DAILY, alias="dataGranularity")


class _Quote(_Part):
    open: list[FiniteFloat | None] = []
    high: list[FiniteFloat | None] = []
    low: list[FiniteFloat | None] = []
    close: list[FiniteFloat | None] = []
    volume: list[Volume | None] = []


class _Indicators(_Part):
    quote: list[_Quote] = Field(min_length=1)


class _Result(_Part):
    meta: _Meta
    timestamps: list[Timestamp] | None = Field(default=None, alias="timestamp")
    indicators: _Indicators


class _Error(_Part):
    code: str = ""
    description: str = ""


class _Chart(_Part):
    result: list[_Result] | None = None
    error: _Error | None = None


class _Answer(_Part):
    chart: _Chart


@dataclass(frozen=True)
class Day:
    """One symbol's trading on one day of its exchange."""

    date: date
    open: float
    high: float
    low: float
    close: float
    volume: int | None


@dataclass
class Days:
    """What one answer holds.

    Attributes:
        days: The days with prices that are over, by date.
        without_prices: Days left out because a price is null.
    """

    days: list[Day] = field(default_factory=list)
    without_prices: int = 0


def read_days(
    body: bytes, symbol: str, fetched_at: datetime, first: date | None, end: date | None
) -> Days:
    """The days in an answer's body.

    A day is the exchange's own. Of two bars of one day the later counts: while an exchange trades,
    the API puts its last price behind the day's bar. Bars outside the bounds are passed over: the
    API rounds the range it is asked for.

    Args:
        body: What the API answered.
        symbol: What it was asked for.
        fetched_at: When: a day that is not over by then at the exchange is left out.
        first: The first day wanted; None for no lower bound.
        end: The first day after; None for no upper bound.

    Raises:
        SymbolError: The body is not such an answer. No retry helps.
    """
    result = _result(body, symbol)
    if result is None:
        return Days()
    try:
        zone = zone_info(result.meta.zone)
    except RequestError as error:
        raise SymbolError("its exchange's time zone is unknown") from error
    stamps, quote = result.timestamps or [], result.indicators.quote[0]
    lists = (quote.open, quote.high, quote.low, quote.close, quote.volume)
    if stamps and any(len(values) != len(stamps) for values in lists):
        raise SymbolError("the answer's lists are of different lengths")
    today = fetched_at.astimezone(zone).date()
    bars = {}
    for stamp, *values in zip(stamps, *lists, strict=False):
        bars[datetime.fromtimestamp(stamp, zone).date()] = values
    found = Days()
    for day, (opened, high, low, close, volume) in sorted(bars.items()):
        if day >= today or (first and day < first) or (end and day >= end):
            continue
        if opened is None or high is None or low is None or close is None:
            found.without_prices += 1
        else:
            found.days.append(Day(day, opened, high, low, close, volume))
    return found


def _result(body: bytes, symbol: str) -> _Result | None:
    """The one result; None where the symbol was not traded yet."""
    chart = read_chart(body)
    if chart.error:
        if chart.error.description.startswith(NOT_YET_TRADED):
            return None
        raise SymbolError(f"the API refused it ({chart.error.code[:60] or 'without a code'})")
    if not chart.result or len(chart.result) != 1:
        raise SymbolError("the answer does not hold one result")
    meta = chart.result[0].meta
    if meta.symbol.upper() != symbol.upper():
        raise SymbolError("the answer is for another symbol")
    if meta.granularity != DAILY:
        raise SymbolError("the answer is not by day")
    return chart.result[0]


def read_chart(body: bytes) -> _Chart:
    """The answer, whether it is a result or an error.

    Raises:
        SymbolError: It is neither.
    """
    if body.lstrip()[:1] == b"<":
        raise SymbolError("the answer is HTML instead of JSON, as of a login or a block page")
    try:
        return _Answer.model_validate_json(body).chart
    except ValidationError as error:
        # Its text tells the values, so only the places go on.
        first = error.errors(include_input=False, include_context=False, include_url=False)[0]
        where = ".".join(str(step) for step in first["loc"])
        raise SymbolError(
            f"the answer is malformed ({where or 'not JSON'}: {first['type']})"
        ) from RuntimeError(type(error).__name__)
