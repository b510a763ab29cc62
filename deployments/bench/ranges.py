"""What reading in ranges is worth where the network is slow: one table by one connection, by four.

Between Ferry and MariaDB stands a proxy that keeps back whatever the server sends, for each read of
the network anew, as a round trip to another place does.
"""

from __future__ import annotations

import contextlib
import shlex
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import SecretStr

from blocks.sources import MySQLSource
from deployments.bench import page, table
from deployments.bench.measured import MeasuredError
from deployments.bench.servers import YEAR
from deployments.bench.table import Results, Row, row
from deployments.local import shop
from deployments.local.servers import MariaDB
from ferry.batch import ExtractQuery
from ferry.schema import TableName

DELAY_SECONDS = 0.02
RANGES = 4
SHARE = 0.35
"""At most this of the time of one connection."""

TABLE = "nps"
_READ_BYTES = 65_536


def main(rounds: int, rows: int, to_page: Path | None) -> None:
    """Measure this section, print its table, and write it into a page if told to."""
    with (
        tempfile.TemporaryDirectory(prefix="ferry-bench-") as folder,
        MariaDB.start(Path(folder)) as mariadb,
    ):
        with mariadb.connect() as connection:
            shop.make_mariadb(connection, nps_rows=rows, orders_rows=1000, span=YEAR)
            connection.cursor().execute(f"ANALYZE TABLE {TABLE}")
        section = list(_measure(mariadb, rows, rounds))
    lines = table.lines(Results({}, section=section))
    sys.stdout.write("\n" + "\n".join(lines) + "\n")
    if to_page:
        page.write(to_page, lines, f"make bench ARGS='{shlex.join(sys.argv[1:])}'", "ranges")


def _measure(mariadb: MariaDB, rows: int, rounds: int) -> Iterator[Row]:
    """Read the table by one connection and by several, in turn; the rows of this section."""
    taken: dict[int, list[float]] = {1: [], RANGES: []}
    with _delayed(mariadb.host, mariadb.port) as port:
        source = MySQLSource(
            host=mariadb.host,
            port=port,
            user=mariadb.user,
            password=SecretStr(mariadb.password),
            database=mariadb.database,
            ca_path=str(mariadb.ca_path),
        )
        for _ in range(rounds):
            for count, seconds in taken.items():
                seconds.append(_read(source, count, rows))
    one, several = (statistics.median(seconds) for seconds in taken.values())
    what = f"{TABLE}, {rows:,} rows"
    yield row(f"read, {DELAY_SECONDS * 1000:.0f} ms a network read", what, seconds=one)
    yield row(
        f"the same by {RANGES} ranges",
        what,
        seconds=several,
        ratio=several / one,
        to="one connection",
        goal=SHARE,
    )


def _read(source: MySQLSource, connections: int, rows: int) -> float:
    """The seconds that it takes to read the whole table.

    Raises:
        MeasuredError: Not all of it was read, or not as it was to be.
    """
    query = ExtractQuery(source.describe(TableName("", TABLE)))
    begun = time.perf_counter()
    reading = source.read_at_once(query, connections)
    found = sum(batch.num_rows for batch in reading.batches)
    seconds = time.perf_counter() - begun
    if found != rows or reading.connections != connections:
        raise MeasuredError(
            f"{found} of {rows} rows were read by {reading.connections} connections"
        )
    return seconds


@contextmanager
def _delayed(host: str, port: int) -> Iterator[int]:
    """The port of a proxy in front of this server, as long as the block lasts."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_accept, args=(listener, host, port), daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def _accept(listener: socket.socket, host: str, port: int) -> None:
    with contextlib.suppress(OSError):
        while True:
            client, _ = listener.accept()
            server = socket.create_connection((host, port))
            for one, other, seconds in ((client, server, 0.0), (server, client, DELAY_SECONDS)):
                threading.Thread(target=_pass, args=(one, other, seconds), daemon=True).start()


def _pass(one: socket.socket, other: socket.socket, seconds: float) -> None:
    with contextlib.suppress(OSError):
        while data := one.recv(_READ_BYTES):
            time.sleep(seconds)
            other.sendall(data)
    for each in (one, other):  # whoever is at the other end sees that it is over
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
