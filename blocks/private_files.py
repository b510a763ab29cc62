"""Files and folders that hold rows: made for their user alone, and never through a link.

A folder that all users share, such as /tmp, is anybody's: whoever makes a name in it first owns
what is put there. So a folder is looked at before it is used, and a file is always a new one.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ferry.errors import ConfigurationError

FOLDER_MODE, FILE_MODE = 0o700, 0o600
OTHERS = 0o077
"""The rights of group and others."""

_OTHERS_WRITE = 0o022
_umask_guard = threading.Lock()
_umasks: list[int] = []


def make_folders(path: Path) -> None:
    """Make what is missing of the path, for this user alone; what is there stays as it is.

    Raises:
        OSError: It cannot be made.
    """
    if not path.is_dir():
        make_folders(path.parent)
        try:
            path.mkdir(FOLDER_MODE)
        except FileExistsError:
            if not path.is_dir():  # somebody else has just made it
                raise


def make_private_folder(path: Path) -> None:
    """Make the folder, and those above it that are missing, for this user alone; or check it.

    One of this user's that others could only look into is closed to them.

    Raises:
        ConfigurationError: There is something else than a folder, or another user's, or one in
            which others could have put something.
        OSError: It cannot be made.
    """
    make_folders(path.parent)
    try:
        path.mkdir(FOLDER_MODE)
    except FileExistsError:
        _check(path)


def _check(path: Path) -> None:
    found = path.lstat()
    problem = ""
    if not stat.S_ISDIR(found.st_mode):
        problem = "a link" if stat.S_ISLNK(found.st_mode) else "no folder"
    elif found.st_uid != os.geteuid():
        problem = f"a folder of user {found.st_uid}"
    elif found.st_mode & _OTHERS_WRITE:
        problem = f"a folder that others may write, mode {stat.S_IMODE(found.st_mode):04o}"
    elif found.st_mode & OTHERS:
        path.chmod(FOLDER_MODE)
    if problem:
        raise ConfigurationError(
            f"the folder {str(path)!r} is not this user's alone: rows in it could be read or "
            "replaced",
            expected=f"a folder of user {os.geteuid()}, mode {FOLDER_MODE:04o}",
            found=problem,
            todo="See who made it and remove it, or set TMPDIR to a folder of the user that runs "
            "Ferry.",
        )


def new_private_file(path: Path) -> int:
    """The descriptor of a new file of this user alone, open for writing.

    Raises:
        FileExistsError: There is something of this name, even a link that leads nowhere.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(path, flags, FILE_MODE)


def open_itself(path: Path) -> int:
    """The descriptor of the file, open for reading; of what a link leads to, never.

    Raises:
        OSError: ELOOP if it is a link, and whatever opening a file raises.
    """
    return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)


@contextmanager
def private_umask() -> Iterator[None]:
    """What this process makes meanwhile is its user's alone, by whatever library.

    The mask is the whole process's: other threads' new files are private, too, until the last of
    those that asked for it has left.
    """
    with _umask_guard:
        _umasks.append(os.umask(OTHERS))
    try:
        yield
    finally:
        with _umask_guard:
            if len(_umasks) == 1:
                os.umask(_umasks[0])
                _umasks.clear()
            else:
                _umasks.pop()  # the first one is what stood before
