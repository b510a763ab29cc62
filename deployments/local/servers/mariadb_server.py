"""A private MariaDB with TLS, standing in for the MySQL a business runs on."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

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

    name: ClassVar[str] = "mariadb"

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
        password: str | None = None,
        port: int | None = None,
        certificates: Certificates | None = None,
        outlive: bool = False,
    ) -> Self:
        """Starts the server on the folder's data, made when there is none; about 1 s then.

        Args:
            folder: The server's own; data from an earlier run is taken up again.
            password: The user's password from now on; a random one if None.
            port: The port to prefer; any free one if None or taken.
            certificates: The server's; made in the folder if None.
            outlive: Let it live on when this process ends.

        Raises:
            StartError: It did not come up; no retry helps before its log is read.
            ProgramsMissingError: The server is not installed.
        """
        user, database = "ferry", "prod"
        folder = folder.resolve()
        folder.mkdir(parents=True, exist_ok=True)
        password = password if password is not None else secrets.token_urlsafe(18)
        certificates = certificates or Certificates.make(folder / "tls")
        port = free_port(port)
        # Whoever starts, also to make the system tables, removes what others of its kind have in a
        # folder that they share.
        (temporary := folder / "tmp").mkdir(exist_ok=True)
        data = cls._make_data(folder, temporary)
        # A socket's path may have some 100 characters, so it cannot lie in the folder.
        short_name = f"ferry-{cls.name}-{hashlib.sha256(bytes(folder)).hexdigest()[:12]}"
        sockets = Path(tempfile.gettempdir()) / short_name
        sockets.mkdir(mode=0o700, exist_ok=True)
        init_file = _write_init_file(folder, cls._first_statements, user, password, database)
        command: list[str | Path] = [
            cls._program(),
            "--no-defaults",
            *as_root(),
            f"--datadir={data}",
            f"--tmpdir={temporary}",
            f"--bind-address={LOOPBACK}",
            f"--port={port}",
            f"--socket={sockets / 'server.sock'}",
            f"--pid-file={folder / 'server.pid'}",
            f"--init-file={init_file}",
            f"--ssl-ca={certificates.ca_path}",
            f"--ssl-cert={certificates.cert_path}",
            f"--ssl-key={certificates.key_path}",
            "--character-set-server=utf8mb4",
            "--collation-server=utf8mb4_unicode_ci",
            "--skip-name-resolve",
            "--local-infile=ON",
            "--innodb-buffer-pool-size=256M",
            "--innodb-flush-log-at-trx-commit=2",
            "--innodb-doublewrite=OFF",
            *cls._own_options,
        ]
        process = ServerProcess.launch(cls.name, command, folder, outlive=outlive)
        server = cls(port, user, password, database, certificates.ca_path, process, sockets)
        process.wait_until(server._answers, 60)
        return server

    _own_options: ClassVar[Sequence[str]] = (
        "--performance-schema=OFF",
        "--innodb-log-file-size=256M",
    )
    _first_statements: ClassVar[Sequence[str]] = ("DELETE FROM mysql.global_priv WHERE User = ''",)

    @staticmethod
    def _program() -> Path:
        return programs.find("mariadbd")

    @staticmethod
    def _make_command(data: Path) -> list[str | Path]:
        """What makes the system tables in this folder."""
        return [
            programs.find("mariadb-install-db"),
            "--no-defaults",
            *as_root(),
            f"--datadir={data}",
            "--auth-root-authentication-method=socket",
            "--skip-test-db",
            "--skip-name-resolve",
        ]

    @classmethod
    def _make_data(cls, folder: Path, temporary: Path) -> Path:
        """The data folder, complete: it gets its name only when the system tables are made."""
        data, unfinished = folder / "data", folder / "data.unfinished"
        if data.exists():
            return data
        shutil.rmtree(unfinished, ignore_errors=True)
        made = subprocess.run(
            [*cls._make_command(unfinished), f"--tmpdir={temporary}"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if made.returncode != 0:
            raise StartError(
                f"no {cls.name} data could be made in {folder}:\n{made.stdout[-3000:]}"
            )
        return unfinished.rename(data)

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


def as_root() -> list[str]:
    """They run as root only when asked to; the data then may lie where only root can read."""
    return ["--user=root"] if os.geteuid() == 0 else []


def _write_init_file(
    folder: Path, first: Sequence[str], user: str, password: str, database: str
) -> Path:
    """The statements that the server runs before it listens, each on one line."""
    who = f"{_literal(user)}@'%'"
    statements = [
        *first,
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
