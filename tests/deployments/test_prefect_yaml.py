"""Prefect ignores unknown keys without a word, and loads an entrypoint only when it runs it."""

import re
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import yaml
from prefect.flows import load_flow_from_entrypoint

from deployments.kept_settings import file_settings
from ferry.runs.notice import SHOWN_PARAMETERS
from ferry.runs.watch import WATCHED
from ferry.specs.due_time import due_moment
from ferry.specs.tables_file import parse_table_specs
from tasks.runs import watch_look
from tasks.runs.own_flows import OWN_FLOWS

ROOT = Path(__file__).parents[2]
TOP_KEYS = {"name", "prefect-version", "definitions", "deployments"}
DEPLOYMENT_KEYS = {
    "name",
    "entrypoint",
    "description",
    "parameters",
    "work_pool",
    "concurrency_limit",
    "schedules",
    "tags",
    "triggers",
}
TRIGGER_KEYS = {"name", "match", "match_related", "expect", "parameters"}
REQUIRED = {
    "sync-table": {"table": "nps"},
    "backfill": {"table": "nps", "start_date": "2023-07-01", "end_date": "2023-08-01"},
    "carry-windows": {
        "table": "nps",
        "windows": [["2023-07-01T00:00Z", "2023-07-02T00:00Z"]],
        "zone": "UTC",
        "backfill_run_id": "8f9d0b0e-6f0f-4c51-8f5d-0a6f5b1d2c3e",
        "scheduled_start": "2023-08-02T00:00Z",
    },
    "notify-failure": {"flow_run_id": "8f9d0b0e-6f0f-4c51-8f5d-0a6f5b1d2c3e"},
}
SCHEDULE_KEYS = {"cron", "interval", "rrule", "timezone", "slug", "active", "parameters"}


@pytest.fixture(scope="module")
def prefect_yaml() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "prefect.yaml").read_text())


def test_every_key_is_one_that_prefect_knows(prefect_yaml: dict[str, Any]):
    assert set(prefect_yaml) <= TOP_KEYS
    for deployment in prefect_yaml["deployments"]:
        assert set(deployment) <= DEPLOYMENT_KEYS, deployment["name"]
        assert set(deployment["work_pool"]) <= {"name", "work_queue_name", "job_variables"}
        assert set(deployment.get("concurrency_limit", {})) <= {"limit", "collision_strategy"}
        for schedule in deployment["schedules"]:
            assert set(schedule) <= SCHEDULE_KEYS, deployment["name"]
        for trigger in deployment.get("triggers", []):
            assert set(trigger) <= TRIGGER_KEYS, deployment["name"]


def test_every_entrypoint_loads_and_takes_its_parameters(prefect_yaml: dict[str, Any]):
    for deployment in prefect_yaml["deployments"]:
        flow = load_flow_from_entrypoint(deployment["entrypoint"], use_placeholder_flow=False)
        given = deployment.get("parameters", {})
        flow.validate_parameters({**REQUIRED.get(flow.name, {}), **given})


def test_no_flow_s_result_is_stored_whatever_prefect_s_own_settings_say(
    prefect_yaml: dict[str, Any],
):
    """What `reconcile` returns has the keys of rows, which are shown with `show_keys` only."""
    for entrypoint in {deployment["entrypoint"] for deployment in prefect_yaml["deployments"]}:
        flow = load_flow_from_entrypoint(entrypoint, use_placeholder_flow=False)
        assert flow.persist_result is False, flow.name


def test_the_daily_run_is_at_nine_one_at_a_time_and_late_dates_wait(prefect_yaml: dict[str, Any]):
    daily = next(d for d in prefect_yaml["deployments"] if d["name"] == "daily")
    (schedule,) = daily["schedules"]
    assert schedule["cron"] == "0 9 * * *"
    assert daily["concurrency_limit"] == {"limit": 1, "collision_strategy": "ENQUEUE"}


@pytest.mark.parametrize("month", [1, 7])
def test_a_table_of_the_runbook_is_due_after_the_daily_run(
    prefect_yaml: dict[str, Any], month: int
):
    """`due` is by the clock of the table's zone, the schedule by that of `prefect.yaml`."""
    section = (ROOT / "docs/runbook.md").read_text().split("## A table is late")[1]
    shown = yaml.safe_load(section.split("```yaml\n")[1].split("```")[0])
    shipped = yaml.safe_load((ROOT / "deployments/tables.yaml").read_text())["defaults"]
    text = yaml.safe_dump({"defaults": shipped, "tables": shown})
    spec = parse_table_specs(text, "docs/runbook.md")["orders"]
    daily = next(d for d in prefect_yaml["deployments"] if d["name"] == "daily")
    (schedule,) = daily["schedules"]
    minute, hour = map(int, schedule["cron"].split()[:2])
    day = datetime(2026, month, 15, tzinfo=ZoneInfo(schedule["timezone"]))
    assert spec.due is not None
    assert due_moment(day.date(), spec.due, spec.zone) > day.replace(hour=hour, minute=minute)


def test_the_hourly_run_is_at_five_past_one_at_a_time(prefect_yaml: dict[str, Any]):
    hourly = next(d for d in prefect_yaml["deployments"] if d["name"] == "hourly")
    (schedule,) = hourly["schedules"]
    assert schedule["cron"] == "5 * * * *"
    assert hourly["parameters"] == {"every": "hour"}
    assert hourly["concurrency_limit"] == {"limit": 1, "collision_strategy": "ENQUEUE"}


