"""What a stage can do. One file per kind of stage stands in `blocks/stages/`."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import datetime
from typing import BinaryIO

from blocks.named import NamedBlock
from ferry.batch import PartFile, StagedFile
from ferry.errors import RequestError


class Stage(NamedBlock, ABC):
    """A place where part files wait for the warehouse: a bucket, a folder."""

    @abstractmethod
    def put(self, part: PartFile, key: str) -> StagedFile:
        """Store the part under the key, whole or not at all; storing it again changes nothing.

        Raises:
            AccessError: No such bucket, or no permission.
            ConnectionLostError, BusyError: Network or throttling; a retry may help.
        """

    def write_manifest(self, files: Sequence[StagedFile], key: str) -> StagedFile:
        """Store the manifest, Redshift's format: every file mandatory, with its size.

        Raises:
            RequestError: A file is listed twice.
            FerryError: As for `put`.
        """
        return self.write_record(_manifest_text(files), key)

    @abstractmethod
    def uri(self, key: str) -> str:
        """Where a file of this key is, as warehouses are told.

        Raises:
            AccessError: There is no such folder.
            RequestError: The key leads out of the stage.
        """

    @abstractmethod
    def open(self, file: StagedFile) -> BinaryIO:
        """The file's bytes as a stream, for warehouses that do not fetch from the stage."""

    @abstractmethod
    def write_record(self, text: bytes, key: str) -> StagedFile:
        """Store what Ferry notes for itself, in the place of what was there; whole or not at all.

        Raises:
            FerryError: As for `put`.
        """

    @abstractmethod
    def read_record(self, key: str) -> bytes | None:
        """What was stored under the key by `write_record`; None if nothing is there.

        Raises:
            AccessError: No such bucket or folder, or no permission.
            ConnectionLostError, BusyError: Network or throttling; a retry may help.
        """

    @abstractmethod
    def stored_under(self, prefix: str) -> dict[str, StagedFile]:
        """The files in a folder of the stage by their keys, each with its size; their rows are 0.

        Raises:
            FerryError: As for `read_record`.
        """

    @abstractmethod
    def discard(self, keys: Sequence[str]) -> None:
        """Remove the files of these keys; one that is gone already is no error."""

    @abstractmethod
    def now(self) -> datetime:
        """The moment by the clock that tells when files were stored; aware, to the second.

        Raises:
            AccessError: No such bucket, or no permission.
            ConnectionLostError, BusyError: Network or throttling; a retry may help.
        """

    @abstractmethod
    def discard_older(self, prefix: str, before: datetime) -> int:
        """Remove files under the prefix stored before that moment; returns how many."""


def _manifest_text(files: Sequence[StagedFile]) -> bytes:
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
