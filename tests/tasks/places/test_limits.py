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
    """Answers 503 to whatever it is asked."""

    def do_POST(self) -> None:
        self.send_response(503)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_POST  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def busy_server() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Busy)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/api"
    server.shutdown()
    server.server_close()


def test_a_busy_server_is_told_of_at_once_and_not_slept_over(
    busy_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr("prefect.client.base.time.sleep", slept.append)
    limits = Limits(["ferry-readers-shop"])
    with (
        temporary_settings({PREFECT_API_URL: busy_server}),
        limits.opened(),
        pytest.raises(UnreachableError, match="HTTP 503") as caught,
    ):
        limits.ask(60.0)
    assert caught.value.busy
    assert slept == []
