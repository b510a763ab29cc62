"""Calls of the price API: one at a time, with a pause between them, repeated where that may help.

Which answers are repeated: HTTP 429 and 5xx, and whatever the network does. `Retry-After` is kept
to (RFC 9110, 10.2.3); without it, the wait doubles from try to try.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Self
from urllib.parse import quote

import httpx

from blocks.sources.price_api.answers import NOT_YET_TRADED, SymbolError, read_chart
from ferry.errors import (
    AccessError,
    BusyError,
    ConfigurationError,
    ConnectionLostError,
    RetriableError,
    may_pass,
)

CHART = "/v8/finance/chart/"
"""Where the API's answers are, behind `base_url`."""

UNKNOWN_SYMBOL = "the API knows no such symbol"
"""What is told of a symbol where it is the API itself that knows it not."""

MAX_BODY_BYTES = 64_000_000
_EARLIEST = date(1900, 1, 1)
_MARGIN = timedelta(days=1)
"""Exchanges are up to 14 hours from UTC; the days themselves are picked from the answer."""


@dataclass(frozen=True)
class CallOptions:
    """How the API is called; explained at the block's fields of the same names."""

    base_url: str
    user_agent: str
    timeout_seconds: float
    pause_seconds: float
    attempts: int
    backoff_seconds: float
    longest_wait_seconds: float


@dataclass(frozen=True)
class Fetched:
    """An answer, and the moment before it was asked for."""

    body: bytes
    at: datetime


class PriceCalls:
    """A connection to the API, for one read; close it by leaving its `with` block.

    Args:
        options: How the API is called.
        log: Takes a line about each call that is repeated.
    """

    def __init__(self, options: CallOptions, log: Callable[[str], None]) -> None:
        self._options = options
        self._log = log
        self._called = False
        self._client = httpx.Client(
            timeout=options.timeout_seconds,
            headers={"User-Agent": options.user_agent, "Accept": "application/json"},
            follow_redirects=False,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._client.close()

    def fetch(self, symbol: str, first: date | None, end: date | None) -> Fetched:
        """The answer for one symbol, from some time before `first` to some time after `end`.

        Raises:
            SymbolError: The API knows no such symbol, or refuses it. The others may be there.
            AccessError, ConfigurationError: It refuses us, or is not what `base_url` says.
            BusyError, ConnectionLostError: After so many attempts; a retry later may help.
        """
        options = self._options
        for attempt in range(1, options.attempts + 1):
            if self._called:
                time.sleep(options.pause_seconds)
            self._called = True
            try:
                return self._once(symbol, first, end)
            except _TryAgainError as trouble:
                wait = trouble.seconds
                if wait is None:
                    wait = options.backoff_seconds * 2 ** (attempt - 1) * random.uniform(1, 1.5)
                    wait = min(wait, options.longest_wait_seconds)
                if attempt == options.attempts or wait > options.longest_wait_seconds:
                    trouble.error.found = f"{trouble.error.found}, {attempt} times" + (
                        f", and a wait of {wait:,.0f} s" if trouble.seconds else ""
                    )
                    raise trouble.error from trouble.__cause__
                self._log(f"{symbol}: {trouble.error.found}; once more in {wait:.1f} s")
                time.sleep(wait)
        raise AssertionError("there is at least one attempt")

    def _once(self, symbol: str, first: date | None, end: date | None) -> Fetched:
        url = f"{self._options.base_url}{CHART}{quote(symbol, safe='')}"
        at = datetime.now(UTC)
        query: dict[str, str | int] = {
            "period1": _seconds((first or _EARLIEST) - _MARGIN),
            "period2": _seconds((end or at.date() + _MARGIN) + _MARGIN),
            "interval": "1d",
            "events": "history",
        }
        deadline = time.monotonic() + self._options.timeout_seconds
        try:
            with self._client.stream("GET", url, params=query) as response:
                body = bytearray()
                for chunk in response.iter_bytes():
                    body += chunk
                    if time.monotonic() > deadline:
                        raise httpx.ReadTimeout("the answer took too long")
                    if len(body) > MAX_BODY_BYTES:
                        raise SymbolError("the answer is longer than any answer for days")
        except httpx.RequestError as error:
            raise _TryAgainError(
                ConnectionLostError(
                    "the price API did not answer",
                    expected=f"an answer within {self._options.timeout_seconds:g} s",
                    found=type(error).__name__,
                    todo="Look at `base_url` of the source block, and at the network.",
                )
            ) from error
        _check(response, bytes(body))
        return Fetched(bytes(body), at)


class _TryAgainError(Exception):
    """The same call may succeed; `seconds` is how long the API wants us to wait."""

    def __init__(self, error: RetriableError, seconds: float | None = None) -> None:
        super().__init__(str(error))
        self.error = error
        self.seconds = seconds


def _check(response: httpx.Response, body: bytes) -> None:
    """Let an answer pass that holds days, or says that there are none."""
    status = response.status_code
    if may_pass(status):
        raise _TryAgainError(
            BusyError(
                "the price API is busy",
                found=f"HTTP {status}",
                todo="Run it again later; with a longer `pause_seconds` if it is a throttle.",
            ),
            _retry_after(response.headers.get("Retry-After")),
        )
    if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        raise AccessError(
            "the price API refuses us",
            found=f"HTTP {status}",
            todo="Check `user_agent` of the source block, and whether this machine may call it.",
        )
    if 300 <= status < 400:
        raise ConfigurationError(
            "the price API sends us elsewhere",
            expected="an answer at the source block's `base_url`",
            found=f"HTTP {status}",
            todo="Correct `base_url`.",
        )
    if status == httpx.codes.OK:
        return
    error = read_chart(body).error
    if error and error.description.startswith(NOT_YET_TRADED):
        return
    if status == httpx.codes.NOT_FOUND and error:
        raise SymbolError(UNKNOWN_SYMBOL)
    raise SymbolError(f"the API refused it with HTTP {status}")


def _retry_after(header: str | None) -> float | None:
    """Seconds to wait, of a header that says so many or a date; None if it is neither."""
    if header is None:
        return None
    if header.strip().isdigit():
        return float(header)
    try:
        moment = parsedate_to_datetime(header)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def _seconds(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())
