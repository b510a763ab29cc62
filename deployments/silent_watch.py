"""The server itself tells that the watch does nothing, though its worker may be alive.

The heartbeat of a worker goes on while the runs that it starts cannot be imported, are refused,
hang, or are never made. So each flow of the watch has to complete a run every so often.
"""

from __future__ import annotations

from datetime import timedelta

from prefect.client.orchestration import get_client
from prefect.events.schemas.automations import EventTrigger, Posture

from deployments.automations import register_message, sends_to_nothing
from deployments.no_worker import NOBODY_WATCHES
from ferry.runs.watch_notice import WATCHING, silent_watch_notice

WITHOUT_A_COMPLETED_RUN = timedelta(minutes=20)
"""A run is due every five minutes, and takes four at most."""

COMPLETED = "prefect.flow-run.Completed"


def register_silent_watch(
    notifier: str, *, within: timedelta = WITHOUT_A_COMPLETED_RUN
) -> list[str]:
    """Let the server send a message when a flow of the watch completes no run any more.

    It tells once of each silence. Its clock begins with a completed run, and anew with each: a
    flow that has never completed one is not missed.

    Args:
        notifier: The notification block, `slack-webhook/ferry`.
        within: How long a flow may go without a completed run.

    Returns:
        The names of the automations. Whether each is switched on stays as people left it.

    Raises:
        ConfigurationError: There is no such block.
    """
    with get_client(sync_client=True) as client:
        return [
            register_message(
                client,
                silent_watch(flow),
                f"Registered by Ferry: tells that {flow} completes no run any more.",
                _trigger(flow, within),
                silent_watch_notice(flow, within),
                notifier,
            )
            for flow in WATCHING
        ]


def muted_messages() -> str | None:
    """What to do when the server's own messages can be sent no more; None if they can.

    Prefect says so in the server's log alone, and workers, which know the block by its name, go on
    sending theirs.
    """
    with get_client(sync_client=True) as client:
        names = (NOBODY_WATCHES, *map(silent_watch, WATCHING))
        muted = [name for name in names if sends_to_nothing(client, name)]
    if not muted:
        return None
    return (
        f"the server itself tells nobody any more: the notification block of {', '.join(muted)} is "
        "gone, and one of the same name that was made since is another. Register with FERRY_NOTIFY "
        "set to the block that there is now"
    )


def silent_watch(flow: str) -> str:
    """The name of the automation that misses the flow."""
    return f"ferry: {flow} completes no run"


def _trigger(flow: str, within: timedelta) -> EventTrigger:
    return EventTrigger(
        match={"prefect.resource.id": "prefect.flow-run.*"},
        match_related={"prefect.resource.role": "flow", "prefect.resource.name": flow},
        # With nothing here the server would also tell before the first run, and again and again.
        for_each={"related:flow:prefect.resource.id"},
        after={COMPLETED},
        expect={COMPLETED},
        posture=Posture.Proactive,
        threshold=1,
        within=within,
    )
