"""One server process: launched, watched until it answers, and stopped, by its pid alone."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

LOOPBACK = "127.0.0.1"

# A launcher that dies before `setpriv` has asked for the signal would never cause it: the program
# starts only if its parent is still the one that is named, in $0.
_UNLESS_AN_ORPHAN = ("sh", "-c", '[ "$PPID" = "$0" ] && exec "$@"')


class StartError(RuntimeError):
    """A server did not come up; the message ends with the tail of its log."""


def free_port(preferred: int | None = None) -> int:
    """A loopback TCP port that is free now: `preferred` if it is, else one taken at random.

    The random ones lie below the range from which the system serves outgoing connections, so that
    none of those takes the port before the server does.
    """
    candidates = [preferred] if preferred is not None else []
    candidates += random.sample(range(20_000, 32_000), 200)
    for port in candidates:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
            return port
    raise StartError("No free loopback port was found in 200 tries.")


@dataclass
class ServerProcess:
    """A running program, known by its pid and start time, so that a reused pid is not taken for it.

    Attributes:
        name: What messages call it; also the stem of its log and pid files.
        pid: Its process id; it leads a process group of its own.
        started: When it started, as the system tells it; opaque, for comparison.
        folder: Where its log and pid files lie.
        stop_signal: What asks it to end.
    """

    name: str
    pid: int
    started: str
    folder: Path
    stop_signal: signal.Signals = signal.SIGTERM
    _child: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @classmethod
    def launch(
        cls,
        name: str,
        command: Sequence[str | Path],
        folder: Path,
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        user: str | None = None,
        outlive: bool = False,
        stop_signal: signal.Signals = signal.SIGTERM,
    ) -> Self:
        """Starts the program, after stopping the one an earlier, killed run left in this folder.

        Args:
            name: Names the log, ``<name>.log`` in the folder, to which its output is appended.
            command: The program and its arguments; secrets belong into `env` or files.
            folder: Where log and pid files go; made if missing.
            env: The program's whole environment; this process's if None.
            cwd: Where it runs; the folder if None.
            user: The user to become, when root.
            outlive: Let it live on when this process ends. Else it gets `stop_signal` as soon as
                the thread that launched it is gone, however that came about (Linux only).
            stop_signal: What asks it to end.
        """
        folder.mkdir(parents=True, exist_ok=True)
        cls._stop_left_over(name, folder)
        arguments = [str(part) for part in command]
        setpriv = shutil.which("setpriv") if sys.platform == "linux" and not outlive else None
        if setpriv is not None:
            arguments = [*_UNLESS_AN_ORPHAN, str(os.getpid()), *arguments]
            arguments = [setpriv, "--pdeathsig", stop_signal.name[3:], "--", *arguments]
        with (folder / f"{name}.log").open("ab") as log:
            child = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=dict(env) if env is not None else None,
                cwd=cwd or folder,
                user=user,
                group=_primary_group(user),
                extra_groups=[] if user is not None else None,
                start_new_session=True,
            )
        process = cls(name, child.pid, _start_time(child.pid) or "", folder, stop_signal, child)
        process.pid_path.write_text(json.dumps(process.record()))
        return process

    @classmethod
    def from_record(cls, record: Mapping[str, object]) -> Self:
        """The process that `record()` told of, perhaps launched by another program."""
        return cls(
            str(record["name"]),
            int(str(record["pid"])),
            str(record["started"]),
            Path(str(record["folder"])),
            signal.Signals(int(str(record["stop_signal"]))),
        )

    def record(self) -> dict[str, str | int]:
        """What finds this process again: all of the above, fit for JSON."""
        return {
            "name": self.name,
            "pid": self.pid,
            "started": self.started,
            "folder": str(self.folder),
            "stop_signal": int(self.stop_signal),
        }

    @property
    def log_path(self) -> Path:
        """The file that holds its output."""
        return self.folder / f"{self.name}.log"

    @property
    def pid_path(self) -> Path:
        """The file that tells a later run which process this one was."""
        return self.folder / f"{self.name}.pid.json"

    def alive(self) -> bool:
        """Whether exactly this process still runs."""
        if self._child is not None and self._child.poll() is not None:
            return False
        return bool(self.started) and _start_time(self.pid) == self.started

    def wait(self, timeout_seconds: float) -> int | None:
        """Waits for the end of a process launched here; its exit code, None if it still runs."""
        if self._child is None:
            raise RuntimeError(f"{self.name} was launched by another process.")
        try:
            return self._child.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            return None

    def wait_until(self, ready: Callable[[], bool], timeout_seconds: float) -> None:
        """Returns as soon as `ready()` is true; stops the process if that does not come.

        Raises:
            StartError: The process ended, or was not ready in time; holds the log's tail.
        """
        deadline = time.monotonic() + timeout_seconds
        while True:
            running = self.alive()
            if running and ready():
                return
            if not running:
                raise StartError(f"{self.name} ended while starting.\n{self.log_tail()}")
            if time.monotonic() > deadline:
                self.stop(grace_seconds=2)
                raise StartError(
                    f"{self.name} was not ready after {timeout_seconds:g} s.\n{self.log_tail()}"
                )
            time.sleep(0.05)

    def log_tail(self, lines: int = 30) -> str:
        """The last lines of its log, under the log's path."""
        text = self.log_path.read_text(errors="replace") if self.log_path.exists() else ""
        return "\n".join([f"The end of {self.log_path}:", *text.splitlines()[-lines:]])

    def stop(self, grace_seconds: float = 20) -> None:
        """Ends it, and what is left of its process group after `grace_seconds`; may be repeated."""
        if self.alive():
            os.kill(self.pid, self.stop_signal)
            deadline = time.monotonic() + grace_seconds
            while self.alive() and time.monotonic() < deadline:
                time.sleep(0.05)
            # Usually the group is gone by now; of zombies, macOS says "not permitted".
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
        if self._child is not None:
            self._child.wait()
        self.pid_path.unlink(missing_ok=True)

    @classmethod
    def _stop_left_over(cls, name: str, folder: Path) -> None:
        try:
            record = json.loads((folder / f"{name}.pid.json").read_text())
            left_over = cls.from_record(record)
        except (FileNotFoundError, ValueError, KeyError):  # none, or cut off while written
            return
        left_over.stop()


def _start_time(pid: int) -> str | None:
    """When the process started, None if there is none (or only a zombie)."""
    if sys.platform == "linux":
        try:
            # The name, in parentheses, may hold blanks: count the fields after it (proc(5)).
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return None
        return None if fields[0] in "ZX" else fields[19]
    shown = subprocess.run(
        ["ps", "-o", "stat=,lstart=", "-p", str(pid)],
        env=os.environ | {"LC_ALL": "C", "TZ": "UTC"},  # whoever asks later may have others
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    state, _, started = shown.partition(" ")
    return None if not shown or state.startswith("Z") else started.strip()


def _primary_group(user: str | None) -> int | None:
    if user is None:
        return None
    import pwd  # noqa: PLC0415  # not on every system; only root on a POSIX system gets here

    return pwd.getpwnam(user).pw_gid
