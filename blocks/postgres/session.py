"""What all blocks share that speak PostgreSQL's protocol: connections and transactions."""

from __future__ import annotations

import math
import re
import select
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, Literal

import psycopg2
import psycopg2.extensions
from pydantic import Field, SecretStr

from blocks.named import NamedBlock
from blocks.pool import Pool
from blocks.postgres.errors import translated
from ferry.errors import BusyError, FatalError
from ferry.statements import Statement, Transaction


class Connection(psycopg2.extensions.connection):
    """A connection that remembers what its next user has to know.

    Attributes:
        changed: Whether a statement may have changed its session.
        began: The server's process id and time, asked for by whoever needs them.
    """

    changed = False
    began: tuple[int, datetime] | None = None


# What begins so, and has none of these words, leaves the session as it was: no setting, no
# temporary table (which would hide a permanent one), no prepared statement, no lock of the session.
_KEEPS_SESSION = re.compile(
    r"\s*(WITH|SELECT|INSERT|DELETE|LOCK|COPY"
    r"|(CREATE|ALTER|DROP) (UNLOGGED )?(TABLE|SCHEMA|INDEX))\b"
    r"(?!.*(\b(temp|temporary|set|set_config)\b|advisory|#))",
    re.IGNORECASE | re.DOTALL,
)
_PING_AFTER_SECONDS = 1.0

SslMode = Literal["disable", "prefer", "require", "verify-ca", "verify-full"]

# Where Linux distributions keep the authorities they trust.
_TRUSTED = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt")

SYSTEM_COLUMNS = frozenset({"tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"})
"""Every table has them, so that no column can be called so, quoted or not.

https://www.postgresql.org/docs/current/ddl-system-columns.html
"""

_BYTEA, _JSON, _JSONB = 17, 114, 3802  # pg_type.oid


def _bytes(value: str | bytes | None, cursor: psycopg2.extensions.cursor) -> bytes | None:
    found = psycopg2.BINARY(value, cursor)
    return None if found is None else bytes(found)


CASTS = (
    psycopg2.extensions.new_type((_BYTEA,), "BYTES", _bytes),
    # As text, like every other engine: what JSON means to Python is the reader's choice.
    psycopg2.extensions.new_type((_JSON, _JSONB), "JSON_TEXT", lambda value, _: value),
)


class _Float:
    """A float as a literal that keeps the sign of zero.

    The driver's own is ` -0.0`, which the server takes for a numeric, and that has no such zero.
    """

    def __init__(self, value: float) -> None:
        self._value = value

    def getquoted(self) -> bytes:
        """The literal."""
        if self._value == 0 and math.copysign(1, self._value) < 0:
            return b"'-0'::float8"
        quoted: bytes = psycopg2.extensions.Float(self._value).getquoted()
        return quoted


psycopg2.extensions.register_adapter(float, _Float)  # the driver has one for the whole process


