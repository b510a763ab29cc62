"""The server: takes connections, lets the backend check who the user is, then runs sessions."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import ssl
import struct
from dataclasses import dataclass
from importlib.resources import files

from deployments.local.redshift_double import wire
from deployments.local.redshift_double.errors import Cut
from deployments.local.redshift_double.extended import ExtendedQueries
from deployments.local.redshift_double.session import Session, World, literal
from deployments.local.redshift_double.sql.statements import on_query

SERVER_VERSION = "8.0.2"
_LIMIT_BYTES = 1 << 20
_NEEDS_ANSWER = {3, 5, 10, 11}
_SETTINGS = {
    "timezone": "UTC",
    "datestyle": "ISO, MDY",
    # Redshift reads backslashes in plain literals, as PostgreSQL 8.0 did
    "standard_conforming_strings": "off",
    "escape_string_warning": "off",
    "backslash_quote": "on",
    "client_min_messages": "notice",
}


@dataclass(frozen=True)
class Backend:
    """Where the real PostgreSQL listens."""

    host: str
    port: int


class Proxy:
    """Accepts clients on loopback and gives each a session."""

    def __init__(self, world: World, backend: Backend, tls: ssl.SSLContext | None) -> None:
        self._world = world
        self._backend = backend
        self._tls = tls
        self._count = 0
        self._sessions: dict[tuple[int, int], Session] = {}
        self._prepared: dict[str, asyncio.Lock] = {}
        self._ready: set[str] = set()

    async def on_client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serves one connection from its first byte to its last."""
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, Cut, ssl.SSLError):
            startup = await self._negotiate(reader, writer)
            if startup.code == wire.CANCEL_CODE:
                await self._cancel(startup)
            else:
                await self._serve(startup, reader, writer)
        writer.close()

    async def _negotiate(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> wire.Startup:
        while True:
            startup = await wire.read_startup(reader)
            if startup.code == wire.SSL_CODE and self._tls:
                writer.write(b"S")
                await writer.drain()
                await writer.start_tls(self._tls)
            elif startup.code in {wire.SSL_CODE, wire.GSS_CODE}:
                writer.write(b"N")
            else:
                return startup

    async def _cancel(self, startup: wire.Startup) -> None:
        session = self._sessions.get(struct.unpack("!ii", startup.raw[8:16]))
        if session:
            session.cancelled = True
        _, backend = await asyncio.open_connection(self._backend.host, self._backend.port)
        backend.write(startup.raw)
        await backend.drain()
        backend.close()

    async def _serve(
        self,
        startup: wire.Startup,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        try:
            backend_reader, backend_writer = await asyncio.open_connection(
                self._backend.host, self._backend.port, limit=_LIMIT_BYTES
            )
        except OSError as error:
            text = f"the double cannot reach its PostgreSQL: {error}"
            writer.write(wire.report(text, sqlstate="08006", severity="FATAL"))
            await writer.drain()
            return
        parameters = startup.parameters
        database = parameters.get("database") or parameters.get("user", "")
        self._count += 1
        session = Session(
            self._world,
            self._count,
            database,
            (wire.MessageStream(reader), writer),
            (wire.MessageStream(backend_reader), backend_writer),
        )
        backend_writer.write(wire.pack_startup(startup.code, _SETTINGS | parameters))
        key: tuple[int, int] | None = None
        try:
            key = await self._authenticate(session)
            if key:
                self._sessions[key] = session
                await self._loop(session)
        finally:
            self._sessions.pop(key or (0, 0), None)
            backend_writer.close()

    async def _authenticate(self, session: Session) -> tuple[int, int] | None:
        """Passes the backend's questions to the client; returns the cancel key, None if refused."""
        key = None
        while True:
            kind, raw = await session.backend_in.next()
            if kind == b"Z":
                if not await self._prepare(session):
                    return None
                session.client_out.write(raw)
                await session.client_out.drain()
                return key
            if kind == b"S" and wire.parameter_status(raw)[0] == "server_version":
                raw = wire.pack(b"S", f"server_version\0{SERVER_VERSION}\0".encode())
            if kind == b"K":
                key = struct.unpack("!ii", raw[5:13])
            session.client_out.write(raw)
            await session.client_out.drain()
            if kind == b"E":
                return None
            if kind == b"R" and struct.unpack("!i", raw[5:9])[0] in _NEEDS_ANSWER:
                session.backend_out.write((await session.client_in.next())[1])

    async def _prepare(self, session: Session) -> bool:
        """Adds Redshift's functions and views to the database, unless they are there."""
        if session.database in self._ready:
            return True
        lock = self._prepared.setdefault(session.database, asyncio.Lock())
        async with lock:
            script = (files(__package__) / "setup.sql").read_text(encoding="utf-8")
            mark = hashlib.sha256(script.encode()).hexdigest()
            found = await session.run(
                "SELECT obj_description(oid) FROM pg_namespace WHERE nspname = 'redshift_double'"
            )
            if found.rows != [(mark,)]:
                await session.run("SET client_min_messages = warning")
                done = await session.run(
                    "SELECT pg_advisory_xact_lock(802); "
                    + script
                    + f"; COMMENT ON SCHEMA redshift_double IS {literal(mark)};"
                )
                await session.run("RESET client_min_messages")
                if done.error:
                    text = (
                        f"the double cannot prepare database {session.database}: the first "
                        f"session must be of a superuser ({done.error.message})"
                    )
                    session.client_out.write(wire.report(text, sqlstate="42501", severity="FATAL"))
                    await session.client_out.drain()
                    return False
            self._ready.add(session.database)
        return True

    async def _loop(self, session: Session) -> None:
        extended = ExtendedQueries(session)
        while True:
            kind, raw = await session.client_in.next()
            if kind == b"Q":
                await on_query(session, raw[5:-1].decode())
            elif kind in {b"P", b"B", b"D", b"E", b"C", b"H", b"S"}:
                await extended.on_message(kind, raw)
            elif kind == b"X":
                return
