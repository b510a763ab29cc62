"""What is said of a comparison: each bucket by its own length."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime

import pytest

from ferry.audits.outcome import Audit, AuditedBucket, Difference, DifferentRow
from ferry.day_ranges import DayRange, split_days
from ferry.fingerprints.canonical import Fingerprint
from ferry.windows import Window

TWO_ROWS = Fingerprint(2, 1)
MISSING = (DifferentRow(Difference.MISSING, "k"),)


def days(start: date, end: date) -> Sequence[Window]:
    return split_days(DayRange(start, end, "Europe/Berlin"), "day")


def audit(windows: Sequence[Window | None], *different: int) -> Audit:
    buckets = tuple(
        AuditedBucket("a label", window, TWO_ROWS, TWO_ROWS, MISSING if n in different else ())
        for n, window in enumerate(windows)
    )
    return Audit("raw.orders", datetime(2024, 1, 1, tzinfo=UTC), buckets)


MARCH = days(date(2021, 3, 1), date(2021, 4, 1))  # with a day of 23 hours
MONTHS = split_days(DayRange(date(2021, 4, 1), date(2024, 2, 1), "Europe/Berlin"), "month")
SINGLE = split_days(DayRange(date(2024, 1, 1), date(2024, 2, 2), "Europe/Berlin"), "month")


@pytest.mark.parametrize(
    ("windows", "different", "told"),
    [
        ([*MARCH, *MONTHS], [27], "34 months and 31 days compared, 130 rows, 1 day differs: 1"),
        (MARCH, [0, 27], "31 days compared, 62 rows, 2 days differ: 1"),
        (MONTHS, [], "34 months compared, 68 rows, equal"),
        (SINGLE, [], "1 month and 1 day compared, 4 rows, equal"),
        ([None], [0], "all compared, 2 rows, differs: 1 missing"),
    ],
)
def test_days_and_months_are_each_counted_as_what_they_are(
    windows: Sequence[Window | None], different: list[int], told: str
) -> None:
    assert str(audit(windows, *different)).startswith(f"raw.orders: {told}")
