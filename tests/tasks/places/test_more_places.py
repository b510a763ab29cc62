"""A read that has a place takes more of them as far as they are free, and never waits for one."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from tests.harness.api import eventually
from tests.tasks.places.fake_limits import QUICK, FakeLimits, pool, reading


def test_as_many_as_are_free_and_all_go_back() -> None:
    shop = FakeLimits(limit=3)
    ours = pool(shop)
    with ours.place(), ours.more(5) as more:
        assert more.count == 2
        assert len(shop.leases) == 3

    assert eventually(lambda: not shop.leases)
    assert shop.most == 3


def test_two_who_want_more_than_there_are_do_not_wait_for_each_other() -> None:
    shop, began = FakeLimits(limit=2), time.monotonic()
    one, other = pool(shop), pool(shop)
    with one.place(), other.place(), one.more(1) as ones, other.more(1) as others:
        assert (ones.count, others.count) == (0, 0)

    assert time.monotonic() - began < QUICK.at_once


def test_whoever_waits_in_line_comes_first() -> None:
    shop = FakeLimits(limit=2)
    ours = pool(shop)
    with ours.place(), ours.more(1) as more:
        assert more.count == 1
        with reading(ours) as (thread,):
            assert eventually(lambda: ours.waiters)
            with ours.more(1) as none:
                assert none.count == 0
            more.keep(0)
            assert thread.begun.wait(10)


def test_one_that_is_not_kept_is_free_at_once() -> None:
    shop = FakeLimits(limit=4)
    ours = pool(shop, replace(QUICK, idle=60))
    with ours.place(), ours.more(3) as more:
        more.keep(1)
        assert more.count == 1
        with ours.more(9) as two:
            assert two.count == 2

    assert shop.calls["ask"] <= 6


def test_a_source_without_a_limit_has_room_for_all() -> None:
    ours = pool(FakeLimits(there=False))
    with ours.place(), ours.more(7) as more:
        assert more.count == 7


def test_also_where_it_is_the_first_that_is_asked_for() -> None:
    ours = pool(FakeLimits(there=False))
    with ours.more(3) as more:
        assert more.count == 3


@pytest.mark.parametrize("away", [True, False])
def test_a_server_that_does_not_answer_gives_none(away: bool) -> None:
    shop, began = FakeLimits(), time.monotonic()
    ours = pool(shop, replace(QUICK, at_once=0.5))
    with ours.place():
        shop.away = away
        ours.ask_at = began if away else began + 60
        with ours.more(2) as more:
            assert more.count == 0

    assert time.monotonic() - began < 50
    assert not ours.extras
