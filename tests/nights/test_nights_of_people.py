"""Nights in which somebody retries or cancels a run in Prefect's UI."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prefect.client.schemas.objects import StateType
from prefect.states import AwaitingRetry, Cancelling, Scheduled

from tests.nights.night import Night
from tests.nights.night_shop import ROWS_A_DAY, NightShop

DAY = {"2023-01-02": ROWS_A_DAY}


@pytest.mark.nights
def test_a_failed_run_that_is_retried_in_the_ui_days_later_carries_the_same_day(
    night: Night, tmp_path: Path
) -> None:
    shop = NightShop.open(night, tmp_path, "retried")
    _rename(shop, "nps", "nps_away")
    night.worker("retried")
    due = Scheduled(scheduled_time=datetime(2023, 1, 3, 9, tzinfo=UTC))
    run_id = shop.start(shop.sync_table(), {"table": "nps"}, due)
    failed = shop.wait_for(run_id, StateType.FAILED)
    assert "FERRY-SCHEMA: plan raw_data.nps 2023-01-02" in (failed.message or "")

    _rename(shop, "nps_away", "nps")
    with night.client as client:  # as the button does
        client.set_flow_run_state(run_id, AwaitingRetry(), force=True)
    shop.wait_for(run_id, StateType.COMPLETED)

    assert shop.receipts() == ["2023-01-02"]
    assert shop.days() == DAY
    (told,) = shop.messages()
    assert "FERRY-SCHEMA: " in told and "2023-01-02" in told


@pytest.mark.nights
def test_a_run_is_cancelled_in_the_ui_and_nobody_is_told(night: Night, tmp_path: Path) -> None:
    shop = NightShop.open(night, tmp_path, "cancelled")
    night.worker("cancelled")
    deployment = shop.sync_table()
    day = {"table": "nps", "run_date": "2023-01-02"}
    with shop.locked():
        run_id = shop.start(deployment, day)
        assert shop.reads(run_id)
        with night.client as client:
            client.set_flow_run_state(run_id, Cancelling())
        shop.wait_for(run_id, StateType.CANCELLED)
    assert (shop.receipts(), shop.days()) == ([], {})

    shop.wait_for(shop.start(deployment, day), StateType.COMPLETED)
    assert shop.days() == DAY
    assert shop.messages() == []


def _rename(shop: NightShop, before: str, after: str) -> None:
    with closing(sqlite3.connect(shop.source)) as connection:
        connection.execute(f"ALTER TABLE {before} RENAME TO {after}")
        connection.commit()
