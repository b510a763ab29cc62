"""Failures keep the code of their error, and those of an older Ferry stay readable."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ferry.batch import Batch
from ferry.errors import DataError
from ferry.receipts.failures import REASON_BYTES, failure_of, from_row, to_row
from ferry.specs.tables import TableSpec
from ferry.windows import Window

NOW = datetime(2023, 1, 6, 9, tzinfo=UTC)


def batch() -> Batch:
    spec = TableSpec(name="nps", source="shop", source_table="nps", mode="full")
    return Batch(spec, "full", None, "run", NOW, Path("parts"))


@pytest.mark.parametrize("length", [10, 100_000])
def test_a_failure_has_the_code_of_its_error_first_however_long_its_reason_is(length: int):
    error = DataError("é" * length, step="upsert", found="é" * length, todo="é" * length)
    failure = failure_of(batch(), error, NOW)
    assert failure.error == "DataError"
    assert failure.reason.startswith("FERRY-DATA: upsert: éé")
    assert len(failure.reason.encode()) <= REASON_BYTES
    assert failure.text == failure.reason


def test_a_failure_that_is_not_ours_has_a_code_too_and_nothing_of_its_text():
    failure = failure_of(batch(), KeyError("p1anted-value"), NOW)
    assert (failure.error, failure.text) == (
        "KeyError",
        "FERRY-UNKNOWN: KeyError, see the run's log",
    )


@pytest.mark.parametrize("backfill", [False, True])
def test_of_a_window_with_lookback_the_own_day_failed_and_of_a_backfill_s_all_days(backfill: bool):
    spec = TableSpec(
        name="nps", source="shop", source_table="nps", mode="window", key=["id"], lookback=2 * 86400
    )
    days = Window(datetime(2023, 1, 3, tzinfo=UTC), datetime(2023, 1, 6, tzinfo=UTC))
    given = replace(batch(), spec=spec, mode="window", window=days, backfill=backfill)
    failure = failure_of(given, DataError("rows without a key"), NOW)
    assert failure.window_label == (days.label if backfill else "2023-01-05")
    assert failure.window_end == days.end
    assert (failure.window_start == days.start) is backfill


def test_a_failure_that_an_older_ferry_wrote_is_told_with_its_class():
    now = to_row(failure_of(batch(), DataError("rows without a key"), NOW))
    older = from_row(tuple("rows without a key" if "FERRY-" in str(v) else v for v in now))
    assert older.text == "DataError: rows without a key"
