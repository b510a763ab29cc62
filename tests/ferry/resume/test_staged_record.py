"""What of a full copy has reached the stage is read again just as it was written."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferry.batch import StagedFile
from ferry.fingerprints.sums import ColumnSum, ValueSums
from ferry.resume.cuts import Cuts, in_shares
from ferry.resume.staged_record import StagedPiece, StagedRecord

moments = st.datetimes(timezones=st.just(UTC))
decimals = st.decimals(allow_nan=False, allow_infinity=False)
floats = st.floats(allow_nan=False)
files = st.builds(StagedFile, st.text(), st.text(), st.integers(0), st.integers(0))
column_sums = st.builds(ColumnSum, st.integers(0), decimals | floats, floats)
shas = st.text("0123456789abcdef", min_size=64, max_size=64)


@st.composite
def pieces(draw: st.DrawFn) -> StagedPiece:
    of_files = draw(st.lists(st.tuples(files, shas), max_size=3))
    of_columns = draw(st.lists(st.tuples(st.text(), column_sums), max_size=3))
    return StagedPiece(
        tuple(file for file, _ in of_files),
        tuple(sha for _, sha in of_files),
        draw(st.integers(0)),
        ValueSums(tuple(name for name, _ in of_columns), tuple(each for _, each in of_columns)),
        draw(st.text()),
        draw(st.sampled_from((None, "one", "not one"))),
    )


cuts = st.builds(
    Cuts,
    st.lists(st.text()).map(tuple),
    st.lists(st.lists(st.text(), min_size=1).map(tuple), min_size=1).map(tuple),
    of=st.text(),
)
records = st.builds(
    StagedRecord,
    st.text(),
    moments,
    moments,
    st.text(),
    cuts,
    st.dictionaries(st.integers(0, 9), pieces(), max_size=3),
)


@given(records)
def test_a_record_is_read_as_it_was_written(record: StagedRecord) -> None:
    assert StagedRecord.read(record.text()) == record


WHOLE = StagedRecord("x", datetime.now(UTC), datetime.now(UTC), "~", Cuts(("id int",), (("7",),)))


@pytest.mark.parametrize(
    "text",
    [
        *(b"", b"7", b"[]", b"{}", b"\xff", WHOLE.text()[:-3]),
        *(WHOLE.text().replace(missing, b"") for missing in (b"of", b"+00:00")),
        *(WHOLE.text().replace(b'[["7"]]', cuts) for cuts in (b"[[]]", b"[[null]]", b"[[7]]")),
    ],
)
def test_what_is_no_record_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError):  # json has its own words
        StagedRecord.read(text)


def test_pieces_count_as_far_as_their_files_are_where_they_belong() -> None:
    def piece(*keys: str) -> Any:
        files = tuple(StagedFile(key, f"s3://theirs/{key}", 5, 2) for key in keys)
        return StagedPiece(files, ("d",) * len(keys), 3, ValueSums((), ()), "a", None)

    cuts = Cuts(("id int",), (("7",), ("8",), ("9",)))
    told = {0: piece("in/a", "in/b"), 1: piece("in/c"), 2: piece("out/d"), 3: piece(), 7: piece()}
    record = StagedRecord("x", WHOLE.begun, WHOLE.begun, "~", cuts, told)
    there = {key: StagedFile(key, f"s3://ours/{key}", 5, 0) for key in ("in/a", "in/b", "in/e")}
    there["in/c"] = StagedFile("in/c", "s3://ours/in/c", 4, 0)

    found = record.as_far_as_stored(there)

    assert set(found.pieces) == {0, 3}
    assert found.files == (
        StagedFile("in/a", "s3://ours/in/a", 5, 2),
        StagedFile("in/b", "s3://ours/in/b", 5, 2),
    )


def test_what_is_missing_is_what_is_not_there() -> None:
    piece: Any = StagedPiece((StagedFile("k", "u", 1, 2),), ("d",), 3, ValueSums((), ()), "a", None)
    assert WHOLE.missing == (0, 1)
    assert WHOLE.with_piece(1, piece).missing == (0,)
    assert WHOLE.with_piece(1, piece).files == piece.files


@given(st.lists(st.integers(), unique=True, min_size=1), st.integers(1, 9))
def test_shares_are_even_and_together_all_of_it(numbers: list[int], count: int) -> None:
    shares = in_shares(numbers, count)
    assert [n for share in shares for n in share] == numbers
    assert len(shares) == min(count, len(numbers))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
