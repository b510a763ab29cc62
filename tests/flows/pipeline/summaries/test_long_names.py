"""A summary whose names the warehouse would cut is refused, as a table is."""

from __future__ import annotations

from typing import Any

import pytest

from flows.sync_table import sync_table

pytestmark = pytest.mark.usefixtures("plain_runs")


@pytest.mark.parametrize("route", ["mysql-folder-postgres"], indirect=True)
def test_a_column_of_64_bytes_is_refused_before_anything_is_made(survey: Any) -> None:
    long = "passives_" + "x" * 55
    survey.edit("nps_summary", "query.sql", "    passives,\n", f"    passives AS {long},\n")
    survey.edit("nps_summary", "summary.yaml", "\n  passives:", f"\n  {long}:")
    survey.answer(3, [9] * 10)
    state = sync_table(table="nps", mode="full", return_state=True)
    assert f"names longer than the warehouse's 63 bytes: {long}" in str(state.message)
    assert survey.journey.warehouse.tables_in(survey.journey.schema) == ["nps"]
