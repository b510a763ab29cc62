"""The tests see nothing of what the machine that they run on is set up for."""

from __future__ import annotations

from tests.harness.shared import forget_settings

THEIRS = {
    "FERRY_SUMMARIES": "/of/theirs",
    "FERRY_NOTIFY_SLACK_URL": "https://hooks.example",
    "PREFECT_API_URL": "http://prefect.example/api",
    "prefect_api_key": "theirs",
    "HTTPS_PROXY": "http://proxy.example",
    "http_proxy": "http://proxy.example",
}
KEPT = {"FERRY_MYSQLD": "/of/theirs", "TZ": "UTC", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}


def test_the_settings_of_the_machine_are_forgotten_but_for_the_mysql_that_it_names() -> None:
    forget_settings(environment := {**THEIRS, **KEPT})
    assert environment == KEPT


def test_a_process_of_the_run_keeps_what_the_first_one_has_set() -> None:
    forget_settings(environment := {"PREFECT_API_URL": "ours", "PYTEST_XDIST_WORKER": "gw1"})
    assert environment["PREFECT_API_URL"] == "ours"
