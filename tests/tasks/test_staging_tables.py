"""The day by the warehouse's clock is asked for once, and again when it may be another."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from ferry import statements as sql
from flows.backfill_tables import backfill
from tasks import staging_tables

ONE_ROUTE = pytest.mark.parametrize("route", ["sqlite-folder-duckdb"], indirect=True)


@pytest.fixture
def asked(journey: Any, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A table of five days, and each question for the day that its warehouse was asked."""
    journey.sql("CREATE TABLE t (id INT NOT NULL PRIMARY KEY, created_at DATETIME NOT NULL)")
    journey.sql(
        "INSERT INTO t VALUES (?, ?)", [(day, f"2023-01-0{day} 10:00:00") for day in range(1, 6)]
    )
    journey.write_specs(t={"mode": "window", "key": ["id"]})
    questions: list[Any] = []
    fetch = type(journey.warehouse).fetch

    def counted(self: Any, statement: Any) -> Any:
        questions.extend([statement] if statement == sql.today() else [])
        return fetch(self, statement)

    monkeypatch.setattr(type(journey.warehouse), "fetch", counted)
    return questions


@ONE_ROUTE
def test_many_batches_of_one_process_ask_for_the_day_once(asked: list[str]) -> None:
    days = {"start_date": date(2023, 1, 1), "end_date": date(2023, 1, 6)}
    assert sum(map(len, backfill(table="t", **days).values())) == 5
    assert len(asked) == 1


@ONE_ROUTE
def test_it_is_asked_for_again_after_midnight_and_from_time_to_time(
    journey: Any, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Tomorrow(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return datetime.now(tz) + timedelta(days=1)

    for _ in range(2):
        assert staging_tables.today(journey.warehouse) == datetime.now(UTC).date()
    assert len(asked) == 1
    monkeypatch.setattr(staging_tables, "datetime", Tomorrow)
    for _ in range(2):
        staging_tables.today(journey.warehouse)
    assert len(asked) == 2
    monkeypatch.setattr(staging_tables, "DAY_IS_KNOWN_SECONDS", 0)
    staging_tables.today(journey.warehouse)
    assert len(asked) == 3
