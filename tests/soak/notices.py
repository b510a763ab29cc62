"""Who was told of what: each failure once, and of no healthy run."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta

from prefect.client.schemas.objects import FlowRun, StateType

from flows.watch_runs import NOTIFYING_FLOWS
from tests.soak.record import flow_names, had_failed, runs_in
from tests.soak.servers import Servers
from tests.soak.verdict import Check, first

LINK = re.compile(r"/runs/flow-run/([0-9a-f-]{36})")
AT_MOST = 2
"""Twice, if whoever sends dies between sending and saying so, or the server is away just then."""

SILENT = "No heartbeat was heard"


def check_notices(servers: Servers, messages: Sequence[str]) -> list[Check]:
    """What the receiver got, held against what became of the runs."""
    names = flow_names(servers)
    runs = {str(run.id): run for run in runs_in(servers)}
    told = Counter(found[1] for found in map(LINK.search, messages) if found)
    failed = {
        key: run
        for key, run in runs.items()
        if names.get(run.flow_id) in NOTIFYING_FLOWS
        and run.state_type in (StateType.FAILED, StateType.CRASHED)
    }
    untold = [_named(run, names) for key, run in failed.items() if not told[key]]
    often = [f"{_named(runs[key], names)}: {n}" for key, n in told.items() if n > AT_MOST]
    twice = sum(n == AT_MOST for n in told.values())
    healthy = [
        _named(runs[key], names)
        for key in told
        if key in runs and not had_failed(servers, runs[key])
    ]
    other = Counter(each.partition("\n")[0] for each in messages if not LINK.search(each))
    return [
        Check(
            "each failed run was told",
            not untold,
            f"{len(failed):,} failed, {len(told):,} told; not told: {first(untold)}",
        ),
        Check(
            "none was told more than twice",
            not often,
            f"{len(told) - twice:,} once, {twice:,} twice; more often: {first(often)}",
        ),
        Check("no healthy run was told", not healthy, first(healthy)),
        _nobody_ended_alive(servers, runs, names),
        Check(
            "other messages",
            holds=None,
            told="; ".join(f"{n} of {title!r}" for title, n in other.items()) or "none",
        ),
    ]


def _nobody_ended_alive(
    servers: Servers, runs: dict[str, FlowRun], names: dict[object, str]
) -> Check:
    """No receipt was written by a run after it had been ended for its silence."""
    last = dict(
        servers.ask_warehouse("SELECT flow_run_id, MAX(finished_at) FROM ferry.receipts GROUP BY 1")
    )
    silent = {
        key: run
        for key, run in runs.items()
        if run.state and (run.state.message or "").startswith(SILENT)
    }
    alive = [
        _named(run, names)
        for key, run in silent.items()
        if key in last and run.end_time and last[key] > run.end_time + timedelta(seconds=1)
    ]
    return Check(
        "no run that lived was ended for its silence",
        not alive,
        f"{len(silent):,} ended; of these alive: {first(alive)}",
    )


def _named(run: FlowRun, names: dict[object, str]) -> str:
    state = (run.state.message or "") if run.state else ""
    return f"{names.get(run.flow_id)} {run.name} {run.state_name} {run.id} [{state[:80]}]"