def test_prices_are_updated_at_ten_one_run_at_a_time(prefect_yaml: dict[str, Any]):
    entrypoint = "flows.update_symbols.update_symbols"
    deployments = [d for d in prefect_yaml["deployments"] if d["entrypoint"] == entrypoint]
    (daily,) = [d for d in deployments if d["name"] == "daily"]
    (schedule,) = daily["schedules"]
    assert schedule["cron"] == "0 10 * * *"
    assert daily["concurrency_limit"] == {"limit": 1, "collision_strategy": "ENQUEUE"}


def test_what_carries_by_a_schedule_can_be_started_by_hand_beside_it(prefect_yaml: dict[str, Any]):
    """By hand, a run of the daily deployment would hold the turn of the next one."""
    deployments = prefect_yaml["deployments"]
    by_schedule = {d["entrypoint"] for d in deployments if d["schedules"]}
    by_hand = [d for d in deployments if d["name"] == "on-demand" and not d["schedules"]]
    watch = {"flows.watch_runs.watch_runs", "flows.check_due.check_due"}
    assert by_schedule - {d["entrypoint"] for d in by_hand} == watch
    for each in by_hand:
        if each["entrypoint"] in ("flows.sync_all.sync_all", "flows.update_symbols.update_symbols"):
            assert "concurrency_limit" not in each and "every" not in each.get("parameters", {})


def test_the_runbook_names_the_deployments_of_which_one_run_is_active_at_a_time(
    prefect_yaml: dict[str, Any],
):
    page = " ".join((ROOT / "docs/runbook.md").read_text().split())
    (named,) = re.findall(r"One run each of ([^.]*) is active at a time", page)
    limited = [each for each in prefect_yaml["deployments"] if "concurrency_limit" in each]
    flows = [
        load_flow_from_entrypoint(each["entrypoint"], use_placeholder_flow=False)
        for each in limited
    ]
    assert sorted(re.findall(r"`([^`]+)`", named)) == sorted(
        f"{flow.name}/{each['name']}" for flow, each in zip(flows, limited, strict=True)
    )


def test_each_table_counts_its_days_in_its_own_zone_whatever_the_schedule_s(
    prefect_yaml: dict[str, Any],
):
    for deployment in prefect_yaml["deployments"]:
        given = [deployment, *deployment["schedules"], *deployment.get("triggers", [])]
        assert all("zone" not in each.get("parameters", {}) for each in given), deployment["name"]
        assert all(schedule.get("timezone") for schedule in deployment["schedules"])


def test_every_parameter_of_a_flow_is_explained_in_the_form(prefect_yaml: dict[str, Any]):
    for entrypoint in {d["entrypoint"] for d in prefect_yaml["deployments"]}:
        flow = load_flow_from_entrypoint(entrypoint, use_placeholder_flow=False)
        properties = flow.parameters.model_dump()["properties"]
        assert all(field.get("description") for field in properties.values()), properties


def test_runs_of_every_deployment_are_watched(prefect_yaml: dict[str, Any]):
    """One whose worker dies between taking it and beginning it would be Pending for ever."""
    for deployment in prefect_yaml["deployments"]:
        assert WATCHED in deployment.get("tags", []), deployment["entrypoint"]


def test_the_watch_knows_all_of_these_flows(prefect_yaml: dict[str, Any]):
    entrypoints = {deployment["entrypoint"] for deployment in prefect_yaml["deployments"]}
    flows = {
        load_flow_from_entrypoint(each, use_placeholder_flow=False).name: each
        for each in entrypoints
    }
    assert flows == OWN_FLOWS


def test_the_page_s_deployment_of_one_s_own_is_one_whose_runs_can_be_ended():
    """Its machine dies: a run that never said that it lives would stay Running for good."""
    page = (ROOT / "docs/notifications.md").read_text().split("### A deployment of your own")[1]
    lines = page.split("```yaml\n")[1].split("```")[0]
    own = yaml.safe_load((ROOT / "prefect.yaml").read_text() + lines)["deployments"][-1]
    assert own["name"] == "orders-at-six"
    assert set(own) <= DEPLOYMENT_KEYS
    assert own["work_pool"]["job_variables"]["env"][watch_look.FREQUENCIES[0]]
    flow = load_flow_from_entrypoint(own["entrypoint"], use_placeholder_flow=False)
    flow.validate_parameters(own["parameters"])
    assert flow.name in OWN_FLOWS
    file_settings(own)  # so it can be deployed


def test_before_an_update_every_run_that_has_begun_is_waited_for():
    update = (ROOT / "docs/runbook.md").read_text().split("### Update Ferry")[1]
    types = re.findall(r"--state-type (\w+)", update.split("\n### ")[0].split("\n## ")[0])
    assert sorted(types) == sorted(state.value for state in watch_look.BEGUN)


def test_what_a_message_tells_of_a_run_are_parameters_that_flows_have(prefect_yaml: dict[str, Any]):
    given = set()
    for deployment in prefect_yaml["deployments"]:
        flow = load_flow_from_entrypoint(deployment["entrypoint"], use_placeholder_flow=False)
        given |= set(flow.parameters.properties)
    assert set(SHOWN_PARAMETERS) - given == set()
