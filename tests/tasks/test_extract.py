"""When extract looks once more at the table that it reads."""

from __future__ import annotations

import pyarrow as pa
import pytest

from blocks.source import Reading
from ferry.errors import StaleReadError
from tasks import extract

BATCH = pa.record_batch({"id": [1]})


def looks(monkeypatch: pytest.MonkeyPatch, *begun: bool, quick_seconds: float = 60.0) -> list[int]:
    """After how many batches it looks, where all have begun, or have not, with each of them."""
    monkeypatch.setattr(extract, "QUICK_SECONDS", quick_seconds)
    reading, given = Reading(iter(())), 0

    def batches() -> object:
        nonlocal given
        for reading.begun in begun:
            given += 1
            yield BATCH

    reading.batches = batches()  # type: ignore[assignment]
    looked: list[int] = []
    assert list(extract._unaltered(reading, lambda: looked.append(given))) == [BATCH] * len(begun)
    return looked


def test_it_looks_once_as_soon_as_all_connections_read(monkeypatch: pytest.MonkeyPatch) -> None:
    assert looks(monkeypatch, True, True, True) == [1]
    assert looks(monkeypatch, False, False, True, True) == [3]
    assert looks(monkeypatch, False, False) == [2]


def test_of_nothing_it_looks_only_where_that_took_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    assert looks(monkeypatch) == []
    assert looks(monkeypatch, quick_seconds=0.0) == [0]


def test_rows_of_another_table_are_not_handed_on() -> None:
    def look() -> None:
        raise StaleReadError("altered")

    with pytest.raises(StaleReadError):
        next(extract._unaltered(Reading(iter([BATCH])), look))
