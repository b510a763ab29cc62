"""SHA-256 of what is stored, in the form in which S3 tells it."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from typing import BinaryIO, Self

CHUNK_BYTES = 16 << 20
"""From this size on a file is stored in chunks of it."""


@dataclass(frozen=True)
class Digests:
    """What a file's bytes are known by.

    Attributes:
        size_bytes: How many they are.
        whole: The SHA-256 of all of them.
        chunks: Those of each chunk of `CHUNK_BYTES`, the last one shorter.
    """

    size_bytes: int
    whole: bytes
    chunks: tuple[bytes, ...]

    @classmethod
    def of(cls, content: BinaryIO) -> Self:
        """Of all that is left of the content, read a chunk at a time."""
        whole, chunks, size_bytes = hashlib.sha256(), [], 0
        while chunk := content.read(CHUNK_BYTES):
            whole.update(chunk)
            chunks.append(hashlib.sha256(chunk).digest())
            size_bytes += len(chunk)
        return cls(size_bytes, whole.digest(), tuple(chunks))

    @property
    def of_one(self) -> str:
        """What S3 answers of a file that was stored by one request."""
        return base64.b64encode(self.whole).decode()

    @property
    def of_chunks(self) -> str:
        """What S3 answers of one in chunks, before a dash and their number: of their digests.

        Source: Amazon S3 User Guide, "Checking object integrity", on composite checksums.
        """
        return base64.b64encode(hashlib.sha256(b"".join(self.chunks)).digest()).decode()
