"""Checks look at just the days that are built."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from flows.sync_table import sync_table

pytestmark = [
    pytest.mark.usefixtures("plain_runs"),
    pytest.mark.parametrize("route", ["sqlite-folder-duckdb"], indirect=True),
]


def test_days_between_those_that_are_built_hold_none_of_them_back(survey: Any) -> None:
    survey.edit("nps_summary", "summary.yaml", "max_percent: 20", "max_percent: 2000")
    for day in (3, 4, 5):
        survey.answer(day, [9])
    sync_table(table="nps", mode="full")
    survey.edit("nps_summary", "query.sql", "FROM responses_by_day", "FROM responses_by_dya")
    survey.answer(3, [8])
    sync_table(table="nps", run_date=date(2023, 1, 3), return_state=True)
    survey.edit("nps_summary", "query.sql", "FROM responses_by_dya", "FROM responses_by_day")
    table = f'"{survey.journey.schema}".nps'  # of the day between, by somebody else
    survey.journey.warehouse.execute(f"INSERT INTO {table} VALUES (99, '2023-01-04 07:00', 11)")
    survey.answer(5, [0])

    state = sync_table(table="nps", run_date=date(2023, 1, 5), return_state=True)

    assert state.is_completed(), state.message
    assert survey.labels() == ["all", "2023-01-03, 2023-01-05"]
    assert [row[2] for row in survey.published()] == [2, 1, 2]
