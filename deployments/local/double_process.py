"""The Redshift double as a program of its own, for the local stack.

``python -m deployments.local.double_process FOLDER`` reads ``double.json`` in the folder, which
holds the arguments of `RedshiftDouble.start`, serves until SIGTERM, and says ``ready`` in a file of
that name once it listens.
"""

from __future__ import annotations

import json
import signal
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from deployments.local.servers import Certificates, Postgres, ServerProcess
from deployments.local.servers.process import LOOPBACK, Server, free_port


@dataclass(frozen=True)
class DoubleSettings:
    """What the double needs to know; the arguments of `RedshiftDouble.start`.

    Attributes:
        backend_host: PostgreSQL's host.
        backend_port: PostgreSQL's port.
        s3_endpoint: Where it fetches what is to be copied.
        tls_cert: Its certificate, a PEM file.
        tls_key: The key of that, a PEM file.
        port: Its port.
    """

    backend_host: str
    backend_port: int
    s3_endpoint: str
    tls_cert: str
    tls_key: str
    port: int


@dataclass
class DoubleServer(Server):
    """A running Redshift double in a process of its own.

    Attributes:
        host: Loopback.
        port: Its TCP port.
        process: Its process; its log is ``redshift.log`` in the folder.
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
            StartError: It did not come up; a retry does not help before its log is read.
        """
        folder = folder.resolve()
        folder.mkdir(parents=True, exist_ok=True)
        settings = DoubleSettings(
            backend_host=backend.host,
            backend_port=backend.port,
            s3_endpoint=s3_endpoint,
            tls_cert=str(certificates.cert_path),
            tls_key=str(certificates.key_path),
            port=free_port(port),
        )
        (folder / "double.json").write_text(json.dumps(asdict(settings)))
        ready = folder / "ready"
        ready.unlink(missing_ok=True)
        process = ServerProcess.launch(
            "redshift",
            [sys.executable, "-m", __name__, folder],
            folder,
            cwd=Path(__file__).parents[2],
            outlive=outlive,
        )
        process.wait_until(ready.exists, timeout_seconds)
        return cls(settings.port, process)


def main(folder: Path) -> int:
    """Serves until SIGTERM comes; 0 then."""
    from deployments.local.redshift_double import RedshiftDouble  # noqa: PLC0415  # only here

    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    settings = DoubleSettings(**json.loads((folder / "double.json").read_text()))
    double = RedshiftDouble.start(
        folder,
        settings.backend_host,
        settings.backend_port,
        settings.s3_endpoint,
        tls_cert=Path(settings.tls_cert),
        tls_key=Path(settings.tls_key),
        port=settings.port,
    )
    (folder / "ready").touch()
    signal.sigwait([signal.SIGTERM])
    double.stop()
    return 0


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1])))
