"""Nights in which a run, its worker or the server is killed, or asked to end."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from prefect.client.schemas.objects import StateType

from tests.harness.api import PATIENCE, eventually
from tests.nights.night import Night
from tests.nights.night_shop import ROWS_A_DAY, NightShop

PARAMETERS = {"table": "nps", "run_date": "2023-01-02"}
DAY = {"2023-01-02": ROWS_A_DAY}


@pytest.mark.nights
def test_a_run_is_killed_and_told_once_and_a_new_one_carries_its_day(
    night: Night, tmp_path: Path
) -> None:
    shop = NightShop.open(night, tmp_path, "killed")
    _a_run_ends_and_a_new_one_carries_its_day(shop, signal.SIGKILL)


@pytest.mark.nights
def test_a_run_is_asked_to_end_and_told_once_and_a_new_one_carries_its_day(
    night: Night, tmp_path: Path
) -> None:
    shop = NightShop.open(night, tmp_path, "ended", busy=15)  # for so long it does not hear
    _a_run_ends_and_a_new_one_carries_its_day(shop, signal.SIGTERM)


def _a_run_ends_and_a_new_one_carries_its_day(shop: NightShop, how: signal.Signals) -> None:
    shop.night.worker(shop.name)
    deployment = shop.sync_table()
    with shop.locked():
        run_id = shop.start(deployment, PARAMETERS)
        assert shop.reads(run_id)
        os.kill(shop.pid(run_id), how)
        shop.wait_for(run_id, StateType.CRASHED)
    assert (shop.receipts(), shop.days()) == ([], {})
    assert shop.is_told()

    shop.wait_for(shop.start(deployment, PARAMETERS), StateType.COMPLETED)
    assert shop.days() == DAY
    (told,) = shop.messages()
    assert told.startswith("Ferry: sync nps 2023-01-02 crashed") and str(run_id) in told


@pytest.mark.nights
def test_a_worker_is_asked_to_end_and_its_run_is_told_once_and_a_new_one_carries_its_day(
    night: Night, tmp_path: Path
) -> None:
    shop = NightShop.open(night, tmp_path, "restarted")
    run_id = shop.worker_ends(signal.SIGTERM, PARAMETERS)
    assert eventually(lambda: not shop.lives(run_id), PATIENCE)  # its worker has killed it
    night.watch_until(run_id, StateType.CRASHED)
    assert (shop.receipts(), shop.days()) == ([], {})
    assert shop.is_told()

    night.worker(shop.name)
    shop.wait_for(shop.start(night.deployments[-1], PARAMETERS), StateType.COMPLETED)
    assert shop.days() == DAY
    assert len([message for message in shop.messages() if str(run_id) in message]) == 1


@pytest.mark.nights
def test_the_server_is_killed_in_the_midst_of_a_run_which_lands_and_nobody_is_told(
    night: Night, tmp_path: Path
) -> None:
    shop = NightShop.open(night, tmp_path, "alone")
    night.worker("alone")
    with shop.locked():
        run_id = shop.start(shop.sync_table(), PARAMETERS)
        assert shop.reads(run_id)
        night.lose_server()
    night.find_server()

    shop.wait_for(run_id, StateType.COMPLETED)
    assert shop.days() == DAY
    assert shop.messages() == []
