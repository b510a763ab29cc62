"""The double as a value in Python: start it, read its log, tell it to fail, stop it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from deployments.local.redshift_double.faults import Fault, order
from deployments.local.redshift_double.statement_log import LoggedStatement, LogReader

_ROOT = Path(__file__).resolve().parents[3]
_START_SECONDS = 30.0
_STOP_SECONDS = 10.0


@dataclass
class RedshiftDouble:
    """A running double.

    Attributes:
        host: Always loopback.
        port: Where clients connect.
        log_path: The statements, as JSON lines.
    """

    host: str
    port: int
    log_path: Path
    control_port: int
    process: subprocess.Popen[bytes]

    def __post_init__(self) -> None:
        self._log = LogReader(self.log_path)

    @classmethod
    def start(
        cls,
        folder: Path,
        backend_host: str,
        backend_port: int,
        s3_endpoint: str,
        tls_cert: Path | None = None,
        tls_key: Path | None = None,
        port: int | None = None,
    ) -> Self:
        """Starts the double as a process of its own and waits until it listens.

        Args:
            folder: Gets the log, the ready file and what the process prints.
            backend_host: Where PostgreSQL listens.
            backend_port: Its port.
            s3_endpoint: ``http://host:port`` of the S3 server.
            tls_cert: PEM certificate; with it, the double offers TLS.
            tls_key: Its key.
            port: The port to listen on; a free one if not given.

        Raises:
            RuntimeError: It ended or did not listen in time; the message has what it printed.

        Example:
            >>> double = RedshiftDouble.start(tmp, "127.0.0.1", 5432, "http://127.0.0.1:5000")
            >>> double.inject(Fault("serialization", pattern="insert into orders"))
            >>> double.stop()
        """
        folder.mkdir(parents=True, exist_ok=True)
        ready, printed = folder / "redshift-double.ready", folder / "redshift-double.out"
        ready.unlink(missing_ok=True)
        log_path = folder / "redshift-double.jsonl"
        command = [sys.executable, "-m", "deployments.local.redshift_double"]
        command += ["--port", str(port or 0), "--backend-host", backend_host]
        command += ["--backend-port", str(backend_port), "--s3-endpoint", s3_endpoint]
        command += ["--log", str(log_path), "--ready-file", str(ready)]
        if tls_cert:
            command += ["--tls-cert", str(tls_cert), "--tls-key", str(tls_key)]
        with printed.open("ab") as out:
            environment = os.environ | {"PYTHONPATH": str(_ROOT)}
            process = subprocess.Popen(
                command, cwd=_ROOT, env=environment, stdout=out, stderr=subprocess.STDOUT
            )
        deadline = time.monotonic() + _START_SECONDS
        while not ready.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                process.wait()
                raise RuntimeError(
                    f"the Redshift double did not start: {printed.read_text(errors='replace')}"
                )
            time.sleep(0.02)
        address = json.loads(ready.read_text(encoding="utf-8"))
        return cls(address["host"], address["port"], log_path, address["control_port"], process)

    @staticmethod
    def send(ready: Path, line: bytes) -> int:
        """Gives an order to the double that wrote this file when it was ready; returns its answer.

        Raises:
            ValueError: It does not take the order.
        """
        address = json.loads(ready.read_text(encoding="utf-8"))
        return _send(address["host"], address["control_port"], line)

    def stop(self) -> None:
        """Ends the process; open connections are closed."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def inject(self, fault: Fault) -> None:
        """Tells the double to play a fault at a coming statement.

        Raises:
            ValueError: The fault cannot be played, for instance a broken pattern.
        """
        self._send(order("inject", fault))

    def clear(self) -> None:
        """Takes back all faults that have not struck yet."""
        self._send(order("clear"))

    def struck(self) -> int:
        """Returns how many statements have met a fault since the last `clear`.

        A statement counts as soon as it arrives, so a stalled one can be seen while it stalls.
        """
        return self._send(order("ask"))

    def statements(self) -> list[LoggedStatement]:
        """Returns every statement that reached the double and has ended, oldest first."""
        return self._log.statements()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _send(self, line: bytes) -> int:
        return _send(self.host, self.control_port, line)


def _send(host: str, port: int, line: bytes) -> int:
    with socket.create_connection((host, port), timeout=5) as connection:
        connection.sendall(line)
        answer = json.loads(connection.makefile("rb").readline())
    if "error" in answer:
        raise ValueError(answer["error"])
    return int(answer["struck"])
