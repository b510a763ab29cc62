"""What Prefect's server answers about places, where its own client would wait in vain.

The server is one that is always busy: a real one is only while its database is being written, for
some milliseconds that nobody can choose.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from tasks.places.limits import Limits, UnreachableError


class Busy(BaseHTTPRequestHandler):
    """Answers 503 to whatever it is asked; with `Retry-After`, where the address asks for that."""

    def do_POST(self) -> None:
        self.send_response(503)
        if self.path.startswith("/later"):
            self.send_header("Retry-After", "7")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_POST  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def busy_server() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Busy)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(("api", "busy"), [("/api", True), ("/later/api", False)])
def test_a_busy_server_is_slept_over_only_if_it_says_for_how_long(
    busy_server: str, monkeypatch: pytest.MonkeyPatch, api: str, busy: bool
) -> None:
    slept: list[float] = []
    monkeypatch.setattr("prefect.client.base.time.sleep", slept.append)
    limits = Limits(["ferry-readers-shop"])
    with (
        temporary_settings({PREFECT_API_URL: busy_server + api}),
        limits.opened(),
        pytest.raises(UnreachableError, match="HTTP 503") as caught,
    ):
        limits.ask(60.0)
    assert caught.value.busy is busy
    assert [seconds >= 7 for seconds in slept] == ([] if busy else [True])
