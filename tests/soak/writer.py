"""Writes rows into the source all the time, and remembers what the source acknowledged."""

from __future__ import annotations

import random
from collections import defaultdict
from datetime import datetime, timedelta
from typing import Any

import pymysql

from tests.soak.servers import Servers
from tests.soak.tables import CREATE, FIRST_DAY, FIRST_HOUR, PAST_DAYS, TABLES
from tests.soak.told import Busy

PAUSE_SECONDS = 0.2
ROWS_AT_ONCE = 5
ROWS_A_DAY, ROWS_AN_HOUR = 80, 20


class Writer(Busy):
    """Inserts and changes rows; every change of a row makes its `version` one greater."""

    def __init__(self, servers: Servers, seed: int) -> None:
        super().__init__()
        self._servers = servers
        self._random = random.Random(f"writer of {seed}")
        self._connection: pymysql.Connection[Any] | None = None
        self.versions: dict[str, dict[int, int]] = {table: defaultdict(int) for table in TABLES}
        self.writes = self.refused = 0

    def make_tables(self) -> None:
        """All tables, those of days and hours with rows in the past."""
        with self._servers.source() as connection, connection.cursor() as cursor:
            for table in TABLES:
                cursor.execute(f"DROP TABLE IF EXISTS {table}")
                cursor.execute(CREATE.format(table))
            days = [FIRST_DAY + timedelta(days=n) for n in range(PAST_DAYS)]
            self._fill(cursor, "visits", days, ROWS_A_DAY, timedelta(days=1))
            hours = [FIRST_HOUR + timedelta(hours=n) for n in range(24)]
            self._fill(cursor, "clicks", hours, ROWS_AN_HOUR, timedelta(hours=1))

    def go_on(self) -> None:
        while not self.over.wait(PAUSE_SECONDS):
            table = self._random.choice(TABLES)
            try:
                self._write(table)
            except (pymysql.Error, OSError):  # whether it was written, the source tells at the end
                self.refused += 1
                self._connection = None

    def _write(self, table: str) -> None:
        if self._connection is None:
            self._connection = self._servers.source()
        known = self.versions[table]
        with self._connection.cursor() as cursor:
            if known and self._random.random() < 0.3:
                row = self._random.choice(list(known)[-2000:])
                cursor.execute(
                    f"UPDATE {table} SET version = version + 1, amount = amount + 1, "
                    "modified = UTC_TIMESTAMP(6) WHERE id = %s",
                    (row,),
                )
                known[row] += 1
            else:
                rows = [self._row() for _ in range(ROWS_AT_ONCE)]
                marks = ", ".join(["(1, %s, %s, UTC_TIMESTAMP(6))"] * len(rows))
                cursor.execute(
                    f"INSERT INTO {table} (version, note, amount, modified) VALUES {marks}",
                    [value for row in rows for value in row],
                )
                first = int(cursor.lastrowid or 0)
                known.update(dict.fromkeys(range(first, first + len(rows)), 1))
        self.writes += 1

    def _row(self) -> tuple[str, int]:
        return f"note {self._random.randrange(10**9)}", self._random.randrange(10**6)

    def _fill(
        self, cursor: Any, table: str, starts: list[datetime], rows: int, length: timedelta
    ) -> None:
        """Rows in the past, which are not written again."""
        values = [
            (*self._row(), str((start + self._random.random() * length).replace(tzinfo=None)))
            for start in starts
            for _ in range(rows)
        ]
        cursor.executemany(
            f"INSERT INTO {table} (version, note, amount, modified) VALUES (1, %s, %s, %s)", values
        )
