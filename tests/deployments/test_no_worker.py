"""Registration lets the server tell that nobody watches, and leaves alone what people set."""

from __future__ import annotations

import pytest
from prefect.blocks.notifications import SlackWebhook
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.events.actions import DoNothing
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from pydantic import SecretStr

from deployments.no_worker import (
    FORMER_WATCH,
    NOBODY_WATCHES,
    forget_former_watch,
    nobody_watches_yet,
    register_nobody_watches,
)
from ferry.errors import ConfigurationError
from tests.harness.api import Api
from tests.harness.slack import WEBHOOK


def test_the_automation_of_earlier_versions_is_removed(api: Api) -> None:
    trigger = EventTrigger(posture=Posture.Reactive, threshold=1)
    former = AutomationCore(name=FORMER_WATCH, trigger=trigger, actions=[DoNothing()])
    api.client.create_automation(former)
    for _ in range(2):
        forget_former_watch()
        assert api.client.read_automations_by_name(FORMER_WATCH) == []


def test_registered_twice_there_is_one_and_whoever_switched_it_off_finds_it_off(api: Api) -> None:
    SlackWebhook(url=SecretStr(WEBHOOK)).save("test-nobody", overwrite=True)
    register_nobody_watches("slack-webhook/test-nobody")
    (made,) = api.client.read_automations_by_name(NOBODY_WATCHES)
    try:
        assert made.enabled
        off = api.client.request("PATCH", f"/automations/{made.id}", json={"enabled": False})
        off.raise_for_status()
        register_nobody_watches("slack-webhook/test-nobody")
        (found,) = api.client.read_automations_by_name(NOBODY_WATCHES)
        assert (found.id, found.enabled) == (made.id, False)
    finally:
        api.client.delete_automation(made.id)


def test_it_says_what_to_do_where_the_pool_has_no_worker_or_is_not_there(api: Api) -> None:
    said = nobody_watches_yet("nobody-s-pool")
    assert said and said.endswith("prefect worker start --pool nobody-s-pool --limit 2")
    api.client.create_work_pool(WorkPoolCreate(name="watchers", type="process"))
    try:
        assert nobody_watches_yet("watchers")
        api.client.send_worker_heartbeat("watchers", "here", heartbeat_interval_seconds=30)
        assert nobody_watches_yet("watchers") is None
    finally:
        api.client.delete_work_pool("watchers")


def test_a_block_that_is_not_there_is_named(api: Api) -> None:
    with pytest.raises(ConfigurationError, match="slack-webhook/nobody-s"):
        register_nobody_watches("slack-webhook/nobody-s")
