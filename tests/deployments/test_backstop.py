"""The backstop is started by the server itself, for failed runs of the flows that tell."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import yaml
from prefect import flow
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import ObjectAlreadyExists
from prefect.flows import load_flow_from_entrypoint
from prefect.states import Cancelled, Completed, Crashed, Failed

from ferry.runs.window import WINDOW_OF
from flows.pipeline.notify import notify
from flows.sync_table import sync_table
from flows.watch_runs import NOTIFYING_FLOWS
from tests.flows.pipeline.forks import command
from tests.harness.api import Api, eventually

ROOT = Path(__file__).parents[2]
DEPLOYMENTS = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
SILENT = {"notify-failure", "carry-windows", "watch-runs", "check-due"}


@pytest.fixture(scope="module")
def backstop(api: Api) -> Iterator[UUID]:
    """The deployment's id; afterwards the server has forgotten it, and what it started."""
    with suppress(ObjectAlreadyExists):
        api.client.create_work_pool(WorkPoolCreate(name="ferry-pool", type="process"))
    deploy = command("--no-prompt", "deploy", "--name", "backstop")
    deploy.join()
    assert deploy.exitcode == 0
    deployment = api.client.read_deployment_by_name("notify-failure/backstop").id
    yield deployment
    api.client.delete_resource_owned_automations(f"prefect.deployment.{deployment}")
    for run in started(api, deployment):
        api.client.delete_flow_run(run.id)
    api.client.delete_deployment(deployment)


def started(api: Api, deployment: UUID) -> list[FlowRun]:
    chosen = DeploymentFilter(id=DeploymentFilterId(any_=[deployment]))
    return api.client.read_flow_runs(deployment_filter=chosen)


def test_the_server_starts_it_once_for_each_run_that_failed_or_crashed(
    api: Api, backstop: UUID
) -> None:
    @flow(name="another-flow")
    def another() -> None: ...

    def end(whose: Any, state: Any, **parameters: Any) -> str:
        run = api.client.create_flow_run(whose, parameters=parameters)
        api.client.set_flow_run_state(run.id, state, force=True)
        return str(run.id)

    end(another, Failed())
    end(sync_table, Completed(), table="nps")
    end(sync_table, Cancelled(), table="nps")
    failed = {
        end(sync_table, Failed(), table="nps"),
        end(sync_table, Failed(name="TimedOut"), table="nps"),
        end(sync_table, Crashed(), table="nps"),
    }

    assert eventually(lambda: len(started(api, backstop)) >= len(failed), 60)
    time.sleep(2)  # what should not be there would be there by now
    told = [run.parameters["flow_run_id"] for run in started(api, backstop)]
    assert sorted(told) == sorted(failed)


def test_the_flows_that_it_watches_are_those_with_the_hook() -> None:
    flows = [
        load_flow_from_entrypoint(each["entrypoint"], use_placeholder_flow=False)
        for each in DEPLOYMENTS
    ]
    tell_of = {
        each.name
        for each in flows
        if notify in each.on_failure_hooks and notify in each.on_crashed_hooks
    }
    (trigger,) = next(each for each in DEPLOYMENTS if each["name"] == "backstop")["triggers"]
    assert set(trigger["match_related"]["prefect.resource.name"]) == tell_of
    assert {each.name for each in flows} - SILENT == tell_of == set(NOTIFYING_FLOWS)


def test_the_window_of_each_of_them_is_known() -> None:
    (trigger,) = next(each for each in DEPLOYMENTS if each["name"] == "backstop")["triggers"]
    assert set(trigger["match_related"]["prefect.resource.name"]) == set(WINDOW_OF)
