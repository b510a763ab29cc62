"""Registration lets the server miss the watch's runs, and does not make it forget them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import pytest
import yaml
from prefect.blocks.notifications import SlackWebhook
from prefect.events.schemas.automations import AutomationCore
from prefect.flows import load_flow_from_entrypoint
from pydantic import SecretStr

from deployments import register
from deployments.no_worker import NOBODY_WATCHES, WATCH_POOL
from deployments.register import register_guards
from deployments.silent_watch import silent_watch
from ferry.runs.watch_notice import WATCHING
from tests.harness.api import Api
from tests.harness.slack import WEBHOOK

ROOT = Path(__file__).parents[2]
NAMES = [NOBODY_WATCHES, *map(silent_watch, WATCHING)]
Told = dict[str, dict[str, object]]


@pytest.fixture
def registered(api: Api) -> Iterator[Told]:
    """What the server tells of the automations after registering; without them afterwards."""
    SlackWebhook(url=SecretStr(WEBHOOK)).save("test-silent", overwrite=True)
    assert register_guards([], 4, notifier="slack-webhook/test-silent") == NAMES
    yield told(api)
    for each in told(api).values():
        api.client.delete_automation(UUID(str(each["id"])))


def told(api: Api) -> Told:
    found = api.client.request("POST", "/automations/filter", json={})
    return {each["name"]: each for each in found.json() if each["name"] in NAMES}


def test_registered_twice_nothing_is_changed_so_that_what_the_server_waits_for_is_not_forgotten(
    api: Api, registered: Told
) -> None:
    assert sorted(registered) == sorted(NAMES)
    assert all(each["enabled"] for each in registered.values())
    register_guards([], 4, notifier="slack-webhook/test-silent")
    assert told(api) == registered  # with the ids of the triggers, by which it knows them


def test_of_two_that_registrations_at_once_have_made_one_is_left(
    api: Api, registered: Told
) -> None:
    name = silent_watch("watch-runs")
    (one,) = api.client.read_automations_by_name(name)
    api.client.create_automation(AutomationCore.model_validate(one.model_dump(exclude={"id"})))
    assert len(api.client.read_automations_by_name(name)) == 2
    register_guards([], 4, notifier="slack-webhook/test-silent")
    assert len(api.client.read_automations_by_name(name)) == 1
    assert sorted(told(api)) == sorted(registered)


def test_whoever_switched_one_off_finds_it_off_also_when_it_is_changed(
    api: Api, registered: Told
) -> None:
    off = registered[silent_watch("watch-runs")]
    api.client.request("PATCH", f"/automations/{off['id']}", json={"enabled": False})
    SlackWebhook(url=SecretStr(WEBHOOK)).save("test-silent-2", overwrite=True)
    register_guards([], 4, notifier="slack-webhook/test-silent-2")
    after = told(api)
    assert {name: each["id"] for name, each in after.items()} == {
        name: each["id"] for name, each in registered.items()
    }
    assert [name for name in NAMES if not after[name]["enabled"]] == [off["name"]]
    assert all(after[name]["actions"] != registered[name]["actions"] for name in NAMES)


def test_registering_warns_where_the_block_was_deleted_and_made_anew(
    api: Api,
    registered: Told,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """As for a new password, without FERRY_NOTIFY: what the server sends by it is left alone."""
    assert registered
    monkeypatch.setattr(register, "register", lambda _: [])
    monkeypatch.setattr(register, "free_what_nobody_holds", list)
    monkeypatch.setattr(sys, "argv", ["register", "--profile", "aws"])

    def warned() -> bool:
        register.main()
        return "the server itself tells nobody any more" in capsys.readouterr().err

    assert not warned()
    cast(Any, SlackWebhook).delete("test-silent")
    SlackWebhook(url=SecretStr(WEBHOOK)).save("test-silent")
    assert warned()
    register_guards([], 4, notifier="slack-webhook/test-silent")
    assert not warned()


def test_the_flows_that_are_missed_are_those_of_the_watch_s_pool() -> None:
    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    watching = {
        load_flow_from_entrypoint(each["entrypoint"], use_placeholder_flow=False).name
        for each in deployments
        if each["work_pool"]["name"] == WATCH_POOL
    }
    assert watching == set(WATCHING)
