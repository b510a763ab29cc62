"""What of a large full copy has reached the stage, piece by piece.

A record of it stands beside the staged files, and is written anew after each piece. A run that is
started again reads it, and the source for the pieces that are missing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from ferry.batch import Snapshot, StagedFile
from ferry.fingerprints.sums import ColumnSum, ValueSums
from ferry.resume.cuts import Cuts


@dataclass(frozen=True)
class StagedPiece:
    """A piece that has reached the stage as a whole.

    Attributes:
        files: Its files; none of a piece without rows.
        digests: The SHA-256 of each.
        content_bytes: Bytes of its values as they were in memory.
        sums: The sums of each column's values, as they were read.
        attempt: Which attempt has read it.
        snapshot: Whether that attempt read one snapshot by several connections; None by one.
    """

    files: tuple[StagedFile, ...]
    digests: tuple[str, ...]
    content_bytes: int
    sums: ValueSums
    attempt: str
    snapshot: Snapshot | None


@dataclass(frozen=True)
class StagedRecord:
    """What of one run's full copy has reached the stage.

    Attributes:
        of: A digest of all that decides what the files hold; where it differs, they are not used.
        begun: When the first piece was begun, by the stage's clock.
        read_at: The source's clock just before the first piece was read.
        null_marker: What stands for NULL in all of the files.
        cuts: Where the table is cut.
        pieces: Those that are there, by their numbers.
    """

    of: str
    begun: datetime
    read_at: datetime
    null_marker: str
    cuts: Cuts
    pieces: Mapping[int, StagedPiece] = field(default_factory=dict)

    @property
    def missing(self) -> tuple[int, ...]:
        """The pieces that are not there."""
        return tuple(n for n in range(self.cuts.pieces) if n not in self.pieces)

    @property
    def files(self) -> tuple[StagedFile, ...]:
        """Those of all pieces that are there, in their order."""
        return tuple(file for _, piece in sorted(self.pieces.items()) for file in piece.files)

    def with_piece(self, number: int, piece: StagedPiece) -> StagedRecord:
        """The same, with one piece more."""
        return replace(self, pieces={**self.pieces, number: piece})

    def as_far_as_stored(self, there: Mapping[str, StagedFile]) -> StagedRecord:
        """The same, but for pieces of which not all files are there, each with its size.

        Args:
            there: What is in the batch's folder, by key. What lies elsewhere is no file of a piece,
                whatever the record says.
        """
        pieces = {
            number: replace(
                piece, files=tuple(replace(there[f.key], rows=f.rows) for f in piece.files)
            )
            for number, piece in self.pieces.items()
            if number in range(self.cuts.pieces)
            and all(f.key in there and there[f.key].size_bytes == f.size_bytes for f in piece.files)
        }
        return replace(self, pieces=pieces)

    def text(self) -> bytes:
        """As it is kept in the stage: JSON."""
        return json.dumps(
            {
                "of": self.of,
                "begun": self.begun.isoformat(),
                "read_at": self.read_at.isoformat(),
                "null_marker": self.null_marker,
                "cut_of": self.cuts.of,
                "cut_by": self.cuts.by,
                "cuts": self.cuts.values,
                "pieces": {number: _kept(piece) for number, piece in self.pieces.items()},
            }
        ).encode()

    @classmethod
    def read(cls, text: bytes) -> StagedRecord:
        """The record of which this is the text.

        Raises:
            ValueError: It is none, or one of another Ferry's.
        """
        try:
            record = json.loads(text)
            values = tuple(tuple(value) for value in record["cuts"])
            if not all(value and all(isinstance(each, str) for each in value) for value in values):
                raise ValueError("a place to cut at that is none")
            cuts = Cuts(tuple(record["cut_by"]), values, of=record["cut_of"])
            begun, read_at = (datetime.fromisoformat(record[each]) for each in ("begun", "read_at"))
            if begun.tzinfo is None or read_at.tzinfo is None:
                raise ValueError("a moment without a zone")
            return cls(
                record["of"],
                begun,
                read_at,
                record["null_marker"],
                cuts,
                {int(number): _piece(each) for number, each in record["pieces"].items()},
            )
        except (KeyError, TypeError, AttributeError, ArithmeticError) as error:
            raise ValueError(f"no record of staged pieces ({type(error).__name__})") from None


def _kept(piece: StagedPiece) -> dict[str, Any]:
    files = zip(piece.files, piece.digests, strict=True)
    sums = zip(piece.sums.columns, piece.sums.sums, strict=True)
    return {
        "files": [[f.key, f.uri, f.size_bytes, f.rows, digest] for f, digest in files],
        "content_bytes": piece.content_bytes,
        "attempt": piece.attempt,
        "snapshot": piece.snapshot,
        "sums": [[name, each.count, *_number(each.total), each.size.hex()] for name, each in sums],
    }


def _piece(record: Any) -> StagedPiece:
    names = tuple(name for name, *_ in record["sums"])
    sums = tuple(
        ColumnSum(
            count, float.fromhex(total) if kind == "float" else Decimal(total), float.fromhex(size)
        )
        for _, count, kind, total, size in record["sums"]
    )
    return StagedPiece(
        tuple(StagedFile(*file) for *file, _ in record["files"]),
        tuple(digest for *_, digest in record["files"]),
        record["content_bytes"],
        ValueSums(names, sums),
        record["attempt"],
        record["snapshot"],
    )


def _number(value: Decimal | float) -> tuple[str, str]:
    """Exactly, whatever JSON makes of numbers."""
    return ("float", value.hex()) if isinstance(value, float) else ("decimal", str(value))
