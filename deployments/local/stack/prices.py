"""The price API as a server of the stack: launched so that it outlives the command."""

from __future__ import annotations

import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from deployments.local.servers import ServerProcess
from deployments.local.servers.process import LOOPBACK, free_port
from deployments.local.servers.server import Server

SYMBOLS = ("AAPL", "MSFT", "SAP.DE", "7203.T", "^GSPC")

_REPOSITORY = Path(__file__).resolve().parents[3]


@dataclass
class PriceServer(Server):
    """A running price API with made-up prices.

    Attributes:
        host: Loopback.
        port: Its TCP port.
        process: Its process; its log is ``prices.log`` in the folder.
    """

    port: int
    process: ServerProcess
    host: str = LOOPBACK

    @property
    def url(self) -> str:
        """What the source block takes as its base URL."""
        return f"http://{self.host}:{self.port}"

    @classmethod
    def start(
        cls,
        folder: Path,
        *,
        port: int | None = None,
        timeout_seconds: float = 60,
        outlive: bool = False,
    ) -> Self:
        """Starts the server.

        Args:
            folder: Where its log goes.
            port: The port to prefer; any free one if None or taken.
            timeout_seconds: How long to wait until it listens.
            outlive: Let it live on when this process ends.

        Raises:
            StartError: It did not come up; no retry helps before its log is read.
        """
        port = free_port(port)
        command = [sys.executable, "-m", "deployments.local.price_api", "--port", str(port)]
        process = ServerProcess.launch(
            "prices", command, folder.resolve(), cwd=_REPOSITORY, outlive=outlive
        )
        server = cls(port, process)
        process.wait_until(server._listens, timeout_seconds)
        return server

    def _listens(self) -> bool:
        try:
            socket.create_connection((self.host, self.port), timeout=2).close()
        except OSError:
            return False
        return True
