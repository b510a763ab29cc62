"""Made-up prices: the same for a symbol and a day in every process, on weekdays only."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

HOLIDAYS = ((1, 1), (12, 25))
"""Month and day on which no exchange trades, besides Saturdays and Sundays."""


@dataclass(frozen=True)
class Listing:
    """A symbol at its exchange: when it opens, and about what a share costs."""

    currency: str
    zone: str
    opens: time
    price: float
    since: date = date(2010, 1, 4)


LISTINGS = {
    "AAPL": Listing("USD", "America/New_York", time(9, 30), 180),
    "MSFT": Listing("USD", "America/New_York", time(9, 30), 400),
    "SAP.DE": Listing("EUR", "Europe/Berlin", time(9), 150),
    "7203.T": Listing("JPY", "Asia/Tokyo", time(9), 2600),
    "^GSPC": Listing("USD", "America/New_York", time(9, 30), 5000),
}


def bar(symbol: str, day: date) -> dict[str, Any]:
    """The day's open, high, low, close and volume."""
    price = LISTINGS[symbol].price
    draw = random.Random(f"{symbol} {day}")  # a text seeds alike in every process
    opened, close = (price * draw.uniform(0.9, 1.1) for _ in range(2))
    return {
        "open": opened,
        "high": max(opened, close) * 1.01,
        "low": min(opened, close) * 0.99,
        "close": close,
        "volume": draw.randrange(1_000_000, 90_000_000),
    }


def is_traded(day: date) -> bool:
    """Whether the exchanges are open on this day."""
    return day.weekday() < 5 and (day.month, day.day) not in HOLIDAYS


def sessions(symbol: str, start: datetime, end: datetime) -> Iterator[tuple[date, int]]:
    """The days whose session opens within the bounds, and when it does, in epoch seconds."""
    listing = LISTINGS[symbol]
    zone = ZoneInfo(listing.zone)
    day = max(start.astimezone(zone).date(), listing.since)
    while day <= end.astimezone(zone).date():
        opens = datetime.combine(day, listing.opens, zone).astimezone(UTC)
        if is_traded(day) and start <= opens < end:
            yield day, int(opens.timestamp())
        day += timedelta(days=1)
