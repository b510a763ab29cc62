"""A private MariaDB with TLS, standing in for the MySQL a business runs on."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import pymysql

from deployments.local import programs
from deployments.local.servers.certificates import Certificates
from deployments.local.servers.process import LOOPBACK, ServerProcess, StartError, free_port
from deployments.local.servers.server import Server

TEST_DATABASES = r"test\_%"
"""The databases, besides its own, that the server's user may make, fill and drop."""


@dataclass
class MariaDB(Server):
    """A running MariaDB server.

    Attributes:
        host: Loopback.
        port: Its TCP port.
        user: A user without administrator's rights: everything in `database` and in databases
            whose name begins with ``test_``, nothing elsewhere.
        password: That user's password.
        database: A database that exists, utf8mb4.
        ca_path: The authority that vouches for the server's certificate.
        process: The server's process; its log is ``mariadb.log`` in the folder.
    """

    port: int
    user: str
    password: str = field(repr=False)
    database: str
    ca_path: Path
    process: ServerProcess
    _socket_folder: Path
    host: str = LOOPBACK

    @classmethod
    def start(
        cls,
        folder: Path,
        *,
        user: str = "ferry",
        password: str | None = None,
        database: str = "prod",
        port: int | None = None,
        certificates: Certificates | None = None,
        timeout_seconds: float = 60,
        outlive: bool = False,
    ) -> Self:
        """Starts the server on the folder's data, made when there is none; about 1 s then.

        Args:
            folder: The server's own; data from an earlier run is taken up again.
            user: The name of the user.
            password: Their password from now on; a random one if None.
            database: The database to make if it is not there.
            port: The port to prefer; any free one if None or taken.
            certificates: The server's; made in the folder if None.
            timeout_seconds: How long to wait until it answers.
            outlive: Let it live on when this process ends.

        Raises:
            StartError: It did not come up; a retry does not help before its log is read.
            ProgramsMissingError: MariaDB is not installed.
        """
        folder = folder.resolve()
        folder.mkdir(parents=True, exist_ok=True)
        password = password if password is not None else secrets.token_urlsafe(18)
        certificates = certificates or Certificates.make(folder / "tls")
        port = free_port(port)
        data = _make_data(folder)
        # A socket's path may have some 100 characters, so it cannot lie in the folder.
        short_name = f"ferry-mariadb-{hashlib.sha256(bytes(folder)).hexdigest()[:12]}"
        sockets = Path(tempfile.gettempdir()) / short_name
        sockets.mkdir(mode=0o700, exist_ok=True)
        command: list[str | Path] = [
            programs.find("mariadbd"),
            "--no-defaults",
            *_as_root(),
            f"--datadir={data}",
            f"--bind-address={LOOPBACK}",
            f"--port={port}",
            f"--socket={sockets / 'mariadb.sock'}",
            f"--pid-file={folder / 'mariadbd.pid'}",
            f"--init-file={_write_init_file(folder, user, password, database)}",
            f"--ssl-ca={certificates.ca_path}",
            f"--ssl-cert={certificates.cert_path}",
            f"--ssl-key={certificates.key_path}",
            "--character-set-server=utf8mb4",
            "--collation-server=utf8mb4_unicode_ci",
            "--skip-name-resolve",
            "--local-infile=ON",
            "--performance-schema=OFF",
            "--innodb-buffer-pool-size=256M",
            "--innodb-log-file-size=256M",
            "--innodb-flush-log-at-trx-commit=2",
            "--innodb-doublewrite=OFF",
        ]
        process = ServerProcess.launch("mariadb", command, folder, outlive=outlive)
        server = cls(port, user, password, database, certificates.ca_path, process, sockets)
        process.wait_until(server._answers, timeout_seconds)
        return server

    def connect(self, database: str | None = None) -> pymysql.Connection[Any]:
        """A connection of the server's user, over verified TLS, that may load local files."""
        return pymysql.connect(
            host=self.host,
            port=self.port,
            user=self.user,
            password=self.password,
            database=self.database if database is None else database,
            ssl_ca=str(self.ca_path),
            ssl_verify_cert=True,
            ssl_verify_identity=True,
            local_infile=True,
            connect_timeout=5,
        )

    def _answers(self) -> bool:
        try:
            self.connect().close()
        except pymysql.err.OperationalError:
            return False
        return True

    def _own_folders(self) -> list[Path]:
        return [self.process.folder, self._socket_folder]

    def stop(self, *, discard: bool = False) -> None:
        """Ends the server, and removes its folder if told to `discard`; may be repeated."""
        super().stop(discard=discard)
        shutil.rmtree(self._socket_folder, ignore_errors=True)


def _make_data(folder: Path) -> Path:
    """The data folder, complete: it gets its name only when the system tables are made."""
    data, unfinished = folder / "data", folder / "data.unfinished"
    if data.exists():
        return data
    shutil.rmtree(unfinished, ignore_errors=True)
    made = subprocess.run(
        [
            programs.find("mariadb-install-db"),
            "--no-defaults",
            *_as_root(),
            f"--datadir={unfinished}",
            "--auth-root-authentication-method=socket",
            "--skip-test-db",
            "--skip-name-resolve",
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if made.returncode != 0:
        raise StartError(f"mariadb-install-db failed in {folder}:\n{made.stdout[-3000:]}")
    return unfinished.rename(data)


def _as_root() -> list[str]:
    """MariaDB runs as root only when asked to; the data then may lie where only root can read."""
    return ["--user=root"] if os.geteuid() == 0 else []


def _write_init_file(folder: Path, user: str, password: str, database: str) -> Path:
    """The statements that the server runs before it listens, each on one line."""
    who = f"{_literal(user)}@'%'"
    statements = [
        "DELETE FROM mysql.global_priv WHERE User = ''",
        f"CREATE DATABASE IF NOT EXISTS {_identifier(database)}",
        f"CREATE USER IF NOT EXISTS {who}",
        f"ALTER USER {who} IDENTIFIED BY {_literal(password)}",
        f"GRANT ALL PRIVILEGES ON {_identifier(database)}.* TO {who}",
        f"GRANT ALL PRIVILEGES ON {_identifier(TEST_DATABASES)}.* TO {who}",
        "FLUSH PRIVILEGES",
    ]
    path = folder / "init.sql"
    path.touch(mode=0o600)
    path.write_text("".join(f"{statement};\n" for statement in statements))
    return path


def _literal(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def _identifier(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"
