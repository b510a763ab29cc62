"""When a process ends, its places go back, and what it has told about them is taken back."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping

import pytest

from tasks.places.keeper import BUSY_AT_ONCE
from tasks.places.limits import Lease, UnreachableError
from tests.harness.api import eventually
from tests.tasks.places.fake_limits import NAME, FakeLimits, pool, reading


def test_at_the_process_s_end_all_places_go_back() -> None:
    shop = FakeLimits()
    ours = pool(shop)
    with reading(ours) as (one,), ours.place():
        assert one.begun.wait(60)
        assert len(shop.leases) == 2
        ours.close()
        assert not shop.leases
        assert not shop.reported


def test_a_server_that_is_busy_just_then_is_asked_again_at_the_end() -> None:
    shop = FakeLimits()
    ours = pool(shop)
    with reading(ours) as (one,), ours.place():
        assert one.begun.wait(60)
        shop.reported, shop.busy = {NAME: 2}, BUSY_AT_ONCE
        ours.close()
        assert not shop.leases
        assert not shop.reported


def test_a_place_that_cannot_be_given_back_does_not_keep_it_from_telling_that_none_is_held(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def lost(limits: FakeLimits, lease: Lease) -> None:
        raise UnreachableError("ReadTimeout")

    shop = FakeLimits()
    ours = pool(shop)
    with reading(ours) as (one,), ours.place():
        assert one.begun.wait(60)
        shop.reported = {NAME: 2}
        monkeypatch.setattr(FakeLimits, "give_back", lost)
        ours.close()
        assert not shop.reported


def test_nothing_is_told_after_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not by a keeper that was just telling what was held before: nobody would take it back."""
    shop, begun, go_on = FakeLimits(), threading.Event(), threading.Event()
    report = FakeLimits.report

    def slowly(limits: FakeLimits, held: Mapping[str, int]) -> None:
        if held:
            begun.set()
            assert go_on.wait(60)
        report(limits, held)

    monkeypatch.setattr(FakeLimits, "report", slowly)
    ours = pool(shop)
    with ours.place():
        assert begun.wait(60)
        ending = threading.Thread(target=ours.close)
        ending.start()
        time.sleep(0.2)  # it would have told by now, if it did not wait
        go_on.set()
        ending.join(60)
        time.sleep(0.3)  # the keeper looks some times more
    assert not shop.reported


def test_what_could_not_be_taken_back_is_taken_back_once_the_server_answers() -> None:
    shop = FakeLimits()
    ours = pool(shop)
    with ours.place():
        assert eventually(lambda: shop.reported)
        shop.away = True
        told = shop.calls["tell"]
        assert eventually(lambda: shop.calls["tell"] > told)
    time.sleep(0.5)
    shop.away = False
    assert eventually(lambda: not shop.reported)


def test_nor_does_what_was_told_stay_where_the_places_went_back_before() -> None:
    shop = FakeLimits(reported={NAME: 1})
    pool(shop).close()
    assert not shop.reported
    assert shop.calls == {"tell": 1}
    pool(shop).close()
    assert shop.calls == {"tell": 1}
