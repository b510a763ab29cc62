"""watch-runs: end the runs that have died, and tell of what stands still and of what went untold.

It runs on a work pool of its own: it is not to depend on the worker that it judges.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated, Any, NamedTuple

import httpx
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import PrefectException
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from pydantic import Field

from ferry.runs.notice import Notice
from ferry.runs.watch import (
    HEARD_OF,
    HEARTBEAT_SECONDS,
    LONGEST_LISTENING_SECONDS,
    Ending,
    Observation,
    Patience,
    SeenRun,
    ending_of,
    is_silent,
    is_suspect,
    late_runs,
    unjudged_runs,
)
from ferry.runs.watch_notice import (
    deaf,
    deaf_notice,
    late_notice,
    no_worker_notice,
    unanswered,
    undecided,
    unheard_of,
    unjudged_notice,
    worker_back_notice,
)
from ferry.runs.window import WINDOW_OF
from flows.pipeline.notify import HOOK_SECONDS, NOBODY, notifier_slug, notify_of
from flows.pipeline.run_report import RunReport
from tasks.runs.missed_looks import drop_missed_looks
from tasks.runs.notice_claims import (
    PERHAPS,
    PREFIX,
    SENT,
    NoticeClaim,
    all_claims,
    claim_name,
    forget_old_claims,
)
from tasks.runs.standing_notices import notify_once, notify_over
from tasks.runs.unreported import unreported_runs
from tasks.runs.watch_end import end_run
from tasks.runs.watch_look import Look, Probe, look
from tasks.step import explains

NOTIFYING_FLOWS = tuple(WINDOW_OF)
"""The flows whose failed runs are told of: those with the hook `notify`."""

NOT_ANSWERED = (PrefectException, httpx.HTTPError)

FORGETTING_MINUTES = 5
"""In these, of each hour, one run of the watch forgets what nobody asks for any more."""

MAX_GAP_SECONDS = 30.0
"""Two looks that are further apart have not listened in between."""

LONGEST_SECONDS = LONGEST_LISTENING_SECONDS + MAX_GAP_SECONDS
"""Less than the five minutes until the next run, which begins to listen anew."""

ObserveSeconds = Annotated[float, Field(gt=HEARTBEAT_SECONDS, le=LONGEST_LISTENING_SECONDS)]
"""Below, a run that lives is ended between two heartbeats; above, none is ever ended."""
LookSeconds = Annotated[float, Field(ge=0.1, le=MAX_GAP_SECONDS / 3)]
Seconds = Annotated[float, Field(ge=0)]


@flow(name="watch-runs", persist_result=False, flow_run_name="watch runs")
@explains
def watch_runs(
    silent_seconds: Seconds = Patience.silent_seconds,
    observe_seconds: ObserveSeconds = Patience.observe_seconds,
    pending_seconds: Seconds = Patience.pending_seconds,
    late_seconds: Seconds = Patience.late_seconds,
    unreported_seconds: Seconds = 300.0,
    look_seconds: LookSeconds = 10.0,
) -> Any:
    """End the runs that have died, and tell of what stands still and of what went untold.

    A run is ended only if nothing was heard of it while this run was listening: whatever the
    server missed while it was away ends nobody.

    Args:
        silent_seconds: A run without a sign of life for so long is listened to.
        observe_seconds: For so long; then it is ended. Three heartbeats; more than one, and no
            more than a run of the watch can listen for. A run whose heartbeats are rarer is waited
            for, and listened to, for longer.
        pending_seconds: A run that a worker has taken begins within this, or is ended.
        late_seconds: A run that is due is taken within this, or is told of.
        unreported_seconds: A failed run that is older and was not told of, is.
        look_seconds: Between two looks.

    Raises:
        ConfigurationError: A setting is misspelled, perhaps the one that says whom to notify.
    """
    slug = notifier_slug()
    patience = Patience(silent_seconds, observe_seconds, pending_seconds, late_seconds)
    with get_client(sync_client=True) as client:
        report = RunReport()
        watch = _Watch(client, patience, slug, report)
        with suppress(*NOT_ANSWERED):  # the next run does
            drop_missed_looks(client, flow_run.id)
            if datetime.now(UTC).minute < FORGETTING_MINUTES:
                forget_old_claims(client)
        watch.listen(look_seconds)
        watch.notify_unreported(unreported_seconds)
    if not slug:
        report.note(NOBODY)
    return report.ended("nothing stands still")


class _Doubt(NamedTuple):
    """What is not decided yet, in a few words, and for how long it is listened to or looked at."""

    words: str
    seconds: float


class _Watch:
    """What one run of the watch does."""

    def __init__(
        self, client: SyncPrefectClient, patience: Patience, slug: str | None, report: RunReport
    ) -> None:
        self._client, self._patience, self._slug = client, patience, slug
        self._report = report
        self._log = get_run_logger()
        self._silence = self._standstill = Observation(0)

    def listen(self, look_seconds: float) -> None:
        """Look until nothing is in doubt any more, or it is the next run's turn."""
        max_gap, probe = MAX_GAP_SECONDS, Probe()
        self._silence, self._standstill = Observation(max_gap), Observation(max_gap)
        until, looks, heard, refused = time.monotonic() + LONGEST_SECONDS, 0, True, ""
        doubts, since = dict[str, _Doubt](), dict[str, float]()
        while True:
            try:
                at = time.monotonic()
                seen = look(self._client, probe, self._patience)
                looks, heard, refused = looks + 1, seen.heard, seen.refused
                doubts = self._judge(seen)
                since = {key: since.get(key, at) for key in doubts}
                if not doubts:
                    return
            except NOT_ANSWERED as error:
                self._log.warning("Prefect cannot be asked just now: %s", type(error).__name__)
                self._silence.missed()
                self._standstill.missed()
            if time.monotonic() > until:
                break
            time.sleep(look_seconds)
        begun_before = time.monotonic() - max_gap
        unheard = [each for key, each in doubts.items() if since[key] + each.seconds < begun_before]
        if looks * max_gap < LONGEST_SECONDS:  # too far apart to have listened in between
            self._report.fail("looks", unanswered(looks, LONGEST_SECONDS))
        elif not heard:
            self._report.fail("events", deaf(refused))
        elif unheard:  # so it may be for good
            words, seconds = [each.words for each in unheard], max(each.seconds for each in unheard)
            self._report.fail("looks", unheard_of(words, seconds, max_gap))
        else:  # this came up late
            self._report.note(undecided([each.words for each in doubts.values()], LONGEST_SECONDS))

    def notify_unreported(self, unreported_seconds: float) -> None:
        """Send the messages that neither a run's hook nor the backstop has sent."""
        if not self._slug:
            return
        with self._report.telling("what went untold"):
            for run in unreported_runs(self._client, NOTIFYING_FLOWS, unreported_seconds):
                self._notify_of_run(run, wait_seconds=0)  # nobody is sending these any more

    def _judge(self, seen: Look) -> dict[str, _Doubt]:
        """Act on what is decided by what was seen; what is in doubt, by its key.

        Whether a run is silent, only heartbeats tell: it counts while what is sent is kept. What
        stands still is read from the server's answers, and is decided by them alone.
        """
        now, patience = datetime.now(UTC), self._patience
        runs = {run.id: run for run in seen.runs}
        suspects = {key: run for key, run in runs.items() if is_suspect(run, now, patience)}
        silent = _listened_to(seen, now, patience)
        stuck = _stuck(seen, now, patience)
        if silent and not seen.heard:
            stuck[_DEAF] = deaf_notice(seen.refused)
        claims = all_claims(self._client, *_STANDING)
        sent = {key for key, value in claims.items() if value == SENT}
        perhaps = {key for key, value in claims.items() if value == PERHAPS}
        unsent = {
            key: notice
            for key, notice in stuck.items()
            if key not in sent and (seen.heard or not key.startswith(_unjudged("")))
        }
        stands = {key: run.sign for key, run in suspects.items() if run.state not in HEARD_OF}
        stands |= dict.fromkeys(unsent, "stuck")
        at = time.monotonic()
        self._silence.saw(at, silent, heard=seen.heard)
        self._standstill.saw(at, stands, heard=True)
        decided, doubts = set(), dict[str, _Doubt]()
        for observation, signs in ((self._silence, silent), (self._standstill, stands)):
            for key in signs:
                run = runs.get(key)
                seconds = patience.listening_to(run) if run else patience.observe_seconds
                if observation.silent_for(key) >= seconds:
                    decided.add(key)
                elif not observation.was_heard(key):
                    words = f"{run.deployment} {run.name}" if run else unsent[key].subject
                    doubts[key] = _Doubt(words, seconds)
        for key in decided & suspects.keys():
            self._end(suspects[key], ending_of(suspects[key], self._silence, now))
        for key in decided & unsent.keys():
            self._notify(key, unsent[key])
        self._forget((sent | perhaps) - stuck.keys(), seen)
        return doubts

    def _end(self, run: SeenRun, ending: Ending) -> None:
        ended = end_run(run, ending, self._client)
        if ended is None:
            return
        self._report.note(
            f"{run.deployment} {run.name} was ended as {ending.state}: {ending.message}"
        )
        flow_name = run.deployment.partition("/")[0]
        if self._slug and ending.state == "Crashed" and flow_name in NOTIFYING_FLOWS:
            self._notify_of_run(ended)

    def _notify_of_run(self, run: FlowRun, wait_seconds: float = HOOK_SECONDS) -> None:
        assert self._slug
        with self._report.telling(run.name):
            if notify_of(run, self._client, self._slug, self._log, wait_seconds):
                self._report.note(f"told of {run.name}")

    def _notify(self, key: str, notice: Notice) -> None:
        if not self._slug:
            self._log.warning("%s\n%s", notice.subject, notice.body)
            return
        with self._report.telling(key):
            if notify_once(NoticeClaim(self._client, key), notice, self._slug):
                self._report.note(f"told: {notice.subject}")

    def _forget(self, over: Collection[str], seen: Look) -> None:
        """What was told of and is over may be told anew; of a worker it is told that it is back."""
        back = {_no_worker(pool): worker_back_notice(pool) for pool in seen.pools}
        for key in over:
            read = key.startswith((_no_worker(""), _late(""), _unjudged("")))
            if read or (key == _DEAF and seen.heard):
                with self._report.telling(key):
                    if notify_over(NoticeClaim(self._client, key), back.get(key), self._slug):
                        self._report.note(f"over: {key.removeprefix(PREFIX)}")


