"""Where this process keeps files of rows until they are loaded, and what others left behind there.

```
<TMPDIR>/ferry-private-<uid>/     this user's alone
  on-<host>-<token>/      one for each process, which holds a lock on it for as long as it lives
    <batch>-<pid>/        the part files of one batch
```

The kernel gives the lock back when the process ends, however it ends. So whose lock can be taken is
forgotten, however new it is; and whose cannot, is in use, however old.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import platform
import re
import secrets
import shutil
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import gettempdir

from blocks.private_files import make_private_folder
from ferry.errors import FatalError

FORGOTTEN_SECONDS = 7 * 86_400
"""For folders of other hosts and of older versions, whose locks may not be seen here."""

_guard = threading.Lock()


@dataclass(frozen=True)
class _Own:
    """The folder of the process of this id, and the descriptor that holds its lock."""

    process_id: int
    folder: Path
    descriptor: int


_owned: dict[int, _Own] = {}
"""By the process's id: a child that was forked has its parent's, and makes one of its own."""


def work_folder() -> Path:
    """This process's own folder; made when it is first asked for, or if somebody removed it.

    Raises:
        ConfigurationError: The place in the temporary folder is not this user's alone.
        FatalError: It cannot be made.
    """
    with _guard:
        try:
            root = _root()
            own = _owned.get(os.getpid())
            if own is None or not _is_there(own, root):
                own = _owned[os.getpid()] = _make(root)
                atexit.register(_remove, own)
        except OSError as error:
            raise FatalError(
                "this machine cannot make a folder for part files",
                found=error.strerror or type(error).__name__,
                todo="Make room, or set TMPDIR to a folder that the worker can write.",
            ) from error
        return own.folder


def remove_forgotten() -> int:
    """Remove the folders of processes that have ended without doing so; returns how many.

    Raises:
        FerryError: As for `work_folder`.
    """
    own = work_folder()
    os.utime(own)
    now = own.stat().st_mtime  # by the clock of the file system, which other hosts may share
    removed = 0
    for folder in own.parent.iterdir():
        with suppress(OSError):  # it is locked, or somebody has just removed it
            removed += _remove_if_forgotten(folder, now)
    return removed


def _root() -> Path:
    root = Path(gettempdir()) / f"ferry-private-{os.geteuid()}"
    make_private_folder(root)
    return root


def _of_this_host() -> str:
    return f"on-{re.sub('[^A-Za-z0-9.]', '_', platform.node())}-"


def _make(root: Path) -> _Own:
    """A new folder, locked. Where the file system has no locks, nobody can take one, either."""
    while True:
        folder = root / f"{_of_this_host()}{secrets.token_hex(6)}"
        folder.mkdir(0o700)
        try:
            descriptor = _open(folder)
        except FileNotFoundError:  # taken for forgotten before it could be locked
            continue
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        own = _Own(os.getpid(), folder, descriptor)
        if _is_there(own, root):
            return own
        os.close(descriptor)  # taken for forgotten, between being made and being locked


def _is_there(own: _Own, root: Path) -> bool:
    try:
        return own.folder.parent == root and os.path.samestat(
            own.folder.lstat(), os.fstat(own.descriptor)
        )
    except FileNotFoundError:
        return False


def _remove(own: _Own) -> None:
    if own.process_id == os.getpid():  # and not a child that was forked
        shutil.rmtree(own.folder, ignore_errors=True)


def _remove_if_forgotten(folder: Path, now: float) -> bool:
    descriptor = _open(folder)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not folder.name.startswith(_of_this_host()):
            changed = [path.lstat().st_mtime for path in (folder, *folder.rglob("*"))]
            if now - max(changed) <= FORGOTTEN_SECONDS:
                return False
        shutil.rmtree(folder)
        return True
    finally:
        os.close(descriptor)


def _open(folder: Path) -> int:
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
