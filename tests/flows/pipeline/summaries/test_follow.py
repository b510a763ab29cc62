"""Summaries follow the tables they read, by themselves and only where something has changed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from prefect import flow

from ferry.errors import ConnectionLostError
from ferry.windows import day_window
from flows.build_summary import build_summary
from flows.pipeline.carry_batch import carry
from flows.pipeline.carry_many import window_batches
from flows.pipeline.make_batch import load_route
from flows.pipeline.summaries.follow import follow_tables
from flows.pipeline.table_specs import load_table_specs
from flows.sync_all import sync_all
from flows.sync_table import sync_table
from tasks import summarize
from tasks.landed.history import read_run
from tests.harness.survey import SPEC, nps_of

pytestmark = pytest.mark.usefixtures("plain_runs")

ONE_ROUTE = pytest.mark.parametrize("route", ["sqlite-folder-duckdb"], indirect=True)
SCORES: dict[int, list[int | None]] = {
    3: [9] * 40 + [10] * 40 + [7] * 15 + [8] * 15 + [0] * 5 + [6] * 35,
    4: [7, 8, None],
    5: [0, 3, 6, 10, None, 8, 8],
}


@pytest.fixture
def answered(survey: Any) -> Any:
    for day, scores in SCORES.items():
        survey.answer(day, scores)
    return survey


def test_the_summaries_follow_the_table_and_agree_with_the_source(answered: Any):
    sync_table(table="nps", mode="full")

    assert answered.published() == [
        (date(2023, 1, 3), Decimal("26.67"), 150),
        (date(2023, 1, 4), Decimal("0.00"), 2),
        (date(2023, 1, 5), nps_of(SCORES[5]), 6),
    ]
    everyone = [score for scores in SCORES.values() for score in scores]
    assert answered.published("nps_monthly_summary", "month, nps, responses") == [
        (date(2023, 1, 1), nps_of(everyone), 158)
    ]
    assert answered.checks("failed") == []
    assert len(answered.checks("passed")) > 5
    assert answered.journey.leftovers() == set()


def test_a_day_builds_just_its_partitions_and_an_unchanged_one_none(answered: Any):
    sync_table(table="nps", mode="full")
    # Nobody may do this; it shows which rows are written anew.
    answered.journey.warehouse.execute(
        f'UPDATE "{answered.journey.schema}".nps_summary '
        "SET responses = responses + 1000, passives = passives + 1000"
    )
    answered.edit("nps_summary", "summary.yaml", "max_percent: 20", "max_percent: 2000")
    answered.answer(5, [10])
    answered.answer(date(2023, 2, 1), [9, 9, 0])

    sync_table(table="nps", run_date=date(2023, 1, 5))
    sync_table(table="nps", run_date=date(2023, 2, 1))
    again = sync_table(table="nps", run_date=date(2023, 2, 1))

    assert again.changed == 0
    assert [row[2] for row in answered.published()] == [1150, 1002, 7, 3]
    assert answered.labels() == ["all", "2023-01-05", "2023-02-01"]
    assert answered.labels("nps_monthly_summary") == [
        "all",
        "2023-01-01/2023-02-01",
        "2023-02-01/2023-03-01",
    ]


@ONE_ROUTE
def test_many_windows_of_one_run_are_built_once(answered: Any):
    answered.answer(20, [9])
    sync_table(table="nps", mode="full")
    answered.edit("nps_summary", "summary.yaml", "max_percent: 20", "max_percent: 2000")
    for day in (3, 4, 20):
        answered.answer(day, [10] * 3)

    @flow
    def carry_days() -> Any:
        from flows.pipeline.carry_batch import carry
        from flows.pipeline.make_batch import Dates, load_route, make_batch
        from flows.pipeline.table_specs import load_table_specs

        spec = load_table_specs().named("nps")
        days = [date(2023, 1, day) for day in (20, 3, 4)]
        for day in days:
            carry(make_batch(spec, Dates(day)), load_route(spec))
        return follow_tables([str(spec.target)])

    published = carry_days()

    assert [p.window_label for p in published.publications] == [
        "2023-01-03/2023-01-05, 2023-01-20",
        "2023-01-01/2023-02-01",
    ]
    assert [row[2] for row in answered.published()] == [153, 5, 6, 4]


def test_a_batch_that_lands_once_more_after_it_was_void_is_taken_in_once_more(answered: Any):
    warehouse, schema = answered.journey.warehouse, answered.journey.schema
    answered.edit("nps_summary", "summary.yaml", "max_percent: 20", "max_percent: 2000")
    spec, landed = load_table_specs().named("nps"), []

    @flow
    def carry_the_same_batch_again_and_again() -> None:
        day = day_window(date(2023, 1, 5))
        (batch,) = window_batches(spec, [day], f"of {schema}", datetime(2023, 2, 1, tzinfo=UTC))
        for attempt, made_anew in ((1, False), (1, True), (2, False), (1, True)):
            if made_anew:
                answered.answer(5, [10])
                warehouse.execute(f'DROP TABLE "{schema}"."nps"')
            landed.append(carry(replace(batch, attempt=attempt), load_route(spec)))
            follow_tables([landed[-1].table_name])
        history = read_run.fn(batch.flow_run_id, spec.target, warehouse)
        landed.append(history.receipts[batch.id])

    carry_the_same_batch_again_and_again()

    assert answered.published() == [(date(2023, 1, 5), nps_of([*SCORES[5], 10, 10]), 8)]
    assert answered.labels() == ["all", "2023-01-05", "2023-01-05"]
    first, second, found, third, told = landed
    assert found == second
    assert told == replace(third, sums_read=None, sums_staged=None)  # which nobody asks for
    assert len({receipt.batch_id for receipt in (first, second, third)}) == 3


def test_rows_that_changed_within_the_lag_of_a_table_without_a_key_are_taken_in(answered: Any):
    spec = {"mode": "watermark", "cursor": "created_at", "lag": 86_400}
    answered.journey.write_specs(nps=spec)
    answered.edit("nps_summary", "summary.yaml", "max_percent: 20", "max_percent: 2000")
    sync_table(table="nps")
    answered.journey.sql("UPDATE nps SET score = 10 WHERE score = 0 AND created_at > '2023-01-05'")
    receipt = sync_table(table="nps")
    assert (receipt.rows_inserted, receipt.rows_deleted) == (1, 1)
    scores = [10 if score == 0 else score for score in SCORES[5]]
    assert answered.published()[-1] == (date(2023, 1, 5), nps_of(scores), 6)
    sync_table(table="nps")
    assert len(answered.labels()) == 2


def test_a_summary_whose_table_was_dropped_is_built_whole_by_the_next_run(answered: Any):
    sync_table(table="nps", mode="full")
    before = answered.published()
    for name in ("nps_summary", "nps_monthly_summary"):
        answered.journey.warehouse.execute(f'DROP TABLE "{answered.journey.schema}"."{name}"')

    unchanged = sync_table(table="nps", run_date=date(2023, 1, 4))

    assert unchanged.changed == 0
    assert answered.published() == before
    assert answered.labels() == ["all", "all"]
    assert answered.published("nps_monthly_summary", "responses") == [(158,)]
    sync_table(table="nps", run_date=date(2023, 1, 4))
    assert answered.labels() == ["all", "all"]


def test_a_dropped_summary_whose_build_dies_before_its_rows_are_in_is_built_by_the_next_run(
    answered: Any, monkeypatch: pytest.MonkeyPatch
):
    sync_table(table="nps", mode="full")
    before = answered.published()
    answered.journey.warehouse.execute(f'DROP TABLE "{answered.journey.schema}".nps_summary')

    def lost(*_: Any) -> Any:
        raise ConnectionLostError("the connection is lost")

    with monkeypatch.context() as dying:
        dying.setattr(summarize, "_publish", lost)
        died = sync_table(table="nps", run_date=date(2023, 1, 4), return_state=True)
    assert died.is_failed()
    assert answered.published() == []  # made, and nothing more
    answered.answer(5, [10])

    sync_table(table="nps", run_date=date(2023, 1, 5))

    assert answered.published() == [*before[:2], (date(2023, 1, 5), nps_of([*SCORES[5], 10]), 7)]
    assert answered.labels() == ["all", "all"]


@ONE_ROUTE
def test_a_summary_that_has_lost_its_rows_is_built_whole_and_an_empty_one_is_left_alone(
    answered: Any,
):
    empty = f'DELETE FROM "{answered.journey.schema}".nps_summary'
    answered.edit("nps_summary", "summary.yaml", "max_percent: 20", "max_percent: 2000")
    answered.edit("nps_summary", "summary.yaml", "count: 1", "count: 0")
    sync_table(table="nps", mode="full")
    answered.answer(6, [9])
    sync_table(table="nps", run_date=date(2023, 1, 6))
    before = answered.published()
    answered.journey.warehouse.execute(empty)

    sync_table(table="nps", run_date=date(2023, 1, 4))

    assert answered.published() == before
    assert answered.labels() == ["all", "2023-01-06", "all"]
    for day in (3, 4, 5, 6):  # as if there had never been an answer
        answered.journey.sql("UPDATE nps SET score = NULL")
        sync_table(table="nps", run_date=date(2023, 1, day))
    assert answered.published() == []
    published = answered.labels()
    sync_table(table="nps", run_date=date(2023, 1, 4))
    assert answered.labels() == published


@ONE_ROUTE
def test_sync_all_builds_what_all_its_tables_touch_once(answered: Any):
    answered.journey.sql("CREATE TABLE more (id INT NOT NULL PRIMARY KEY, created_at DATETIME)")
    answered.journey.sql("INSERT INTO more VALUES (1, '2023-01-05 10:00:00')")
    answered.journey.write_specs(nps=SPEC, more=SPEC)

    sync_all(run_date=date(2023, 1, 5))

    assert answered.labels() == ["all"]
    assert answered.published() == [(date(2023, 1, 5), nps_of(SCORES[5]), 6)]


@ONE_ROUTE
def test_what_a_failed_run_left_behind_is_built_by_the_next(answered: Any):
    sync_table(table="nps", mode="full")
    answered.edit("nps_summary", "query.sql", "FROM responses_by_day", "FROM responses_by_dya")
    answered.answer(5, [8, 8])
    failed = sync_table(table="nps", run_date=date(2023, 1, 5), return_state=True)
    assert failed.is_failed()
    assert "2 inserted" in failed.message
    assert "reads: not the tables" in failed.message or "nps_summary" in failed.message

    answered.edit("nps_summary", "query.sql", "FROM responses_by_dya", "FROM responses_by_day")
    sync_table(table="nps", run_date=date(2023, 1, 4))

    assert answered.labels() == ["all", "2023-01-05"]
    assert answered.published()[2][2] == 8


@ONE_ROUTE
def test_another_query_builds_all_of_it_at_the_next_change(answered: Any):
    sync_table(table="nps", mode="full")
    answered.edit("nps_summary", "query.sql", "score IS NOT NULL", "score < 10")
    answered.edit("nps_summary", "summary.yaml", "COUNT(score)", "COUNT(NULLIF(score, 10))")
    answered.edit("nps_summary", "summary.yaml", "max_percent: 20", "max_percent: 90")
    answered.answer(4, [8])

    sync_table(table="nps", run_date=date(2023, 1, 4))

    assert answered.labels() == ["all", "all"]
    assert [row[2] for row in answered.published()] == [110, 3, 5]


@ONE_ROUTE
def test_a_new_column_is_added_and_filled_for_every_day(answered: Any):
    sync_table(table="nps", mode="full")
    answered.edit(
        "nps_summary",
        "query.sql",
        "    promoters,\n",
        "    promoters,\n    passives * 2 AS pairs,\n",
    )
    column = "  pairs: {type: bigint, description: Twice the passives.}\n"
    answered.edit("nps_summary", "summary.yaml", "  passives:", column + "  passives:")
    change = "output_check:\n  - change: pairs\n    max_percent: 1\n"
    answered.edit("nps_summary", "summary.yaml", "output_check:\n", change)
    answered.answer(5, [8])

    sync_table(table="nps", run_date=date(2023, 1, 5))

    assert answered.published(columns="day, pairs") == [
        (date(2023, 1, 3), 60),
        (date(2023, 1, 4), 4),
        (date(2023, 1, 5), 6),
    ]


@ONE_ROUTE
def test_a_summary_whose_tables_are_not_there_yet_is_left_alone(answered: Any):
    answered.ship("mau_summary")
    answered.journey.sql("CREATE TABLE session_timestamp (id INT, sessionid INT, ts DATETIME)")
    answered.journey.write_specs(session_timestamp={**SPEC, "cursor": "ts"})

    state = sync_table(table="session_timestamp", mode="full", return_state=True)

    assert state.is_completed()
    assert "mau_summary" not in state.message


@ONE_ROUTE
def test_a_summary_that_has_lost_a_table_that_it_reads_fails(answered: Any):
    """It would stay as it is for ever, and every run would be green."""
    journey = answered.journey
    sync_table(table="nps", mode="full")
    journey.warehouse.execute(f'CREATE TABLE "{journey.schema}".prices (day DATE)')
    answered.edit(
        "nps_summary", "summary.yaml", "reads:\n", f"reads:\n  {journey.schema}.prices:\n"
    )
    nps, prices = f"FROM {journey.schema}.nps", f"(SELECT COUNT(*) FROM {journey.schema}.prices)"
    answered.edit("nps_summary", "query.sql", nps, f"{nps} CROSS JOIN {prices} AS counted")
    sync_table(table="nps", mode="full")
    published = answered.published()
    journey.warehouse.execute(f'DROP TABLE "{journey.schema}".prices')
    answered.answer(6, [9])

    state = sync_table(table="nps", run_date=date(2023, 1, 6), return_state=True)

    assert state.is_failed()
    assert f"that the warehouse does not have: {journey.schema}.prices" in state.message
    assert answered.published() == published


SALES = """owner: sales
description: Orders a day.
schema: {schema}
warehouse: {warehouse}
columns:
  day: {{type: date, description: The day.}}
  orders: {{type: bigint, description: How many.}}
