"""One client's session: statements in, answers out, one backend connection behind it."""

from __future__ import annotations

import asyncio
import enum
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from deployments.local.redshift_double import wire
from deployments.local.redshift_double.copy.s3 import S3Reader
from deployments.local.redshift_double.errors import Cut, Refusal
from deployments.local.redshift_double.faults import Fault, FaultBook
from deployments.local.redshift_double.sql.keys import DeclaredKeys
from deployments.local.redshift_double.statement_log import StatementLog

_BYTE_CHECK = re.compile(r"rs_bytes_\d+_(\d+)")


class Show(enum.Enum):
    """What of the backend's answer the client sees."""

    NOTHING = "nothing"
    ERRORS = "errors"
    ALL = "all"


@dataclass
class Result:
    """The backend's answer to one query."""

    rows: list[tuple[str | None, ...]] = field(default_factory=list)
    tag: str = ""
    error: Refusal | None = None

    def require(self) -> Result:
        """Returns itself, or raises the error."""
        if self.error:
            raise self.error
        return self


def literal(text: str) -> str:
    """Returns a text as an SQL literal that reads the same under every setting."""
    return "E'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def as_redshift(raw: bytes) -> Refusal:
    """Returns a backend's error as Redshift would word it, without the row's values."""
    found = wire.report_fields(raw)
    message, sqlstate = found.get("M", ""), found.get("C", "XX000")
    constraint = found.get("n", "")
    if match := _BYTE_CHECK.match(constraint):
        return Refusal(f"value too long for type character varying({match[1]})", "22001")
    if constraint.startswith("rs_ascii_"):
        return Refusal("CHAR string contains invalid ASCII character", "22021")
    if constraint.startswith("rs_int64_"):
        return Refusal("Numeric data overflow (result precision)", "22003")
    if sqlstate == "23502":
        return Refusal(f"Cannot insert a NULL value into column {found.get('c', '')}", "XX000")
    if sqlstate == "21000" and "MERGE" in message:
        return Refusal("Found multiple matches to update the same tuple.", "XX000")
    return Refusal(message, sqlstate, found.get("D"))


@dataclass
class World:
    """What all sessions share."""

    log: StatementLog
    faults: FaultBook
    s3: S3Reader
    keys: DeclaredKeys = field(default_factory=DeclaredKeys)


class Session:
    """A client and its backend connection, after both have agreed on who the user is.

    Attributes:
        status: I outside a transaction, T inside one, E inside a failed one.
        statements_in_transaction: Statements since BEGIN.
    """

    def __init__(
        self,
        world: World,
        number: int,
        database: str,
        client: tuple[wire.MessageStream, asyncio.StreamWriter],
        backend: tuple[wire.MessageStream, asyncio.StreamWriter],
    ) -> None:
        self.world = world
        self.number = number
        self.database = database
        self.client_in, self.client_out = client
        self.backend_in, self.backend_out = backend
        self.status = "I"
        self.statements_in_transaction = 0
        self.cancelled = False

    async def run(self, sql: str, show: Show = Show.NOTHING) -> Result:
        """Runs a query on the backend and waits for its end.

        Returns:
            The rows, if they are not shown to the client, the command tag, the error.
        """
        self.backend_out.write(wire.query(sql))
        return await self.answer(show)

    async def answer(
        self, show: Show, first: tuple[bytes, bytes] | None = None, *, stop: bytes = b"Z"
    ) -> Result:
        """Reads the backend's answer up to ReadyForQuery or the message kind given."""
        result = Result()
        while True:
            kind, raw = first or await self.backend_in.next()
            first = None
            if kind == b"Z":
                self.status = raw[5:6].decode()
                if self.status == "I":
                    self.statements_in_transaction = 0
                return result
            if kind == b"E":
                result.error = as_redshift(raw)
                if show is not Show.NOTHING:
                    self.send_error(result.error)
                continue
            if kind == b"C":
                result.tag = raw[5:-1].decode()
            elif kind == b"D" and show is not Show.ALL:
                result.rows += list(wire.rows(raw))
            if show is Show.ALL or (kind == b"N" and show is Show.ERRORS):
                self.client_out.write(raw)
                await self.client_out.drain()
            if kind == stop:
                return result

    async def copy_in(self, sql: str, chunks: Iterator[bytes]) -> Result:
        """Feeds chunks to a COPY ... FROM STDIN of the backend, one read ahead.

        Raises:
            Refusal: The client asked to cancel.
        """
        self.backend_out.write(wire.query(sql))
        started = await self.answer(Show.NOTHING, stop=b"G")
        if started.error:
            return started
        answer = asyncio.ensure_future(self.backend_in.next())
        end = b"c"
        try:
            upcoming = asyncio.ensure_future(asyncio.to_thread(next, chunks, b""))
            while (chunk := await upcoming) and not answer.done() and not self.cancelled:
                upcoming = asyncio.ensure_future(asyncio.to_thread(next, chunks, b""))
                self.backend_out.write(wire.pack(b"d", chunk))
                await self.backend_out.drain()
        except BaseException:
            end = b"f"
            raise
        finally:
            if self.cancelled:
                end = b"f"
            self.backend_out.write(wire.pack(end, b"stopped\0" if end == b"f" else b""))
            result = await self.answer(Show.NOTHING, first=await answer)
        if self.cancelled:
            raise Refusal("canceling statement due to user request", "57014")
        return result

    def send_error(self, refusal: Refusal) -> None:
        """Sends an error to the client."""
        self.client_out.write(
            wire.report(refusal.message, sqlstate=refusal.sqlstate, detail=refusal.detail)
        )

    def complete(self, tag: str, info: str = "") -> None:
        """Sends a command's end to the client, after an INFO message if there is one."""
        if info:
            self.client_out.write(wire.report(info, severity="INFO"))
        self.client_out.write(wire.complete(tag))

    async def fail(self, refusal: Refusal) -> None:
        """Sends an error, and leaves an open transaction failed as a real error would."""
        if self.status == "T":
            await self.run("refused by the double")
        self.send_error(refusal)

    def log(self, started: datetime, sql: str, outcome: str) -> None:
        """Writes a statement to the log."""
        self.world.log.write(started, self.number, self.database, sql, outcome)

    async def meet(self, fault: Fault) -> None:
        """Plays a fault that strikes before the statement runs.

        Raises:
            Refusal: The fault is an error.
            Cut: The fault is the end of the connection.
        """
        if fault.kind == "stall":
            (await self.run(f"SELECT pg_sleep({fault.seconds})")).require()
        elif fault.kind == "serialization":
            raise Refusal(
                "1023",
                "XX000",
                "Serializable isolation violation on table - 100123, transactions forming the "
                "cycle are: 1001, 1002 (pid:1073741824)",
            )
        elif fault.kind == "ddl_conflict":
            raise Refusal(fault.message, "XX000", fault.detail)
        elif fault.kind == "cut_before":
            raise Cut


def now() -> datetime:
    """Returns the time in UTC."""
    return datetime.now(UTC)
