"""The Redshift double as a server of the stack: launched so that it outlives the command."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from deployments.local.servers import Certificates, Postgres, ServerProcess
from deployments.local.servers.process import LOOPBACK, free_port
from deployments.local.servers.server import Server

_REPOSITORY = Path(__file__).resolve().parents[3]


@dataclass
class DoubleServer(Server):
    """A running Redshift double.

    Attributes:
        host: Loopback.
        port: Its TCP port.
        process: Its process; its log is ``redshift.log`` in the folder, and the statements it was
            given are in ``statements.jsonl``.
    """

    port: int
    process: ServerProcess
    host: str = LOOPBACK

    @classmethod
    def start(
        cls,
        folder: Path,
        *,
        backend: Postgres,
        s3_endpoint: str,
        certificates: Certificates,
        port: int | None = None,
        timeout_seconds: float = 60,
        outlive: bool = False,
    ) -> Self:
        """Starts the double before `backend`; it takes the backend's users and databases.

        Args:
            folder: The double's own.
            backend: The PostgreSQL that holds the data.
            s3_endpoint: Where it fetches what is to be copied.
            certificates: What it shows to its clients.
            port: The port to prefer; any free one if None or taken.
            timeout_seconds: How long to wait until it listens.
            outlive: Let it live on when this process ends.

        Raises:
            StartError: It did not come up; no retry helps before its log is read.
        """
        folder = folder.resolve()
        ready = folder / "ready.json"
        ready.unlink(missing_ok=True)
        port = free_port(port)
        options = {
            "--port": port,
            "--backend-host": backend.host,
            "--backend-port": backend.port,
            "--s3-endpoint": s3_endpoint,
            "--log": folder / "statements.jsonl",
            "--ready-file": ready,
            "--tls-cert": certificates.cert_path,
            "--tls-key": certificates.key_path,
        }
        command = [sys.executable, "-m", "deployments.local.redshift_double"]
        command += [str(part) for option in options.items() for part in option]
        process = ServerProcess.launch(
            "redshift", command, folder, cwd=_REPOSITORY, outlive=outlive
        )
        process.wait_until(ready.exists, timeout_seconds)
        return cls(port, process)
