"""A large full copy goes to the stage piece by piece: a run that is started again goes on.

Each piece is uploaded as soon as it has been read, and recorded beside its files. The same run, on
whichever machine it is started again, reads the pieces that are missing, and lands all of them in
one transaction.

Pieces that were read by two attempts are of two moments: the receipt says so, by `not one`. What
may be carried so, and why, stands in decision 0016; the record is of use as long as nothing else
has landed in the table meanwhile, and neither the table nor its spec was altered.
"""

from __future__ import annotations

import hashlib
import operator
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from functools import cache, partial, reduce
from pathlib import Path
from typing import Any

from prefect.logging import get_run_logger

import ferry
from blocks.named import naming
from blocks.source import Reading, Source
from blocks.stage import Stage
from blocks.stages.parts.batch_sums import BatchSums
from blocks.stages.parts.csv_lines import new_null_marker
from blocks.stages.parts.pieces import LateRowsError, OnPiece
from ferry.batch import Batch, Extract, PartFile
from ferry.capabilities import Capabilities
from ferry.errors import FerryError, StaleReadError
from ferry.plan import BatchPlan
from ferry.resume.cuts import MOST_PIECES
from ferry.resume.own_code import OwnCode
from ferry.resume.staged_record import StagedPiece, StagedRecord
from ferry.schema import Column
from tasks.stage import IN_USE_DAYS, SUFFIX, UPLOADS_AT_ONCE, folder

KEPT = timedelta(days=IN_USE_DAYS - 1)
"""What was begun before is read anew: its files may be tidied away while they are waited for."""


class StagedPieces:
    """The pieces of one full copy, and which of them have reached the stage.

    Args:
        batch: The full copy.
        plan: Its plan.
        stage: Where the pieces go.
        record: What is there.
    """

    def __init__(self, batch: Batch, plan: BatchPlan, stage: Stage, record: StagedRecord) -> None:
        self.record = record
        self.staged_before = len(record.pieces)
        self._batch, self._stage, self._folder = batch, stage, folder(batch)
        self._suffix, self._token = SUFFIX[plan.format], uuid.uuid4().hex[:8]

    @property
    def count(self) -> int:
        """How many pieces there are."""
        return self.record.cuts.pieces

    def to_read(self, rows: int | None) -> int | None:
        """About how many of the table's rows this attempt reads; None if that is not known."""
        return rows and rows * (self.count - self.staged_before) // self.count

    def extract(
        self,
        write: Callable[..., Extract],
        columns: tuple[Column, ...],
        read: Reading,
        sums: BatchSums,
    ) -> Extract:
        """Write the pieces that are missing, and stage each: what extract hands on of all of them.

        Args:
            write: Writes part files, as `write_parts` does.
            columns: The columns of the files.
            read: The rows of the missing pieces, which `write` takes.
            sums: The sums of each piece, as they are read.

        Raises:
            FerryError: What reading or writing failed with, or staging a piece: those that are
                recorded by then stay.
        """
        if self.staged_before:
            get_run_logger().info(
                "%s of the table's %s pieces were staged by an earlier attempt, and are not read "
                "again",
                self.staged_before,
                self.count,
            )
        else:
            get_run_logger().info(
                "extract %s: it is read in %s pieces, each staged as soon as it is read; if this "
                "run fails, it goes on with the others when this run is retried: "
                "prefect flow-run retry %s",
                self._batch,
                self.count,
                self._batch.flow_run_id,
            )
        try:
            with _BackgroundUploads(partial(self._keep, read, sums)) as keeper:
                written = write(
                    columns=columns,
                    null_marker=self.record.null_marker,
                    shares=read.shares,
                    on_piece=keeper.keep,
                )
        # Rows of a piece that its record calls complete, or pieces of another table.
        except (LateRowsError, StaleReadError):
            _discard(self._stage, self.record, self._folder)
            raise
        pieces = [piece for _, piece in sorted(self.record.pieces.items())]
        attempts = {piece.attempt for piece in pieces}
        return replace(
            written,
            parts=tuple(self._parts(pieces)),
            content_bytes=sum(piece.content_bytes for piece in pieces),
            read_at=self.record.read_at,
            sums=reduce(operator.add, (piece.sums for piece in pieces)),
            snapshot=pieces[0].snapshot if len(attempts) == 1 else "not one",
            staged=self.record.files,
            record_key=_key(self._folder),
        )

    def _keep(
        self,
        read: Reading,
        sums: BatchSums,
        number: int,
        parts: Sequence[PartFile],
        content_bytes: int,
    ) -> None:
        """Upload a piece that has been read, and record it."""
        where = f"{self._folder}/{self._token}/piece-{number:05}"
        with naming(self._stage), ThreadPoolExecutor(UPLOADS_AT_ONCE) as uploads:
            keys = [f"{where}-{position:05}.{self._suffix}" for position in range(len(parts))]
            files = tuple(uploads.map(self._stage.put, parts, keys))
            digests = tuple(part.sha256 for part in parts)
            piece = StagedPiece(
                files,
                digests,
                content_bytes,
                sums.by_group[number].sums,
                self._token,
                read.snapshot,
            )
            self.record = self.record.with_piece(number, piece)
            if parts or not self.record.missing:
                self._stage.write_record(self.record.text(), _key(self._folder))

    def _parts(self, pieces: Sequence[StagedPiece]) -> Iterator[PartFile]:
        """Their files as they were written; most of them are on no disk any more."""
        for piece in pieces:
            for file, digest in zip(piece.files, piece.digests, strict=True):
                yield PartFile(Path(Path(file.key).name), file.rows, file.size_bytes, digest)


