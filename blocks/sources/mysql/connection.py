"""How a MySQL server is reached: by PyMySQL for small things, by a URL for ConnectorX."""

from __future__ import annotations

import contextlib
import dataclasses
import ipaddress
import select
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pymysql
from pydantic import SecretStr
from pymysql.cursors import Cursor

from blocks.pool import Pool
from blocks.sources.mysql.errors import (
    is_read_timeout,
    is_the_server_s,
    login_error,
    mysql_error,
    no_answer_in_time,
    tell_lock,
)
from ferry.errors import ConfigurationError, FerryError
from ferry.schema import TableName

SESSION = (
    "SET SESSION time_zone = '+00:00'",  # TIMESTAMP columns come in UTC
    # What the server sets for who connects (`init_connect`) would turn characters into question
    # marks, and end a SELECT after so many rows, both without an error.
    # https://dev.mysql.com/doc/refman/8.4/en/server-system-variables.html#sysvar_sql_select_limit
    "SET NAMES utf8mb4 COLLATE utf8mb4_general_ci",
    f"SET SESSION sql_select_limit = {2**64 - 1}",
    "SET SESSION sql_mode = ''",  # literals mean the same on every server
    "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",  # a SELECT sees one snapshot
)
"""What every session begins with."""

_SIZES_OF_NOW = "SET SESSION time_zone = '+00:00' /*!80000 , information_schema_stats_expiry = 0 */"
# MySQL's catalog would tell sizes as they were up to a day ago. In a comment, since MariaDB, which
# has no such setting, skips it there, and ProxySQL, which would keep the session to one hostgroup,
# leaves it out; behind something, since a comment alone is an empty statement to MariaDB.
# https://dev.mysql.com/doc/refman/8.4/en/information-schema-optimization.html

_LIMITS = """
SHOW SESSION VARIABLES
WHERE Variable_name IN ('max_execution_time', 'max_statement_time', 'group_concat_max_len')
"""
# The first is MySQL's, in milliseconds and of SELECT alone, the second MariaDB's, in seconds; 0 is
# no limit. Beyond the third, in bytes, GROUP_CONCAT in a view would be cut with no more than a
# warning. Asked by name, since a proxy may tell another version than its server's.
# https://dev.mysql.com/doc/refman/8.4/en/server-system-variables.html#sysvar_max_execution_time
# https://mariadb.com/kb/en/server-system-variables/#max_statement_time
# https://dev.mysql.com/doc/refman/8.4/en/server-system-variables.html#sysvar_group_concat_max_len

_LONGEST_BYTES = 2**30
"""No server sends a longer value: the most that `max_allowed_packet` can be."""

_PING_AFTER_SECONDS = 1.0

# A statement may be silent for ten minutes; firewalls forget a connection in less. Asked once a
# minute whether it is there, the server is given up after six unanswered questions.
_KEEPALIVE_IDLE_SECONDS, _KEEPALIVE_INTERVAL_SECONDS, _KEEPALIVE_COUNT = 60, 10, 6
_KEEPALIVE = {
    getattr(socket, "TCP_KEEPIDLE", 0x10): _KEEPALIVE_IDLE_SECONDS,  # macOS has no such name
    socket.TCP_KEEPINTVL: _KEEPALIVE_INTERVAL_SECONDS,
    socket.TCP_KEEPCNT: _KEEPALIVE_COUNT,
}


def _is_good(connection: pymysql.Connection[Any], idle_seconds: float) -> bool:
    """Whether the server is still there: nothing has come from it, and it answers if asked."""
    try:
        if not connection.open or select.select([connection._sock], [], [], 0)[0]:  # type: ignore[attr-defined]
            return False
        if idle_seconds > _PING_AFTER_SECONDS:
            connection.ping(reconnect=False)
    except (pymysql.MySQLError, OSError, ValueError):
        return False
    return True


def _keep_alive(connection: pymysql.Connection[Any]) -> None:
    """Ask whether the server is there while it is silent: PyMySQL would after two hours."""
    with contextlib.suppress(OSError):  # it is gone already, which the next statement tells
        for option, value in _KEEPALIVE.items():
            connection._sock.setsockopt(socket.IPPROTO_TCP, option, value)  # type: ignore[attr-defined]


def _close(connection: pymysql.Connection[Any]) -> None:
    with contextlib.suppress(pymysql.MySQLError, OSError):
        connection.close()


