"""Private servers for the tests of the Redshift double: PostgreSQL and S3, on loopback."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import psycopg2
import pytest

from deployments.local.redshift_double import RedshiftDouble

HOST = "127.0.0.1"
_AS_POSTGRES = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
_names = itertools.count()


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind((HOST, 0))
        return sock.getsockname()[1]


def _wait_for_port(port: int, process: subprocess.Popen[bytes], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert process.poll() is None, "the server ended while it started"
        with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=1):
            return
        time.sleep(0.05)
    raise TimeoutError(f"nothing listens on port {port}")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@pytest.fixture(scope="session")
def postgres_port() -> Iterator[int]:
    """A private PostgreSQL; user postgres, password secret."""
    binaries = max(Path("/usr/lib/postgresql").glob("*/bin"))
    prefix = _AS_POSTGRES if os.geteuid() == 0 else []
    folder, port = Path(tempfile.mkdtemp(prefix="ferry-pg-")), free_port()
    try:
        password = folder / "password"
        password.write_text("secret\n")
        data = folder / "data"
        data.mkdir(mode=0o700)
        if prefix:
            for path in (folder, password, data):
                shutil.chown(path, "postgres", "postgres")
        subprocess.run(
            [*prefix, binaries / "initdb", "-D", data, "-U", "postgres", "-E", "UTF8",
             "--locale=C", "--auth=scram-sha-256", f"--pwfile={password}", "--no-sync"],
            check=True, capture_output=True, cwd="/",
        )  # fmt: skip
        settings = {
            "listen_addresses": HOST, "port": str(port), "unix_socket_directories": "",
            "fsync": "off", "synchronous_commit": "off", "full_page_writes": "off",
            "max_wal_size": "4GB",
        }  # fmt: skip
        options = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [*prefix, binaries / "postgres", "-D", data, *options],
                stdout=log, stderr=log, cwd="/",
            )  # fmt: skip
        try:
            _wait_for_port(port, process)
            yield port
        finally:
            process.send_signal(2)
            process.wait(20)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """A private S3 server."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", HOST, "-p", str(port)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        _wait_for_port(port, process)
        yield f"http://{HOST}:{port}"
    finally:
        _end(process)


@pytest.fixture(scope="session")
def s3(s3_endpoint: str) -> Any:
    """A boto3 client with a bucket ``stage``."""
    client = boto3.client(
        "s3", endpoint_url=s3_endpoint, region_name="us-east-1",
        aws_access_key_id="testing", aws_secret_access_key="testing",
    )  # fmt: skip
    client.create_bucket(Bucket="stage")
    return client


@pytest.fixture(scope="session")
def double(
    postgres_port: int, s3_endpoint: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RedshiftDouble]:
    folder = tmp_path_factory.mktemp("redshift-double")
    with RedshiftDouble.start(folder, HOST, postgres_port, s3_endpoint) as running:
        yield running


@pytest.fixture
def connect(double: RedshiftDouble) -> Iterator[Callable[..., Any]]:
    """Opens sessions through the double, in autocommit unless told otherwise."""
    opened = []

    def open_session(autocommit: bool = True, **options: Any) -> Any:
        connection = psycopg2.connect(
            host=double.host, port=double.port, user="postgres", password="secret",
            dbname="postgres", **options,
        )  # fmt: skip
        connection.autocommit = autocommit
        opened.append(connection)
        return connection

    yield open_session
    double.clear()
    for connection in opened:
        connection.close()


@pytest.fixture
def redshift(connect: Callable[..., Any]) -> Any:
    """A cursor in autocommit, in a schema of its own."""
    cursor = connect().cursor()
    schema = f"s{next(_names)}"
    cursor.execute(f"CREATE SCHEMA {schema}")
    cursor.execute(f"SET search_path TO {schema}")
    yield cursor
    cursor.connection.rollback()
    cursor.execute(f"DROP SCHEMA {schema} CASCADE")


@pytest.fixture
def stage(s3: Any) -> Callable[..., str]:
    """Uploads files and their manifest below a key of their own; returns the manifest's URI."""
    import json

    def put(*bodies: bytes, missing: tuple[bool, ...] = (), meta: bool = False) -> str:
        prefix, entries = f"batch{next(_names)}", []
        for number, body in enumerate(bodies):
            key = f"{prefix}/part{number}"
            s3.put_object(Bucket="stage", Key=key, Body=body)
            entry: dict[str, Any] = {"url": f"s3://stage/{key}", "mandatory": True}
            if meta:
                entry["meta"] = {"content_length": len(body)}
            entries.append(entry)
        entries += [
            {"url": f"s3://stage/{prefix}/missing{i}", "mandatory": mandatory}
            for i, mandatory in enumerate(missing)
        ]
        body = json.dumps({"entries": entries}).encode()
        s3.put_object(Bucket="stage", Key=f"{prefix}/manifest.json", Body=body)
        return f"s3://stage/{prefix}/manifest.json"

    return put
