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


EXTRA = DifferentRow(Difference.EXTRA, "a")
OLDER = DifferentRow(Difference.CHANGED, "b", ahead=True)
CHANGED = DifferentRow(Difference.CHANGED, "c")
PENDING = DifferentRow(Difference.PENDING, "d")


def bucket(*rows: DifferentRow, source: int = 0, target: int = 0, more: int = 0) -> AuditedBucket:
    sides = Fingerprint(source, 1), Fingerprint(target, 2)
    return AuditedBucket("a label", None, *sides, rows, more)


@pytest.mark.parametrize(
    ("of", "loses_all"),
    [
        (bucket(EXTRA, target=1), True),
        (bucket(EXTRA, source=1, target=1), True),
        (bucket(EXTRA, target=2), False),
        (bucket(EXTRA, target=2, more=1), True),
        (bucket(target=0), False),
        (bucket(EXTRA, OLDER, target=2), True),
        (bucket(EXTRA, OLDER, source=1, target=2), False),
        (bucket(EXTRA, CHANGED, target=2), False),
        (bucket(OLDER, CHANGED, target=2), False),
    ],
)
def test_a_bucket_of_which_nothing_would_be_left_is_known(
    of: AuditedBucket, loses_all: bool
) -> None:
    assert of.loses_all is loses_all


def test_only_where_all_was_compared_there_are_only_extra_rows() -> None:
    def of(*rows: DifferentRow, left: str = "", more: int = 0) -> Audit:
        at = datetime(2024, 1, 1, tzinfo=UTC)
        return Audit("raw.orders", at, (bucket(*rows, more=more),), left=left)

    assert of(EXTRA).counts_only_extra and of(EXTRA, PENDING).counts_only_extra
    assert not of(EXTRA, CHANGED).counts_only_extra
    assert not of(EXTRA, left="2023").counts_only_extra
    assert not of(EXTRA, more=1).counts_only_extra
    assert of(EXTRA).different and not of(PENDING).different
