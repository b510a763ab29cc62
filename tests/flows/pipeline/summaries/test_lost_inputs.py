"""A table that has lost its rows takes no numbers of a summary along, and keeps none alive."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

import pytest

from ferry.errors import CheckFailedError
from ferry.statements import PARAM, Statement
from ferry.summaries.partitions import Span
from flows.backfill_tables import backfill
from flows.build_summary import build_summary
from flows.pipeline.summaries.specs import load_summaries
from flows.pipeline.table_specs import load_table_specs
from flows.sync_table import sync_table
from tasks.landed.losses import refuse_lost_inputs
from tests.harness.survey import NPS, SPEC

pytestmark = pytest.mark.usefixtures("plain_runs")

ONE_ROUTE = pytest.mark.parametrize("route", ["sqlite-folder-duckdb"], indirect=True)
DAYS = {"table": "nps", "start_date": date(2023, 1, 3), "end_date": date(2023, 1, 7)}


@pytest.fixture
def lost(request: pytest.FixtureRequest, survey: Any) -> Any:
    """Four days were carried and summed up, all at once or by days; then the table was dropped."""
    survey.edit("nps_summary", "summary.yaml", "max_percent: 20", "max_percent: 2000")
    if request.param == "whole":
        survey.edit("nps_summary", "summary.yaml", "publish: by_window", "publish: replace")
    for day in range(3, 7):
        survey.answer(day, [9] * 10)
    backfill(**DAYS)
    assert days(survey) == [3, 4, 5, 6]
    survey.journey.warehouse.execute(f'DROP TABLE "{survey.journey.schema}"."nps"')
    return survey


def days(survey: Any) -> list[int]:
    return [day.day for day, *_ in survey.published()]


@pytest.mark.parametrize("lost", ["whole"], indirect=True)
def test_what_is_built_of_all_days_is_not_built_of_the_one_that_is_back(lost: Any) -> None:
    for _ in range(2):
        state = sync_table(table="nps", run_date=date(2023, 1, 6), return_state=True)
        assert state.is_failed()
        for said in ("FERRY-CHECK", "has lost its rows", "40 rows were gone", "reprocess="):
            assert said in str(state.message)
        assert days(lost) == [3, 4, 5, 6]

    backfill(**DAYS, reprocess="missing")
    assert days(lost) == [3, 4, 5, 6]
    assert lost.labels() == ["all", "all"]


@ONE_ROUTE
@pytest.mark.parametrize("lost", ["whole"], indirect=True)
def test_a_table_that_has_lost_nothing_hides_no_other_that_has(lost: Any) -> None:
    schema = lost.journey.schema
    lost.journey.sql(NPS.replace("nps", "answers"))
    lost.journey.sql("INSERT INTO answers SELECT * FROM nps")
    lost.journey.write_specs(nps=SPEC, answers=SPEC)
    backfill(**{**DAYS, "table": "answers"})
    reads = f"reads:\n  {schema}.answers: {{column: created_at}}\n"
    lost.edit("nps_summary", "summary.yaml", "reads:\n", reads)
    lost.edit(
        "nps_summary",
        "query.sql",
        "GROUP BY 1",
        f"""
        AND EXISTS (SELECT 1 FROM {schema}.answers) GROUP BY 1""",
    )
    state = sync_table(table="nps", run_date=date(2023, 1, 6), return_state=True)
    assert f"has lost its rows: {schema}.nps" in str(state.message)
    assert days(lost) == [3, 4, 5, 6]


@ONE_ROUTE
@pytest.mark.parametrize("lost", ["whole"], indirect=True)
def test_a_table_that_is_lost_once_more_is_still_one_that_had_all_its_rows(lost: Any) -> None:
    sync_table(table="nps", run_date=date(2023, 1, 6), return_state=True)
    lost.journey.warehouse.execute(f'DROP TABLE "{lost.journey.schema}"."nps"')
    state = sync_table(table="nps", run_date=date(2023, 1, 5), return_state=True)
    assert "40 rows were gone" in str(state.message)
    assert days(lost) == [3, 4, 5, 6]


HOUR = {"window_start": "2023-01-06T08:00:00Z", "window_end": "2023-01-06T09:00:00Z"}
LOOKBACK = {"window_start": "2023-01-05T22:00:00Z", "window_end": "2023-01-07T00:00:00Z"}


@pytest.mark.parametrize("lost", ["by days"], indirect=True)
@pytest.mark.parametrize(
    ("route", "more", "given"),
    [
        ("sqlite-folder-duckdb", {"every": "hour"}, HOUR),
        ("mysql-folder-postgres", {"every": "hour"}, HOUR),
        ("mysql-s3-redshift", {"every": "hour"}, HOUR),
        (
            "sqlite-folder-duckdb",
            {"zone": "Asia/Seoul", "source_zone": "UTC"},
            {"run_date": date(2023, 1, 6)},
        ),
        ("sqlite-folder-duckdb", {}, {"run_date": date(2023, 1, 6), "zone": "Asia/Seoul"}),
        ("sqlite-folder-duckdb", {}, HOUR),
        ("sqlite-folder-duckdb", {}, LOOKBACK),
    ],
    ids=[
        "by the hour",
        "by the hour in postgres",
        "by the hour in redshift",
        "a zone of the spec",
        "a zone of the run",
        "an hour",
        "as a lookback",
    ],
    indirect=["route"],
)
def test_a_day_is_not_built_of_a_part_of_it_that_is_back(
    lost: Any, more: dict[str, str], given: dict[str, Any]
) -> None:
    lost.journey.write_specs(nps={**SPEC, **more})
    state = sync_table(table="nps", **given, return_state=True)
    assert "has lost its rows" in str(state.message)
    assert [row[2] for row in lost.published()] == [10] * 4
    lost.journey.write_specs(nps=SPEC)
    backfill(**DAYS, reprocess="missing")
    assert [row[2] for row in lost.published()] == [10] * 4
    assert lost.labels()[1:] == ["2023-01-03/2023-01-07"]


@ONE_ROUTE
@pytest.mark.parametrize("lost", ["whole"], indirect=True)
def test_what_a_person_has_had_built_since_is_built_by_runs_again(lost: Any) -> None:
    sync_table(table="nps", run_date=date(2023, 1, 6), return_state=True)
    build_summary(summary="nps_summary")
    assert days(lost) == [6]
    sync_table(table="nps", run_date=date(2023, 1, 5))
    assert days(lost) == [5, 6]


@ONE_ROUTE
@pytest.mark.parametrize("lost", ["whole"], indirect=True)
def test_so_is_what_was_built_after_a_loss_that_a_clock_ahead_has_dated(lost: Any) -> None:
    sync_table(table="nps", run_date=date(2023, 1, 6), return_state=True)
    ahead = "UPDATE ferry.receipts SET finished_at = finished_at + INTERVAL 1 HOUR"
    table = (f"{lost.journey.schema}.nps",)
    lost.journey.warehouse.execute(Statement(f"{ahead} WHERE table_name = {PARAM}", table))
    build_summary(summary="nps_summary")
    sync_table(table="nps", run_date=date(2023, 1, 5))
    assert days(lost) == [5, 6]

    lost.journey.warehouse.execute(f'DROP TABLE "{lost.journey.schema}"."nps"')
    state = sync_table(table="nps", run_date=date(2023, 1, 4), return_state=True)
    assert "has lost its rows" in str(state.message)  # of this loss nobody has known
    assert days(lost) == [5, 6]


@ONE_ROUTE
@pytest.mark.parametrize("lost", ["by days"], indirect=True)
def test_a_person_who_asks_for_a_day_has_not_all_of_it_built_of_what_is_left(lost: Any) -> None:
    day_six = {"start_date": date(2023, 1, 6), "end_date": date(2023, 1, 7)}
    sync_table(table="nps", run_date=date(2023, 1, 6))
    assert build_summary(summary="nps_summary", **day_six)
    lost.edit("nps_summary", "query.sql", "100.0", "100.00")
    state = build_summary(summary="nps_summary", **day_six, return_state=True)
    assert "has lost its rows" in str(state.message)
    assert days(lost) == [3, 4, 5, 6]
    lost.journey.warehouse.execute(f'DROP TABLE "{lost.journey.schema}".nps_summary')
    state = build_summary(summary="nps_summary", **day_six, return_state=True)
    assert "has lost its rows" in str(state.message)
    build_summary(summary="nps_summary")
    assert days(lost) == [6]


@ONE_ROUTE
@pytest.mark.parametrize("loses", ["DROP TABLE {}", "DELETE FROM {}"])
def test_rows_that_another_tool_had_put_there_are_lost_as_those_of_receipts(
    survey: Any, loses: str
) -> None:
    survey.edit("nps_summary", "summary.yaml", "max_percent: 20", "max_percent: 2000")
    survey.edit("nps_summary", "summary.yaml", "publish: by_window", "publish: replace")
    for day in range(3, 7):
        survey.answer(day, [9] * 10)
    sync_table(table="nps", mode="full")
    survey.journey.warehouse.execute("DELETE FROM ferry.receipts")  # as of another tool
    backfill(**DAYS)
    build_summary(summary="nps_summary")
    assert {r.changed for r in survey.journey.receipts("nps")} == {0}
    survey.journey.warehouse.execute(loses.format(f'"{survey.journey.schema}"."nps"'))

    state = sync_table(table="nps", run_date=date(2023, 1, 6), return_state=True)

    for said in ("FERRY-CHECK", "has lost its rows", "when its rows were gone"):
        assert said in str(state.message)
    assert days(survey) == [3, 4, 5, 6]
    backfill(**DAYS, reprocess="missing")
    assert days(survey) == [3, 4, 5, 6]


@ONE_ROUTE
def test_a_table_that_never_had_a_row_has_lost_none(survey: Any) -> None:
    for each in ("count: 1", "max_percent: 20"):
        survey.edit(
            "nps_summary", "summary.yaml", each, each.replace("1", "0").replace("20", "2000")
        )
    backfill(**DAYS)
    build_summary(summary="nps_summary")
    survey.journey.warehouse.execute(f'DROP TABLE "{survey.journey.schema}"."nps"')
    survey.answer(6, [9])
    sync_table(table="nps", run_date=date(2023, 1, 6))
    assert days(survey) == [6]


@ONE_ROUTE
@pytest.mark.parametrize("lost", ["whole", "by days"], indirect=True)
def test_a_full_copy_is_taken_in_whatever_it_has(lost: Any) -> None:
    lost.journey.sql("DELETE FROM nps WHERE created_at > '2023-01-04'")
    sync_table(table="nps", mode="full")
    assert days(lost) == [3]


@ONE_ROUTE
@pytest.mark.parametrize("lost", ["by days"], indirect=True)
def test_by_another_column_than_its_windows_nothing_tells_which_day_is_back(lost: Any) -> None:
    """`reads` names `created_at`; the table is carried by `modified`."""
    lost.journey.sql("ALTER TABLE nps ADD COLUMN modified DATETIME")
    lost.journey.sql("UPDATE nps SET modified = created_at")
    lost.journey.write_specs(nps={**SPEC, "cursor": "modified"})
    sync_table(table="nps", run_date=date(2023, 1, 6), return_state=True)
    tables, summaries = load_table_specs(), load_summaries()
    (spec,) = [each for each in summaries.values() if each.name == "nps_summary"]
    day = Span(datetime(2023, 1, 6), datetime(2023, 1, 7))
    with pytest.raises(CheckFailedError, match="has lost its rows"):
        refuse_lost_inputs(spec, [day], tables, lost.journey.warehouse)


@ONE_ROUTE
@pytest.mark.parametrize("lost", ["by days"], indirect=True)
def test_a_day_that_has_no_rows_any_more_when_it_is_back_goes_from_the_summary(lost: Any) -> None:
    sync_table(table="nps", run_date=date(2023, 1, 6))
    assert days(lost) == [3, 4, 5, 6]
    lost.journey.sql("DELETE FROM nps WHERE created_at < '2023-01-04'")
    backfill(**DAYS, reprocess="missing")
    assert days(lost) == [4, 5, 6]
    published = lost.labels()
    sync_table(table="nps", run_date=date(2023, 1, 5))
    assert lost.labels() == published  # what is in it is not built again


@ONE_ROUTE
@pytest.mark.parametrize("lost", ["whole", "by days"], indirect=True)
def test_an_event_is_no_person_who_has_it_built_of_what_is_left(lost: Any) -> None:
    sync_table(table="nps", run_date=date(2023, 1, 6), return_state=True)
    for _ in range(2):
        state = build_summary(table="nps", return_state=True)
        assert "has lost its rows" in str(state.message)
        assert days(lost) == [3, 4, 5, 6]
    backfill(**DAYS, reprocess="missing")
    build_summary(table="nps")
    assert days(lost) == [3, 4, 5, 6]


@ONE_ROUTE
@pytest.mark.parametrize("emptied", ["nps", "nps_summary"])
def test_nothing_is_built_of_a_table_whose_loss_no_run_has_found_yet(
    survey: Any, emptied: str
) -> None:
    reader = {"nps": "nps_summary", "nps_summary": "nps_monthly_summary"}[emptied]
    survey.answer(3, [9] * 10)
    backfill(**DAYS)
    before = survey.published(reader, "*")
    survey.journey.warehouse.execute(f'DELETE FROM "{survey.journey.schema}"."{emptied}"')
    state = build_summary(table=f"{survey.journey.schema}.{emptied}", return_state=True)
    for said in (f"has lost its rows: {survey.journey.schema}.{emptied}", "found none"):
        assert said in str(state.message)
    assert survey.published(reader, "*") == before


@ONE_ROUTE
@pytest.mark.parametrize("lost", ["by days"], indirect=True)
def test_a_day_whose_rows_are_all_marked_as_deleted_by_now_goes_from_it(lost: Any) -> None:
    lost.journey.sql("ALTER TABLE nps ADD COLUMN state SMALLINT NULL")
    lost.journey.sql("UPDATE nps SET state = 1 WHERE created_at < '2023-01-04'")
    lost.journey.write_specs(
        nps={**SPEC, "soft_deletes": "apply", "deleted_column": "state", "deleted_values": [1]}
    )
    backfill(**DAYS, reprocess="missing")
    assert days(lost) == [4, 5, 6]
