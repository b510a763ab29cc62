"""Slack's own address, answered on loopback: an HTTPS proxy that is Slack itself.

Prefect's block and the library under it run as they are: `HTTPS_PROXY` sends them here, and
`REQUESTS_CA_BUNDLE` lets them trust the certificate.
"""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

HOST = "hooks.slack.com"
TOKEN = "p1antedp1antedp1anted1234"
WEBHOOK = f"https://{HOST}/services/T0P1ANTED/B0P1ANTED/{TOKEN}"


class Slack:
    """What was posted to the webhook, and how it answers."""

    def __init__(self, folder: Path) -> None:
        self.posted: list[dict[str, Any]] = []
        self.status = 200
        self.delay_seconds = 0.0
        self.hangs_up = False
        self.ca_path = folder / "slack.pem"
        _make_certificate(self.ca_path)
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(self.ca_path)
        slack = self

        class Handler(BaseHTTPRequestHandler):
            def do_CONNECT(self) -> None:
                if self.path != f"{HOST}:443":
                    self.send_error(403)
                    return
                self.send_response(200)
                self.end_headers()
                self.connection = tls.wrap_socket(self.connection, server_side=True)
                self.rfile = self.connection.makefile("rb")
                self.wfile = self.connection.makefile("wb", buffering=0)
                with suppress(OSError):
                    self.handle_one_request()
                self.close_connection = True
                self.connection.close()

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                slack.posted.append(json.loads(body) | {"path": self.path})
                if slack.hangs_up:
                    self.close_connection = True
                    return
                time.sleep(slack.delay_seconds)
                answer = b"ok" if slack.status == 200 else b"something went wrong"
                self.send_response(slack.status)
                self.send_header("Content-Length", str(len(answer)))
                with suppress(OSError):  # whoever asked may have gone meanwhile
                    self.end_headers()
                    self.wfile.write(answer)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    @property
    def env(self) -> dict[str, str]:
        """What leads a process here."""
        proxy = f"http://127.0.0.1:{self.server.server_address[1]}"
        return {
            "HTTPS_PROXY": proxy,
            "NO_PROXY": "127.0.0.1",
            "REQUESTS_CA_BUNDLE": str(self.ca_path),
        }

    @property
    def messages(self) -> list[str]:
        """Subject and text of each message that was posted."""
        attachments = [attachment for post in self.posted for attachment in post["attachments"]]
        return [f"{each['title']}\n{each['text']}" for each in attachments]


@contextmanager
def running_slack(folder: Path) -> Iterator[Slack]:
    """Slack, until the end of the block."""
    slack = Slack(folder)
    thread = threading.Thread(target=slack.server.serve_forever, daemon=True)
    thread.start()
    try:
        yield slack
    finally:
        slack.server.shutdown()
        slack.server.server_close()
        thread.join()


def _make_certificate(path: Path) -> None:
    """A certificate for Slack's name and its key, in one file; it vouches for itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    public, now = key.public_key(), datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, public, x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False)
        .sign(key, hashes.SHA256())
    )
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
