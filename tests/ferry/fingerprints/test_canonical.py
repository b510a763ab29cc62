"""The definition itself: it tells rows apart that are not the same, and no others."""

from __future__ import annotations

import hashlib
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from time import tzset
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ferry.fingerprints.canonical import NOTHING, Fingerprint, item, row_number, value_text

TEXTS = st.one_of(st.none(), st.text(alphabet="|:x01 né", max_size=6), st.text(max_size=6))
BINARY = st.one_of(st.none(), st.binary(max_size=3))
NUMBERS = st.one_of(st.none(), st.integers(-12, 12))
ROWS = st.tuples(TEXTS, NUMBERS, TEXTS, BINARY)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "1"),
        (False, "0"),
        (-42, "-42"),
        (Decimal("1.50"), "1.5"),
        (Decimal("100"), "100"),
        (Decimal("100.00"), "100"),
        (Decimal("-0.00"), "0"),
        (Decimal("1E+3"), "1000"),
        (date(987, 1, 2), "0987-01-02"),
        (time(1, 2, 3), "01:02:03.000000"),
        (datetime(2023, 1, 2, 3, 4, 5, 6), "2023-01-02 03:04:05.000006"),
        (datetime(2023, 1, 1, 0, 30, tzinfo=timezone(timedelta(hours=1))),
         "2022-12-31 23:30:00.000000"),
        (b"\x00\xff", "x00ff"),
        (b"", "x"),
        ("|", "|"),
    ],
)  # fmt: skip
def test_the_canonical_texts(value: Any, text: str) -> None:
    assert value_text(value) == text


@pytest.mark.parametrize("value", [1.5, Decimal("NaN"), {}, None])
def test_what_has_no_canonical_text_is_refused(value: Any) -> None:
    with pytest.raises(TypeError):
        value_text(value)


@given(ROWS, ROWS)
@example(("a|1", None, None, None), ("a", 1, None, None))
@example(("", None, None, None), (None, None, None, None))
@example(("1:a", 1, "b", None), ("1", 1, "a1:b", None))
@example((None, None, None, b""), (None, None, None, None))
def test_rows_have_one_text_only_if_they_are_the_same(left: Any, right: Any) -> None:
    assert (row_number(left) == row_number(right)) == (left == right)


@given(ROWS, ROWS)
def test_so_do_rows_of_which_some_columns_go_in_hashed(left: Any, right: Any) -> None:
    hashed = (True, False, False, True)
    assert (row_number(left, hashed) == row_number(right, hashed)) == (left == right)


def test_a_number_is_the_first_60_bits_of_the_md5_of_the_text() -> None:
    text = "1:a|7|||x00"
    expected = int(hashlib.md5(text.encode()).hexdigest(), 16) >> 68
    assert row_number(("a", 7, None, None, b"\0")) == expected


def test_a_hashed_text_has_the_length_of_its_digits() -> None:
    digest = hashlib.md5("é".encode()).hexdigest()
    assert item("é", hashed=True) == f"32:{digest}"
    assert item(b"\0", hashed=True) == hashlib.md5(b"\0").hexdigest()


def test_a_time_is_written_as_it_is_whatever_the_worker_s_zone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    try:
        with monkeypatch.context() as patched:
            patched.setenv("TZ", "Asia/Seoul")
            tzset()
            for zone in (None, UTC):
                noon = datetime(2023, 1, 1, 12, tzinfo=zone)
                assert value_text(noon) == "2023-01-01 12:00:00.000000"
    finally:
        tzset()


def test_fingerprints_add_up() -> None:
    assert NOTHING + Fingerprint(1, 5) + Fingerprint(2, 7) == Fingerprint(3, 12)
