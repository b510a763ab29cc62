"""What the Prefect server has recorded of runs, read back by the fixture `api`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar
from unittest.mock import patch
from uuid import UUID

from prefect import task_engine
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    FlowRunFilter,
    FlowRunFilterId,
    LogFilter,
    LogFilterFlowRunId,
)
from prefect.client.schemas.objects import Artifact, FlowRun, State, TaskRun
from prefect.client.schemas.sorting import LogSort

T = TypeVar("T")
PATIENCE = 240.0
"""Seconds that a night waits for what comes in a few on an idle machine."""

_TOLD = "emit_task_run_state_change_event"
_tell: Callable[..., Any] = getattr(task_engine, _TOLD)


@contextmanager
def quiet_task_runs() -> Iterator[None]:
    """Let the server hear of a task run's state only if it has a message, as each failure has.

    Of a run that goes well, its task runs cost the server two thirds. What has a text is recorded,
    for it is looked at for secrets when the server stops.
    """

    def tell(*given: Any, validated_state: State, **others: Any) -> Any:
        if validated_state.message is None:
            return None
        return _tell(*given, validated_state=validated_state, **others)

    with patch.object(task_engine, _TOLD, tell):
        yield


@contextmanager
def all_task_runs() -> Iterator[None]:
    """Let the server hear of all their states, as in users' runs."""
    with patch.object(task_engine, _TOLD, _tell):
        yield


@dataclass
class Api:
    """Reads what was recorded; logs and task runs arrive there a little later than they happen."""

    client: SyncPrefectClient

    def flow_run(self, flow_run_id: str | UUID) -> FlowRun:
        return self.client.read_flow_run(UUID(str(flow_run_id)))

    def task_runs(self, flow_run_id: str | UUID) -> list[TaskRun]:
        """As far as the server has recorded them: it does after their events, their names last."""
        chosen = FlowRunFilter(id=FlowRunFilterId(any_=[UUID(str(flow_run_id))]))
        return self.client.read_task_runs(flow_run_filter=chosen)

    def log(self, flow_run_id: str | UUID) -> list[str]:
        chosen = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[UUID(str(flow_run_id))]))
        return [log.message for log in self.client.read_logs(chosen, sort=LogSort.TIMESTAMP_ASC)]

    def artifacts(self, flow_run_id: str | UUID) -> list[Artifact]:
        chosen = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[UUID(str(flow_run_id))]))
        return self.client.read_artifacts(artifact_filter=chosen)


def eventually(look: Callable[[], T], seconds: float = 30) -> T:
    """What `look` returns, as soon as that is true; the last of it when time is up."""
    deadline, pause = time.monotonic() + seconds, 0.05
    while not (found := look()) and time.monotonic() < deadline:
        time.sleep(pause)
        pause = min(1.2 * pause, 0.5)
    return found
