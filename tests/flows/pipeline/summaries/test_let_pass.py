"""A person lets pass the check that they have named, and no other."""

from __future__ import annotations

import json
import re
import shlex
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from flows.build_summary import build_summary
from flows.sync_table import sync_table

pytestmark = [
    pytest.mark.usefixtures("plain_runs"),
    pytest.mark.parametrize("route", ["sqlite-folder-duckdb"], indirect=True),
]


def test_of_two_checks_that_are_called_alike_only_the_one_that_is_named_is_let_pass(
    survey: Any,
) -> None:
    once = "  - bounds: nps\n"
    survey.edit("nps_summary", "summary.yaml", once, f"{once}    max: 50\n{once}")
    survey.edit("nps_summary", "summary.yaml", "    max: 100\n", "    max: 60\n")
    survey.answer(3, [9])

    failed = sync_table(table="nps", mode="full", return_state=True)
    assert "bounds nps; bounds nps (2)" in failed.message
    held = build_summary(summary="nps_summary", accept=["bounds nps"], return_state=True)

    assert "checks failed: bounds nps (2)" in held.message
    assert survey.labels() == []
    build_summary(summary="nps_summary", accept=["bounds nps", "bounds nps (2)"])
    assert survey.published() == [(date(2023, 1, 3), Decimal("100.00"), 1)]


def test_what_is_checked_without_being_written_is_not_let_pass_by_a_check_of_its_name(
    survey: Any,
) -> None:
    built_in = "one row for each of the grain"
    written = "  - not_null: [nps, responses]\n"
    survey.edit("nps_summary", "summary.yaml", written, f"{written}    name: {built_in}\n")
    survey.edit("nps_summary", "query.sql", "\n    day,", "\n    DATE '2023-01-03' AS day,")
    for day in (3, 4):
        survey.answer(day, [9])
    failed = sync_table(table="nps", mode="full", return_state=True)
    assert built_in in failed.message and "accept" not in failed.message

    state = build_summary(summary="nps_summary", accept=[built_in], return_state=True)

    assert f"no check is called '{built_in}'" in state.message
    assert survey.labels() == []


def test_the_message_s_command_lets_pass_what_was_built_and_no_day_that_is_lost(
    survey: Any,
) -> None:
    for day in (3, 4, 5, 6):
        survey.answer(day, [9] * 10)
    sync_table(table="nps", mode="full")
    survey.journey.warehouse.execute(f'DROP TABLE "{survey.journey.schema}"."nps"')
    survey.journey.sql("DELETE FROM nps WHERE id > 35")
    held = sync_table(table="nps", run_date=date(2023, 1, 6), return_state=True)
    (command,) = re.findall(r"run 'build-summary/on-demand'(.*\]')", held.message)
    given = dict(each.split("=", 1) for each in shlex.split(command) if each != "--param")
    accept = json.loads(given.pop("accept"))
    assert given == {
        "summary": "nps_summary",
        "start_date": "2023-01-06",
        "end_date": "2023-01-07",
    }

    whole = build_summary(summary="nps_summary", accept=accept, return_state=True)
    assert "has lost its rows" in whole.message and "without `accept`" in whole.message
    assert [row[2] for row in survey.published()] == [10] * 4

    days = {name: date.fromisoformat(given[name]) for name in ("start_date", "end_date")}
    build_summary(summary="nps_summary", accept=accept, **days)
    assert [row[2] for row in survey.published()] == [10, 10, 10, 5]


def test_of_a_summary_that_is_built_whole_the_command_has_no_dates(survey: Any) -> None:
    survey.edit("nps_summary", "summary.yaml", "    max: 100\n", "    max: 60\n")
    survey.answer(3, [9])
    failed = sync_table(table="nps", mode="full", return_state=True)
    assert """summary=nps_summary --param 'accept=["bounds nps"]'""" in failed.message


def test_stretches_of_days_are_let_pass_each_by_itself(survey: Any) -> None:
    for day in (3, 4, 5):
        survey.answer(day, [9])
    sync_table(table="nps", mode="full")
    survey.edit("nps_summary", "summary.yaml", "    max: 100\n", "    max: 60\n")
    later = {3: "2023-01-03 23:00:00", 5: "2023-01-05 23:00:00"}
    for day, moment in later.items():
        survey.journey.sql("UPDATE nps SET created_at = ? WHERE id = ?", [(moment, day - 2)])
        failed = sync_table(table="nps", run_date=date(2023, 1, day), return_state=True)
    spans = re.findall(r"start_date=(\S+) --param end_date=(\S+)", failed.message)
    assert spans == [("2023-01-03", "2023-01-04"), ("2023-01-05", "2023-01-06")]
