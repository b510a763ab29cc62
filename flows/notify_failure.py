"""notify-failure: a backstop for failed runs whose process could not send their message.

The server starts it for every such run (`prefect.yaml`); it sends only what the hook has not
(`flows/pipeline/notify.py`).
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from prefect import flow
from prefect.client.orchestration import get_client
from prefect.logging import get_run_logger
from prefect.states import Completed

from ferry.errors import OutcomeUnknownError
from ferry.reasons import reason_of
from flows.pipeline.notify import HOOK_SECONDS, NOBODY, OUTCOME_UNKNOWN, notifier_slug, send_notice
from tasks.runs.notice_claims import NoticeClaim
from tasks.runs.own_flows import deployments_of_others
from tasks.step import explains


@flow(
    name="notify-failure",
    persist_result=False,
    flow_run_name="notify of {flow_run_id}",
    retries=3,
    retry_delay_seconds=60,
)
@explains
def notify_failure(flow_run_id: UUID) -> Any:
    """Send the message about a failed run, unless the run's own hook has sent it.

    Args:
        flow_run_id: The run that failed or crashed.

    Raises:
        ConfigurationError: A setting is misspelled, perhaps the one that says whom to notify.
        FerryError: The message could not be sent; the run is retried. A message that was perhaps
            sent is sent once more at most, by whoever comes first.
    """
    slug = notifier_slug()
    if not slug:
        return Completed(message=NOBODY)
    with get_client(sync_client=True) as client:
        run = client.read_flow_run(flow_run_id)
        if run.state is None or not (run.state.is_failed() or run.state.is_crashed()):
            return Completed(message="nothing to tell: the run is not failed any more")
        if run.deployment_id and run.deployment_id in deployments_of_others(client):
            return Completed(message="nothing to tell: a flow of the same name, and not Ferry's")
        claim = NoticeClaim.of(run, client).take_patiently(HOOK_SECONDS)
        if claim is None:
            return Completed(message="nothing to do: the message was sent, or perhaps sent twice")
        try:
            send_notice(run, run.state, slug, claim, get_run_logger())
        except OutcomeUnknownError as error:
            if not claim.again:
                raise
            return Completed(message=OUTCOME_UNKNOWN % (slug, reason_of(error)))
    return Completed(message=f"{slug} was notified")
