"""What goes over TLS to a server that speaks S3 and knows less of it than AWS does."""

from __future__ import annotations

import hashlib
import os
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from prefect_aws import AwsCredentials

from blocks.stages import S3Stage
from blocks.stages.digests import CHUNK_BYTES
from deployments.local.servers.certificates import Certificates
from ferry.batch import PartFile, StagedFile
from ferry.errors import AccessError, ConnectionLostError

REFUSAL = b"<Error><Code>AuthorizationHeaderMalformed</Code></Error>"
"""So does one such server call it."""


class PlainServer:
    """A server that knows no checksum behind a body, and answers with none."""

    def __init__(self, certificates: Certificates) -> None:
        self.stored: dict[str, bytes] = {}
        self.asked: list[tuple[str, dict[str, str]]] = []
        pieces: dict[int, bytes] = {}
        plain = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_PUT(self) -> None:
                headers = {name.lower(): value for name, value in self.headers.items()}
                plain.asked.append((self.path, headers))
                if headers.get("expect"):
                    self.send_response_only(100)
                    self.end_headers()
                if "x-amz-trailer" in headers:
                    while size := int(self.rfile.readline(), 16):
                        self.rfile.read(size + 2)
                    self.rfile.readline()
                    return self.answer(400, REFUSAL)
                body = self.rfile.read(int(headers.get("content-length", 0)))
                assert hashlib.sha256(body).hexdigest() == headers["x-amz-content-sha256"]
                if number := re.search(r"partNumber=(\d+)", self.path):
                    pieces[int(number[1])] = body
                else:
                    plain.stored[self.path] = body
                return self.answer(200, b"")

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                path, _, query = self.path.partition("?")
                if query.startswith("uploads"):
                    return self.answer(200, b"<R><UploadId>u</UploadId></R>")
                plain.stored[path] = b"".join(pieces[number] for number in sorted(pieces))
                return self.answer(200, b'<R><ETag>"e"</ETag></R>')

            def do_DELETE(self) -> None:
                self.answer(204, b"")

            def do_GET(self) -> None:
                self.answer(200, plain.stored[self.path.partition("?")[0]])

            do_HEAD = do_GET  # noqa: N815

            def answer(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("ETag", '"e"')
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            def log_message(self, *_: Any) -> None: ...

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates.cert_path, certificates.key_path)
        self.http.socket = context.wrap_socket(self.http.socket, server_side=True)

    @property
    def endpoint(self) -> str:
        return f"https://127.0.0.1:{self.http.server_port}"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates.make(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def plain(certificates: Certificates) -> Iterator[PlainServer]:
    server = PlainServer(certificates)
    thread = threading.Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.http.shutdown()
    thread.join()
    server.http.server_close()


def stage_at(endpoint: str, ca_path: str | Path) -> S3Stage:
    return S3Stage(
        bucket_name="b",
        credentials=AwsCredentials(
            aws_access_key_id="ferry",
            aws_secret_access_key="secret",
            region_name="us-east-1",
            aws_client_parameters={
                "endpoint_url": endpoint,
                "verify_cert_path": ca_path,
                "config": {"s3": {"addressing_style": "path"}},
            },
        ),
        max_attempts=1,
    )


@pytest.mark.parametrize("size_bytes", [1000, 2 * CHUNK_BYTES + 1], ids=["whole", "in pieces"])
def test_a_part_of_any_size_goes_to_a_server_that_knows_no_checksum_behind_a_body(
    plain: PlainServer, certificates: Certificates, tmp_path: Path, size_bytes: int
) -> None:
    content = os.urandom(size_bytes)
    path = tmp_path / "part-00000.csv.zst"
    path.write_bytes(content)
    stage = stage_at(plain.endpoint, certificates.ca_path)

    stage.put(PartFile(path, 10, size_bytes, hashlib.sha256(content).hexdigest()), "k")

    assert plain.stored == {"/b/k": content}
    for _, headers in plain.asked:  # who knows it refuses other bytes all the same
        assert headers["x-amz-checksum-sha256"]
        assert "content-encoding" not in headers


def test_a_certificate_of_another_authority_is_not_worth_a_retry(
    plain: PlainServer, tmp_path: Path
) -> None:
    other = Certificates.make(tmp_path)
    with pytest.raises(AccessError, match="certificate does not verify"):
        stage_at(plain.endpoint, other.ca_path).now()


def cut_at_once(connection: socket.socket) -> None:
    connection.recv(1 << 16)


def cut_in_a_body(connection: socket.socket) -> None:
    """After a record that is none, as a middlebox may leave one."""
    connection.recv(1 << 16)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf")
    with socket.socket(fileno=os.dup(connection.fileno())) as beneath:
        beneath.sendall(bytes([23, 3, 3, 0, 40]) + b"z" * 40)
        beneath.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("cut", [cut_at_once, cut_in_a_body])
def test_a_connection_that_is_cut_within_tls_is_worth_a_retry(
    certificates: Certificates, cut: Callable[[socket.socket], None]
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.cert_path, certificates.key_path)

    def serve() -> None:
        connection, _ = listening.accept()
        with connection:
            if cut is cut_at_once:
                return cut(connection)
            with context.wrap_socket(connection, server_side=True) as encrypted:
                return cut(encrypted)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve)
        thread.start()
        stage = stage_at(f"https://127.0.0.1:{listening.getsockname()[1]}", certificates.ca_path)
        with pytest.raises(ConnectionLostError, match="the connection failed"):
            stage.open(StagedFile("k", "", 1000, 1)).read()
        thread.join()
