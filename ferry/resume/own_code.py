"""Which code a process runs: that of its files, as long as they are those that it began with."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


class OwnCode:
    """Python code that is being imported, to be told apart from what its files may become.

    Only the files' times and sizes are looked at when this is made, which takes a millisecond; what
    they hold is read when somebody asks for it.

    Args:
        packages: The folders that it is in.
    """

    def __init__(self, *packages: Path) -> None:
        self._packages = packages
        self._began_with = self._files()
        self._nobody_else_s = uuid.uuid4().hex

    def digest(self) -> str:
        """The same for whoever runs the same code.

        If a file was changed, added or taken away since this was made, nobody can say any more what
        was imported: then it is one that no other process has.
        """
        digest = hashlib.sha256()
        with suppress(OSError):
            for path, *_ in self._began_with:
                digest.update(Path(path).read_bytes())
            if self._began_with == self._files():
                return digest.hexdigest()
        return self._nobody_else_s

    def _files(self) -> list[tuple[str, int, int, int]]:
        return sorted(self._stats())

    def _stats(self) -> Iterator[tuple[str, int, int, int]]:
        for package in self._packages:
            for folder, _, names in os.walk(package):
                for path in (Path(folder, name) for name in names if name.endswith(".py")):
                    with suppress(OSError):  # it is being replaced, and will not be the same
                        found = path.stat()
                        yield str(path), found.st_mtime_ns, found.st_size, found.st_ino
