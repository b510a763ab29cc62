"""The extended query protocol: Parse goes by the same rules, the rest is passed through."""

from __future__ import annotations

import asyncio

from deployments.local.redshift_double import wire
from deployments.local.redshift_double.errors import Refusal, unsupported
from deployments.local.redshift_double.session import Result, Session, Show, now
from deployments.local.redshift_double.sql import rules
from deployments.local.redshift_double.sql.rewrite import rewrite
from deployments.local.redshift_double.sql.tokens import split

_ONLY_SIMPLE = ("COPY ", "TRUNCATE ", "ALTER TABLE", "MERGE ", "LOCK ")


class ExtendedQueries:
    """One session's extended messages, from the first up to Sync."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._relay: asyncio.Task[Result] | None = None
        self._skipping = False

    async def on_message(self, kind: bytes, raw: bytes) -> None:
        """Takes one message; an error makes it skip what follows, up to Sync."""
        session = self._session
        if kind == b"S":
            await self._sync(raw)
            return
        if self._skipping:
            return
        if kind == b"P":
            try:
                raw = self._parse(raw)
            except Refusal as refusal:
                self._skipping = True
                if self._relay:
                    session.backend_out.write(wire.pack(b"S"))
                    await self._finish()
                await session.fail(refusal)
                return
        if self._relay is None:
            self._relay = asyncio.create_task(session.answer(Show.ALL))
        session.backend_out.write(raw)
        await session.backend_out.drain()

    def _parse(self, raw: bytes) -> bytes:
        name, sql, rest = raw[5:].split(b"\0", 2)
        text, started = sql.decode(), now()
        try:
            statements = list(split(text))
            if len(statements) > 1:
                raise Refusal("cannot insert multiple commands into a prepared statement", "42601")
            for statement in statements:
                rules.check(statement)
                if statement.shape.startswith(_ONLY_SIMPLE):
                    raise unsupported("this command in a prepared statement, in this double,")
                text = rewrite(statement, in_transaction=self._session.status == "T")
        except Refusal as refusal:
            self._session.log(started, sql.decode(), f"error {refusal.sqlstate}")
            raise
        self._session.log(started, sql.decode(), "ok")
        return wire.pack(b"P", name + b"\0" + text.encode() + b"\0" + rest)

    async def _sync(self, raw: bytes) -> None:
        session = self._session
        if self._relay:
            session.backend_out.write(raw)
            await self._finish()
        elif not self._skipping:
            session.backend_out.write(raw)
            await session.answer(Show.NOTHING)
        self._skipping = False
        session.client_out.write(wire.ready(session.status))
        await session.client_out.drain()

    async def _finish(self) -> None:
        if self._relay:
            await self._relay
            self._relay = None
