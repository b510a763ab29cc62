"""What all servers here share: a process, an end, and a folder that can be taken away."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import TracebackType
from typing import Self

from deployments.local.servers.process import ServerProcess


class Server:
    """A running server; leaving its ``with`` block stops it."""

    process: ServerProcess

    def stop(self, *, discard: bool = False) -> None:
        """Ends the server, and removes its folder if told to `discard`; may be repeated."""
        self.process.stop()
        if discard:
            for folder in self._own_folders():
                shutil.rmtree(folder, ignore_errors=True)

    def _own_folders(self) -> list[Path]:
        return [self.process.folder]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
