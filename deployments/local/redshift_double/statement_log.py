"""The log of every statement that reached the double, as JSON lines, without secrets."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

_SECRET = re.compile(
    r"\b(PASSWORD|ACCESS_KEY_ID|SECRET_ACCESS_KEY|SESSION_TOKEN|CREDENTIALS)(\s+(?:AS\s+)?)"
    r"'(?:[^'\\]|\\.|'')*'",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class LoggedStatement:
    """One statement.

    Attributes:
        time: When it arrived, ISO 8601 in UTC.
        session: Number of the connection since the double started.
        database: The database that the session is connected to.
        sql: The text as the client sent it, secrets replaced.
        outcome: ``ok``, ``cut``, or ``error`` with the SQLSTATE.
    """

    time: str
    session: int
    database: str
    sql: str
    outcome: str


class StatementLog:
    """Appends statements to a file, one line each, when they have ended."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a", encoding="utf-8")

    def write(self, started: datetime, session: int, database: str, sql: str, outcome: str) -> None:
        """Writes one line and flushes it."""
        text = _SECRET.sub(r"\1\2'***'", sql)
        stamp = started.astimezone(UTC).isoformat()
        line = LoggedStatement(stamp, session, database, text, outcome)
        self._file.write(json.dumps(asdict(line)) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


class LogReader:
    """Reads a log that grows, each line once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read: list[LoggedStatement] = []
        self._offset = 0

    def statements(self) -> list[LoggedStatement]:
        """Returns the statements in the order in which they ended."""
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._offset)
            new = file.read()
        whole = new[: new.rfind(b"\n") + 1]  # without a line that is still being written
        self._offset += len(whole)
        self._read += [LoggedStatement(**json.loads(line)) for line in whole.splitlines()]
        return list(self._read)
