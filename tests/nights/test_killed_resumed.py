"""A full copy in pieces, killed at 200 moments by chance, and the same run started again."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from blocks.postgres.session import SESSIONS
from tests.flows.pipeline.forks import Killer
from tests.flows.pipeline.full_copy import full_copy
from tests.flows.pipeline.test_killed import sessions
from tests.harness.api import eventually

KILLED = 200
ROWS, PIECE = 6000, 400


def carry(run: str) -> None:
    full_copy("nps", run)


@pytest.mark.nights
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("route", ["mysql-s3-redshift"], indirect=True)
def test_killed_at_any_moment_the_same_run_goes_on(journey: Any, postgres: Any) -> None:
    journey.sql("CREATE TABLE nps (id INT NOT NULL PRIMARY KEY, modified DATETIME, score INT)")
    for first in range(0, ROWS, 1000):
        some = [v for n in range(first, first + 1000) for v in (n, "2023-07-01", 0)]
        journey.sql(f"INSERT INTO nps VALUES {', '.join(['(?, ?, ?)'] * 1000)}", [some])
    spec = {"mode": "window", "key": ["id"], "insert_rows": 0, "resume_rows": PIECE}
    journey.write_specs(nps=spec)
    killer = Killer(carry, ("run 0",), ("run 00",))
    resumed = landed_before = 0
    before = {0}
    for trial in range(1, KILLED + 1):
        run, scores = f"run {trial}", {2 * trial - 1}
        journey.sql("UPDATE nps SET score = ?", [(2 * trial - 1,)])
        receipts = len(journey.receipts("nps"))
        SESSIONS.close_all()
        killer.kill(run)
        assert eventually(lambda: sessions(postgres) == 0)
        found = {score for (score,) in journey.target("nps", "score")}
        assert found in (before, scores)
        landed = len(journey.receipts("nps")) - receipts
        assert landed == (found == scores)
        if not landed and killer.chance.random() < 0.5:  # the table goes on changing meanwhile
            journey.sql("UPDATE nps SET score = ?", [(2 * trial,)])
            scores.add(2 * trial)

        receipt = full_copy("nps", run, attempt=2)

        rows = journey.target("nps", "id, score")
        assert [n for n, _ in rows] == list(range(ROWS))
        assert {score for _, score in rows} <= scores
        assert len(journey.receipts("nps")) == receipts + 1  # once, whoever landed it
        assert receipt.rows_extracted == receipt.rows_inserted == receipt.rows_deleted == ROWS
        before = {score for _, score in rows}
        assert len(before) == 1 or receipt.source_snapshot == "not one"
        resumed += receipt.source_snapshot == "not one"
        landed_before += landed
    told = "%s of %s went on in the middle, %s had landed"
    logging.getLogger(__name__).info(told, resumed, KILLED, landed_before)
    assert resumed > KILLED / 20  # some were killed between two pieces
