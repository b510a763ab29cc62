"""A private PostgreSQL with TLS and passwords, the ground under the Redshift double."""

from __future__ import annotations

import hashlib
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import psycopg2

from deployments.local import programs
from deployments.local.servers.certificates import Certificates
from deployments.local.servers.process import LOOPBACK, ServerProcess, StartError, free_port
from deployments.local.servers.server import Server

# Speed over durability: what is lost in a power cut is made again.
_SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "ssl": "on",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "4GB",
    "shared_buffers": "128MB",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


@dataclass
class Postgres(Server):
    """A running PostgreSQL server.

    Attributes:
        host: Loopback.
        port: Its TCP port; it has no Unix socket.
        user: The server's superuser.
        password: That user's password, checked by SCRAM.
        database: A database that exists: UTF-8, sorted by bytes as Redshift does.
        ca_path: The authority that vouches for the server's certificate.
        process: The server's process; its log is ``postgres.log`` in the folder.
    """

    port: int
    user: str
    password: str = field(repr=False)
    database: str
    ca_path: Path
    process: ServerProcess
    _home: Path
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

        PostgreSQL refuses to run as root, so root runs it as ``postgres``, or else ``nobody``.
        Where that user cannot reach the folder, the data lies in the system's temporary folder.

        Args:
            folder: The server's own; data from an earlier run is taken up again.
            password: The user's password from now on; a random one if None.
            port: The port to prefer; any free one if None or taken.
            certificates: The server's; made in the folder if None.
            outlive: Let it live on when this process ends.

        Raises:
            StartError: It did not come up; no retry helps before its log is read.
            ProgramsMissingError: PostgreSQL is not installed.
        """
        user, database = "ferry", "warehouse"
        folder = folder.resolve()
        folder.mkdir(parents=True, exist_ok=True)
        password = password if password is not None else secrets.token_urlsafe(18)
        certificates = certificates or Certificates.make(folder / "tls")
        port = free_port(port)
        run_as = _unprivileged_user()
        home = _make_home(folder, run_as)
        data = _make_data(home, run_as, user, password)
        _set_password(data, run_as, user, password)
        settings = dict(_SETTINGS, port=str(port))
        for setting, source in (
            ("ssl_cert_file", certificates.cert_path),
            ("ssl_key_file", certificates.key_path),
        ):
            settings[setting] = str(_hand_over(home / source.name, source.read_bytes(), run_as))
        command: list[str | Path] = [programs.find("postgres"), "-D", data]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        process = ServerProcess.launch(
            "postgres",
            command,
            folder,
            cwd=home,
            user=run_as,
            outlive=outlive,
            # SIGTERM would wait for every client to leave; SIGINT ends their sessions.
            stop_signal=signal.SIGINT,
        )
        server = cls(port, user, password, database, certificates.ca_path, process, home)
        process.wait_until(server._answers, 60)
        server._make_database()
        return server

    def _answers(self) -> bool:
        try:
            self.connect("postgres").close()
        except psycopg2.OperationalError:
            return False
        return True

    def connect(self, database: str | None = None) -> psycopg2.extensions.connection:
        """A connection of the server's user, over verified TLS."""
        return psycopg2.connect(
            host=self.host,
            port=self.port,
            user=self.user,
            password=self.password,
            dbname=self.database if database is None else database,
            sslmode="verify-full",
            sslrootcert=str(self.ca_path),
            connect_timeout=5,
        )

    def _make_database(self) -> None:
        connection = self.connect("postgres")
        connection.autocommit = True
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", [self.database])
                if cursor.fetchone() is None:
                    name = psycopg2.extensions.quote_ident(self.database, cursor)
                    cursor.execute(f"CREATE DATABASE {name}")
        finally:
            connection.close()

    def _own_folders(self) -> list[Path]:
        return [self._home, self.process.folder]


def _unprivileged_user() -> str | None:
    """Whom to become when root; None when already somebody else."""
    if os.geteuid() != 0:
        return None
    users = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in users else "nobody"


def _make_home(folder: Path, run_as: str | None) -> Path:
    """A folder that only the server's user can enter, below `folder` if they can get there."""
    if run_as is None or all(parent.stat().st_mode & 0o001 for parent in (folder, *folder.parents)):
        home = folder / "home"
    else:
        name = f"ferry-postgres-{hashlib.sha256(bytes(folder)).hexdigest()[:12]}"
        home = Path(tempfile.gettempdir()) / name
    home.mkdir(mode=0o700, exist_ok=True)
    if home.stat().st_uid not in (os.geteuid(), _uid(run_as)):
        raise StartError(f"{home} belongs to another user: remove it.")
    if run_as is not None:
        shutil.chown(home, run_as)
    return home


def _uid(user: str | None) -> int:
    return os.geteuid() if user is None else pwd.getpwnam(user).pw_uid


def _hand_over(path: Path, content: bytes, run_as: str | None) -> Path:
    """Writes a file that only the server's user can read."""
    path.touch(mode=0o600)
    path.write_bytes(content)
    if run_as is not None:
        shutil.chown(path, run_as)
    return path


def _make_data(home: Path, run_as: str | None, user: str, password: str) -> Path:
    """The data folder, complete: it gets its name only when the cluster is made."""
    data, unfinished = home / "data", home / "data.unfinished"
    if data.exists():
        return data
    shutil.rmtree(unfinished, ignore_errors=True)
    password_file = _hand_over(home / "password", f"{password}\n".encode(), run_as)
    _run_program(
        [
            *(programs.find("initdb"), "-D", unfinished, "-U", user),
            f"--pwfile={password_file}",
            *("--auth=scram-sha-256", "--encoding=UTF8", "--lc-collate=C", "--no-sync"),
            f"--lc-ctype={'C.UTF-8' if sys.platform == 'linux' else 'en_US.UTF-8'}",
        ],
        home,
        run_as,
    )
    password_file.unlink()
    return unfinished.rename(data)


def _set_password(data: Path, run_as: str | None, user: str, password: str) -> None:
    """Gives the user this password, whichever the data was made with, before anyone can ask."""
    name = '"' + user.replace('"', '""') + '"'
    literal = "'" + password.replace("'", "''") + "'"
    command: list[str | Path] = [
        programs.find("postgres"),
        "--single",
        "-D",
        data,
        "-c",
        "fsync=off",
        "postgres",
    ]
    _run_program(command, data.parent, run_as, f"ALTER ROLE {name} PASSWORD {literal};\n")


def _run_program(command: list[str | Path], home: Path, run_as: str | None, text: str = "") -> None:
    done = subprocess.run(
        command,
        input=text,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=home,
        user=run_as,
        group=None if run_as is None else pwd.getpwnam(run_as).pw_gid,
        extra_groups=None if run_as is None else [],
        check=False,
    )
    if done.returncode != 0:
        raise StartError(f"{Path(command[0]).name} failed in {home}:\n{done.stdout[-3000:]}")
