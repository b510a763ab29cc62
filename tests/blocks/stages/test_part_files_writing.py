"""How parts are written: their number and size, and what is left when it fails."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from blocks.stages.parts import files as part_files
from blocks.stages.parts.files import read_rows, write_parts
from ferry.batch import StageFormat
from ferry.errors import DataError, FatalError
from ferry.schema import Column
from tests.harness.part_rows import FORMATS, MARKER, words


@pytest.mark.parametrize("format", FORMATS)
def test_no_rows_make_no_parts(tmp_path: Path, format: StageFormat) -> None:
    columns, batch = words([])
    for batches in ([], [batch, batch]):
        extract = write_parts(batches, columns, tmp_path, format=format, part_size_bytes=1)
        assert (extract.parts, extract.rows, list(read_rows(extract))) == ((), 0, [])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("format", FORMATS)
def test_each_part_tells_its_own_rows_size_and_hash(tmp_path: Path, format: StageFormat) -> None:
    columns, batch = words([f"w{n}" for n in range(100)])
    extract = write_parts([batch] * 5, columns, tmp_path, format=format, part_size_bytes=1)
    assert [part.rows for part in extract.parts] == [100] * 5
    assert sorted(tmp_path.iterdir()) == [part.path for part in extract.parts]
    for part in extract.parts:
        content = part.path.read_bytes()
        assert part.size_bytes == len(content)
        assert part.sha256 == hashlib.sha256(content).hexdigest()


def random_words(rows: int, seed: int = 0) -> tuple[tuple[Column, ...], pa.RecordBatch]:
    """Text that does not compress below about a half."""
    content = np.random.default_rng(seed).bytes(rows * 16).hex()
    return words([content[i * 32 : i * 32 + 32] for i in range(rows)])


def test_parts_grow_with_the_table_up_to_the_limit(tmp_path: Path) -> None:
    columns, batch = random_words(50_000)  # some 0.9 MB compressed
    extract = write_parts(
        [batch] * 40, columns, tmp_path, format=StageFormat.CSV, part_size_bytes=3 << 20
    )
    sizes = [part.size_bytes for part in extract.parts[:-1]]
    assert extract.rows == 40 * 50_000
    assert len(sizes) > 8
    assert min(sizes) >= 1 << 20
    assert max(sizes) < 5 << 20
    assert max(sizes) > 2 << 20


def test_a_table_of_some_megabytes_is_at_least_two_parts(tmp_path: Path) -> None:
    columns, batch = random_words(200_000)  # one batch of 3.6 MB compressed
    extract = write_parts(
        [batch], columns, tmp_path, format=StageFormat.CSV, part_size_bytes=64 << 20
    )
    assert len(extract.parts) >= 2


def test_progress_is_told_in_the_callers_thread(tmp_path: Path) -> None:
    columns, batch = words(["x"] * 10)
    told: list[tuple[int, int]] = []

    def on_batch(rows: int, size_bytes: int) -> None:
        assert threading.current_thread() is threading.main_thread()
        told.append((rows, size_bytes))

    extract = write_parts(
        [batch] * 9,
        columns,
        tmp_path,
        format=StageFormat.CSV,
        part_size_bytes=1 << 20,
        on_batch=on_batch,
    )
    assert told == sorted(told)
    assert len(told) > 3
    assert told[-1] == (90, extract.size_bytes)


@pytest.mark.parametrize("format", FORMATS)
def test_a_source_that_fails_leaves_no_part_and_no_thread(
    tmp_path: Path, format: StageFormat
) -> None:
    columns, batch = words(["x"] * 10)

    def breaks() -> Iterator[pa.RecordBatch]:
        yield from [batch] * 6
        raise ConnectionError("cut")

    with pytest.raises(ConnectionError, match="cut"):
        write_parts(breaks(), columns, tmp_path, format=format, part_size_bytes=1)
    assert list(tmp_path.iterdir()) == []
    assert not [t for t in threading.enumerate() if t.name.startswith("part-writer")]


def test_a_writer_that_fails_stops_the_reading(tmp_path: Path) -> None:
    columns, good = words(["x"])
    _, bad = words([MARKER])
    read = 0

    def endless() -> Iterator[pa.RecordBatch]:
        nonlocal read
        while True:
            read += 1
            yield bad if read == 3 else good

    with pytest.raises(DataError):
        write_parts(
            endless(),
            columns,
            tmp_path,
            format=StageFormat.CSV,
            part_size_bytes=1 << 20,
            null_marker=MARKER,
        )
    assert read < 10
    assert list(tmp_path.iterdir()) == []


IN_EACH_FORMAT = """
import os, resource, signal, sys
from pathlib import Path
import numpy as np, pyarrow as pa
from blocks.stages.parts.files import write_parts
from ferry.batch import StageFormat
from ferry.schema import Column, DataType, Kind
def in_each_format(run):
    # In a process of its own, which has everything imported.
    for format in sys.argv[2:]:
        if not os.fork():
            (folder := Path(sys.argv[1]) / format).mkdir()
            run(folder, StageFormat(format))
            os._exit(0)
        print("ended with", os.waitstatus_to_exitcode(os.wait()[1]), flush=True)
