"""The parts of rows that come in pieces: each piece is complete as soon as the next one begins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from ferry.batch import PartFile
from ferry.errors import FatalError

if TYPE_CHECKING:
    from blocks.stages.parts.files import Parts

OnPiece = Callable[[int, tuple[PartFile, ...], int], None]
"""Told a piece's number, its parts, and the bytes of its values as they were in memory."""


class LateRowsError(FatalError):
    """Rows of a piece that was complete: what is staged of it lacks them."""

    code = "FERRY-PIECES"


class InPieces:
    """The parts of several pieces, of which some may be written at a time.

    Args:
        new_parts: Makes the parts of a piece, after so many bytes of others.
        shares: Which pieces come one after the other.
        on_piece: Told of each as soon as it is complete.
    """

    def __init__(
        self,
        new_parts: Callable[[int, int], Parts],
        shares: Sequence[Sequence[int]],
        on_piece: OnPiece,
    ) -> None:
        self.complete: list[PartFile] = []
        self._new_parts, self._on_piece = new_parts, on_piece
        self._left = [list(share) for share in shares]  # the first of each is being written
        self._open: dict[int, Parts] = {}
        self._ended_rows = self._ended_bytes = self._ended_content = 0

    @property
    def rows(self) -> int:
        """In all of them; like the sizes, it may be asked while another thread writes."""
        return self._ended_rows + sum(parts.rows for parts in list(self._open.values()))

    @property
    def size_bytes(self) -> int:
        """Compressed bytes in all of them."""
        return self._ended_bytes + sum(parts.size_bytes for parts in list(self._open.values()))

    @property
    def content_bytes(self) -> int:
        """Bytes of their values as they were in memory."""
        return self._ended_content + sum(parts.content_bytes for parts in list(self._open.values()))

    def write(self, batch: pa.RecordBatch) -> None:
        """Append the batch's rows, whose last column is the number of their piece.

        Raises:
            LateRowsError: A row is of a piece that was complete.
        """
        numbers = batch.column(batch.num_columns - 1).to_numpy()
        rows = pa.RecordBatch.from_arrays(batch.columns[:-1], names=batch.schema.names[:-1])
        starts = [0, *(np.flatnonzero(np.diff(numbers)) + 1), len(numbers)]
        for start, end in pairwise(starts):
            self._parts(int(numbers[start])).write(rows.slice(start, end - start))

    def finish(self) -> None:
        """End all pieces, those without rows as well."""
        for share in self._left:
            while share:
                self._end(share)

    def abandon(self) -> None:
        """Leave nothing behind of the pieces that are not complete."""
        for parts in self._open.values():
            parts.abandon()
        self._open.clear()

    def _parts(self, piece: int) -> Parts:
        if piece not in self._open:
            share = next((share for share in self._left if piece in share), None)
            if share is None:
                raise LateRowsError(
                    "the source gave rows of a piece of the table after those of the next one",
                    todo="Say `resume_rows: 0` in the table's spec: it is read as a whole then.",
                )
            while share[0] != piece:
                self._end(share)
            self._open[piece] = self._new_parts(piece, self.size_bytes)
        return self._open[piece]

    def _end(self, share: list[int]) -> None:
        """End the first piece of the share, which may have no rows."""
        piece = share.pop(0)
        parts = self._open.pop(piece, None)
        if parts is None:
            self._on_piece(piece, (), 0)
            return
        parts.finish()
        self._ended_rows += parts.rows
        self._ended_bytes += parts.size_bytes
        self._ended_content += parts.content_bytes
        self.complete += parts.complete
        self._on_piece(piece, tuple(parts.complete), parts.content_bytes)
