"""Flow runs as people start them: by the deployments of `prefect.yaml`, in a worker's processes."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client

from deployments.bench.measured import Measured, MeasuredError
from deployments.bench.servers import REPOSITORY, BenchServers
from deployments.local.servers import ProcessWorker
from deployments.local.stack.start import POOL, WATCH_POOL

LONGEST_SECONDS = 900
"""A run that takes longer is given up."""

_EVERY_SECONDS = 0.5


@contextmanager
def workers(servers: BenchServers) -> Iterator[None]:
    """Deploy everything, and let a worker take the runs, and another one watch them.

    What watches goes by its schedules; of the others none is to begin in the midst of a case.

    Raises:
        MeasuredError: The deployments could not be made.
        StartError: A worker did not come up.
    """
    with ExitStack() as stack:
        for pool, folder in ((POOL, "worker"), (WATCH_POOL, "watcher")):
            stack.enter_context(
                ProcessWorker.start(
                    servers.folder / folder, server=servers.prefect, pool=pool, env=servers.env
                )
            )
        done = subprocess.run(
            [sys.executable, "-m", "deployments.deploy"],
            cwd=REPOSITORY,
            env=servers.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise MeasuredError(f"deploying failed:\n{done.stdout[-3000:]}")
        with servers.prefect_settings(), get_client(sync_client=True) as client:
            _pause(client)
        yield


def carry(servers: BenchServers, deployment: str, parameters: Mapping[str, Any]) -> Measured:
    """Start a run and wait for its end: from its first batch's beginning to its last receipt.

    Raises:
        MeasuredError: It failed, or took too long.
    """
    with servers.prefect_settings(), get_client(sync_client=True) as client:
        run_id = client.create_flow_run_from_deployment(
            client.read_deployment_by_name(deployment).id, parameters=dict(parameters)
        ).id
        _wait(client, run_id)
    (row,) = servers.fetch(
        "SELECT extract(epoch FROM max(finished_at) - min(started_at)), sum(rows_extracted), "
        "count(*) FROM ferry.receipts WHERE flow_run_id = %s AND status <> 'void'",
        [str(run_id)],
    )
    seconds, rows, receipts = row
    if not receipts:
        raise MeasuredError(f"{deployment} left no receipt")
    result = {"seconds": float(seconds), "rows": int(rows), "receipts": receipts}
    return Measured(result, None)


def _pause(client: SyncPrefectClient) -> None:
    for deployment in client.read_deployments():
        if deployment.work_pool_name != WATCH_POOL and deployment.schedules:
            client.pause_deployment(deployment.id)


def _wait(client: SyncPrefectClient, run_id: UUID) -> None:
    end = time.monotonic() + LONGEST_SECONDS
    while time.monotonic() < end:
        state = client.read_flow_run(run_id).state
        if state is not None and state.is_final():
            if not state.is_completed():
                raise MeasuredError(f"the run ended as {state.name}: {state.message}")
            return
        time.sleep(_EVERY_SECONDS)
    raise MeasuredError(f"the run was not over after {LONGEST_SECONDS} s")
