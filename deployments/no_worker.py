"""The server itself tells that nobody watches: whoever else would, needs a worker to run on."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import WorkPoolStatus
from prefect.events.schemas.automations import EventTrigger, Posture
from prefect.exceptions import ObjectNotFound

from deployments.automations import register_message
from ferry.runs.watch_notice import nobody_watches_notice

WATCH_POOL = "ferry-watch"
"""The work pool on which runs are watched; of the others the watch itself tells."""

NOBODY_WATCHES = "ferry: nobody watches the runs"
WITHOUT_A_WORKER = timedelta(minutes=5)
"""A worker that is started again is back sooner, as it is when the server itself was away."""

FORMER_WATCH = "ferry: a run without a heartbeat has crashed"
"""An automation of earlier versions, which ended healthy runs after the server had been away."""


def forget_former_watch() -> None:
    """Delete the automation that ended runs in earlier versions; the flow `watch-runs` does now."""
    with get_client(sync_client=True) as client:
        for former in client.read_automations_by_name(FORMER_WATCH):
            client.delete_automation(former.id)


def register_nobody_watches(
    notifier: str, *, pool: str = WATCH_POOL, within: timedelta = WITHOUT_A_WORKER
) -> str:
    """Let the server send a message when the last worker that watches has gone, and stays away.

    Args:
        notifier: The notification block, `slack-webhook/ferry`.
        pool: The work pool.
        within: How long a worker may take to come back.

    Returns:
        The name of the automation. Whether it is switched on stays as people left it.

    Raises:
        ConfigurationError: There is no such block.
    """
    trigger = EventTrigger(
        match={"prefect.resource.id": "prefect.work-pool.*", "prefect.resource.name": pool},
        for_each={"prefect.resource.id"},
        after={"prefect.work-pool.not-ready"},
        expect={"prefect.work-pool.ready"},
        posture=Posture.Proactive,
        threshold=1,
        within=within,
    )
    with get_client(sync_client=True) as client:
        return register_message(
            client,
            NOBODY_WATCHES,
            "Registered by Ferry: tells that the pool of the watch has no worker.",
            trigger,
            nobody_watches_notice(pool),
            notifier,
        )


def nobody_watches_yet(pool: str = WATCH_POOL) -> str | None:
    """What to do when the pool of the watch has no worker; None if it has one."""
    with get_client(sync_client=True) as client, suppress(ObjectNotFound):
        if client.read_work_pool(pool).status is not WorkPoolStatus.NOT_READY:
            return None
    return (
        f"no worker of the pool {pool} is alive: runs that die are not ended, and nobody is told "
        "of late tables. Start one with the environment of the other workers, if possible on "
        f"another machine: prefect worker start --pool {pool} --limit 2"
    )
