"""What people see of a summary: on the page of the run that published it, and at a terminal."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from deployments.show_summary import draw_summary, summary_lines
from flows.sync_table import sync_table
from tasks.pages.newest import show
from tests.harness.plain_runs import pages_of
from tests.harness.survey import nps_of

pytestmark = [
    pytest.mark.usefixtures("plain_runs"),
    pytest.mark.parametrize("route", ["sqlite-folder-duckdb"], indirect=True),
]


def test_what_is_published_is_shown_on_the_run_s_page_and_at_a_terminal(
    survey: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("flows.pipeline.summaries.publish.show", show)
    survey.answer(3, [9] * 10)
    survey.answer(4, [8, 8, 0])
    state = sync_table(table="nps", mode="full", return_state=True)

    shown = pages_of(state)
    assert {"summary-nps-summary", "summary-nps-monthly-summary"} <= set(shown)
    assert "-33.33" in shown["summary-nps-summary"]
    assert "scores are 0 to 10" in shown["summary-nps-summary"]
    assert "data:image/" in shown["summary-nps-summary"]
    assert list(summary_lines("nps_summary")) == [
        "day            nps  promoters  passives  detractors  responses",
        "2023-01-04  -33.33          0         2           1          3",
        "2023-01-03  100.00         10         0           0         10",
    ]
    chart = draw_summary("nps_summary", "nps", tmp_path / "nps.svg")
    assert "<svg" in chart.read_text()


def test_a_warning_is_told_and_published(survey: Any):
    survey.answer(3, [9] * 10)
    sync_table(table="nps", mode="full")
    survey.answer(3, [8] * 5)

    state = sync_table(table="nps", run_date=date(2023, 1, 3), return_state=True)

    assert state.is_completed()
    assert "1 rows published, 1 replaced" in state.message
    assert "1 warned" in state.message
    assert survey.checks("warned") == [
        (
            "published days keep their size",
            "none moved by more than 20 %",
            "2023-01-03 by +50.0 %",
        )
    ]
    assert survey.published() == [(date(2023, 1, 3), nps_of([9] * 10 + [8] * 5), 15)]