class _AskingCursor(Cursor):
    """A cursor that knows what it asked last, and by which of the server's threads."""

    asked = ""
    thread = 0

    def execute(self, query: str, args: object = None) -> int:
        """Ask it; the number of rows of the answer."""
        statement = self.mogrify(query, args)
        self.asked = statement.strip()  # as the server shows it
        self.thread = self.connection.thread_id()  # type: ignore[no-untyped-call]
        return super().execute(statement)


class _Connection(pymysql.Connection):
    """A connection that knows what its session began with."""

    session: tuple[str, ...] = SESSION

    def begin(self) -> None:
        """Begin the session: as every one, and without limits that the server sets for it.

        A long read would end at the same place whenever it is tried again; how long Ferry waits is
        `read_timeout_seconds`. A long list in a view would be cut, without an error: that is lifted
        whatever this server says, since another one behind the address may read. Who has no other
        such limit is sent nothing: a proxy may not know the setting.

        Raises:
            pymysql.MySQLError: The caller turns it into Ferry's.
        """
        with self.cursor() as cursor:
            for statement in (*SESSION, _SIZES_OF_NOW):
                cursor.execute(statement)
            if not _goes(cursor, _LIMITS):
                return
            lifting = [_lifted(str(name), str(limit)) for name, limit in cursor.fetchall()]
            self.session = (*SESSION, *(each for each in lifting if each and _goes(cursor, each)))


def _goes(cursor: Cursor, statement: str) -> bool:
    """Whether the server does what it is asked: it may not let anybody ask, or lift a limit."""
    try:
        cursor.execute(statement)
    except pymysql.MySQLError as error:
        if not is_the_server_s(error):
            raise
        return False
    return True


def _lifted(name: str, limit: str) -> str:
    """The statement that lifts this limit; nothing where there is none."""
    if name.lower() == "group_concat_max_len":
        return f"SET SESSION {name} = {max(int(limit), _LONGEST_BYTES)}"
    return f"SET SESSION {name} = 0" if float(limit) else ""


def session_of(cursor: Cursor) -> tuple[str, ...]:
    """What another session on the server of this cursor has to begin with."""
    connection = cursor.connection
    return connection.session if isinstance(connection, _Connection) else SESSION


CONNECTIONS: Pool[pymysql.Connection[Any]] = Pool(_close, _is_good)