"""

KILLED = f"""{IN_EACH_FORMAT}
def batches():
    for n in range(9):
        yield pa.RecordBatch.from_arrays([pa.array([7] * 50000, pa.int64())], names=["n"])
    os.kill(os.getpid(), signal.SIGKILL)
in_each_format(lambda folder, format: write_parts(
    batches(), (Column("n", DataType(Kind.INT64)),), folder, format=format, part_size_bytes=1 << 30
))
"""


def told_in_each_format(program: str, folder: Path) -> list[str]:
    run = [sys.executable, "-c", program, str(folder), *map(str, FORMATS)]
    env = os.environ | {"PYTHONPATH": str(Path.cwd())}
    done = subprocess.run(run, env=env, check=True, capture_output=True, text=True)
    return done.stdout.splitlines()


@pytest.mark.seconds
def test_a_killed_writer_leaves_nothing_that_is_taken_for_a_part(tmp_path: Path) -> None:
    assert told_in_each_format(KILLED, tmp_path) == ["ended with -9"] * len(FORMATS)
    for format in FORMATS:
        folder = tmp_path / format
        left = [path.name for path in folder.iterdir()]
        assert left, "it was killed in the middle"
        assert all(name.startswith(".") and name.endswith(".tmp") for name in left)
        columns, batch = words(["x"])
        extract = write_parts([batch], columns, folder, format=format, part_size_bytes=1)
        assert list(folder.iterdir()) == [extract.parts[0].path]


MEMORY = f"""{IN_EACH_FORMAT}
def batches(count):
    rng = np.random.default_rng(0)
    for n in range(count):
        text = rng.bytes(6 << 20).hex()
        offsets = np.arange(0, len(text) + 1, 64, dtype="int64")
        yield pa.RecordBatch.from_arrays([pa.LargeStringArray.from_buffers(
            len(offsets) - 1, pa.py_buffer(offsets), pa.py_buffer(text.encode()))], names=["t"])
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
def run(folder, format):
    def write(count):
        write_parts(batches(count), (Column("t", DataType(Kind.TEXT)),), folder,
                    format=format, part_size_bytes=64 << 20)
    for _ in batches(3): pass
    before = peak()
    write(4); few = peak()
    write(12)
    print(few - before, peak() - few, flush=True)
in_each_format(run)
"""


@pytest.mark.seconds
def test_memory_is_bounded_whatever_the_size_of_the_table(tmp_path: Path) -> None:
    told = told_in_each_format(MEMORY, tmp_path)
    assert told[1::2] == ["ended with 0"] * len(FORMATS)
    for format, line in zip(FORMATS, told[::2], strict=True):
        for_few_mb, more_for_many_mb = map(int, line.split())
        assert for_few_mb < 150, format
        assert more_for_many_mb < 40, format


def numbered(piece: int, *texts: str) -> pa.RecordBatch:
    """Words, and the number of their piece."""
    _, batch = words(list(texts))
    numbers = pa.array([piece] * len(texts), pa.int32())
    return pa.RecordBatch.from_arrays([*batch.columns, numbers], names=["word", "piece"])


@pytest.mark.parametrize("format", FORMATS)
def test_a_piece_is_complete_when_the_next_of_its_share_begins(
    tmp_path: Path, format: StageFormat
) -> None:
    columns, _ = words([])
    told: list[tuple[int, int]] = []
    batches = [numbered(0, "a", "b"), numbered(5, "x"), numbered(3, "c"), numbered(5, "y")]
    extract = write_parts(
        batches,
        columns,
        tmp_path,
        format=format,
        part_size_bytes=64 << 20,
        shares=((0, 1, 3, 4), (5, 6)),
        on_piece=lambda piece, parts, _: told.append((piece, sum(part.rows for part in parts))),
    )
    assert told == [(0, 2), (1, 0), (3, 1), (4, 0), (5, 2), (6, 0)]
    assert sorted(row[0] for row in read_rows(extract)) == ["a", "b", "c", "x", "y"]


def test_a_row_of_a_piece_that_was_complete_is_refused(tmp_path: Path) -> None:
    columns, _ = words([])
    told: list[int] = []
    with pytest.raises(FatalError, match="after those of the next one"):
        write_parts(
            [numbered(0, "a"), numbered(1, "b"), numbered(0, "c")],
            columns,
            tmp_path,
            format=StageFormat.CSV,
            part_size_bytes=64 << 20,
            shares=((0, 1),),
            on_piece=lambda piece, *_: told.append(piece),
        )
    assert told == [0]
    assert [path.name for path in tmp_path.iterdir()] == ["part-00000-00000.csv.zst"]


def test_large_batches_are_cut_into_row_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(part_files._SLICE_BYTES, StageFormat.PARQUET, 1 << 20)
    columns, batch = random_words(100_000)
    extract = write_parts(
        [batch], columns, tmp_path, format=StageFormat.PARQUET, part_size_bytes=64 << 20
    )
    assert [pq.ParquetFile(part.path).num_row_groups for part in extract.parts] != [1]
    assert sum(pq.ParquetFile(part.path).metadata.num_rows for part in extract.parts) == 100_000
