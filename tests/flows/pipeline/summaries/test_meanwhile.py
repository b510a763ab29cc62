"""What changes in the tables that a summary reads while it is built, checked and published."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

import pytest

from flows.pipeline.summaries import follow, publish
from flows.pipeline.summaries.published import Published
from flows.sync_table import sync_table

pytestmark = [
    pytest.mark.usefixtures("plain_runs"),
    pytest.mark.parametrize("route", ["sqlite-folder-duckdb"], indirect=True),
]
DAY = {"table": "nps", "run_date": date(2023, 1, 3)}


@pytest.fixture
def changed(survey: Any) -> Any:
    """Two days are published, and there is another answer of the first."""
    survey.edit("nps_summary", "summary.yaml", "max_percent: 20", "max_percent: 2000")
    survey.edit("nps_summary", "summary.yaml", "    max: 10\n", "    max: 8\n")
    for day in (3, 4):
        survey.answer(day, [8] * 10)
    sync_table(table="nps", mode="full")
    survey.answer(3, [8])
    return survey


@pytest.fixture
def around_the_build(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Does something `before` or `after` the query of `nps_summary`, and counts its builds."""
    real, builds = publish.with_retries, []

    def around(*, before: Callable[[], Any] = bool, after: Callable[[], Any] = bool) -> list[Any]:
        def with_retries(step: Any, spec: Any) -> Any:
            if step is not publish.build_aside or spec.name != "nps_summary":
                return real(step, spec)

            def run(*args: Any) -> Any:
                builds.append(args[0].label)
                before()
                built = real(step, spec)(*args)
                after()
                return built

            return run

        monkeypatch.setattr(publish, "with_retries", with_retries)
        return builds

    return around


@pytest.fixture
def lands(changed: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Lets another run land an answer of a day, which has not come to its summaries yet."""

    def land(score: int, day: int = 3) -> None:
        changed.answer(day, [score])
        with monkeypatch.context() as other:
            other.setattr(follow, "follow_tables", lambda _: Published())
            assert sync_table(
                table="nps", run_date=date(2023, 1, day), return_state=True
            ).is_completed()

    return land


def counted(survey: Any) -> list[int]:
    return [row[2] for row in survey.published()]


def test_a_table_that_is_emptied_after_the_plan_takes_no_numbers_along(
    changed: Any, around_the_build: Any
) -> None:
    table = f'"{changed.journey.schema}".nps'
    changed.edit("nps_summary", "summary.yaml", "count: 1", "count: 0")
    around_the_build(before=lambda: changed.journey.warehouse.execute(f"DELETE FROM {table}"))

    state = sync_table(**DAY, return_state=True)

    assert "a table that it reads has lost its rows" in str(state.message)
    assert counted(changed) == [10, 10]
    assert changed.labels() == ["all"]


def test_a_table_that_is_emptied_and_filled_again_meanwhile_is_read_again(
    changed: Any, around_the_build: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No check looks whether there are rows, and afterwards all of them are there."""
    table = f'"{changed.journey.schema}".nps'
    changed.edit("nps_summary", "summary.yaml", "count: 1", "count: 0")
    changed.edit("nps_summary", "summary.yaml", "max_percent: 20", "max_percent: 2000")

    def copied() -> None:
        with monkeypatch.context() as other:
            other.setattr(follow, "follow_tables", lambda _: Published())
            assert sync_table(table="nps", mode="full", return_state=True).is_completed()

    builds = around_the_build(
        before=lambda: len(builds) > 1 or changed.journey.warehouse.execute(f"DELETE FROM {table}"),
        after=lambda: len(builds) > 1 or copied(),
    )
    state = sync_table(**DAY, return_state=True)

    assert state.is_completed(), state.message
    assert len(builds) == 2
    assert counted(changed) == [11, 10]


def test_rows_that_land_between_the_input_check_and_the_query_are_checked_too(
    changed: Any, around_the_build: Any, lands: Any
) -> None:
    builds = around_the_build(before=lambda: len(builds) > 1 or lands(9))

    state = sync_table(**DAY, return_state=True)

    assert "scores are 0 to 10" in str(state.message) and "found 1 rows" in str(state.message)
    assert counted(changed) == [10, 10]


def test_rows_that_land_between_the_query_and_the_output_check_fail_no_check(
    changed: Any, around_the_build: Any, lands: Any
) -> None:
    builds = around_the_build(after=lambda: len(builds) > 1 or lands(8))

    state = sync_table(**DAY, return_state=True)

    assert state.is_completed(), state.message
    assert builds == ["2023-01-03", "2023-01-03"]
    assert counted(changed) == [12, 10]
    assert changed.labels() == ["all", "2023-01-03"]


def test_a_table_that_changes_all_the_time_keeps_no_summary_from_being_published(
    changed: Any, around_the_build: Any, lands: Any
) -> None:
    builds = around_the_build(before=lambda: lands(8))
    sync_table(**DAY)
    assert (builds, counted(changed)) == (["2023-01-03"], [12, 10])
    around_the_build()
    sync_table(table="nps", run_date=date(2023, 1, 5))  # what landed meanwhile is not lost
    assert changed.labels() == ["all", "2023-01-03", "2023-01-03"]


def test_a_check_that_fails_each_time_is_told_though_the_table_changes_all_the_time(
    changed: Any, around_the_build: Any, lands: Any
) -> None:
    builds = around_the_build(after=lambda: lands(8))

    state = sync_table(**DAY, return_state=True)

    assert "FERRY-CHECK: output_check" in str(state.message)
    assert len(builds) == publish.STALE_ATTEMPTS
    assert counted(changed) == [10, 10]
