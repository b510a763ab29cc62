"""One command, run to its end in a process of its own, with its memory and processor time."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_EVERY_SECONDS = 0.1
_MAPPED_EVERY_SECONDS = 1.0
_LOG_TAIL = 3000


class MeasuredError(RuntimeError):
    """A command that was to be measured failed; the message ends with the tail of its log."""


@dataclass(frozen=True)
class Measured:
    """What a command wrote as the last line of its output, and its peak memory.

    Attributes:
        result: The JSON object.
        peak_mb: The most memory that the process and its children held together, in MB of a million
            bytes; None where the system does not tell.
        before_mb: What it held when its first child began: of ours, before the first row is read.
        cpu_seconds: The processor time of the process and its children, but for their last tenth of
            a second; None where the system does not tell.
    """

    result: dict[str, Any]
    peak_mb: float | None
    before_mb: float | None = None
    cpu_seconds: float | None = None

    @property
    def seconds(self) -> float:
        """How long it took, as the command itself says."""
        return float(self.result["seconds"])


def run(
    command: Sequence[str | Path],
    log: Path,
    *,
    env: Mapping[str, str],
    cwd: Path,
    timeout_seconds: float = 600,
) -> Measured:
    """Run the command and measure it.

    `getrusage` does not serve: Linux lets a new process inherit the peak of the one that started
    it. So memory is read while they run: what each process has to itself every tenth of a second,
    the files mapped, programs and libraries, every second; a file that two of them map counts once.

    Args:
        command: What to run.
        log: Where its output goes.
        env: Its whole environment.
        cwd: Where it runs.
        timeout_seconds: When to end it.

    Raises:
        MeasuredError: It failed, or took too long.
    """
    memory, processors = _Memory(), dict[int, float]()
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(env),
            cwd=cwd,
        )
        try:
            end = time.monotonic() + timeout_seconds
            while process.poll() is None and time.monotonic() < end:
                family = _family(process.pid)
                memory.look_at(family)
                processors |= {pid: cpu for pid in family if (cpu := _cpu_seconds(pid))}
                time.sleep(_EVERY_SECONDS)
        finally:
            if process.poll() is None:
                process.kill()
            exit_code = process.wait()
    text = log.read_text(errors="replace")
    if exit_code != 0:
        raise MeasuredError(f"exit code {exit_code}\n{text[-_LOG_TAIL:]}")
    results = [line for line in text.splitlines() if line.startswith('{"')]
    if not results:
        raise MeasuredError(f"it told nothing\n{text[-_LOG_TAIL:]}")
    result = json.loads(results[-1])  # a late line of Prefect's log may stand behind it
    return Measured(
        result,
        memory.peak_bytes / 1e6 or None,
        memory.before_bytes / 1e6 or None,
        sum(processors.values()) or None,
    )


def _family(pid: int) -> list[int]:
    """The process and its children, and theirs.

    A child that has not become its own program yet is left out: its memory is still its parent's.
    """
    found = [pid]
    with suppress(OSError):
        program = Path(f"/proc/{pid}/cmdline").read_bytes()
        for thread in Path(f"/proc/{pid}/task").iterdir():
            for child in (thread / "children").read_text().split():
                if Path(f"/proc/{child}/cmdline").read_bytes() != program:
                    found += _family(int(child))
    return found


def _cpu_seconds(pid: int) -> float:
    """The processor time of a process by now; 0 where that is not told."""
    with suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
        return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")
    return 0.0


def _own_bytes(pid: int) -> int:
    """What the process holds in no file."""
    size = 0
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(("RssAnon:", "RssShmem:")):
                size += int(line.split()[1]) * 1024
    return size


def _mapped_bytes(pid: int) -> dict[str, int]:
    """What the process holds of each file."""
    held: dict[str, int] = {}
    name = ""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
            head, *words = line.split()
            if not head.endswith(":"):  # the head of a mapping; its sixth word is the file
                name = words[4] if len(words) > 4 and words[4].startswith("/") else ""
            elif name and head in ("Rss:", "Anonymous:"):
                sign = 1 if head == "Rss:" else -1
                held[name] = held.get(name, 0) + sign * int(words[0]) * 1024
    return held


class _Memory:
    """The most memory that some processes held together; of no use but on Linux."""

    def __init__(self) -> None:
        self.peak_bytes = self.before_bytes = 0
        self._alone = True
        self._mapped: dict[str, int] = {}
        self._next = 0.0

    def look_at(self, pids: Sequence[int]) -> None:
        """Take the moment into account."""
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + _MAPPED_EVERY_SECONDS
            for pid in pids:
                for name, size in _mapped_bytes(pid).items():
                    self._mapped[name] = max(size, self._mapped.get(name, 0))
        held = sum(_own_bytes(pid) for pid in pids) + sum(self._mapped.values())
        self.peak_bytes = max(self.peak_bytes, held)
        self._alone = self._alone and len(pids) == 1
        if self._alone:
            self.before_bytes = held
