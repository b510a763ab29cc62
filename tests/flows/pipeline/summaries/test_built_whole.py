"""When all of a summary by days is built; it says why: it costs what a year costs, every day."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from flows.build_summary import build_summary
from flows.sync_table import sync_table

pytestmark = [
    pytest.mark.usefixtures("plain_runs"),
    pytest.mark.parametrize("route", ["sqlite-folder-duckdb"], indirect=True),
]


def test_why_all_of_a_summary_is_built_stands_in_the_log_once(
    survey: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def told() -> list[str]:
        lines = [r.getMessage() for r in caplog.records if "is built whole" in r.getMessage()]
        caplog.clear()
        return lines

    schema = survey.journey.schema
    name = f"{schema}.nps_summary"
    survey.edit("nps_summary", "summary.yaml", "max_percent: 20", "max_percent: 2000")
    for day in (3, 4, 5, 6):
        survey.answer(day, [9])

    sync_table(table="nps", run_date=date(2023, 1, 3))
    sync_table(table="nps", run_date=date(2023, 1, 4))
    assert told() == []

    survey.edit("nps_summary", "summary.yaml", "column: created_at", "column: id")
    sync_table(table="nps", run_date=date(2023, 1, 5))
    assert told() == [
        f"{name} is built whole: which days changed in {schema}.nps is not known, of which `reads` "
        "names the column id, and which is carried by created_at",
        f"{schema}.nps_monthly_summary is built whole: which days changed in {name} is not known",
    ]
    assert survey.labels() == ["all", "2023-01-04", "all"]

    survey.edit("nps_summary", "query.sql", "100.0", "100.00")
    sync_table(table="nps", run_date=date(2023, 1, 6))
    assert told()[0] == f"{name} is built whole: its query, its columns or its zone are new"

    build_summary(summary="nps_summary")  # as somebody asked
    assert [line for line in told() if line.startswith(name)] == []


def test_one_that_was_never_published_and_is_there_is_built_by_a_run_without_a_change(
    survey: Any,
) -> None:
    survey.answer(3, [9])
    sync_table(table="nps", mode="full")
    for table in ("receipts", "publications", "summarized"):  # as of rows and tables of others
        survey.journey.warehouse.execute(f"DELETE FROM ferry.{table}")
    survey.journey.warehouse.execute(f'DELETE FROM "{survey.journey.schema}".nps_summary')

    for _ in range(2):
        assert sync_table(table="nps", run_date=date(2023, 1, 3)).changed == 0
        assert survey.labels() == ["all"]
        assert [row[2] for row in survey.published()] == [1]


def test_publications_are_in_order_whatever_the_workers_clocks_say(survey: Any) -> None:
    """Else the query of an older one would be taken for that of the table."""
    survey.answer(3, [9])
    sync_table(table="nps", mode="full")
    survey.journey.warehouse.execute(
        "UPDATE ferry.publications SET published_at = published_at + INTERVAL '1 day'"
    )
    for old, new, day in (("100.0", "100.00", 4), ("100.00", "100.0", 5)):
        survey.edit("nps_summary", "query.sql", old, new)
        survey.answer(day, [9])
        sync_table(table="nps", run_date=date(2023, 1, day))

    assert survey.labels() == ["all", "all", "all"]
    published = [each.published_at for each in survey.publications()]
    assert published == sorted(set(published))