def _listened_to(seen: Look, now: datetime, patience: Patience) -> dict[str, str]:
    """The signs of the silent runs that can be judged; of all of them, while nothing is heard."""
    return {
        run.id: run.sign
        for run in seen.runs
        if is_silent(run, now, patience) and (patience.can_judge(run) or not seen.heard)
    }


def _stuck(seen: Look, now: datetime, patience: Patience) -> dict[str, Notice]:
    """What stands still, by the name of the claim that it was told."""
    idle = [pool for pool, alive in seen.pools.items() if not alive]
    late = late_runs(seen.runs, idle, now, patience)
    unjudged = unjudged_runs(seen.runs, now, patience)
    return (
        {_no_worker(pool): no_worker_notice(pool) for pool in idle}
        | {_late(each.deployment): late_notice(each, now) for each in late}
        | {_unjudged(name): unjudged_notice(name, runs) for name, runs in unjudged.items()}
    )


def _no_worker(pool: str) -> str:
    return claim_name(f"no_worker_{pool}")


def _late(deployment: str) -> str:
    return claim_name(f"late_{deployment}")


def _unjudged(deployment: str) -> str:
    return claim_name(f"silent_{deployment}")


_DEAF = claim_name("deaf")
_STANDING = tuple(
    name.removeprefix(PREFIX) for name in (_no_worker(""), _late(""), _unjudged(""), _DEAF)
)
