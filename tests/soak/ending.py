"""The end of a soak: nothing goes wrong any more, what is under way ends, what is due is run."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

from prefect.client.schemas.objects import FlowRun, StateType

from tests.soak.checks import what_is_claimed
from tests.soak.faults import Faults
from tests.soak.record import flow_names, open_runs, read_run
from tests.soak.runs import Runs
from tests.soak.servers import Servers, until
from tests.soak.tables import FIRST_DAY, FIRST_HOUR, TODAY
from tests.soak.told import say
from tests.soak.verdict import Check
from tests.soak.writer import Writer

QUIET_SECONDS = 900.0
WATCH = "watch-runs/every-5-minutes"
IMPATIENT = {
    "silent_seconds": 1.0,
    "observe_seconds": 95.0,
    "pending_seconds": 60.0,
    "unreported_seconds": 0.0,
}
"""What is silent is listened to at once; three heartbeats is the least that tells anything."""


def end_well(servers: Servers, writer: Writer, runs: Runs, faults: Faults) -> list[Check]:
    """End it; returns what held of the receipts' claims before anything was carried once more."""
    faults.stop()
    runs.stop()
    runs.end_schedules()
    writer.stop()
    _come_to_rest(servers, runs)
    claims = what_is_claimed(servers)
    _carry_what_is_due(runs)
    _come_to_rest(servers, runs)
    return claims


def _come_to_rest(servers: Servers, runs: Runs) -> None:
    """Wait until no run is open; those that died are ended by the watch."""
    deadline = time.monotonic() + QUIET_SECONDS
    while True:
        until(lambda: _is_completed(_wait(runs, WATCH, **IMPATIENT)), 360)
        left = open_runs(servers)
        if not left or time.monotonic() > deadline:
            return
        names = flow_names(servers)
        told = ", ".join(f"{names[each.flow_id]} {each.name}" for each in left[:5])
        say(f"{len(left)} runs are open yet: {told}")
        until(lambda: not open_runs(servers), 30)


def _carry_what_is_due(runs: Runs) -> None:
    say("what is due is carried")
    now = datetime.now(UTC)
    past = {"end_date": str(TODAY.date()), "reprocess": "missing"}
    _wait(runs, "backfill/on-demand", table="visits", start_date=str(FIRST_DAY.date()), **past)
    _wait(
        runs,
        "backfill/on-demand",
        table="clicks",
        granularity="hour",
        start_date=str(FIRST_HOUR.date()),
        **past,
    )
    first = min(TODAY, runs.begun_at - timedelta(hours=1))
    dates = {"window_start": first.isoformat(), "window_end": now.isoformat()}
    for table in ("visits", "clicks", "orders"):
        _wait(runs, "sync-table/on-demand", table=table, **dates)
    for table in ("users", "ledger"):
        _wait(runs, "sync-table/on-demand", table=table)


def _wait(runs: Runs, deployment: str, **parameters: Any) -> FlowRun:
    """The run of it, at its end."""
    run_id = runs.start_run(deployment, **parameters)
    until(lambda: _is_over(read_run(runs.servers, run_id)), 420)
    run = read_run(runs.servers, run_id)
    if run.state_type is not StateType.COMPLETED:
        message = run.state.message if run.state else ""
        say(f"{deployment} {run.name} ended {run.state_name}: {message}")
    return run


def _is_completed(run: FlowRun) -> bool:
    """A look of the watch that could not do its work ends as Failed, and is made again."""
    return run.state_type is StateType.COMPLETED


def _is_over(run: FlowRun) -> bool:
    return bool(run.state and run.state.is_final())
