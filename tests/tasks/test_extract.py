"""When extract looks once more at the table that it reads."""

from __future__ import annotations

import pyarrow as pa
import pytest

from blocks.source import Reading
from ferry.errors import StaleReadError
from tasks import extract

BATCH = pa.record_batch({"id": [1]})


def looks(*begun: bool) -> list[int]:
    """After how many batches it looks, where all have begun, or have not, with each of them."""
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


def test_it_looks_once_as_soon_as_all_connections_read() -> None:
    assert looks(True, True, True) == [1]
    assert looks(False, False, True, True) == [3]
    assert looks(False, False) == [2]


def test_it_looks_where_there_is_nothing_to_read() -> None:
    assert looks() == [0]


def test_rows_of_another_table_are_not_handed_on() -> None:
    def look() -> None:
        raise StaleReadError("altered")

    with pytest.raises(StaleReadError):
        next(extract._unaltered(Reading(iter([BATCH])), look))
