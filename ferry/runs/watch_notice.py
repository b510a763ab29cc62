"""The messages about what stands still: nobody is there to send one of its own."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta

from ferry.bounded import MAX_REASONS, first_of
from ferry.runs.notice import Notice, plain
from ferry.runs.watch import LateRuns, SeenRun

RUNBOOK = "docs/runbook.md"
WATCHING = {
    "watch-runs": "runs that die are not ended, and nobody is told of what stands still",
    "check-due": "nobody is told of tables that are late",
}
"""The flows that watch, and what is so while one of them does not."""


def deaf(refused: str) -> str:
    """What is said where no heartbeat can be read; `refused` is how the server answered, if not."""
    if refused:
        return (
            "silent runs cannot be judged: the server does not give its events to the watch "
            f"({refused}), and so no heartbeat. Look at the server's log, and whether the watch "
            "may read events there."
        )
    return (
        "silent runs cannot be judged: what is sent to the server is not kept there as an event, "
        "or comes back too late, as heartbeats would. Look at the server's log, and at its "
        "setting PREFECT_SERVER_SERVICES_EVENT_PERSISTER_ENABLED."
    )


def unanswered(looks: int, seconds: float) -> str:
    """What is said where the server answers too seldom for anything to be known."""
    return (
        f"nothing could be judged: Prefect's server answered {looks} of the watch's looks in "
        f"{seconds:,.0f} s. Look at the server and its database; the next run looks again."
    )


def undecided(doubts: Collection[str], seconds: float) -> str:
    """What is said where a run of the watch ends before it could judge all that it saw."""
    return (
        f"not decided within {seconds:,.0f} s: {', '.join(first_of(doubts, MAX_REASONS))}. The "
        "next run listens anew"
    )


def unheard_of(doubts: Collection[str], observe_seconds: float, gap_seconds: float) -> str:
    """What is said where a run of the watch had the time to judge, and could not."""
    return (
        f"could not be judged: {', '.join(first_of(doubts, MAX_REASONS))}. Nothing was listened to "
        f"for {observe_seconds:,.0f} s without a break: looks took longer than {gap_seconds:,.0f} "
        "s or were not answered, or events were not given. Look at the server and its database; "
        "the next run looks again."
    )


def no_worker_notice(pool: str) -> Notice:
    """No worker of a pool is alive: whatever is due in it waits."""
    return Notice(
        f"Ferry: no worker is alive for the pool {plain(pool)}",
        "Whatever is due in it waits, and is carried when a worker is back.\n"
        f"{_start(pool)}\n"
        f"What to look at: {RUNBOOK}, Nothing runs",
    )


def nobody_watches_notice(pool: str) -> Notice:
    """No worker is alive for the pool of the watch, which would tell of everything else."""
    return Notice(
        f"Ferry: nobody watches the runs: no worker is alive for the pool {plain(pool)}",
        "Until one is back, nobody tells of what stands still: look at the other workers, too.\n"
        f"{_start(pool)} --limit 2\n"
        f"What to look at: {RUNBOOK}, Nothing runs",
    )


def silent_watch_notice(flow: str, silence: timedelta) -> Notice:
    """A flow of the watch has completed no run for so long, whether or not its worker is alive."""
    minutes = silence.total_seconds() / 60
    return Notice(
        f"Ferry: the watch is silent: {flow} has completed no run for {minutes:,.0f} min",
        f"Until it does, perhaps {WATCHING[flow]}. Its worker may well be alive.\n"
        "Look at its last runs: they fail and say why, hang, or are not made, as when the "
        "deployment or its schedule is paused. This is told once, and anew only after a run has "
        "completed.\n"
        f"What to look at: {RUNBOOK}, The watch is silent",
    )


def _start(pool: str) -> str:
    return (
        "Start one as its service does, with its environment (FERRY_TABLES, FERRY_SUMMARIES, "
        f"FERRY_NOTIFY): prefect worker start --pool {plain(pool)}"
    )


def worker_back_notice(pool: str) -> Notice:
    """A worker of the pool is alive again."""
    return Notice(
        f"Ferry: a worker is alive again for the pool {plain(pool)}",
        "What waited is being taken; `coverage` shows what was missed.",
    )


def deaf_notice(refused: str) -> Notice:
    """Runs are silent, and the watch cannot know whether they have died."""
    why = deaf(refused)
    return Notice(
        "Ferry: runs are silent, and nobody can know whether they have died",
        f"{why[0].upper()}{why[1:]}\nUntil then no silent run is ended: look whether those that "
        "are Running still live.\n"
        f"What to look at: {RUNBOOK}, A worker was killed",
    )


def unjudged_notice(deployment: str, runs: Sequence[SeenRun]) -> Notice:
    """Runs of a deployment are silent, and no run of the watch can listen to them for so long."""
    first = min(runs, key=lambda run: run.heard_at)
    others = f", and {len(runs) - 1:,} more" if len(runs) > 1 else ""
    rare = (
        f"It says that it lives every {first.heartbeat_seconds:,.0f} s, which is more seldom than "
        "the watch can listen for."
        if first.is_known
        else "Nobody knows how often it says that it lives."
    )
    return Notice(
        f"Ferry: {plain(deployment)} is silent, and nobody can know whether it has died",
        f"Its run {plain(first.name)}{others}: nothing was heard since {_utc(first.heard_at)}. "
        f"{rare} It is not ended: look whether it still lives, and cancel it if it does not, as it "
        "stays Running and may hold the place of the next ones.\n"
        "The watch ends what has died if it was to say every 30 s that it lives: give the "
        "deployment the environment variable PREFECT_FLOWS_HEARTBEAT_FREQUENCY=30 in its job "
        "variables.\n"
        f"What to look at: {RUNBOOK}, A worker was killed",
    )


def late_notice(late: LateRuns, now: datetime) -> Notice:
    """Runs are due, a worker lives, and yet nobody takes them."""
    minutes = (now - late.due_at).total_seconds() / 60
    runs = "1 run waits" if late.runs == 1 else f"{late.runs:,} runs wait"
    if late.waits_for_place and late.behind:
        why = (
            f"They wait for the run {plain(late.behind.name)}, which was due at "
            f"{_utc(late.behind.due_at)} and is not over. If it makes no headway, cancel it: then "
            "they get their turn."
        )
    elif late.waits_for_place:
        why = (
            "They wait for a place of their deployment, and no other run of it is there to hold "
            "one. Registering the blocks again gives such places back."
        )
    else:
        why = f"A worker of the pool {plain(late.pool)} is alive, and takes none of them."
    return Notice(
        f"Ferry: {plain(late.deployment)} is {minutes:,.0f} min late",
        f"{runs}, the first since {_utc(late.due_at)}.\n{why}\n"
        "None is ended: each carries its own date when it is taken.\n"
        f"What to look at: {RUNBOOK}, A run is late",
    )


def _utc(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