grain: [day]
publish: replace
reads: {{{schema}.orders: }}
"""


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("summary.yaml", "publish:", "publihs:"),
        ("summary.yaml", "grain: [", "grain: [["),
        ("summary.yaml", "columns:", "columns: []\nothers:"),
        ("query.sql", "SELECT", "SELEKT"),
        ("query.sql", "COUNT(*) AS orders", "COUNT(*)"),
    ],
)
@pytest.mark.parametrize("route", ["sqlite-folder-duckdb"], indirect=True)
def test_a_typo_in_one_summary_fails_only_the_runs_of_tables_that_it_reads(
    survey: Any, file: str, old: str, new: str
) -> None:
    journey = survey.journey
    folder = survey.folder / "sales"
    folder.mkdir()
    text = SALES.format(schema=journey.schema, warehouse=journey.name)
    (folder / "summary.yaml").write_text(text)
    query = (
        f"SELECT modified::date AS day, COUNT(*) AS orders FROM {journey.schema}.orders GROUP BY 1"
    )
    (folder / "query.sql").write_text(query)
    journey.sql("CREATE TABLE orders (id INTEGER NOT NULL PRIMARY KEY, modified DATETIME)")
    journey.sql("INSERT INTO orders VALUES (?, ?)", [(1, "2023-01-05 10:00:00")])
    orders = {"mode": "window", "key": ["id"]}
    journey.write_specs(nps={**orders, "cursor": "created_at"}, orders=orders)
    survey.answer(5, [10, 0])
    survey.edit("sales", file, old, new)
    day = {"run_date": date(2023, 1, 5)}

    nps = sync_table(table="nps", **day, return_state=True)
    assert nps.is_completed(), nps.message
    assert journey.target("nps_summary", "day", "day") == [(date(2023, 1, 5),)]

    state = sync_table(table="orders", **day, return_state=True)
    assert state.is_failed()
    assert "These rows have arrived; not up to date are 1 summary: FERRY-SPEC: " in state.message
    assert f"sales/{file}" in state.message
    assert journey.target("orders", "id") == [(1,)]

    asked = build_summary(summary="sales", return_state=True)
    assert asked.is_failed() and f"sales/{file}" in asked.message
    both = build_summary(table=f"{journey.schema}.orders", return_state=True)
    assert both.is_failed() and f"sales/{file}" in both.message
    assert build_summary(summary="nps_summary", return_state=True).is_completed()

    survey.edit("sales", file, new, old)
    assert sync_table(table="orders", **day, return_state=True).is_completed()
    assert journey.target("sales", "day, orders", "day") == [(date(2023, 1, 5), 1)]


@ONE_ROUTE
def test_code_that_changes_under_a_run_does_not_hide_the_rows(answered: Any, monkeypatch: Any):
    def changed() -> None:
        raise ImportError("cannot import name")

    monkeypatch.setattr("flows.pipeline.summaries.specs.load_summaries", changed)
    failed = sync_table(table="nps", mode="full", return_state=True)
    assert "These rows have arrived; not up to date are 1 summary: FERRY-UNKNOWN" in failed.message
    assert "ImportError" in failed.message
