"""The program that reads with ConnectorX and writes what it reads to its output as Arrow streams.

It is a process of its own (`MySQLReader` in `reader_process.py` starts it), because ConnectorX

- holds Python's lock while it waits for the server: a server that stalls would stop every thread
  of the process, Prefect's heartbeat among them, and no watchdog in it could act;
- has no time limits of its own;
- reports a lost connection by a panic, which prints the text of the error, sometimes with a value
  of a row in it, to standard error.

Argument: a pipe, into which nobody writes; its other end closes with whoever asks, and then this
process ends. Input: lines, each a JSON object, see `_read`. Output: for each an Arrow IPC stream
and then `DONE`. On an error, exit code 1 and on standard error one JSON object with the error's
`kind`, the server's `code` and the `plugin` of a login that is not known, never its text: it ends
with its first error.

Nothing of Ferry is imported, so that it starts in a fifth of a second.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import select
import signal
import sys
from typing import Any

_LOST = re.compile(
    r"IoError|DriverError|TlsError|disconnected|timed out|PoolError|CodecError", re.I
)
_LOGIN = re.compile(r"Unknown authentication protocol: `([\w-]{1,64})`")
_UNREADABLE = re.compile(r"Couldn't convert|Could not retrieve|Could not convert|utf-?8", re.I)


DONE = b"."
"""Follows a stream that is whole. One that ends without it is not, whatever Arrow says of it."""


def main() -> int:
    """Read what is asked for, until nobody asks any more."""
    errors = os.fdopen(os.dup(2), "w")
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123  # a path object adds only start time
        os.dup2(nowhere.fileno(), 2)  # panics print here
    for ending in (signal.SIGALRM, signal.SIGIO):
        signal.signal(ending, signal.SIG_DFL)  # perhaps inherited as ignored
    _end_with(int(sys.argv[1]))
    try:
        while line := sys.stdin.buffer.readline():
            _read(json.loads(line))
    except BaseException as error:  # noqa: BLE001  # a panic is not an Exception
        json.dump(_failure(error), errors)
        errors.flush()
        os._exit(1)  # not by way of ConnectorX's threads, which may still wait
    os._exit(0)


def _read(request: dict[str, Any]) -> None:
    """Read `sql` from `url`, after the `session` statements, in batches of `batch_rows` at most.

    ConnectorX makes batches of just so many rows, however long they are. So it is asked for
    `fetch_rows` at a time, which are put together until there are `batch_bytes`.

    When no batch arrives for `read_timeout_seconds`, SIGALRM ends this process, whatever it is
    waiting for. While the reader of its output takes its time, the clock stands.
    """
    timeout_seconds = float(request["read_timeout_seconds"])
    signal.setitimer(signal.ITIMER_REAL, timeout_seconds)
    connectorx, pa = _libraries()
    reader = connectorx.read_sql(
        request["url"],
        request["sql"],
        return_type="arrow_stream",
        batch_size=int(request["fetch_rows"]),
        pre_execution_query=request["session"],
    )
    writer = pa.ipc.new_stream(sys.stdout.buffer, reader.schema)
    fetched: list[Any] = []
    rows = size_bytes = 0
    for batch in reader:
        signal.setitimer(signal.ITIMER_REAL, 0)
        fetched.append(batch)
        rows, size_bytes = rows + batch.num_rows, size_bytes + batch.nbytes
        del batch
        full = rows + int(request["fetch_rows"]) > int(request["batch_rows"])
        if full or size_bytes >= int(request["batch_bytes"]):
            _write(writer, fetched)
            rows = size_bytes = 0
        signal.setitimer(signal.ITIMER_REAL, timeout_seconds)
    signal.setitimer(signal.ITIMER_REAL, 0)
    _write(writer, fetched)
    writer.close()
    sys.stdout.buffer.write(DONE)
    sys.stdout.flush()


def _end_with(pipe: int) -> None:
    """Let the other end of the pipe end this process by SIGIO, whatever it is waiting for.

    That one closes with the process that holds it, also by SIGKILL. The input would not do: who
    writes a line to it may send the signal of that line after it was read.
    """
    fcntl.fcntl(pipe, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(pipe, fcntl.F_SETFL, fcntl.fcntl(pipe, fcntl.F_GETFL) | os.O_ASYNC)
    ended = select.poll()
    ended.register(pipe, 0)
    if ended.poll(0):  # before it could be told
        os._exit(1)


def _libraries() -> tuple[Any, Any]:
    """ConnectorX and pyarrow, whose imports, too, may print.

    pyarrow imports numpy wherever it is, and needs it for nothing here: 0.1 s of the start.
    """
    sys.modules.setdefault("numpy", None)  # type: ignore[arg-type]
    import connectorx  # noqa: PLC0415
    import pyarrow as pa  # noqa: PLC0415

    return connectorx, pa


def _write(writer: Any, fetched: list[Any]) -> None:
    """Write what was fetched as one batch, and forget it."""
    import pyarrow as pa  # noqa: PLC0415  # imported already

    if len(fetched) == 1:
        writer.write_batch(fetched[0])
    elif fetched:
        writer.write_table(pa.Table.from_batches(fetched).combine_chunks())
    fetched.clear()


def _failure(error: BaseException) -> dict[str, object]:
    text = str(error)
    code = re.search(r"ERROR (\d+) \(", text)
    plugin = _LOGIN.search(text)
    if code:
        kind = "server"
    elif plugin:
        kind = "login"
    elif _UNREADABLE.search(text):
        kind = "unreadable"
    elif _LOST.search(text):
        kind = "lost"
    else:
        kind = "unknown"
    report: dict[str, object] = {"kind": kind, "code": int(code[1]) if code else 0}
    if plugin:
        report["plugin"] = plugin[1]
    return {**report, "type": type(error).__name__}


if __name__ == "__main__":
    main()
