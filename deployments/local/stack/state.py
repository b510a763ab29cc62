"""What a stack consists of, kept in ``state.json`` so that a later command finds and stops it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from deployments.local.servers import ServerProcess
from deployments.local.servers.server import Server


@dataclass
class Stack:
    """A stack that was brought up, by this process or by one before it.

    Attributes:
        folder: Where it keeps everything.
        processes: Its processes, in the order of their start.
        env: The ``FERRY_…`` variables of `environment`, and Prefect's: how to reach all of it.
    """

    folder: Path
    processes: list[ServerProcess] = field(default_factory=list)
    env: dict[str, str] = field(default_factory=dict, repr=False)

    @property
    def prefect_env_path(self) -> Path:
        """What a shell reads to talk to the stack's Prefect server; for its owner only."""
        return self.folder / "prefect.env"

    @classmethod
    def load(cls, folder: Path) -> Self | None:
        """The stack that `save` told of; None if there is none."""
        path = folder / "state.json"
        if not path.exists():
            return None
        state = json.loads(path.read_text())
        processes = [ServerProcess.from_record(record) for record in state["processes"]]
        return cls(folder, processes, state["env"])

    def save(self) -> None:
        """Writes ``state.json``, readable by its owner only: it holds the local passwords."""
        state = {"processes": [process.record() for process in self.processes], "env": self.env}
        write_private(self.folder / "state.json", json.dumps(state, indent=2))

    def down(self) -> list[str]:
        """Stops what still runs of it, the last one first; the names of what it stopped."""
        stopped = []
        for process in reversed(self.processes):
            if process.alive():
                stopped.append(process.name)
            process.stop()
        (self.folder / "state.json").unlink(missing_ok=True)
        return stopped

    def all_alive(self) -> bool:
        """Whether every one of its processes runs."""
        return all(process.alive() for process in self.processes)

    def add(self, server: Server) -> None:
        """Takes note of a server at once, so that even a half-made stack can be stopped."""
        self.processes.append(server.process)
        self.save()


def write_private(path: Path, text: str) -> None:
    """Writes a file that only its owner can read."""
    path.touch(mode=0o600)
    path.write_text(text)
