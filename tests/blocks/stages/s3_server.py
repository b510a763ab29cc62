"""A stage over a server that answers as a test wants it to."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

from botocore.exceptions import ClientError
from prefect_aws import AwsCredentials

from blocks.stages import S3Stage

SECRET = "s3cr3t-Key/that+must=not-show"
WITH_TOKEN = "AssumeRoleWithWebIdentity"
BY_SSO = "GetRoleCredentials"


def stage(endpoint: str, bucket: str = "b", secret: str = SECRET, **fields: Any) -> S3Stage:
    return S3Stage(
        bucket_name=bucket,
        credentials=AwsCredentials(
            aws_access_key_id="ferry",
            aws_secret_access_key=secret,
            region_name="us-east-1",
            aws_client_parameters={
                "endpoint_url": endpoint,
                "config": {"s3": {"addressing_style": "path"}},
            },
        ),
        **{"max_attempts": 1, **fields},
    )


def refusal(code: str, operation: str, status: int = 0) -> ClientError:
    answered = {"HTTPStatusCode": status} if status else {}
    told = {"Error": {"Code": code, "Message": SECRET}, "ResponseMetadata": answered}
    return ClientError(told, operation)


@contextmanager
def server(answer: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[tuple[str, list[str]]]:
    """A server that answers every request in this way; yields its URL and the methods it saw."""
    seen: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            seen.append(self.command)
            if self.headers.get("Expect"):  # the client waits for this, or for a second
                self.send_response_only(100)
                self.end_headers()
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            answer(self)
            self.close_connection = True

        do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = handle_any  # noqa: N815

        def log_message(self, *_: Any) -> None: ...

    http = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{http.server_port}", seen
    finally:
        http.shutdown()
        thread.join()
        http.server_close()


def refuse(status: int, code: str) -> Callable[[BaseHTTPRequestHandler], None]:
    """Refuses with this code; without one, by the status alone."""
    told = f"<Error><Code>{code}</Code><Message>{SECRET}</Message></Error>" if code else ""

    def answer(request: BaseHTTPRequestHandler) -> None:
        body = told.encode()
        request.send_response(status)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    return answer


def answers(stored: bytes, **headers: str) -> Callable[[BaseHTTPRequestHandler], None]:
    """Takes what comes, and has something else, perhaps."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        content = stored if request.command == "GET" else b""
        request.send_response(200)
        for name, value in headers.items():
            request.send_header(name.replace("_", "-"), value)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)

    return answer
