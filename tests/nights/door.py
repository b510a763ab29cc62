"""An address of a server's that is shut for a while: to who asks there, the server is away."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress

from deployments.local.servers import PrefectServer
from deployments.local.servers.process import LOOPBACK, free_port


class Door:
    """Passes bytes on to a server; shut, it refuses, as the address of a dead one does.

    A server that is really killed takes some seven seconds of CPU to be there again.
    """

    def __init__(self, server: PrefectServer) -> None:
        self._server = server
        self._port = free_port()
        self._sockets: list[socket.socket] = []
        self.open()

    @property
    def client_env(self) -> dict[str, str]:
        """The environment variables with which Prefect's clients ask here."""
        return self._server.client_env | {"PREFECT_API_URL": f"http://{LOOPBACK}:{self._port}/api"}

    def open(self) -> None:
        """Let in who asks from now on."""
        self._listener = socket.create_server((LOOPBACK, self._port))
        _go(self._accept, self._listener)

    def shut(self) -> None:
        """Break off what is asked, and refuse what comes."""
        _end(self._listener)
        while self._sockets:
            _end(self._sockets.pop())

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):  # it is shut
            while True:
                client, _ = listener.accept()
                server = socket.create_connection((self._server.host, self._server.port))
                self._sockets += [client, server]
                _go(_pass, client, server)
                _go(_pass, server, client)


def _pass(one: socket.socket, other: socket.socket) -> None:
    with suppress(OSError):  # it is shut
        while data := one.recv(65_536):
            other.sendall(data)
    _end(one)
    _end(other)


def _end(one: socket.socket) -> None:
    with suppress(OSError):  # the other side was first
        one.shutdown(socket.SHUT_RDWR)
    one.close()


def _go(what: Callable[..., None], *given: socket.socket) -> None:
    threading.Thread(target=what, args=given, daemon=True).start()
