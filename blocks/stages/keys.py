"""What both kinds of stage agree on: keys, moments, and how a part file is opened."""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import datetime
from typing import BinaryIO

from blocks.private_files import open_itself
from ferry.batch import PartFile
from ferry.errors import DataError, FatalError, RequestError


def checked_key(key: str) -> str:
    """The key, which leads nowhere but into the stage.

    Raises:
        RequestError: It is empty or absolute, ends with a slash, or has `.`, `..`, an empty step or
            a control character in it.
    """
    steps = key.split("/")
    if any(step in ("", ".", "..") for step in steps) or any(ord(c) < 32 for c in key):
        raise RequestError(
            f"the stage does not take the key {key!r}",
            expected="names joined by single slashes, without '.' and '..'",
        )
    return key


def checked_moment(before: datetime) -> datetime:
    """The moment, which has a zone.

    Raises:
        RequestError: It has none.
    """
    if before.tzinfo is None:
        raise RequestError("files are discarded up to a moment with a zone", found="one without")
    return before


def open_part(part: PartFile) -> BinaryIO:
    """The part's bytes; through a link, never.

    Raises:
        FatalError: It is not on this machine's disk any more; extract has to run again.
        OSError: It is a link, or cannot be read.
    """
    with suppress(FileNotFoundError):
        return os.fdopen(open_itself(part.path), "rb")
    raise FatalError(
        f"the part file {part.path.name} is not on this machine any more",
        step="stage",
        todo="Start the run again: parts stand on the disk of the machine that read them.",
    )


def changed_part(part: PartFile) -> DataError:
    """What to raise where a part's bytes are not those that were hashed when it was written."""
    return DataError(
        f"the part file {part.path.name} has changed since it was written",
        todo="Start the run again: it is read anew. If it comes back, check the disk.",
    )