class _BackgroundUploads:
    """Keeps pieces one after the other, in a thread of its own, while the next are read.

    After one that could not be kept it keeps no more.

    Args:
        keep: Keeps one.
    """

    def __init__(self, keep: OnPiece) -> None:
        self._keep = keep
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="piece")
        self._kept: list[Future[None]] = []
        self._failed = False

    def __enter__(self) -> _BackgroundUploads:
        """Itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Wait until all are kept.

        Raises:
            FerryError: What keeping one failed with, if nothing else has failed.
        """
        self._thread.shutdown()
        if kind is None:
            for each in self._kept:
                each.result()

    def keep(self, number: int, parts: tuple[PartFile, ...], content_bytes: int) -> None:
        """Keep one in the background.

        Raises:
            FerryError: What keeping one before it failed with.
        """
        for each in self._kept:
            if each.done():
                each.result()
        self._kept.append(self._thread.submit(self._keep_one, number, parts, content_bytes))

    def _keep_one(self, *piece: Any) -> None:
        if not self._failed:
            self._failed = True
            self._keep(*piece)
            self._failed = False


def staged_pieces(
    batch: Batch, plan: BatchPlan, source: Source, stage: Stage, capabilities: Capabilities
) -> StagedPieces | None:
    """The pieces in which the batch is staged; None if it is staged as a whole.

    Pieces are for a full copy of at least two times `resume_rows`, of a table that can be cut.

    Raises:
        FerryError: Source or stage cannot be asked; a retry may help where theirs does.
    """
    spec, query = batch.spec, plan.query
    if batch.mode != "full" or not spec.resume_rows or not source.reads_ranges:
        return None
    rows = source.estimate_rows(query)
    if batch.attempt == 1 and rows is not None and rows < spec.resume_rows:
        return None  # of a later attempt the guess may be another, and pieces are staged
    where, of, now = folder(batch), _digest(plan, batch, capabilities), stage.now()
    record = _read(stage, where)
    why = ""
    if record and now - record.begun >= KEPT:
        why = "it is too old"
    elif record and record.of != of:
        why = "something has landed since, or the table, its spec, its target or Ferry was altered"
    elif record and not source.still_cut(query, record.cuts):
        why = "the table was rebuilt, or another table or server has taken its place"
    if record and why:
        get_run_logger().info(
            "extract %s: what an earlier attempt has staged is of no use any more: %s. All is read "
            "anew",
            batch,
            why,
        )
        _discard(stage, record, where)
        record = None
    if record and record.pieces:
        record = record.as_far_as_stored(stage.stored_under(where))
    if record is None:
        count = min(MOST_PIECES, (rows or 0) // spec.resume_rows)
        if count < 2:
            return None
        cuts = source.cut(query, count)
        if not cuts.values:
            get_run_logger().info("extract %s: it is read as a whole: %s", batch, cuts.why)
            return None
        record = StagedRecord(of, now, source.now(), new_null_marker(), cuts)
    return StagedPieces(batch, plan, stage, record)


def _key(where: str) -> str:
    return f"{where}/pieces.json"


def _discard(stage: Stage, record: StagedRecord, where: str) -> None:
    """First the record, so that nobody goes on from files that are gone."""
    with suppress(FerryError):  # else it is tidied away after some days
        stage.discard([_key(where)])
        stage.discard([file.key for file in record.files if file.key.startswith(f"{where}/")])


def _read(stage: Stage, where: str) -> StagedRecord | None:
    text = stage.read_record(_key(where))
    with suppress(ValueError):
        return StagedRecord.read(text) if text else None
    return None


_PACKAGES = [Path(ferry.__file__).parents[1] / name for name in ("ferry", "blocks", "tasks")]
_code = cache(OwnCode(*_PACKAGES).digest)
"""Of Ferry's own code, as this process imported it: another one may write files otherwise."""


def _digest(plan: BatchPlan, batch: Batch, capabilities: Capabilities) -> str:
    """Of all that decides what the files hold, and whether they may still land."""
    decides = (
        _code(),
        batch.spec.model_dump_json(),
        plan.query,
        plan.columns,
        plan.format,
        plan.landed_before,
        capabilities.hex_prefix,
        capabilities.digests_bytes,
    )
    return hashlib.sha256(repr(decides).encode()).hexdigest()
