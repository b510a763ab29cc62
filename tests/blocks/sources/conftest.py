from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from blocks.sources.mysql.reader_process import READERS
from tests.harness.mysql_shop import SERVERS, MySQLShop, opened_shop

if TYPE_CHECKING:
    from deployments.local.servers import MariaDB


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is meant for another server than the one that it would run on."""
    elsewhere = [
        item
        for item in items
        if (mark := item.get_closest_marker("only_on"))
        and isinstance(item, pytest.Function)
        and item.callspec.params["server"] not in mark.args
    ]
    if elsewhere:
        config.hook.pytest_deselected(items=elsewhere)
        items[:] = [item for item in items if item not in elsewhere]


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest) -> MariaDB:
    """Each of the servers in its turn."""
    started: MariaDB = request.getfixturevalue(request.param)
    return started


@pytest.fixture
def shop(server: MariaDB) -> Iterator[MySQLShop]:
    with opened_shop(server) as shop:
        yield shop


@pytest.fixture
def poor(shop: MySQLShop) -> Iterator[dict[str, str]]:
    """A user who may SELECT, and no more."""
    name = f"poor_{uuid.uuid4().hex[:8]}"
    with shop.as_root() as cursor:
        cursor.execute(f"CREATE USER '{name}'@'%' IDENTIFIED BY 'few'")
        cursor.execute(f"GRANT SELECT ON `{shop.database}`.* TO '{name}'@'%'")
    yield {"user": name, "password": "few"}
    with shop.as_root() as cursor:
        cursor.execute(f"DROP USER '{name}'@'%'")


@pytest.fixture
def many(shop: MySQLShop) -> MySQLShop:
    shop.run("CREATE TABLE many (id INT PRIMARY KEY, c CHAR(200))")
    shop.run(f"INSERT INTO many SELECT seq, REPEAT('x', 200) FROM {shop.numbers(1, 100000)}")
    return shop


@dataclass
class Proxy:
    """Passes bytes on to a server, until it stalls or is cut."""

    target: tuple[str, int]
    host: str
    port: int
    stalled: threading.Event = field(default_factory=threading.Event)
    _sockets: list[socket.socket] = field(default_factory=list)

    _threads: list[threading.Thread] = field(default_factory=list)

    def serve(self, listener: socket.socket) -> None:
        self._go(self._accept, listener)

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                self._sockets.append(client)
                self._sockets.append(server := socket.create_connection(self.target))
                for one, other in ((client, server), (server, client)):
                    self._go(self._pass, one, other)

    def _go(self, what: Callable[..., None], *arguments: object) -> None:
        self._threads.append(thread := threading.Thread(target=what, args=arguments, daemon=True))
        thread.start()

    def _pass(self, one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(65536):
                while self.stalled.is_set():
                    time.sleep(0.05)
                other.sendall(data)

    def cut(self) -> None:
        for one in self._sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.stalled.clear()
        self.cut()
        for thread in self._threads:
            thread.join(10)
        for one in self._sockets:
            one.close()


@pytest.fixture
def proxy(server: MariaDB) -> Iterator[Callable[..., Proxy]]:
    """Makes proxies to the server, each on a port of its own."""
    with contextlib.ExitStack() as stack:

        def make(host: str = "127.0.0.1") -> Proxy:
            listener = stack.enter_context(socket.create_server((host, 0)))
            made = Proxy((server.host, server.port), *listener.getsockname())
            stack.callback(made.close)
            stack.callback(listener.shutdown, socket.SHUT_RDWR)  # ends the waiting accept
            made.serve(listener)
            return made

        yield make


@pytest.fixture
def reading_processes() -> Callable[[], list[Path]]:
    """The folders in /proc of the reading processes that this one has; none to begin with."""
    READERS.close_all()

    def find() -> list[Path]:
        found = []
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit():
                with contextlib.suppress(OSError):  # it ended meanwhile
                    parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
                    if (
                        int(parent) == os.getpid()
                        and b"mysql/reader" in (folder / "cmdline").read_bytes()
                    ):
                        found.append(folder)
        return found

    return find
