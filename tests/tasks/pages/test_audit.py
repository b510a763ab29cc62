"""What the page of `reconcile` tells of what could not be looked at, or not be compared."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime

import pytest

from ferry.audits.outcome import Audit, AuditedBucket, Difference, DifferentRow
from ferry.fingerprints.canonical import Fingerprint
from ferry.specs.tables import TableSpec
from ferry.windows import day_window
from tasks.pages import audit as page


def shown(monkeypatch: pytest.MonkeyPatch, *audits: Audit) -> list[str]:
    """The lines of the page of these."""
    pages: list[str] = []
    monkeypatch.setattr(
        page, "create_markdown_artifact", lambda markdown, **_: pages.append(markdown)
    )
    specs = [
        TableSpec(name=each.table.partition(".")[2], source="shop", mode="window", key=["id"])
        for each in audits
    ]
    page.show_audits({each.table: each for each in audits}, specs, {}, {}, ())
    return pages[0].splitlines()


ROWS = Fingerprint(5_000_000, 1), Fingerprint(4_000_000, 2)
LOOKED_AT = (DifferentRow(Difference.MISSING, "k"), DifferentRow(Difference.PENDING, "m"))
DAY = AuditedBucket("2023-01-01", day_window(date(2023, 1, 1)), *ROWS, LOOKED_AT, 4_999_998)
EVENTS = Audit("raw_data.events", datetime(2023, 2, 1, tzinfo=UTC), (DAY,))


def test_rows_that_were_not_looked_at_are_counted_beside_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines = shown(monkeypatch, EVENTS)
    classes = "missing | changed | extra | pending | not looked at |"
    assert f"| table | compared | rows | {classes}" in lines
    assert "| raw_data.events | 1 day | 5,000,000 | 1 | 0 | 0 | 1 | 4,999,998 |" in lines
    assert f"| day | source | target | {classes}" in lines
    assert "| 2023-01-01 | 5,000,000 | 4,000,000 | 1 | 0 | 0 | 1 | 4,999,998 |" in lines
    tables = [line.count("|") for line in lines if line.startswith("| ")]
    assert tables == [9] * 6  # of as many cells in each line


def test_what_was_not_compared_is_named_and_stands_before_what_is_equal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    equal = replace(EVENTS, table="raw_data.a", buckets=(replace(DAY, rows=(), unclassified=0),))
    left = replace(equal, table="raw_data.b", left="from 2023-01-02 on, FERRY-BUSY: a lock")
    lines = shown(monkeypatch, equal, left)
    assert "- **raw_data.b: not compared**: from 2023-01-02 on, FERRY-BUSY: a lock" in lines
    assert [line.split()[1] for line in lines if line.startswith("| raw")] == [
        "raw_data.b",
        "raw_data.a",
    ]
