"""Windows that travel together, killed at 200 moments by chance, and started again each time."""

from __future__ import annotations

import logging
from datetime import date, datetime, timedelta
from typing import Any

import pytest

from blocks.postgres.session import SESSIONS
from flows.backfill_tables import backfill
from tests.flows.pipeline.forks import Killer
from tests.flows.pipeline.test_killed import sessions
from tests.harness.api import eventually

KILLED = 200
ROWS, WINDOWS_TOGETHER = 62, 5
JULY = {"table": "nps", "start_date": date(2023, 7, 1), "end_date": date(2023, 8, 1)}


def carry() -> None:
    backfill(**JULY, reprocess="all", max_concurrency=2)


@pytest.mark.nights
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("route", ["mysql-s3-redshift"], indirect=True)
def test_killed_at_any_moment_nothing_is_lost_doubled_or_claimed(
    journey: Any, postgres: Any
) -> None:
    journey.sql("CREATE TABLE nps (id INT NOT NULL PRIMARY KEY, modified DATETIME, score INT)")
    first = datetime(2023, 7, 1)
    rows = [(n, str(first + n * timedelta(hours=12)), 0) for n in range(ROWS)]
    journey.sql("INSERT INTO nps VALUES (?, ?, ?)", rows)
    together = 2 * WINDOWS_TOGETHER
    journey.write_specs(
        nps={"mode": "window", "key": ["id"], "insert_rows": 0, "batch_rows": together}
    )
    killer = Killer(carry, (), ())
    halfway = 0
    scores = dict.fromkeys(range(ROWS), 0)
    for trial in range(1, KILLED + 1):
        changed = killer.chance.sample(range(ROWS), ROWS // 2)
        journey.sql("UPDATE nps SET score = ? WHERE id = ?", [(trial, n) for n in changed])
        before = len(journey.receipts("nps"))
        SESSIONS.close_all()
        killer.kill()
        assert eventually(lambda: sessions(postgres) == 0)
        arrived = _is_told(journey, scores, trial, before)
        halfway += 0 < len(arrived) < len(changed)

        carry()

        scores |= dict.fromkeys(changed, trial)
        assert dict(journey.target("nps", "id, score")) == scores
        assert len(_is_told(journey, {}, trial, before)) == len(changed)
    logging.getLogger(__name__).info("%s of %s ended between two batches", halfway, KILLED)
    assert halfway > KILLED / 20  # some were killed between two batches
    assert sum(each.rows_inserted for each in journey.receipts("nps")) == ROWS


def _is_told(journey: Any, scores: dict[int, int], trial: int, before: int) -> set[int]:
    """The rows that have arrived in this trial: just as many as its receipts say, of their days."""
    target = dict(journey.target("nps", "id, score"))
    arrived = {number for number, score in target.items() if score == trial}
    assert all(target[n] == score for n, score in scores.items() if n not in arrived)
    told: dict[str, int] = {}
    for receipt in journey.receipts("nps")[before:]:
        told[receipt.window_label] = told.get(receipt.window_label, 0) + receipt.rows_updated
    days = [f"{datetime(2023, 7, 1) + timedelta(hours=12 * n):%Y-%m-%d}" for n in arrived]
    assert {day: rows for day, rows in told.items() if rows} == {
        day: days.count(day) for day in set(days)
    }
    return arrived
