"""Ends a run of which nothing was heard: only if it still is as it was seen."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun, State
from prefect.client.schemas.responses import SetStateStatus
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelled, Crashed

from ferry.runs.watch import Ending, SeenRun


def end_run(run: SeenRun, ending: Ending, client: SyncPrefectClient) -> FlowRun | None:
    """Put the run into its end state; the run as it is then, or None if it was not to be.

    Args:
        run: The run as it was seen.
        ending: Its end.
        client: Reaches Prefect's server.

    Raises:
        PrefectException, httpx.HTTPError: The server does not answer; the next look tries again.
    """
    run_id = UUID(run.id)
    try:
        state = client.read_flow_run(run_id).state
    except ObjectNotFound:
        return None
    if state is None or state.type.value != run.state:
        return None
    message = ending.message
    end: State[Any] = (
        Crashed(message=message) if ending.state == "Crashed" else Cancelled(message=message)
    )
    result = client.set_flow_run_state(run_id, end)
    return client.read_flow_run(run_id) if result.status is SetStateStatus.ACCEPT else None
