"""What guards sources and runs: limits on readers, and the watch over runs whose machine died.

Registered with the Prefect server beside the blocks, and safe to register again.
"""

from __future__ import annotations

from datetime import timedelta

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture

from tasks.readers import backfill_limit, readers_limit

WATCHED = "ferry-watched"
"""The tag of runs that send a heartbeat every 30 seconds; `prefect.yaml` gives it to all."""

WATCH = "ferry: a run without a heartbeat has crashed"
SILENT_FOR = timedelta(seconds=120)

_HEARTBEAT = "prefect.flow-run.heartbeat"
_ENDED = {f"prefect.flow-run.{state}" for state in ("Completed", "Failed", "Cancelled", "Crashed")}


def register_limits(source: str, readers: int) -> list[str]:
    """Let so many read from the source at once, over all processes; backfills one fewer.

    Args:
        source: The name of the source block.
        readers: How many.

    Returns:
        The names of the limits.
    """
    limits = {readers_limit(source): readers, backfill_limit(source): max(1, readers - 1)}
    with get_client(sync_client=True) as client:
        for name, limit in limits.items():
            client.upsert_global_concurrency_limit_by_name(name, limit)
    return list(limits)


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
