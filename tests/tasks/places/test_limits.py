"""What Prefect's server answers about places, where its own client would wait in vain.

The server is one that is always busy, or slow: a real one is so only while its database is being
written, for some milliseconds that nobody can choose.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import VariableCreate
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_CLIENT_CSRF_SUPPORT_ENABLED,
    PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED,
    temporary_settings,
)

from tasks.places.limits import Lease, Limits, UnreachableError
from tests.harness.api import Api


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


class Slow(Busy):
    """Takes a place back, and half a second for it."""

    asked = threading.Event()

    def do_POST(self) -> None:
        self.asked.set()
        time.sleep(0.5)
        self.send_response(204)
        self.end_headers()


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(("api", "busy"), [("/api", True), ("/later/api", False)])
def test_a_busy_server_is_slept_over_only_if_it_says_for_how_long(
    monkeypatch: pytest.MonkeyPatch, api: str, busy: bool
) -> None:
    slept: list[float] = []
    monkeypatch.setattr("prefect.client.base.time.sleep", slept.append)
    limits = Limits(["ferry-readers-shop"])
    with (
        serving(Busy) as server,
        temporary_settings({PREFECT_API_URL: server + api}),
        limits.opened(),
        pytest.raises(UnreachableError, match="HTTP 503") as caught,
    ):
        limits.ask(60.0)
    assert caught.value.busy is busy
    assert [seconds >= 7 for seconds in slept] == ([] if busy else [True])


def test_a_thread_that_ends_does_not_end_what_another_one_is_asking() -> None:
    """The background thread ends when a process gives everything back, which is just then."""
    limits, lease = Limits(["ferry-readers-shop"]), Lease(uuid.uuid4(), ("ferry-readers-shop",))
    used, end = threading.Event(), threading.Event()

    def keeper() -> None:
        with limits.opened():
            limits.give_back(lease)
            used.set()
            end.wait(60)

    def give_back() -> None:
        with limits.opened():
            limits.give_back(lease)

    with (
        serving(Slow) as server,
        temporary_settings(
            {
                PREFECT_API_URL: server + "/api",
                PREFECT_CLIENT_CSRF_SUPPORT_ENABLED: False,
                PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED: False,
            }
        ),
        ThreadPoolExecutor() as threads,
    ):
        other = threads.submit(copy_context().run, keeper)
        assert used.wait(60)
        Slow.asked.clear()
        asking = threads.submit(copy_context().run, give_back)
        assert Slow.asked.wait(60)
        end.set()
        other.result(60)
        asking.result(60)


def test_what_was_told_is_taken_back_though_the_answer_was_lost(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = Limits(["ferry-readers-shop"])
    create = SyncPrefectClient.create_variable

    def lost(client: SyncPrefectClient, variable: VariableCreate) -> None:
        create(client, variable)
        raise httpx.ReadTimeout("the server was gone by then")

    def told() -> bool:
        return api.client.read_variable_by_name(limits._variable) is not None

    with limits.opened():
        with monkeypatch.context() as patched:
            patched.setattr(SyncPrefectClient, "create_variable", lost)
            with pytest.raises(UnreachableError):
                limits.report({"ferry-readers-shop": 1})
        assert told()
        limits.report({"ferry-readers-shop": 2})  # which is no second one
        assert told()
        limits.report({})
        assert not told()
