"""The message about a failed run: sent by a hook at once, and once only, whoever sends it.

`notify` is the hook of every flow that people want to hear of, for `on_failure` and `on_crashed`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeAlias

import httpx
from prefect import Flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun, State
from prefect.exceptions import ObjectNotFound, PrefectException
from prefect.logging.loggers import flow_run_logger
from prefect.utilities.urls import url_for

from blocks.notifier import load_notifier, send
from ferry.errors import ConfigurationError, OutcomeUnknownError
from ferry.reasons import reason_of
from ferry.runs.notice import FailedRun, failure_notice
from ferry.runs.window import by_schedule, window_text
from ferry.settings import notifier_name, refuse_misspelled
from flows.pipeline.table_specs import load_table_specs
from tasks.runs.notice_claims import NoticeClaim
from tasks.runs.unreported import is_dropped

SETTING = "FERRY_NOTIFY"
NOBODY = f"nobody is to be notified: {SETTING} is not set"
NOBODY_WAS = "NOBODY WAS NOTIFIED of this failure: %s"
OUTCOME_UNKNOWN = "it is not known whether %s was notified of this failure: %s"
HOOK_SECONDS = 60.0
"""For how long the backstop waits for a hook that is about to send."""

Log: TypeAlias = "logging.Logger | logging.LoggerAdapter[Any]"


def notifier_slug() -> str | None:
    """The notification block that `FERRY_NOTIFY` names; None if nobody is to be notified.

    Raises:
        ConfigurationError: A setting is misspelled, perhaps the one that says whom to notify, or
            it names no block.
    """
    refuse_misspelled(os.environ)
    return notifier_name(os.environ)


def notify(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Send the message about the run that has just failed or crashed: a hook for both.

    Raises nothing: what goes wrong is logged as an error, and the run keeps its own failure.
    """
    log: Log = flow_run_logger(flow_run, flow)
    try:
        slug = notifier_name(os.environ)
    except ConfigurationError as error:
        log.error(NOBODY_WAS, error)
        return
    if not slug:
        _log_that_nobody_is(log)
        return
    try:
        with get_client(sync_client=True) as client:
            run = client.read_flow_run(flow_run.id)
            claim = NoticeClaim.of(run, client)
            mine = True
            with _without_the_claim(log):
                mine = claim.take()
            if mine:
                send_notice(run, state, slug, claim, log)
    except OutcomeUnknownError as error:
        log.error(OUTCOME_UNKNOWN, slug, reason_of(error))
    except Exception as error:  # noqa: BLE001  # the run's own failure is the one that counts
        log.error("NOBODY WAS NOTIFIED of this failure by %s: %s", slug, reason_of(error))


def notify_of(
    run: FlowRun,
    client: SyncPrefectClient,
    slug: str,
    log: Log,
    wait_seconds: float = HOOK_SECONDS,
) -> bool:
    """Send the message of a failed run, unless somebody has; whether it was sent just now.

    Args:
        run: The run.
        client: Prefect's.
        slug: The notification block.
        log: Where it is logged.
        wait_seconds: For so long whoever is about to send it is waited for.

    Raises:
        FerryError: The message could not be sent; somebody may try again.
    """
    claim = NoticeClaim.of(run, client).take_patiently(wait_seconds) if run.state else None
    if run.state is None or claim is None:
        return False
    send_notice(run, run.state, slug, claim, log)
    return True


def send_notice(run: FlowRun, state: State[Any], slug: str, claim: NoticeClaim, log: Log) -> None:
    """Send the message of a run whose claim the caller has taken; give it back if that fails."""
    try:
        notice = failure_notice(_failed_run(run, state, claim.client))
        send(notice.again if claim.again else notice, load_notifier(slug))
    except OutcomeUnknownError:
        with _without_the_claim(log):
            claim.doubt()
        raise
    except BaseException:
        with _without_the_claim(log):
            claim.release()
        raise
    log.info("%s was notified of this failure", slug)
    with _without_the_claim(log):
        claim.confirm()


def _log_that_nobody_is(log: Log) -> None:
    """Log that nobody is to be notified, unless that is by mistake: a hook raises nothing."""
    try:
        refuse_misspelled(os.environ)
    except ConfigurationError as error:
        log.error(NOBODY_WAS, error)
    else:
        log.info("nobody is notified of this failure: %s is not set", SETTING)


@contextmanager
def _without_the_claim(log: Log) -> Iterator[None]:
    """A message twice is better than none: log what goes wrong with the claim, and go on."""
    try:
        yield
    except (PrefectException, httpx.HTTPError) as error:
        log.warning(
            "the message of this failure may come twice: its claim failed with %s",
            type(error).__name__,
        )


def _dropped(run: FlowRun, state: State[Any]) -> str:
    return (
        "Prefect's server cancelled it as it was to begin: "
        f"{(state.message or '').rstrip('.')}. This attempt has carried nothing. "
        f"This carries the same dates: prefect flow-run retry {run.id}"
    )


def _failed_run(run: FlowRun, state: State[Any], client: SyncPrefectClient) -> FailedRun:
    flow_name = client.read_flow(run.flow_id).name
    deployment = None
    if run.deployment_id:
        with suppress(ObjectNotFound):  # it was deleted meanwhile; the run and its flow are there
            deployment = client.read_deployment(run.deployment_id).name
    start, window = run.expected_start_time, None
    if start is not None:
        window = by_schedule(run.parameters, start)
        with suppress(Exception):  # a message without this line is better than none
            window = window_text(flow_name, run.parameters, start, load_table_specs) or window
    return FailedRun(
        name=run.name,
        deployment=f"{flow_name}/{deployment}" if deployment else flow_name,
        ended=state.name or state.type.value,
        message=_dropped(run, state) if is_dropped(state) else state.message or "",
        parameters=run.parameters,
        window=window,
        link=url_for("flow-run", run.id) or str(run.id),
    )
