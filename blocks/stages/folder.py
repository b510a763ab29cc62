"""Part files in a folder: for the demo, for one machine, or on a disk that machines share."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import stat
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from pydantic import Field

from blocks.private_files import make_folders, new_private_file
from blocks.stage import Stage
from blocks.stages.keys import (
    changed_part,
    checked_key,
    checked_moment,
    open_part,
)
from ferry.batch import PartFile, StagedFile
from ferry.errors import AccessError, BusyError, FatalError, RequestError

_CHUNK_BYTES = 1 << 20
_TEMPORARY = ".storing-"
_BUSY = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EIO,
    errno.EAGAIN,
    errno.EBUSY,
    errno.ETIMEDOUT,
    errno.ESTALE,
    errno.EHOSTDOWN,
    errno.EHOSTUNREACH,
    errno.ENETUNREACH,
    errno.ENOTCONN,
    errno.ECONNRESET,
    getattr(errno, "EREMOTEIO", errno.EIO),  # Linux alone has it
}
"""Also of a disk whose server, or the network to it, is away."""


class FolderStage(Stage):
    """A folder in which part files wait for the warehouse.

    A file is copied under another name, flushed to the disk, and renamed: whole or not there. Files
    and the folders below it are made for the user that runs Ferry alone (modes 0600 and 0700). URIs
    are `file://` and the absolute path as it is, not percent-encoded, as DuckDB reads them.

    Example:
        ```python
        from blocks.stages import FolderStage

        FolderStage(path="/var/lib/ferry/stage").save("local-stage", overwrite=True)
        ```
    """

    _block_type_name = "Folder Stage"
    _block_type_slug = "folder-stage"
    _description = "A folder in which part files wait for the warehouse to load them."

    path: Path = Field(
        title="Folder",
        description="The folder, which must exist. On a disk that is mounted: a folder within it, "
        "so that it is noticed when the disk is not there.",
    )

    def put(self, part: PartFile, key: str) -> StagedFile:
        """Store the part under the key, whole or not at all; storing it again changes nothing.

        Raises:
            AccessError: No such folder, or no permission.
            RequestError: The key leads out of the folder.
            DataError: The part's bytes are not those that were written; extract has to run again.
            FatalError: The part file is gone from this machine.
            BusyError: The disk is full or fails; a retry may help.
        """
        with open_part(part) as file:
            found = self._store(file, key)
        if found != (part.size_bytes, part.sha256):
            with self._explained(f"removing {key!r}"):
                self._at(key).unlink(missing_ok=True)
            raise changed_part(part)
        return StagedFile(key, self.uri(key), part.size_bytes, part.rows)

    def write_record(self, text: bytes, key: str) -> StagedFile:
        """Store what Ferry notes for itself, in the place of what was there; whole or not at all.

        Raises:
            FerryError: As for `put`.
        """
        self._store(io.BytesIO(text), key)
        return StagedFile(key, self.uri(key), len(text), 0)

    def read_record(self, key: str) -> bytes | None:
        """What was stored under the key by `write_record`; None if nothing is there.

        Raises:
            AccessError: No such folder, or no permission.
            RequestError: The key leads out of the folder.
        """
        with self._explained(f"reading {key!r}"), suppress(FileNotFoundError):
            return self._at(key).read_bytes()
        return None

    def open(self, file: StagedFile) -> BinaryIO:
        """The file's bytes as a stream, whose reads raise Ferry's errors, too.

        Raises:
            FatalError: There is no such file.
            AccessError: No such folder, or no permission.
            BusyError: The disk fails; a retry may help.
        """

        def explained() -> AbstractContextManager[None]:
            return self._explained(f"reading {file.key!r}")

        with explained():
            content = self._at(file.key).open("rb", buffering=0)
        return io.BufferedReader(_Content(content, explained), _CHUNK_BYTES)

    def discard(self, keys: Sequence[str]) -> None:
        """Remove the files of these keys, and folders that are empty then; one may be gone already.

        Raises:
            AccessError: No such folder, or no permission.
        """
        for key in keys:
            with self._explained(f"removing {key!r}"):
                self._remove(self._at(key))

    def now(self) -> datetime:
        """The moment by the file system's clock: on a disk that machines share, its server's.

        Raises:
            AccessError: No such folder, or no permission.
            BusyError: The disk is full or fails; a retry may help.
        """
        with self._explained("asking the clock"):
            path = self._root() / f"{_TEMPORARY}{uuid.uuid4().hex}"
            with os.fdopen(new_private_file(path), "wb") as file:
                try:
                    seconds = os.fstat(file.fileno()).st_mtime
                finally:
                    path.unlink(missing_ok=True)
        return datetime.fromtimestamp(seconds, UTC)

    def stored_under(self, prefix: str) -> dict[str, StagedFile]:
        """The files in a folder of the stage by their keys, each with its size; their rows are 0.

        Raises:
            AccessError: No such stage, or no permission.
        """
        found = {}
        with self._explained(f"listing {prefix!r}"):
            root = self._root()
            for path in _files(self._at(prefix)):
                with suppress(FileNotFoundError):  # somebody else removed it meanwhile
                    if path.is_file() and not path.name.startswith(_TEMPORARY):
                        key = path.relative_to(root).as_posix()
                        found[key] = StagedFile(key, self.uri(key), path.stat().st_size, 0)
        return found

    def discard_older(self, prefix: str, before: datetime) -> int:
        """Remove files under the prefix stored before that moment; returns how many.

        Args:
            prefix: A folder in the stage: `raw_data` is not also `raw_data_old`. Empty for all.
            before: Aware. The files' own times of change decide what is older.

        Raises:
            AccessError: No such folder, or no permission.
        """
        moment = checked_moment(before).timestamp()
        removed = 0
        with self._explained(f"removing old files under {prefix!r}"):
            folder = self._at(prefix.strip("/")) if prefix.strip("/") else self._root()
            for path in _files(folder):
                with suppress(FileNotFoundError):  # somebody else removed it meanwhile
                    if stat.S_ISREG((found := path.lstat()).st_mode) and found.st_mtime < moment:
                        self._remove(path)
                        removed += not path.name.startswith(_TEMPORARY)  # left by a killed put
        return removed

    def _store(self, content: BinaryIO, key: str) -> tuple[int, str]:
        """Size and SHA-256 of what is stored under the key now."""
        digest, size_bytes = hashlib.sha256(), 0
        with self._explained(f"storing {key!r}"):
            path = self._at(key)
            temporary = path.with_name(f"{_TEMPORARY}{uuid.uuid4().hex}")
            try:
                with self._new_file(temporary) as file:
                    while chunk := content.read(_CHUNK_BYTES):
                        digest.update(chunk)
                        size_bytes += file.write(chunk)
                    file.flush()
                    os.fsync(file.fileno())
                temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)
            _sync(path.parent)
        return size_bytes, digest.hexdigest()

    def _new_file(self, path: Path) -> BinaryIO:
        while True:
            with suppress(FileNotFoundError):  # `discard` took the empty folder meanwhile
                make_folders(path.parent)
                return os.fdopen(new_private_file(path), "wb")

    def _remove(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        root = self._root()
        with suppress(OSError):  # not empty
            while (path := path.parent) != root and path.is_relative_to(root):
                path.rmdir()

    def _root(self) -> Path:
        root = self.path.expanduser().resolve()
        with suppress(FileNotFoundError, NotADirectoryError):
            if stat.S_ISDIR(root.stat().st_mode):  # `is_dir` takes a disk that is away for none
                return root
        raise AccessError(
            f"there is no folder {str(root)!r}",
            todo="Make it, or correct the path in the stage's block.",
        )

    def _at(self, key: str) -> Path:
        root = self._root()
        path = root / checked_key(key)
        if not path.parent.resolve().is_relative_to(root) or path.is_symlink():
            raise RequestError(f"the key {key!r} leads out of the stage's folder by a link")
        return path

    def uri(self, key: str) -> str:
        """`file://` and the absolute path as it is.

        Raises:
            AccessError: No such folder, or no permission.
            RequestError: The key leads out of the folder.
            BusyError: The disk fails; a retry may help.
        """
        with self._explained(f"looking for {key!r}"):
            return f"file://{self._at(key)}"

    @contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        try:
            yield
        except PermissionError as error:
            raise AccessError(
                f"{what} in {str(self.path)!r}: no permission",
                todo="Let the user that runs Ferry read and write the folder.",
            ) from error
        except FileNotFoundError as error:
            raise FatalError(
                f"{what} in {str(self.path)!r}: there is no such file",
                todo="Start the run again: it is read anew.",
            ) from error
        except OSError as error:
            problem = f"{what} in {str(self.path)!r}: {os.strerror(error.errno or errno.EIO)}"
            if error.errno in _BUSY:
                raise BusyError(
                    problem,
                    todo="Check the disk, its free space, and its server if it is on another one.",
                ) from error
            raise FatalError(problem, todo="Check the path in the stage's block.") from error


class _Content(io.RawIOBase):
    """A file's bytes: the disk, or the network in front of it, may also fail while it is read."""

    def __init__(
        self, file: io.FileIO, explained: Callable[[], AbstractContextManager[None]]
    ) -> None:
        self.name = file.name
        self._file = file
        self._explained = explained

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        with self._explained():
            return self._file.readinto(buffer)

    def close(self) -> None:
        self._file.close()
        super().close()


def _files(folder: Path) -> list[Path]:
    """All that is no folder, in it and below.

    A folder that goes meanwhile has nothing in it; one that nobody lets Ferry into is not its own,
    such as `lost+found`.
    """

    def skip(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError | NotADirectoryError | PermissionError):
            raise error

    found = os.walk(folder, onerror=skip)
    return sorted(Path(within, name) for within, _, names in found for name in names)


def _sync(folder: Path) -> None:
    """Make a rename in the folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
