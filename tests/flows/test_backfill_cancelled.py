"""A cancelled backfill stops promptly, and leaves no half window."""

from __future__ import annotations

import time
from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import pytest
from prefect.client.schemas.objects import StateType
from prefect.deployments import run_deployment
from prefect.states import Cancelling

from deployments.local.redshift_double import Fault
from flows.backfill_tables import backfill
from tests.flows.pipeline.forks import command
from tests.harness.api import Api, eventually

PROMPT_SECONDS = 90.0  # on a busy machine; what is under way would go on for five minutes
ROWS_A_DAY = 4


@pytest.mark.parametrize("route", ["mysql-s3-redshift"], indirect=True)
def test_a_cancelled_backfill_stops_promptly_and_leaves_no_half_window(
    journey: Any, api: Api, redshift_double: Any
) -> None:
    journey.sql("CREATE TABLE nps (id INT NOT NULL PRIMARY KEY, modified DATETIME)")
    rows = [(n, str(datetime(2023, 7, 1) + n * timedelta(hours=6))) for n in range(12 * ROWS_A_DAY)]
    journey.sql("INSERT INTO nps VALUES (?, ?)", rows)
    spec = {"mode": "window", "key": ["id"], "insert_rows": 0, "batch_rows": 0}
    journey.write_specs(nps=spec)
    # Two days land, the others wait where a day is written to the target.
    redshift_double.inject(
        Fault("stall", r"^INSERT INTO .*nps.* SELECT", nth=3, times=100, seconds=300)
    )
    backfill.to_deployment("to-be-cancelled").apply()
    run: Any = run_deployment(
        "backfill/to-be-cancelled",
        parameters={"table": "nps", "start_date": "2023-07-01", "end_date": "2023-07-13"},
        timeout=0,
    )
    process = command("flow-run", "execute", str(run.id))
    try:
        assert eventually(lambda: redshift_double.struck() >= 1, 120)
        cancelled_at = time.monotonic()
        api.client.set_flow_run_state(run.id, Cancelling())
        process.join(PROMPT_SECONDS + 30)
        took = time.monotonic() - cancelled_at
    finally:
        process.kill()
        redshift_double.clear()

    assert eventually(lambda: api.flow_run(run.id).state_type is StateType.CANCELLED)
    assert took < PROMPT_SECONDS
    landed = {receipt.window_label for receipt in journey.receipts("nps")}
    assert len(landed) == 2
    per_day = Counter(f"{modified:%F}" for _, modified in journey.target("nps"))
    assert per_day == dict.fromkeys(landed, ROWS_A_DAY)
