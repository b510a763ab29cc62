"""Several reading processes at once, one for each range of a table, as one stream of batches."""

from __future__ import annotations

import contextlib
import queue
import subprocess
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from functools import partial

import pyarrow as pa

from blocks.source import Reading
from blocks.sources.mysql.reader_process import MySQLReader, OnProcess
from blocks.sources.mysql.select import Select
from blocks.sources.mysql.snapshot import Gate

Rows = Callable[[OnProcess], Generator[pa.RecordBatch]]
"""Reads one range."""

_LOOK_SECONDS = 0.2
"""A thread whose batch nobody takes looks so often whether it is still to go on."""


def read_together(
    reading: Reading,
    gate: Gate,
    ranges: Sequence[tuple[Select, MySQLReader]],
    rows: Callable[[Select, MySQLReader, OnProcess], Generator[pa.RecordBatch]],
    look: Callable[[], None],
    by_one: Callable[[], Iterator[pa.RecordBatch]] | None,
) -> Generator[pa.RecordBatch]:
    """The batches of all ranges as they come, from one snapshot if that can be had.

    Args:
        reading: Told of the snapshot, and when all have begun.
        gate: Lets all begin at once.
        ranges: Each range's statement, and what reads it.
        rows: Reads one.
        look: Once all have begun, raises if they may not have opened the same table.
        by_one: Reads all of it by one connection, where that is preferred to several snapshots.

    Raises:
        FerryError: The first that one of the ranges ends with: it ends them all.
    """
    with gate:
        team = RangeReaders(
            [
                partial(rows, select, reader.after(gate.session(position)))
                for position, (select, reader) in enumerate(ranges)
            ]
        )
        try:
            team.start()
            reading.snapshot, reading.why = gate.open(team.is_late), gate.why
            if reading.snapshot == "one" or by_one is None:
                for batch in team.batches():
                    if team.all_begun and not reading.begun:
                        look()
                        reading.begun = True
                    yield batch
                if not reading.begun:
                    look()
                return
        finally:
            team.stop()
    reading.snapshot, reading.connections, reading.begun = None, 1, True
    yield from by_one()


def read_alone(
    rows: Generator[pa.RecordBatch], look: Callable[[], None]
) -> Generator[pa.RecordBatch]:
    """The batches of one connection.

    Args:
        rows: Reads them.
        look: Once it has begun, raises if it may have opened another table than was looked at.
    """
    with contextlib.closing(rows):
        first = next(rows, None)
        look()
        if first is not None:
            yield first
        yield from rows


class RangeReaders:
    """The ranges of one table, each read by a thread and its process.

    Args:
        ranges: What reads each.
    """

    def __init__(self, ranges: Sequence[Rows]) -> None:
        self.all_begun = False
        """Whether each has given rows, or has none: before, one may still open the table."""
        # Two batches of each wait at most.
        self._arrived: queue.Queue[tuple[int, pa.RecordBatch | BaseException | None]] = queue.Queue(
            len(ranges)
        )
        self._stopped = threading.Event()
        self._begun = threading.Event()
        self._guard = threading.Lock()
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._threads = [
            threading.Thread(
                target=self._read, args=(n, rows), name=f"ferry-range-{n}", daemon=True
            )
            for n, rows in enumerate(ranges)
        ]

    def start(self) -> None:
        """Let all begin."""
        for thread in self._threads:
            thread.start()

    def is_late(self) -> bool:
        """Whether rows of one have come, or one has failed or ended."""
        return self._begun.is_set()

    def batches(self) -> Generator[pa.RecordBatch]:
        """The batches of all ranges as they come.

        Raises:
            FerryError: The first that one of them ends with: it ends them all.
        """
        left, not_begun = len(self._threads), set(range(len(self._threads)))
        while left:
            position, arrived = self._arrived.get()
            not_begun.discard(position)
            self.all_begun = not not_begun
            if arrived is None:
                left -= 1
            elif isinstance(arrived, BaseException):
                raise arrived
            else:
                yield arrived

    def stop(self) -> None:
        """End all that still reads, and its processes; nothing is left when this returns."""
        self._stopped.set()
        with self._guard:
            for process in self._processes.values():
                process.kill()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()

    def _read(self, position: int, rows: Rows) -> None:
        def on_process(process: subprocess.Popen[bytes] | None) -> None:
            with self._guard:
                if process is None:
                    self._processes.pop(position, None)
                    return
                self._processes[position] = process
                if self._stopped.is_set():
                    process.kill()

        try:
            with contextlib.closing(rows(on_process)) as batches:
                for batch in batches:
                    if not self._put(position, batch):
                        return
            self._put(position, None)
        except BaseException as error:  # noqa: BLE001  # handed on to whoever reads
            self._put(position, error)

    def _put(self, position: int, arrived: pa.RecordBatch | BaseException | None) -> bool:
        """Hand it on; False if nobody is there any more."""
        self._begun.set()
        while not self._stopped.is_set():
            try:
                self._arrived.put((position, arrived), timeout=_LOOK_SECONDS)
            except queue.Full:
                continue
            return True
        return False
