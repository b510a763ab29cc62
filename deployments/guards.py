"""What guards sources and runs: limits on readers, and the watch over runs whose machine died.

Registered with the Prefect server beside the blocks, and safe to register again.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import VariableCreate, VariableUpdate
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.exceptions import ObjectNotFound

from tasks.readers import backfill_limit, readers_limit

WATCHED = "ferry-watched"
"""The tag of runs that send a heartbeat every 30 seconds; `prefect.yaml` gives it to all."""

WATCH = "ferry: a run without a heartbeat has crashed"
SILENT_FOR = timedelta(seconds=120)

REGISTERED = "ferry_registered_limits"
"""The variable that remembers which numbers were registered, so that others are people's."""

_HEARTBEAT = "prefect.flow-run.heartbeat"
_ENDED = {f"prefect.flow-run.{state}" for state in ("Completed", "Failed", "Cancelled", "Crashed")}


def register_limits(source: str, readers: int) -> list[str]:
    """Let so many read from the source at once, over all processes; backfills one fewer.

    What somebody set in Prefect's UI stays, until another number is registered than the last time.

    Args:
        source: The name of the source block.
        readers: How many.

    Returns:
        The names of the limits; with its number, where one is kept that differs.
    """
    wanted = {readers_limit(source): readers, backfill_limit(source): max(1, readers - 1)}
    told = []
    with get_client(sync_client=True) as client:
        variable = client.read_variable_by_name(REGISTERED)
        value = variable.value if variable else None
        before: dict[str, Any] = dict(value) if isinstance(value, dict) else {}
        for name, limit in wanted.items():
            there = _limit(client, name)
            if there is None or before.get(name, limit) != limit:
                client.upsert_global_concurrency_limit_by_name(name, limit)
                there = limit
            told.append(name if there == limit else f"{name}: kept at {there}, not {limit}")
        registered: Any = before | wanted
        if variable is None:
            client.create_variable(
                VariableCreate(name=REGISTERED, value=registered, tags=["ferry"])
            )
        elif registered != before:
            client.update_variable(VariableUpdate(name=REGISTERED, value=registered))
    return told


def _limit(client: SyncPrefectClient, name: str) -> int | None:
    try:
        return client.read_global_concurrency_limit_by_name(name).limit
    except ObjectNotFound:
        return None


def register_watch(silent_for: timedelta = SILENT_FOR) -> str:
    """Let runs that send no heartbeat any more be Crashed, as when their machine died.

    A worker tells Prefect when a run of its own dies; when both die, nobody does, the run would
    stay Running for ever and, where one run at a time is allowed, block those that follow.

    Args:
        silent_for: How long a run may be silent; some heartbeats long.

    Returns:
        The name of the automation.
    """
    watch = AutomationCore(
        name=WATCH,
        description="Registered by Ferry: a run whose machine died is Crashed, not Running.",
        trigger=EventTrigger(
            match={"prefect.resource.id": "prefect.flow-run.*"},
            match_related={"prefect.resource.id": f"prefect.tag.{WATCHED}"},
            for_each={"prefect.resource.id"},
            after={_HEARTBEAT},
            expect={_HEARTBEAT, *_ENDED},
            posture=Posture.Proactive,
            threshold=1,
            within=silent_for,
        ),
        actions=[
            ChangeFlowRunState(
                state=StateType.CRASHED,
                name="Crashed",
                force=False,
                message=f"No heartbeat for {silent_for.total_seconds():.0f} s: its machine or its "
                "process has died. What had landed by then is in the receipts; run it again.",
            )
        ],
    )
    with get_client(sync_client=True) as client:
        for before in client.read_automations_by_name(WATCH):
            client.update_automation(before.id, watch)
            break
        else:
            client.create_automation(watch)
    return WATCH
