"""One snapshot for several connections: each begins its transaction while nobody can write.

InnoDB gives each transaction a snapshot of its own. Two of them are the same where no write to the
table was committed between them, which a lock on this one table, held for a moment, makes sure of.
ConnectorX connects by itself, so it cannot be told when that moment is: its session waits, within
a statement, for a named lock that is held here, and begins its transaction with the next statement,
on the server, without a word from the network between. So the table is locked for a millisecond or
two, however far away the server is.

https://dev.mysql.com/doc/refman/8.4/en/locking-functions.html
https://dev.mysql.com/doc/refman/8.4/en/lock-tables.html
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any, Self

import pymysql
from pymysql.constants import CLIENT

from blocks.sources.mysql import catalog
from blocks.sources.mysql.connection import MySQLServer
from blocks.sources.mysql.errors import number_of
from blocks.sources.mysql.select import table_name
from ferry.batch import Snapshot
from ferry.errors import ConfigurationError
from ferry.schema import TableName

LOCK_WAIT_SECONDS = 1
"""So long the table's lock is waited for, which waits behind transactions that have written to it.
Who writes to it meanwhile does not wait behind that."""

READY_SECONDS = 30.0
"""So long all connections are waited for: processes start, connections are made."""

_GATE_SECONDS = 3600
"""A connection waits for longer than whoever opens the gate has patience."""

_POLL_SECONDS = 0.01
_REFUSED = {1044, 1045, 1142, 1227}
_LOCK_WAIT = 1205


class Gate:
    """What holds the connections back, and lets them all begin at once.

    Args:
        server: The server.
        table: The table that is read.
        database: The database of a table without a schema.
        count: How many connections read it.
        tag: A word of the read's own, for the names of the locks.
    """

    def __init__(
        self, server: MySQLServer, table: TableName, database: str, count: int, tag: str
    ) -> None:
        self.why = ""
        """Why there is no one snapshot, where there is none."""
        self._server, self._table, self._database = server, table, database
        self._waits = [f"{tag}-waits-{n}" for n in range(count)]
        self._ready = [f"{tag}-ready-{n}" for n in range(count)]
        self._connection: pymysql.Connection[Any] | None = None
        self._since = 0.0

    def __enter__(self) -> Self:
        """Close the gate, where a snapshot can be had at all."""
        try:
            self._connection = self._server.connect(CLIENT.MULTI_STATEMENTS)
            self.why = self._why_not(self._connection)
        except (pymysql.MySQLError, ConfigurationError) as error:
            self.why = f"the server refuses it ({_number(error)})"
        self._since = time.monotonic()
        if self.why:
            self._end()
        return self

    def __exit__(self, *_: object) -> None:
        """Let go of everything; whoever still waits reads on."""
        self._end()

    def session(self, position: int) -> tuple[str, ...]:
        """The last statements of a connection's session, before it reads."""
        if self._connection is None:
            return ()
        waits, ready = self._waits[position], self._ready[position]
        return (
            f"DO GET_LOCK('{ready}', 0); DO GET_LOCK('{waits}', {_GATE_SECONDS}); "
            "START TRANSACTION WITH CONSISTENT SNAPSHOT; "
            f"DO RELEASE_LOCK('{ready}'), RELEASE_LOCK('{waits}')",
        )

    def open(self, is_late: Callable[[], bool]) -> Snapshot:
        """Let all begin, behind the table's lock if it can be had; what snapshot they read.

        Args:
            is_late: Whether one has begun already, or has failed.
        """
        if self._connection is None:
            return "not one"
        try:
            if not self._all_wait(self._connection, is_late):
                self.why = "not all connections came to wait for it, as where they are on several "
                self.why += "servers"
                return "not one"
            return "one" if self._begin(self._connection) else "not one"
        except pymysql.MySQLError as error:
            code = number_of(error)
            if code in _REFUSED:
                self.why = "the user may not LOCK TABLES"
            elif code == _LOCK_WAIT:
                self.why = "a transaction that writes to the table was under way"
            else:
                self.why = f"the server refuses it ({_number(error)})"
            return "not one"
        finally:
            self._end()

    def _why_not(self, connection: pymysql.Connection[Any]) -> str:
        """Close the gate; why that is of no use, if it is."""
        with connection.cursor() as cursor:
            engine = catalog.engine(cursor, self._table, self._database)
            if engine != "InnoDB":
                return f"{engine or 'a view'} has no snapshots"
            # Of a read-only copy of Aurora's, where a lock holds up no change.
            cursor.execute("SELECT @@innodb_read_only")
            if cursor.fetchone() != (0,):
                return "the server is a read-only copy"
            held = ", ".join(f"GET_LOCK('{name}', 0)" for name in self._waits)
            # One message, so that whoever stands between and takes no such ones says so now.
            cursor.execute(f"SET SESSION lock_wait_timeout = {LOCK_WAIT_SECONDS}; SELECT {held}")
            cursor.nextset()
            row = cursor.fetchone() or ()
            return "" if all(got == 1 for got in row) else "the server gives no named locks"

    def _all_wait(self, connection: pymysql.Connection[Any], is_late: Callable[[], bool]) -> bool:
        used = " AND ".join(f"IS_USED_LOCK('{name}') IS NOT NULL" for name in self._ready)
        until = time.monotonic() + READY_SECONDS
        with connection.cursor() as cursor:
            while time.monotonic() < until and not is_late():
                cursor.execute(f"SELECT {used}")  # names of our own
                if cursor.fetchone() == (1,):
                    return True
                time.sleep(_POLL_SECONDS)
        return False

    def _begin(self, connection: pymysql.Connection[Any]) -> bool:
        """Lock, open the gate, wait until all have begun, unlock: in one message to the server."""
        opened = ", ".join(f"RELEASE_LOCK('{name}')" for name in self._waits)
        begun = "1"
        for name in self._ready:
            begun = f"IF(GET_LOCK('{name}', 1) = 1, {begun}, 0)"
        statements = (
            f"LOCK TABLES {table_name(self._table, self._database)} READ",
            f"DO {opened}",
            f"SELECT {begun}",
            "UNLOCK TABLES",
        )
        all_begun = False
        with connection.cursor() as cursor:
            cursor.execute("; ".join(statements))
            while True:
                if cursor.description:
                    all_begun = cursor.fetchone() == (1,)
                if not cursor.nextset():
                    break
        if time.monotonic() - self._since > _GATE_SECONDS / 2:  # stopped, and went on
            all_begun = False
        if not all_begun:
            self.why = "not all connections began in time"
        return all_begun

    def _end(self) -> None:
        """Closing the connection gives back all locks that it holds."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(pymysql.MySQLError, OSError):
                connection.close()


def _number(error: Exception) -> str:
    code = number_of(error)
    return f"error {code}" if code else type(error).__name__