class PostgresTransaction:
    """Statements on one connection; who opened it ends it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def execute(self, statement: Statement | str) -> int:
        """Run one statement; returns the rows it touched, 0 where that has no meaning."""
        with self._run(statement) as cursor:
            return max(cursor.rowcount, 0)

    def fetch(self, statement: Statement | str) -> list[tuple[Any, ...]]:
        """The rows of one query. JSON comes as text, binary as bytes, moments in UTC."""
        with self._run(statement) as cursor:
            return cursor.fetchall()

    @contextmanager
    def _run(self, statement: Statement | str) -> Iterator[psycopg2.extensions.cursor]:
        whole = Statement.of(statement)
        self._connection.changed |= not _KEEPS_SESSION.match(whole.sql)
        user = self._connection.info.user
        with translated(statement=whole.sql, user=user), self._connection.cursor() as cursor:
            cursor.execute(*_for_psycopg2(whole))
            yield cursor


def _for_psycopg2(statement: Statement) -> tuple[str, tuple[object, ...] | None]:
    """The text and the parameters as psycopg2 takes them.

    With parameters, it takes every `%` for the beginning of a mark unless it is doubled, within
    quotes as well; without, it leaves the text alone.
    https://www.psycopg.org/docs/usage.html#passing-parameters-to-sql-queries
    """
    if not statement.values:
        return statement.sql, None
    return statement.rendered("%s", lambda text: text.replace("%", "%%")), statement.values


def _is_good(connection: Connection, idle_seconds: float) -> bool:
    """Whether the server is still there: nothing has come from it, and it answers if asked."""
    try:
        if connection.closed or select.select([connection], [], [], 0)[0]:  # its goodbye
            return False
        if idle_seconds > _PING_AFTER_SECONDS:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")
    except (psycopg2.Error, OSError, ValueError):
        return False
    return True


def _close(connection: Connection) -> None:
    with suppress(psycopg2.Error):
        connection.close()


SESSIONS: Pool[Connection] = Pool(_close, _is_good)


class PostgresSession(NamedBlock):
    """A server reached by PostgreSQL's protocol, through psycopg2.

    Every call has a connection to itself, so blocks can be shared by threads. It is kept for the
    next call of whatever block has the same settings, as `blocks.pool` tells.
    """

    _casts: ClassVar[tuple[Any, ...]] = CASTS

    host: str = Field(description="The server's host name, as its certificate has it.")
    port: int = Field(default=5432, ge=1, le=65535, description="The server's TCP port.")
    database: str = Field(description="The database to connect to.")
    user: str = Field(description="The user to connect as.")
    password: SecretStr = Field(description="That user's password.")
    sslmode: SslMode = Field(
        default="verify-full",
        description="How far TLS is insisted on; verify-full checks certificate and host name.",
    )
    sslrootcert: str | None = Field(
        default=None,
        description="File of the certificate authorities to trust; by default, those that this "
        "machine trusts.",
    )
    connect_timeout_seconds: int = Field(
        default=10, ge=1, description="How long to wait for a connection, in seconds."
    )
    statement_timeout_seconds: int = Field(
        default=3600,
        ge=1,
        description="How long the server lets one statement run, waiting for locks included, in "
        "seconds.",
    )

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """A transaction: committed at the end of the block, rolled back when it raises.

        BEGIN goes out just before the first statement, so that LOCK can be the first.

        Raises:
            ConflictError: A serialization conflict; repeat the whole transaction.
            OutcomeUnknownError: The connection was lost while COMMIT was under way; look first.
            ConnectionLostError, BusyError: Nothing was committed; a retry may help.
            FatalError: A statement had failed and the caller went on: there is nothing to commit.
        """
        with self._session(autocommit=False) as connection:
            try:
                yield PostgresTransaction(connection)
                commit(connection)
            except BaseException:
                with suppress(psycopg2.Error):
                    connection.rollback()
                raise

    def execute(self, statement: Statement | str) -> int:
        """Run one statement outside any transaction; returns the rows it touched.

        Raises:
            FerryError: As in `transaction`; retriable ones say so by their class.
        """
        with self._session(autocommit=True) as connection:
            return PostgresTransaction(connection).execute(statement)

    def fetch(self, statement: Statement | str) -> list[tuple[Any, ...]]:
        """The rows of one query: JSON as text, binary as bytes, moments in UTC."""
        with self._session(autocommit=True) as connection:
            return PostgresTransaction(connection).fetch(statement)

    @contextmanager
    def _session(self, *, autocommit: bool) -> Iterator[Connection]:
        """A connection for one call: one that was kept, else a new one.

        It is kept if the block ends well, has ended its transaction and left the session as it was.

        Raises:
            FerryError: As `_connect`.
        """
        settings = (
            type(self),
            self.host,
            self.port,
            self.database,
            self.user,
            self.password,
            self.sslmode,
            self.sslrootcert,
            self.connect_timeout_seconds,
            self.statement_timeout_seconds,
        )
        with SESSIONS.lease(settings, self._connect) as lease:
            connection = lease.thing
            with translated():
                connection.autocommit = autocommit
            try:
                yield connection
            except BusyError as error:
                if getattr(error.__cause__, "pgcode", None) == "25006":
                    SESSIONS.close_all()  # others may be of the same server, or setting
                raise
            status = connection.info.transaction_status
            ended = status == psycopg2.extensions.TRANSACTION_STATUS_IDLE
            lease.keep = ended and not connection.changed

    def _connect(self) -> Connection:
        """A new connection in UTC, with the time limits and keepalives.

        Raises:
            AccessError: Wrong password or database, or a certificate that does not verify.
            ConnectionLostError: Nobody answers there; a retry may help.
            BusyError: Too many connections, or the server is starting; a retry may help.
        """
        with translated(user=self.user):
            connection: Connection = psycopg2.connect(
                host=self.host,
                port=self.port,
                dbname=self.database,
                user=self.user,
                password=self.password.get_secret_value(),
                sslmode=self.sslmode,
                sslrootcert=self._trust(),
                connect_timeout=self.connect_timeout_seconds,
                # A statement may be silent for an hour; firewalls forget a connection in minutes.
                keepalives=1,
                keepalives_idle=60,
                keepalives_interval=10,
                keepalives_count=6,
                # Keepalives do not count while something is sent: without an answer to that, the
                # operating system would go on for a quarter of an hour. It holds for a server, too,
                # that is there and takes none of a COPY's rows for so long. Ignored on macOS.
                tcp_user_timeout=120_000,  # milliseconds: as long as the keepalives wait
                client_encoding="UTF8",  # as are the files that COPY reads
                application_name="ferry",
                connection_factory=Connection,
            )
            try:
                for cast in self._casts:
                    psycopg2.extensions.register_type(cast, connection)
                connection.autocommit = True  # or these would begin the transaction
                self._set_up(connection)
            except BaseException:
                connection.close()
                raise
        return connection

    def _set_up(self, connection: Connection) -> None:
        """Give a new session its zone and its limit."""
        with connection.cursor() as cursor:
            cursor.execute("SET timezone TO 'UTC'")
            cursor.execute("SET statement_timeout TO %s", (self.statement_timeout_seconds * 1000,))

    def _trust(self) -> str | None:
        """The file of the certificate authorities; None if the certificate is not checked.

        The OpenSSL in psycopg2's wheels looks in a folder of the machine that built it, so
        libpq's own `system` trusts nobody there; the file is named instead.
        """
        if self.sslrootcert or not self.sslmode.startswith("verify"):
            return self.sslrootcert
        known = (ssl.get_default_verify_paths().cafile, *_TRUSTED)
        return next((path for path in known if path and Path(path).exists()), "system")


def commit(connection: Connection) -> None:
    """Commit; unlike the server, refuse to if a statement has failed.

    Raises:
        OutcomeUnknownError: The connection was lost meanwhile.
        FatalError: A statement has failed: the server would answer COMMIT by rolling back.
    """
    if connection.info.transaction_status == psycopg2.extensions.TRANSACTION_STATUS_INERROR:
        raise FatalError(
            "a statement of the transaction has failed, so that it cannot be committed",
            todo="Let the error of that statement pass.",
        )
    with translated(committing=True):
        connection.commit()
