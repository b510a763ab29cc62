"""From a COPY's address to the list of files it loads."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from deployments.local.redshift_double.copy.command import CopyCommand
from deployments.local.redshift_double.copy.s3 import S3Reader
from deployments.local.redshift_double.errors import Refusal


@dataclass(frozen=True)
class StagedFile:
    """A file to load; its bytes exist.

    Attributes:
        uri: Where it is.
        content: All of it, if it is small.
    """

    uri: str
    content: bytes | None = field(default=None, repr=False)


def resolve_files(command: CopyCommand, s3: S3Reader) -> list[StagedFile]:
    """Returns the files in the order in which they load; one listed twice is there twice.

    Raises:
        Refusal: The manifest or a mandatory file is missing or wrong.
    """
    if "MANIFEST" not in command.flags:
        uris = s3.list(command.uri)
        if not uris:
            raise Refusal(
                f"The specified S3 prefix '{command.uri.split('/', 3)[-1]}' does not exist", "XX000"
            )
        return [StagedFile(uri, s3.look(uri)[1]) for uri in uris]
    found: list[StagedFile] = []
    for entry in _entries(command, s3):
        uri = entry["url"]
        try:
            size, content = s3.look(uri)
        except FileNotFoundError:
            if entry.get("mandatory", False):
                raise Refusal(
                    f"Problem reading manifest file - S3ServiceException:The specified key does "
                    f"not exist.,Status 404,Error NoSuchKey: mandatory file {uri}",
                    "XX000",
                ) from None
            continue
        if command.format == "parquet":
            _check_length(entry, size)
        found.append(StagedFile(uri, content))
    return found


def _entries(command: CopyCommand, s3: S3Reader) -> list[dict[str, Any]]:
    try:
        body = s3.read(command.uri)
    except FileNotFoundError:
        raise Refusal(
            "Problem reading manifest file - S3ServiceException:The specified key does not "
            f"exist.,Status 404,Error NoSuchKey: {command.uri}",
            "XX000",
        ) from None
    try:
        entries = json.loads(body)["entries"]
        if not all(isinstance(entry["url"], str) for entry in entries):
            raise TypeError
    except (ValueError, KeyError, TypeError) as error:
        raise Refusal(
            f"Problem reading manifest file - The file {command.uri} is not valid JSON "
            "with entries; a manifest must be uncompressed",
            "XX000",
        ) from error
    return list(entries)


def _check_length(entry: dict[str, Any], size: int) -> None:
    meta = entry.get("meta")
    length = meta.get("content_length") if isinstance(meta, dict) else None
    if length is None:
        raise Refusal(
            f"Manifest entry {entry['url']} has no meta.content_length; COPY of Parquet needs it",
            "XX000",
        )
    if length != size:
        raise Refusal(
            f"Manifest entry {entry['url']} says content_length {length}, the file has {size}",
            "XX000",
        )
