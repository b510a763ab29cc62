"""Which failures leave the pieces that a full copy has staged, for the run's retry."""

from __future__ import annotations

import hashlib
import logging
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

from blocks.stages import FolderStage
from blocks.stages.parts.pieces import InPieces
from ferry.batch import PartFile, StageFormat
from ferry.errors import ConnectionLostError, FatalError, FerryError
from ferry.fingerprints.sums import ValueSums
from ferry.resume.cuts import Cuts
from ferry.resume.staged_record import StagedRecord
from tasks import staged_pieces
from tasks.staged_pieces import StagedPieces


@pytest.fixture
def stage(tmp_path: Path) -> FolderStage:
    (tmp_path / "stage").mkdir()
    return FolderStage(path=tmp_path / "stage")


@pytest.fixture
def pieces(stage: FolderStage, monkeypatch: pytest.MonkeyPatch) -> StagedPieces:
    monkeypatch.setattr(staged_pieces, "get_run_logger", lambda: logging.getLogger("a test's"))
    monkeypatch.setattr(staged_pieces, "folder", lambda _batch: "raw_data.orders/full")
    now = datetime.now(UTC)
    record = StagedRecord("of", now, now, "~", Cuts(("id",), (("1",), ("2",)), of="t"))
    batch: Any = SimpleNamespace(flow_run_id="a run's")
    plan: Any = SimpleNamespace(format=StageFormat.CSV)
    return StagedPieces(batch, plan, stage, record)


def late_rows() -> None:
    """As `Parts` meet them, whose first piece is over."""
    batch = pa.RecordBatch.from_pydict({"id": [1], "piece": [0]})
    InPieces(lambda *_: None, [[]], lambda *_: None).write(batch)  # type: ignore[arg-type, return-value]


def refused_by_the_stage() -> None:
    raise FatalError("the disk of the stage has an error that nobody knows")


def lost() -> None:
    raise ConnectionLostError("the network is gone")


@pytest.mark.parametrize(
    ("fails", "kept"), [(lost, True), (refused_by_the_stage, True), (late_rows, False)]
)
def test_only_rows_of_a_piece_that_was_complete_take_it_away(
    pieces: StagedPieces, stage: FolderStage, tmp_path: Path, fails: Any, kept: bool
) -> None:
    path = tmp_path / "part"
    path.write_bytes(b"x")
    part = PartFile(path, 1, 1, hashlib.sha256(b"x").hexdigest())

    def write(on_piece: Any, **_: Any) -> Any:
        on_piece(0, (part,), 1)
        fails()

    sums: Any = SimpleNamespace(by_group=[SimpleNamespace(sums=ValueSums((), ()))])
    read: Any = SimpleNamespace(shares=(), snapshot=None)
    with pytest.raises(FerryError):
        pieces.extract(write, (), read, sums)

    left = {path.name for path in stage.path.rglob("*") if path.is_file()}
    assert left == ({"pieces.json", "piece-00000-00000.csv.zst"} if kept else set())
