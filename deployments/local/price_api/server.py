"""The server: answers as recorded, corrections, and faults on order."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit
from zoneinfo import ZoneInfo

from deployments.local.price_api.prices import LISTINGS, Listing, bar, sessions

PATH = "/v8/finance/chart/"
_POLL_SECONDS = 0.02
FIELDS = ("open", "high", "low", "close", "volume")


@dataclass(frozen=True)
class Fault:
    """What is answered instead of prices.

    Attributes:
        status: The HTTP status.
        body: What is sent; None sends the prices.
        headers: Sent besides the usual ones.
        delay_seconds: Wait before the answer.
        cut: Close the connection in the middle of the body.
    """

    status: int = 200
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    delay_seconds: float = 0
    cut: bool = False


@dataclass(frozen=True)
class Call:
    """One request that the server was sent."""

    symbol: str
    at: float
    query: dict[str, str]
    user_agent: str


class PriceAPI:
    """The API on a loopback port, in a thread of this process; leave its `with` block to end it.

    Attributes:
        calls: What it was asked, in order.
        faults: By symbol, what the next calls are answered, one each.
    """

    def __init__(self, port: int = 0) -> None:
        self.calls: list[Call] = []
        self.faults: dict[str, list[Fault]] = defaultdict(list)
        self._corrections: dict[tuple[str, date], dict[str, Any]] = defaultdict(dict)
        api = self

        class Handler(_Handler):
            def do_GET(self) -> None:  # the name that http.server looks for
                self.answer(api)

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_POLL_SECONDS,), daemon=True
        )

    @property
    def url(self) -> str:
        """What clients take as the base URL."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def serve_forever(self) -> None:
        """Answer until the process is stopped."""
        self._server.serve_forever()

    def correct(self, symbol: str, day: date, **values: float | int | None) -> None:
        """Change values of a day, as an exchange does afterwards; None is a null."""
        self._corrections[symbol, day].update(values)

    def bar(self, symbol: str, day: date) -> dict[str, Any]:
        """What the API says of the day, corrections included."""
        return bar(symbol, day) | self._corrections[symbol, day]

    def answer(self, symbol: str, query: dict[str, str]) -> tuple[int, bytes]:
        """Status and body for one symbol, without any faults."""
        listing = LISTINGS.get(symbol)
        if listing is None:
            return _error(404, "Not Found", "No data found, symbol may be delisted")
        start, end = (
            datetime.fromtimestamp(int(query[name]), UTC) for name in ("period1", "period2")
        )
        if end.astimezone(ZoneInfo(listing.zone)).date() < listing.since:
            bounds = f"startDate = {query['period1']}, endDate = {query['period2']}"
            return _error(400, "Bad Request", f"Data doesn't exist for {bounds}")
        now = datetime.now(UTC)
        found = list(sessions(symbol, start, min(end, now)))
        result: dict[str, Any] = {"meta": _meta(symbol, listing)}
        quote: dict[str, list[Any]] = {}
        if found:
            bars = [self.bar(symbol, day) for day, _ in found]
            result["timestamp"] = [seconds for _, seconds in found]
            quote = {name: [values[name] for values in bars] for name in FIELDS}
        closes = {"adjclose": quote["close"]} if found else {}
        result["indicators"] = {"quote": [quote], "adjclose": [closes]}
        return 200, json.dumps({"chart": {"result": [result], "error": None}}).encode()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, api: PriceAPI) -> None:
        parts = urlsplit(self.path)
        if not parts.path.startswith(PATH):
            self._send(404, b"<html><body>Not Found</body></html>")
            return
        symbol = unquote(parts.path.removeprefix(PATH))
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        agent = self.headers.get("User-Agent", "")
        api.calls.append(Call(symbol, time.monotonic(), query, agent))
        waiting = api.faults[symbol]
        fault = waiting.pop(0) if waiting else Fault()
        time.sleep(fault.delay_seconds)
        status, body = api.answer(symbol, query)
        with contextlib.suppress(OSError):  # the client did not wait
            self._send(
                status if fault.status == 200 else fault.status,
                body if fault.body is None else fault.body,
                fault.headers,
                cut=fault.cut,
            )

    def _send(
        self,
        status: int,
        body: bytes,
        headers: dict[str, str] | None = None,
        *,
        cut: bool = False,
    ) -> None:
        self.send_response(status)
        kind = "text/html" if body.startswith(b"<") else "application/json"
        self.send_header("Content-Type", f"{kind};charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if cut else body)
        self.close_connection = self.close_connection or cut

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: tests look at `calls`."""


def _meta(symbol: str, listing: Listing) -> dict[str, Any]:
    """The fields that a recorded answer had, but for those of no use here."""
    now = datetime.now(ZoneInfo(listing.zone))
    offset = now.utcoffset()
    listed = datetime.combine(listing.since, listing.opens, now.tzinfo)
    return {
        "currency": listing.currency,
        "symbol": symbol,
        "instrumentType": "EQUITY",
        "firstTradeDate": int(listed.timestamp()),
        "regularMarketTime": int(now.timestamp()),
        "gmtoffset": int(offset.total_seconds()) if offset is not None else 0,
        "timezone": now.tzname(),
        "exchangeTimezoneName": listing.zone,
        "regularMarketPrice": listing.price,
        "priceHint": 2,
        "dataGranularity": "1d",
        "range": "",
    }


def _error(status: int, code: str, description: str) -> tuple[int, bytes]:
    error = {"code": code, "description": description}
    return status, json.dumps({"chart": {"result": None, "error": error}}).encode()
