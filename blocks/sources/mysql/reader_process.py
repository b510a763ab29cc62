"""The reading process seen from Ferry's side: started, asked, read from, and ended."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import weakref
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa

from blocks.pool import Pool
from blocks.sources.mysql.errors import error_of_code, no_answer_in_time, unknown_login
from blocks.sources.mysql.reader_program import DONE
from ferry.errors import BusyError, ConnectionLostError, DataError, FerryError

BATCH_BYTES = 2 * 1024 * 1024
"""A batch has about so many bytes, and never many more than the rows fetched at a time."""

OnProcess = Callable[[subprocess.Popen[bytes] | None], None]
"""Told of the process that reads, which another thread may then kill; of None once it may not."""

_PROGRAM = Path(__file__).with_name("reader_program.py")
_LITTLE_MEMORY = {"ARROW_DEFAULT_MEMORY_POOL": "system", "MALLOC_ARENA_MAX": "1"}
"""What its threads free is used again or given back: 5 to 18 MB less, in no more time."""


class ReaderStoppedError(RuntimeError):
    """How the reading process ended, without the text of its error, which may hold values."""


class ReadTimeoutError(ReaderStoppedError):
    """The reading process ended because no rows arrived in time."""


class UnreadableError(ReaderStoppedError):
    """The reading process ended because ConnectorX cannot read a value."""


def _start(ca_path: str | None) -> subprocess.Popen[bytes]:
    """A new process, which trusts the authorities in `ca_path` and no others.

    It ends with this one, also where this one is killed.

    ConnectorX would read the authorities of the machine besides, for each connection anew, which
    takes four times as long as all the rest of a small read.

    Raises:
        BusyError: The machine has no room for one more.
    """
    env = {**os.environ, "RUST_BACKTRACE": "0", **_LITTLE_MEMORY}
    if ca_path:
        env["SSL_CERT_FILE"], env["SSL_CERT_DIR"] = ca_path, os.devnull
    try:
        theirs, ours = os.pipe()
        try:
            process = subprocess.Popen(
                # -I: neither the current folder nor PYTHON* variables decide what is imported.
                [sys.executable, "-I", str(_PROGRAM), str(theirs)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=env,
                pass_fds=(theirs,),
            )
        except OSError:
            os.close(ours)
            raise
        finally:
            os.close(theirs)
    except OSError as error:
        raise BusyError(
            "this machine cannot start the process that reads",
            step="extract",
            found=error.strerror or type(error).__name__,
            todo="If it stays so: check this machine's memory, and how many processes and open "
            "files the worker may have; then retry the run.",
        ) from error
    weakref.finalize(process, os.close, ours)
    return process


def _is_good(process: subprocess.Popen[bytes], _idle_seconds: float) -> bool:
    return process.poll() is None


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe:
            with contextlib.suppress(OSError):  # of what nobody has read
                pipe.close()


READERS: Pool[subprocess.Popen[bytes]] = Pool(_end, _is_good)


@dataclass(frozen=True, repr=False)
class MySQLReader:
    """One SELECT, read by a process of its own.

    Attributes:
        url: ConnectorX's connection URL; it holds the password and goes to the process by a pipe.
        sql: The statement.
        session: Statements that set the session first.
        batch_rows: Rows in a batch, at most.
        read_timeout_seconds: How long to wait for a batch.
        address: Server and database, for messages.
        ca_path: PEM file of the authorities that may vouch for the server; None for the machine's.
        fetch_rows: Rows that are fetched at a time, however long they are; None for `batch_rows`.
        batch_bytes: A batch that has so many bytes takes no more.
    """

    url: str
    sql: str
    session: Sequence[str]
    batch_rows: int
    read_timeout_seconds: float
    address: str
    ca_path: str | None = None
    fetch_rows: int | None = None
    batch_bytes: int = BATCH_BYTES

    def after(self, statements: Sequence[str]) -> MySQLReader:
        """The same, after some statements more in its session."""
        return replace(self, session=(*self.session, *statements))

    def batches(self, on_process: OnProcess = lambda _: None) -> Generator[pa.RecordBatch]:
        """The result as it comes; the process ends with an iterator that is abandoned.

        One that has read its result to the end waits for the next statement, whose server and
        session are its own: it keeps no connection.

        Args:
            on_process: Told of the process, and when it is not this read's any more.

        Raises:
            ConnectionLostError: The connection was cut, or no batch came in time; caused by a
                `ReadTimeoutError` then.
            BusyError: The server stopped the statement, or this machine cannot start the process.
            DataError: ConnectorX cannot read a value.
        """
        with READERS.lease(self.ca_path, lambda: _start(self.ca_path)) as lease:
            process = lease.thing
            on_process(process)
            assert process.stdin and process.stdout and process.stderr
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(self._request())
                process.stdin.flush()
            truncated: Exception | None = None
            try:
                with pa.ipc.open_stream(process.stdout) as stream:
                    yield from stream
            except (pa.ArrowInvalid, OSError) as error:  # cut off: the exit code says why
                truncated = error
            if truncated or process.stdout.read(len(DONE)) != DONE:
                process.stdin.close()  # should it still be there, it ends now
                failure = process.stderr.read()
                exit_code = process.wait()
                raise self._error(exit_code, failure) from self._cause(exit_code, failure)
            on_process(None)

    def _request(self) -> bytes:
        return (
            json.dumps(
                {
                    "url": self.url,
                    "sql": self.sql,
                    "session": list(self.session),
                    "batch_rows": self.batch_rows,
                    "fetch_rows": self.fetch_rows or self.batch_rows,
                    "batch_bytes": self.batch_bytes,
                    "read_timeout_seconds": self.read_timeout_seconds,
                }
            ).encode()
            + b"\n"
        )

    def _error(self, exit_code: int, failure: bytes) -> FerryError:
        if exit_code == -signal.SIGALRM:
            late = no_answer_in_time(self.address, self.read_timeout_seconds)
            return late.at(step="extract")
        report = _parsed(failure)
        if report.get("kind") == "server":
            return error_of_code(int(str(report["code"])), self.address).at(step="extract")
        if report.get("kind") == "login":
            return unknown_login(str(report["plugin"]), self.address).at(step="extract")
        if report.get("kind") == "unreadable":
            return DataError(
                f"{self.address} sent a value that cannot be read",
                step="extract",
                todo="If a column was altered while it was read, run again; else find the value "
                "by leaving columns out with `exclude`.",
            )
        if report.get("kind") == "lost":
            return error_of_code(0, self.address).at(step="extract")
        return ConnectionLostError(
            f"the process that reads from {self.address} ended before its result did",
            step="extract",
            found=f"exit code {exit_code}",
            todo="If it stays so: check this machine's memory; then retry the run.",
        )

    def _cause(self, exit_code: int, failure: bytes) -> ReaderStoppedError:
        if exit_code == -signal.SIGALRM:
            return ReadTimeoutError("stopped by its clock")
        report = _parsed(failure)
        kind = UnreadableError if report.get("kind") == "unreadable" else ReaderStoppedError
        return kind(f"exit code {exit_code}, {report.get('type')}, error {report.get('code')}")


def _parsed(failure: bytes) -> dict[str, object]:
    try:
        report = json.loads(failure)
    except ValueError:
        return {}
    return report if isinstance(report, dict) else {}
