"""Deploying twice: what people have set in the UI stays, unless the file has changed."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound

from deployments import deploy as deployer
from deployments.deploy import PREFIX, deploy
from ferry.errors import ConfigurationError
from tests.flows.pipeline.forks import finished
from tests.harness.api import Api

ROOT = Path(__file__).parents[2]
DAILY, HOURLY, BACKSTOP = (f"notify-failure/{name}" for name in ("daily", "hourly", "backstop"))
POOL, QUEUE = "/work_pools/ferry-pool", "/work_pools/ferry-pool/queues/default"
LIGHT, ALL = "flows.notify_failure.notify_failure", "flows.sync_all.sync_all"
CHOSEN = ((ALL, "daily"), (ALL, "hourly"), (LIGHT, "backstop"))
AUTOMATION = "Ferry notifies of failed runs"
FORKED = SimpleNamespace(**{**vars(subprocess), "run": finished})
"""Stands for `subprocess` in the module under test alone: others ask it what machine this is."""


@pytest.fixture(scope="module")
def client(api: Api) -> Iterator[SyncPrefectClient]:
    """Of a server that has the work pool; afterwards it has forgotten what was deployed."""
    with suppress(ObjectAlreadyExists):
        api.client.create_work_pool(WorkPoolCreate(name="ferry-pool", type="process"))
    yield api.client
    for name in (DAILY, HOURLY, BACKSTOP):
        with suppress(ObjectNotFound):
            deployment = api.client.read_deployment_by_name(name).id
            api.client.delete_resource_owned_automations(f"prefect.deployment.{deployment}")
            api.client.delete_deployment(deployment)
            api.client.delete_variable_by_name(PREFIX + re.sub("[-/]", "_", name))
    for path in (POOL, QUEUE):
        patch(api.client, path, concurrency_limit=None)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Three of the deployments of `prefect.yaml`, all of the flow that imports the least."""
    content = yaml.safe_load((ROOT / "prefect.yaml").read_text())
    found = {(d["entrypoint"], d["name"]): d for d in content["deployments"]}
    content["deployments"] = [found[each] | {"entrypoint": LIGHT} for each in CHOSEN]
    (path := tmp_path / "prefect.yaml").write_text(yaml.safe_dump(content))
    return path


def change(file: Path, name: str, /, **fields: Any) -> None:
    content = yaml.safe_load(file.read_text())
    (deployment,) = [d for d in content["deployments"] if d["name"] == name]
    deployment.update(fields)
    file.write_text(yaml.safe_dump(content))


def patch(client: SyncPrefectClient, path: str, **fields: Any) -> None:
    """What the UI sends."""
    client.request("PATCH", path, json=fields).raise_for_status()


def automations(client: SyncPrefectClient) -> dict[str, bool]:
    backstop = client.read_deployment_by_name(BACKSTOP)
    found = client.read_resource_related_automations(f"prefect.deployment.{backstop.id}")
    return {each.name: each.enabled for each in found}


def limit(deployment: DeploymentResponse) -> int | None:
    return deployment.global_concurrency_limit and deployment.global_concurrency_limit.limit


