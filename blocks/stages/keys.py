"""What both kinds of stage agree on: keys, the manifest's text, and moments."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import BinaryIO

from blocks.private_files import open_itself
from ferry.batch import PartFile, StagedFile
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


def manifest_text(files: Sequence[StagedFile]) -> bytes:
    """The files as Redshift's COPY wants them listed: each once, each mandatory, with its size.

    Source: Amazon Redshift Developer Guide, "Using a manifest to specify data files".

    Raises:
        RequestError: A file is listed twice; Redshift would load it twice.
    """
    if len({file.uri for file in files}) < len(files):
        raise RequestError("a manifest lists every file once", found="a file listed twice")
    entries = [
        {"url": file.uri, "mandatory": True, "meta": {"content_length": file.size_bytes}}
        for file in files
    ]
    return json.dumps({"entries": entries}, indent=1).encode()


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
        todo="Run the whole batch again: parts stand on the disk of the machine that read them.",
    )


def changed_part(part: PartFile) -> DataError:
    """What to raise where a part's bytes are not those that were hashed when it was written."""
    return DataError(
        f"the part file {part.path.name} has changed since it was written",
        todo="Run the batch again from extract on, and check the disk.",
    )
