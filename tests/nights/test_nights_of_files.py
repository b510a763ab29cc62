"""Nights in which a disk is full, or somebody else has the file."""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest
from prefect.client.schemas.objects import StateType
from prefect.states import AwaitingRetry

from tests.nights.night import Night
from tests.nights.night_shop import ROWS_A_DAY, NightShop

PARAMETERS = {"table": "nps", "run_date": "2023-01-02"}
DAY = {"2023-01-02": ROWS_A_DAY}


@pytest.mark.nights
def test_a_disk_is_full_and_the_run_says_so_and_carries_its_day_when_there_is_room(
    night: Night, tmp_path: Path
) -> None:
    shop = NightShop.open(night, tmp_path, "full")
    with closing(sqlite3.connect(shop.source)) as connection:
        connection.execute("UPDATE nps SET note = hex(randomblob(1000000))")
        connection.commit()
    night.worker("full")
    limited = f"prlimit --fsize=2000000 {sys.executable} -m prefect.engine"
    run_id = shop.start(shop.sync_table(command=limited), PARAMETERS)
    failed = shop.wait_for(run_id, StateType.FAILED)

    assert "FERRY-REFUSED: extract raw_data.nps 2023-01-02" in (failed.message or "")
    assert "Make room, or set TMPDIR" in (failed.message or "")
    assert shop.is_told()
    (told,) = shop.messages()
    assert "Make room, or set TMPDIR" in told
    assert (shop.receipts(), shop.days()) == ([], {})
    shop.wait_for(shop.start(shop.sync_table(), PARAMETERS), StateType.COMPLETED)
    assert shop.days() == DAY


@pytest.mark.nights
def test_a_sqlite_source_is_locked_for_a_while_and_the_run_waits(
    night: Night, tmp_path: Path
) -> None:
    shop = NightShop.open(night, tmp_path, "waits")
    night.worker("waits")
    with shop.locked():
        run_id = shop.start(shop.sync_table(), PARAMETERS)
        assert shop.reads(run_id)
    shop.wait_for(run_id, StateType.COMPLETED)
    assert shop.days() == DAY
    assert shop.messages() == []


@pytest.mark.nights
def test_a_sqlite_source_stays_locked_and_a_retry_in_the_ui_carries_the_day(
    night: Night, tmp_path: Path
) -> None:
    shop = NightShop.open(night, tmp_path, "locked", busy=1)
    night.worker("locked")
    with shop.locked():
        run_id = shop.start(shop.sync_table(), PARAMETERS)
        failed = shop.wait_for(run_id, StateType.FAILED)
    assert "FERRY-BUSY: plan raw_data.nps 2023-01-02" in (failed.message or "")
    _told_once_and_retried(shop, run_id, "is locked by another program")


@pytest.mark.nights
def test_a_duckdb_file_is_held_by_somebody_and_a_retry_in_the_ui_carries_the_day(
    night: Night, tmp_path: Path
) -> None:
    shop = NightShop.open(night, tmp_path, "held", busy=1)
    night.worker("held")
    with shop.held():
        run_id = shop.start(shop.sync_table(), PARAMETERS)
        failed = shop.wait_for(run_id, StateType.FAILED)
    assert "FERRY-BUSY: " in (failed.message or "")
    _told_once_and_retried(shop, run_id, "another process has the database open")


def _told_once_and_retried(shop: NightShop, run_id: object, reason: str) -> None:
    assert shop.is_told()
    (told,) = shop.messages()
    assert reason in told and "2023-01-02" in told
    with shop.night.client as client:  # as the button does
        client.set_flow_run_state(run_id, AwaitingRetry(), force=True)  # type: ignore[arg-type]
    shop.wait_for(run_id, StateType.COMPLETED)  # type: ignore[arg-type]
    assert shop.days() == DAY
    assert len(shop.messages()) == 1
