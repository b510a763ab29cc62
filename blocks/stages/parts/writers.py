"""One part file being written: under a temporary name, hashed on its way, renamed when complete."""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from pathlib import Path

import pyarrow as pa
import zstandard

from blocks.private_files import new_private_file
from blocks.stages.parts.csv_lines import CsvLines
from ferry.batch import PartFile

_ZSTD_LEVEL = 1
"""The fastest; level 3 takes half as long again for no smaller files on the tables measured."""


class _HashedFile:
    """A new file, this user's alone, that counts and hashes what is written to it."""

    def __init__(self, path: Path) -> None:
        self.size_bytes = 0
        self.closed = False
        self._hash = hashlib.sha256()
        self._file = os.fdopen(new_private_file(path), "wb")

    def write(self, data: bytes) -> int:
        self._hash.update(data)
        self.size_bytes += len(data)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self.closed = True
        self._file.close()

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()


class PartWriter(ABC):
    """Writes one part file. Until `close` has returned there is no file of the part's name.

    Args:
        path: The part's name once it is complete; the folder exists.
    """

    def __init__(self, path: Path) -> None:
        self.rows = 0
        self._path = path
        self._temporary = path.with_name(f".{path.name}.tmp")
        self._file = _HashedFile(self._temporary)

    @property
    def name(self) -> str:
        """The part's name."""
        return self._path.name

    @property
    def size_bytes(self) -> int:
        """Compressed bytes so far, without the end of the file."""
        return self._file.size_bytes

    def write(self, batch: pa.RecordBatch) -> None:
        """Append the batch's rows.

        Raises:
            DataError: A value that cannot be written unchanged.
            OSError: The disk is full, or the like.
        """
        self._write(batch)
        self.rows += batch.num_rows

    def close(self) -> PartFile:
        """The complete part, under its own name."""
        self._finish()
        self._file.close()
        self._temporary.replace(self._path)
        return PartFile(self._path, self.rows, self._file.size_bytes, self._file.sha256)

    def abandon(self) -> None:
        """Leave nothing behind."""
        self._file.close()
        self._temporary.unlink(missing_ok=True)

    @abstractmethod
    def _write(self, batch: pa.RecordBatch) -> None: ...

    @abstractmethod
    def _finish(self) -> None: ...


class CsvPartWriter(PartWriter):
    """CSV lines in one zstd frame, which carries a checksum of its content."""

    def __init__(self, path: Path, lines: CsvLines) -> None:
        super().__init__(path)
        self._lines = lines
        compressor = zstandard.ZstdCompressor(level=_ZSTD_LEVEL, write_checksum=True)
        self._frame = compressor.compressobj()

    def _write(self, batch: pa.RecordBatch) -> None:
        self._file.write(self._frame.compress(self._lines.encode(batch)))
        self._file.write(self._frame.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK))

    def _finish(self) -> None:
        self._file.write(self._frame.flush())


class ParquetPartWriter(PartWriter):
    """Parquet, zstd-compressed; every batch is a row group."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        super().__init__(path)
        import pyarrow.parquet as pq  # noqa: PLC0415  # 5 MB, and CSV is the rule

        self._schema = schema
        self._parquet = pq.ParquetWriter(self._file, schema, compression="zstd")

    def _write(self, batch: pa.RecordBatch) -> None:
        self._parquet.write_batch(pa.RecordBatch.from_arrays(batch.columns, schema=self._schema))

    def _finish(self) -> None:
        self._parquet.close()

    def abandon(self) -> None:
        """Leave nothing behind."""
        super().abandon()
        try:
            self._parquet.close()
        except (OSError, ValueError):  # its file is closed already, which was the point
            return
