"""Summaries of one name in two warehouses have nothing to do with each other."""

from __future__ import annotations

from shutil import copytree
from typing import Any

import pytest

from flows.build_summary import build_summary
from flows.sync_table import sync_table

pytestmark = [
    pytest.mark.usefixtures("plain_runs"),
    pytest.mark.parametrize("route", ["sqlite-folder-duckdb"], indirect=True),
]


def test_one_that_fails_lets_none_wait_that_reads_its_namesake_elsewhere(survey: Any) -> None:
    survey.answer(3, [9])
    sync_table(table="nps", mode="full")
    copytree(survey.folder / "nps_summary", survey.folder / "a_copy")
    survey.edit("a_copy", "summary.yaml", "owner:", "table: nps_summary\nowner:")
    here = f"warehouse: {survey.journey.name}\n"
    survey.edit("a_copy", "summary.yaml", here, "warehouse: nowhere\n")

    state = build_summary(table="nps", return_state=True)

    assert "1 of 3 summaries failed" in str(state.message) and "nowhere" in str(state.message)
    assert survey.labels() == survey.labels("nps_monthly_summary") == ["all", "all"]