def test_what_people_have_set_stays_unless_the_file_has_changed(
    client: SyncPrefectClient, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [each.name for each in deploy(file)] == [DAILY, HOURLY, BACKSTOP]
    monkeypatch.setattr(deployer, "subprocess", FORKED)  # imports nothing
    daily, hourly = (client.read_deployment_by_name(name) for name in (DAILY, HOURLY))
    (schedule,) = daily.schedules
    assert (schedule.active, daily.paused, limit(daily)) == (True, False, 1)

    # What people do in the UI.
    patch(client, f"/deployments/{daily.id}/schedules/{schedule.id}", active=False)
    (every_hour,) = hourly.schedules
    cron = {"cron": "20 * * * *", "timezone": "Europe/Berlin"}
    patch(client, f"/deployments/{hourly.id}/schedules/{every_hour.id}", schedule=cron)
    patch(client, f"/deployments/{hourly.id}", paused=True, concurrency_limit=3)
    patch(client, POOL, concurrency_limit=7)
    patch(client, QUEUE, concurrency_limit=2)
    backstop = client.read_deployment_by_name(BACKSTOP)
    (off,) = client.read_resource_related_automations(f"prefect.deployment.{backstop.id}")
    patch(client, f"/automations/{off.id}", enabled=False)

    for _ in range(2):
        stayed = {each.name: set(each.stay) for each in deploy(file)}
        assert stayed == {
            DAILY: {"schedule every-morning: active"},
            HOURLY: {"paused", "concurrency limit", "schedule every-hour: when"},
            BACKSTOP: {f"automation {AUTOMATION}: enabled"},
        }
        daily, hourly = (client.read_deployment_by_name(name) for name in (DAILY, HOURLY))
        assert [each.active for each in daily.schedules] == [False]
        assert [each.schedule.cron for each in hourly.schedules] == ["20 * * * *"]  # type: ignore[union-attr]
        assert [each.schedule.timezone for each in hourly.schedules] == ["Europe/Berlin"]
        assert (hourly.paused, limit(hourly)) == (True, 3)
        assert automations(client) == {AUTOMATION: False}
        assert client.read_work_pool("ferry-pool").concurrency_limit == 7
        queue = client.read_work_queue_by_name("default", work_pool_name="ferry-pool")
        assert queue.concurrency_limit == 2

    # The file says another cron and another limit than before: these are the file's now. And a
    # schedule that it has no more is gone.
    schedule = {"cron": "30 * * * *", "timezone": "UTC", "slug": "every-hour"}
    change(file, "hourly", schedules=[schedule], concurrency_limit=5)
    change(file, "daily", schedules=[{**schedule, "slug": "renamed"}])
    stayed = {each.name: set(each.stay) for each in deploy(file)}
    assert stayed[HOURLY] == {"paused"}
    hourly = client.read_deployment_by_name(HOURLY)
    assert [each.schedule.cron for each in hourly.schedules] == ["30 * * * *"]  # type: ignore[union-attr]
    assert (hourly.paused, limit(hourly)) == (True, 5)
    assert [s.slug for s in client.read_deployment_by_name(DAILY).schedules] == ["renamed"]


def test_a_parameter_that_the_flow_takes_no_more_is_left_out_and_named(
    client: SyncPrefectClient,
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(deployer, "subprocess", FORKED)  # imports nothing
    deploy(file)
    backstop = client.read_deployment_by_name(BACKSTOP)
    theirs = {"parameters": {"former": 1}, "job_variables": {"env": {"THEIRS": "unt0ld"}}}
    patch(client, f"/deployments/{backstop.id}", tags=["theirs"], **theirs)
    change(file, "backstop", tags=["of the file"])
    monkeypatch.setattr(deployer, "deploy", lambda: deploy(file))
    deployer.main()
    printed = capsys.readouterr().out
    assert "  left out, since the flow takes no such parameter any more: former\n" in printed
    assert "  as set in the UI, not as in the file: job variables: env.THEIRS\n" in printed
    assert "unt0ld" not in printed
    assert "  as the file says it now, not as set in the UI: tags\n" in printed
    assert client.read_deployment_by_name(BACKSTOP).parameters == {}


def test_a_schedule_without_a_name_is_refused_before_anything_is_deployed(
    client: SyncPrefectClient, file: Path
) -> None:
    change(file, "daily", schedules=[{"cron": "0 9 * * *"}], tags=["never there"])
    with pytest.raises(ConfigurationError, match="notify-failure/daily cannot be read"):
        deploy(file)
    assert [d for d in client.read_deployments() if "never there" in d.tags] == []


def test_what_prefect_refuses_is_told_and_not_remembered(
    client: SyncPrefectClient, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deployer, "subprocess", FORKED)  # imports nothing
    change(file, "daily", name="refused", work_pool={"name": "there is none"})
    with pytest.raises(ConfigurationError, match="Prefect refuses to deploy"):
        deploy(file)
    assert client.read_variable_by_name("ferry_deployed_notify_failure_refused") is None
