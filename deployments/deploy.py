"""Deploys what `prefect.yaml` says; what people have set in Prefect's UI stays.

    python -m deployments.deploy

Prefect's own `prefect deploy --all` makes everything as the file says: it also starts what somebody
has paused. Here what people have changed since the last deploy stays, unless the file says
something else than it did then (`kept_settings`). What the file said is remembered in Prefect
variables, `ferry_deployed_…`. Prefect is given a file in which all of it stands, so that nothing is
undone even for a moment.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from prefect import Flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import VariableCreate, VariableUpdate
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectNotFound
from prefect.flows import load_flow_from_entrypoint

from deployments.kept_settings import (
    JOB,
    Settings,
    digests,
    file_settings,
    fitting,
    kept,
    overruled,
    server_settings,
    with_settings,
)
from ferry.errors import ConfigurationError

REPOSITORY = Path(__file__).resolve().parents[1]
PREFIX = "ferry_deployed_"


@dataclass(frozen=True)
class Planned:
    """One deployment of the file.

    Attributes:
        name: The flow's and its own, `sync-all/daily`.
        said: What the file says of it.
        stay: What stays as people have set it.
        merged: What Prefect is given.
        there: What there is of it; None if it is new.
        left_out: Parameters that people have set, and that the flow does not take any more.
        overruled: Settings that people have set, and of which the file says something new.
    """

    name: str
    said: Settings
    stay: Settings
    merged: dict[str, Any]
    there: DeploymentResponse | None
    left_out: tuple[str, ...] = ()
    overruled: tuple[str, ...] = ()

    @property
    def variable(self) -> str:
        """The Prefect variable in which is remembered what the file said."""
        return PREFIX + re.sub(r"[^a-z0-9]", "_", self.name.lower())


def deploy(file: Path = REPOSITORY / "prefect.yaml") -> list[Planned]:
    """Deploy all of the file's deployments; returns what became of each.

    Raises:
        ConfigurationError: Prefect refuses the file or a deployment in it. Nothing is remembered
            then, and doing it again is safe.
    """
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    with get_client(sync_client=True) as client:
        planned = [_plan(each, client) for each in content["deployments"]]
        _let_prefect_deploy(content | {"deployments": [each.merged for each in planned]})
        for each in planned:
            _remove_schedules(each, client)
            _remember(each, client)
    return planned


def _plan(deployment: dict[str, Any], client: SyncPrefectClient) -> Planned:
    flow: Flow[..., Any] = load_flow_from_entrypoint(
        deployment["entrypoint"], use_placeholder_flow=False
    )
    name = f"{flow.name}/{deployment['name']}"
    try:
        said = file_settings(deployment)
    except (KeyError, ValueError) as error:
        raise ConfigurationError(
            f"the deployment {name} cannot be read from prefect.yaml",
            expected="schedules with a slug and a cron, interval or rrule; triggers with a name",
            found=f"{type(error).__name__}: {error}",
            todo="Correct it. Settings are known again by these names at the next deploy.",
        ) from error
    try:
        there = client.read_deployment_by_name(name)
    except ObjectNotFound:
        return Planned(name, said, {}, with_settings(deployment, {}), None)
    new = Planned(name, said, {}, {}, there)
    names = [trigger["name"] for trigger in deployment.get("triggers") or []]
    settings = server_settings(there, _automations(there, names, client))
    variable = client.read_variable_by_name(new.variable)
    last = variable.value if variable and isinstance(variable.value, dict) else None
    stay = kept(said, settings, last)
    lost = overruled(said, settings, last, stay)
    stay, left_out = fitting(stay, said, flow.parameters.properties.keys())
    return Planned(name, said, stay, with_settings(deployment, stay), there, left_out, lost)


def _automations(
    deployment: DeploymentResponse, names: list[str], client: SyncPrefectClient
) -> dict[str, bool]:
    """Which of the file's automations there are, and whether they are enabled."""
    resource = f"prefect.deployment.{deployment.id}"
    found = client.read_resource_related_automations(resource)
    return {each.name: each.enabled for each in found if each.name in names}


def _let_prefect_deploy(content: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "prefect.yaml"
        file.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
        command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
        done = subprocess.run(
            [*command, "--prefect-file", str(file)],
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
    if done.returncode:
        raise ConfigurationError(
            "Prefect refuses to deploy",
            found=done.stdout[-2_000:],
            todo="Correct prefect.yaml; the work pool has to be there first.",
        )


def _remove_schedules(planned: Planned, client: SyncPrefectClient) -> None:
    """Remove the schedules that the file had and has no more: Prefect leaves them."""
    slugs = {schedule.get("slug") for schedule in planned.merged["schedules"]}
    for schedule in planned.there.schedules if planned.there else []:
        if schedule.slug and schedule.slug not in slugs:
            assert planned.there is not None
            with suppress(ObjectNotFound):  # Prefect has made all of them anew
                client.delete_deployment_schedule(planned.there.id, schedule.id)


def _remember(planned: Planned, client: SyncPrefectClient) -> None:
    value = digests(planned.said)
    if client.read_variable_by_name(planned.variable):
        client.update_variable(VariableUpdate(name=planned.variable, value=value))
    else:
        client.create_variable(VariableCreate(name=planned.variable, value=value))


def main() -> None:
    """Deploy, and say what stayed as people have set it."""
    try:
        for each in deploy():
            sys.stdout.write(f"deployed {each.name}\n")
            for name, value in each.stay.items():
                plain = isinstance(value, bool | str) and not name.startswith(JOB)  # a password
                shown = f": {json.dumps(value)}" if plain else ""
                sys.stdout.write(f"  as set in the UI, not as in the file: {name}{shown}\n")
            for name in each.overruled:
                line = "as the file says it now, not as set in the UI"
                sys.stdout.write(f"  {line}: {name}\n")
            for parameter in each.left_out:
                line = f"left out, since the flow takes no such parameter any more: {parameter}"
                sys.stdout.write(f"  {line}\n")
    except ConfigurationError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
