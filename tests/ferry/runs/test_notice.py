"""The message about a failed run: short enough, and with nothing in it that is not to be told."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferry.runs.notice import FailedRun, failure_notice, plain


def run(**known: Any) -> FailedRun:
    return FailedRun(
        **{
            "name": "sync nps 2023-01-05",
            "deployment": "sync-table/on-demand",
            "ended": "Failed",
            "message": "extract raw_data.nps 2023-01-05: there is no table 'nps'",
            "parameters": {"table": "nps", "run_date": "2023-01-05", "mode": None, "zone": "UTC"},
            "window": "2023-01-05",
            "link": "http://127.0.0.1:4200/runs/flow-run/1",
            **known,
        }
    )


def test_it_says_table_window_reason_what_it_was_started_with_and_the_link():
    notice = failure_notice(run())
    assert notice.subject == "Ferry: sync nps 2023-01-05 failed"
    assert notice.body.splitlines() == [
        "Table: nps",
        "Window: 2023-01-05",
        "Reason: extract raw_data.nps 2023-01-05: there is no table 'nps'",
        "Flow: sync-table/on-demand, with run_date=2023-01-05 zone=UTC",
        "Run: http://127.0.0.1:4200/runs/flow-run/1",
    ]


@pytest.mark.parametrize(
    ("ended", "said"),
    [
        ("Failed", "failed"),
        ("Crashed", "crashed"),
        ("TimedOut", "timed out"),
        ("Cancelled", "was cancelled"),
        ("Odd", "failed"),
    ],
)
def test_the_subject_says_how_it_ended(ended: str, said: str):
    assert failure_notice(run(ended=ended)).subject.endswith(f" {said}")


def test_what_prefect_puts_before_the_reason_is_left_out():
    message = "Flow run encountered an exception: SchemaError: FERRY-SCHEMA: extract a.b: there is"
    body = failure_notice(run(message=message)).body
    assert "\nReason: FERRY-SCHEMA: extract a.b: there is" in body  # the class says the same


def test_of_an_error_without_a_code_the_class_stays():
    for kind in ("ParameterTypeError", "SchemaError"):  # Prefect's own, and an older Ferry's
        message = f"Flow run encountered an exception: {kind}: extract a.b: there is no table"
        body = failure_notice(run(message=message)).body
        assert f"\nReason: {kind}: extract a.b: there is" in body


def test_however_long_a_reason_is_its_code_is_told():
    reasons = [f"FERRY-DATA: upsert raw_data.t{n}: {'why ' * 5_000}" for n in range(3)]
    message = "\n".join(["3 of 3 tables failed:", *reasons])
    lines = failure_notice(run(message=message)).body.splitlines()
    told = [line for line in lines if line.startswith("- ")]
    assert told
    assert all(line.startswith("- FERRY-DATA: upsert raw_data.t") for line in told)


def test_of_many_reasons_the_first_are_told_and_the_others_counted():
    reasons = [f"extract raw_data.t{n} 2023-01-05: why" for n in range(25)]
    message = "\n".join(["25 of 30 tables failed:", *reasons])
    lines = failure_notice(run(message=message, parameters={"every": "day"})).body.splitlines()
    assert lines[1] == "Reason: 25 of 30 tables failed:"
    assert lines[2:12] == [f"- {reason}" for reason in reasons[:10]]
    assert lines[12] == "and 15 more, on the run's page"


@pytest.mark.parametrize("more", ["and 1,980 more", "and 1,980 more reasons"])
def test_of_more_reasons_than_the_state_s_message_has_all_others_are_counted(more: str):
    message = "\n".join(["2,000 windows failed:", *(f"why {n}" for n in range(20)), more, "late"])
    lines = failure_notice(run(message=message)).body.splitlines()
    assert "and 1,991 more, on the run's page" in lines
    all_shown = failure_notice(run(message=f"two\nwhy\n{more}")).body.splitlines()
    assert [line for line in all_shown if "more" in line] == [f"- {more}"]


HOSTILE = [
    "<!channel>",
    "!channel>",
    "&lt;!here|now&gt;",
    "<@U012345|boss>",
    "<http://evil.example/a|raw_data.nps>",
    "[raw_data.nps](http://evil.example/a)",
    "<b onload=x>",
    "@everyone look",
    "@here",
    "`code`",
    "nps\nReason: all is well",
    "nps\u2028Run: http://evil.example",
    "a\u202eb",
    "{{ token }}",
]
MARKUP = ("<", ">", "`", "](", "{{", "@everyone", "@here", "\u2028", "\u202e")


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("where", ["table", "run_date", "mode", "tables", "window", "name", "why"])
def test_what_somebody_gave_a_run_is_text_and_nothing_else_in_the_message(where: str, text: str):
    known: dict[str, Any] = {"window": {"window": text}, "name": {"name": text}}.get(
        where, {"parameters": {where: [text] if where == "tables" else text}}
    )
    if where == "why":
        known = {"message": f"there is no table {text!r}".replace("\\n", " ")}
    notice = failure_notice(run(**known))
    subject, body = notice.subject, notice.body
    assert [mark for mark in MARKUP if mark in subject + body] == []
    assert "\n" not in subject
    starts = [line.partition(":")[0] for line in body.splitlines()]
    assert len(starts) == len(set(starts))  # no line that is not ours


def test_parameters_that_are_not_known_are_not_told():
    parameters = {"table": "nps", "password": "p1anted", "zone": "UTC"}
    assert "p1anted" not in failure_notice(run(parameters=parameters)).body


@given(
    message=st.text(max_size=400).map(lambda text: text * 40),
    table=st.text(min_size=1, max_size=500),
    tables=st.lists(st.text(max_size=50), max_size=60),
)
def test_it_is_never_longer_than_slack_shows(message: str, table: str, tables: list[str]):
    parameters = {"table": table, "tables": tables, "start_date": table, "granularity": table}
    notice = failure_notice(run(name=table, message=message, parameters=parameters, window=table))
    assert len(notice.subject) <= 200
    assert len(notice.body) <= 3_000


def test_no_run_of_braces_is_a_placeholder_of_prefect_s_webhook():
    for braces in range(2, 6):
        assert "{{" not in plain("{" * braces + "token" + "}" * braces)