@dataclass(frozen=True)
class MySQLServer:
    """A server, and a user on it. The fields are those of `MySQLSource`."""

    host: str
    port: int
    database: str
    user: str
    password: SecretStr
    ca_path: str | None
    verify_tls: bool | None
    connect_timeout_seconds: int
    read_timeout_seconds: int

    @property
    def address(self) -> str:
        """Server and database, for messages."""
        return f"{self.host}:{self.port}/{self.database}"

    @contextmanager
    def cursor(self, table: TableName | None = None) -> Iterator[Cursor]:
        """A cursor on a connection of its own, with MySQL's errors turned into Ferry's.

        The connection is kept for the next cursor, as `blocks.pool` tells. Nothing but SELECT,
        EXPLAIN and KILL may be sent: they leave the session as it was. A statement that is not
        answered within `read_timeout_seconds` is ended on the server, too.

        Args:
            table: What is asked about, for the message of an error.

        Raises:
            AccessError: The server refuses the credentials, or its certificate does not verify.
            ConfigurationError: There is no file at `ca_path`.
            ConnectionLostError: The connection was cut, or the answer did not come in time; a
                retry may help.
            BusyError: A retry may help.
        """
        where = None if table is None else str(table)
        asking: _AskingCursor | None = None
        try:
            with (
                CONNECTIONS.lease(self, self.connect) as lease,
                lease.thing.cursor(_AskingCursor) as asking,
            ):
                yield asking
        except pymysql.MySQLError as error:
            if asking is None or not is_read_timeout(error):
                raise mysql_error(error, self.address).at(table=where) from error
            late = no_answer_in_time(
                self.address, self.read_timeout_seconds, "answer", "it answers"
            ).at(table=where)
            thread, asked = asking.thread, asking.asked
            tell_lock(
                late, self._kill("ID = %s AND LEFT(INFO, 200) = LEFT(%s, 200)", thread, asked)
            )
            raise late from error

    def connect(self, client_flag: int = 0) -> pymysql.Connection[Any]:
        """A connection of the caller's own, who closes it.

        Args:
            client_flag: What it can do besides, of `pymysql.constants.CLIENT`.

        Raises:
            AccessError: The user logs in in a way that is not known here.
            ConfigurationError: There is no file at `ca_path`, or a package is missing for the way
                in which the user logs in.
            pymysql.MySQLError: The caller turns it into Ferry's.
        """
        if self.ca_path is not None:
            self._check_ca(self.ca_path)
        try:
            connection = _Connection(
                host=self.host,
                port=self.port,
                user=self.user,
                # PyMySQL would encode text as Latin-1; servers and ConnectorX mean UTF-8.
                password=self.password.get_secret_value().encode(),
                database=self.database,
                charset="utf8mb4",
                autocommit=True,
                client_flag=client_flag,
                connect_timeout=self.connect_timeout_seconds,
                read_timeout=self.read_timeout_seconds,
                write_timeout=self.read_timeout_seconds,
                **self._pymysql_tls(),
            )
        except RuntimeError as error:
            raise login_error(error, self.address) from error
        _keep_alive(connection)
        try:
            connection.begin()
        except BaseException:
            _close(connection)
            raise
        return connection

    def url(self) -> str:
        """ConnectorX's URL. It holds the password."""
        # On loopback the driver would hop over to the socket file that the server names: without
        # TLS, and, at the end of a tunnel, to another server than the one asked for.
        options = {
            "prefer_socket": "false",
            "tcp_keepalive_time_ms": str(_KEEPALIVE_IDLE_SECONDS * 1000),
            "tcp_keepalive_probe_interval_secs": str(_KEEPALIVE_INTERVAL_SECONDS),
            "tcp_keepalive_probe_count": str(_KEEPALIVE_COUNT),
        }
        verifies = self._verifies()
        if verifies:
            options["ssl-mode"] = "VERIFY_IDENTITY"
            ca_path = self.ca_path or ssl.get_default_verify_paths().cafile
            if ca_path:
                options["ssl-ca"] = ca_path
        else:
            options["ssl-mode"] = "DISABLED" if verifies is None else "PREFERRED"
        password = self.password.get_secret_value()
        host = f"[{self.host}]" if ":" in self.host else self.host
        return (
            f"mysql://{_quote(self.user)}:{_quote(password)}@{host}:{self.port}"
            f"/{_quote(self.database)}?"
        ) + "&".join(f"{name}={_quote(value)}" for name, value in options.items())

    def kill(self, tag: str, late: FerryError) -> None:
        """End the statement that has this tag, if the server can be reached.

        A user may see and end their own statements without any further right.
        https://dev.mysql.com/doc/refman/8.4/en/kill.html

        Args:
            tag: The tag.
            late: What is raised for it: told of a lock that it waited for.
        """
        tell_lock(late, self._kill("INFO LIKE %s", f"%{tag}%"))

    def _kill(self, condition: str, *values: object) -> list[str]:
        """End the statements of which this is true in the process list, if it can be reached.

        What they did is returned, in the server's words.

        That the text is the same, too, keeps a thread's number from meaning another statement of
        this user's where the next connection leads to another server.
        """
        quick = dataclasses.replace(self, read_timeout_seconds=self.connect_timeout_seconds)
        states: list[str] = []
        with (
            contextlib.suppress(FerryError, pymysql.MySQLError, OSError),
            contextlib.closing(quick.connect()) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(
                "SELECT ID, STATE FROM information_schema.PROCESSLIST "  # noqa: S608  # our own condition
                f"WHERE {condition} AND ID <> CONNECTION_ID()",
                values,
            )
            for thread, state in cursor.fetchall():
                states.append(str(state))
                cursor.execute("KILL %s", (thread,))
        return states

    def _verifies(self) -> bool | None:
        """Whether TLS is verified; None when there is to be no TLS."""
        if self.verify_tls is None and self.ca_path is None and _is_loopback(self.host):
            return None
        return self.verify_tls is not False

    def _pymysql_tls(self) -> dict[str, Any]:
        """TLS for PyMySQL, whose own settings verify no host name where no CA is named."""
        verifies = self._verifies()
        if verifies:
            context = ssl.create_default_context(cafile=self.ca_path)
            context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # which MySQL's own are not made for
            return {"ssl": context}
        return {"ssl_disabled": True} if verifies is None else {}

    @staticmethod
    def _check_ca(path: str) -> None:
        try:
            ssl.create_default_context(cafile=path)
        except OSError as error:  # ssl.SSLError is one, too
            raise ConfigurationError(
                "the source block's `ca_path` is not a readable PEM file of certificates",
                found=path,
                todo="Point it at the authority's certificate, on the machine that runs the flow.",
            ) from error


def _quote(text: str) -> str:
    return quote(text, safe="")


def _is_loopback(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
