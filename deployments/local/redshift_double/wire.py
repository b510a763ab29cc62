"""PostgreSQL's wire protocol, version 3: messages in and out.

The layout is from the "Message Formats" chapter of the PostgreSQL manual.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Iterator
from dataclasses import dataclass

CANCEL_CODE = 80877102
SSL_CODE = 80877103
GSS_CODE = 80877104
_READ_BYTES = 1 << 18


def pack(kind: bytes, body: bytes = b"") -> bytes:
    """Returns one message with its length."""
    return kind + struct.pack("!i", len(body) + 4) + body


def query(sql: str) -> bytes:
    """Returns a simple Query message."""
    return pack(b"Q", sql.encode() + b"\0")


def report(
    message: str, *, sqlstate: str = "00000", detail: str | None = None, severity: str = "ERROR"
) -> bytes:
    """Returns an ErrorResponse, or a NoticeResponse for severities below ERROR."""
    parts = [("S", severity), ("V", severity), ("C", sqlstate), ("M", message)]
    if detail:
        parts.append(("D", detail))
    body = b"".join(code.encode() + text.encode() + b"\0" for code, text in parts) + b"\0"
    return pack(b"E" if severity in {"ERROR", "FATAL"} else b"N", body)


def complete(tag: str) -> bytes:
    """Returns a CommandComplete message."""
    return pack(b"C", tag.encode() + b"\0")


def ready(status: str) -> bytes:
    """Returns a ReadyForQuery message; status is I, T or E."""
    return pack(b"Z", status.encode())


def report_fields(raw: bytes) -> dict[str, str]:
    """Returns the fields of an ErrorResponse or NoticeResponse, by their one-letter code."""
    parts = raw[5:].split(b"\0")
    return {part[:1].decode(): part[1:].decode(errors="replace") for part in parts if part}


def parameter_status(raw: bytes) -> tuple[str, str]:
    """Returns name and value of a ParameterStatus message."""
    name, value, _ = raw[5:].split(b"\0", 2)
    return name.decode(), value.decode()


def rows(raw: bytes) -> Iterator[tuple[str | None, ...]]:
    """Yields the rows of one or more DataRow messages that stand one after another."""
    at = 0
    while at < len(raw):
        (length,) = struct.unpack_from("!i", raw, at + 1)
        (count,) = struct.unpack_from("!h", raw, at + 5)
        cursor, row = at + 7, list[str | None]()
        for _ in range(count):
            (size,) = struct.unpack_from("!i", raw, cursor)
            cursor += 4
            row.append(None if size < 0 else raw[cursor : cursor + size].decode())
            cursor += max(size, 0)
        yield tuple(row)
        at += length + 1


@dataclass
class Startup:
    """The first message of a connection: a protocol code and, for a session, its parameters."""

    code: int
    raw: bytes
    parameters: dict[str, str]


async def read_startup(reader: asyncio.StreamReader) -> Startup:
    """Reads the untyped first message.

    Raises:
        asyncio.IncompleteReadError: The client left.
    """
    head = await reader.readexactly(8)
    length, code = struct.unpack("!ii", head)
    body = await reader.readexactly(length - 8)
    parameters: dict[str, str] = {}
    if code not in {CANCEL_CODE, SSL_CODE, GSS_CODE}:
        words = body.split(b"\0")
        names = [word.decode() for word in words]
        parameters = {k: v for k, v in zip(names[::2], names[1::2], strict=False) if k}
    return Startup(code, head + body, parameters)


def pack_startup(code: int, parameters: dict[str, str]) -> bytes:
    """Returns a startup message."""
    body = b"".join(f"{k}\0{v}\0".encode() for k, v in parameters.items()) + b"\0"
    return struct.pack("!ii", len(body) + 8, code) + body


class MessageStream:
    """Reads typed messages; runs of DataRow come as one piece, so that results travel fast."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self._buffer = b""
        self._at = 0

    async def next(self) -> tuple[bytes, bytes]:
        """Returns the kind and the raw bytes of the next message, or of a run of DataRow.

        Raises:
            asyncio.IncompleteReadError: The peer closed the connection.
        """
        while True:
            end, kind = self._complete_run()
            if end:
                raw = self._buffer[self._at : end]
                self._at = end
                return kind, raw
            more = await self._reader.read(_READ_BYTES)
            if not more:
                raise asyncio.IncompleteReadError(b"", None)
            self._buffer, self._at = self._buffer[self._at :] + more, 0
            await self._fill()

    async def _fill(self) -> None:
        """Reads the rest of a long first message in one piece."""
        if len(self._buffer) >= 5:
            (length,) = struct.unpack_from("!i", self._buffer, 1)
            missing = length + 1 - len(self._buffer)
            if missing > 0:
                self._buffer += await self._reader.readexactly(missing)

    def _complete_run(self) -> tuple[int, bytes]:
        buffer, at, size = self._buffer, self._at, len(self._buffer)
        kind, end = b"", 0
        while at + 5 <= size:
            this = buffer[at : at + 1]
            if kind and not (this == kind == b"D"):
                break
            (length,) = struct.unpack_from("!i", buffer, at + 1)
            if at + length + 1 > size:
                break
            kind, at = this, at + length + 1
            end = at
        return end, kind
