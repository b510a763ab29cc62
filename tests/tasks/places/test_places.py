"""The threads of a process share its places, and losing Prefect's server costs no reading.

The limits are an object in this process: what is tested is the pool. `test_readers.py` and
`tests/nights/test_places.py` have it talk to real servers.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from dataclasses import replace

import pytest

from ferry.errors import BusyError
from tasks.places.keeper import BUSY_AT_ONCE
from tasks.places.leaks import LeakWatch
from tasks.places.limits import Lease, LimitState
from tests.harness.api import eventually
from tests.tasks.places.fake_limits import NAME, QUICK, FakeLimits, Reading, pool, reading


def test_many_reads_one_after_the_other_ask_for_one_place() -> None:
    shop = FakeLimits()
    ours = pool(shop)
    for _ in range(200):
        with ours.place():
            pass
    assert shop.calls["ask"] == 1


def test_more_threads_than_places_never_read_at_once_and_all_get_their_turn() -> None:
    shop, now, most = FakeLimits(limit=3), [0], [0]
    ours, lock, reads = pool(shop, replace(QUICK, idle=5, ask_more=60)), threading.Lock(), []

    def work(name: int) -> None:
        for _ in range(30):
            with ours.place():
                with lock:
                    now[0] += 1
                    most[0] = max(most[0], now[0])
                    reads.append(name)
                time.sleep(0.005)
                with lock:
                    now[0] -= 1

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert most[0] == 3
    assert Counter(reads) == dict.fromkeys(range(8), 30)
    assert set(reads[:30]) == set(range(8))  # nobody is passed over
    assert shop.calls["ask"] <= 5  # three places, and one more was not to be had


@pytest.mark.parametrize(("times", "told"), [(BUSY_AT_ONCE, 0), (BUSY_AT_ONCE + 1, 1)])
def test_a_server_that_is_busy_is_asked_again_at_once_and_told_of_only_if_it_stays_so(
    times: int, told: int, caplog: pytest.LogCaptureFixture
) -> None:
    shop = FakeLimits(busy=times)
    ours = pool(shop, replace(QUICK, busy=0.01, look=60))  # a look is answered by "busy", too
    with ours.place():
        assert shop.calls["ask"] == times + 1
    warnings = [each for each in caplog.records if each.levelno == logging.WARNING]
    assert ["cannot be asked" in each.getMessage() for each in warnings] == [True] * told


def test_a_place_that_nobody_uses_goes_back_and_the_thread_ends() -> None:
    shop = FakeLimits()
    ours = pool(shop)
    with ours.place():
        assert eventually(lambda: shop.reported == {NAME: 1})
    assert eventually(lambda: not shop.leases and not shop.reported)
    assert eventually(lambda: ours.keeper is None)
    with ours.place():
        assert len(shop.leases) == 1


def test_a_place_held_for_long_is_renewed_and_goes_back_once_so_that_others_get_a_turn() -> None:
    shop = FakeLimits(limit=1)
    ours, other = (pool(shop, replace(QUICK, turn=0.3)) for _ in range(2))
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            with ours.place():
                time.sleep(0.01)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert eventually(lambda: shop.calls["renew"] >= 1)
        with other.place():
            assert len(shop.leases) == 1
    finally:
        stop.set()
        thread.join(60)


def test_a_source_without_a_limit_is_read_by_all_at_once() -> None:
    shop = FakeLimits(there=False)
    ours = pool(shop)
    with ours.place(), reading(ours, 2) as threads:
        assert all(thread.begun.wait(60) for thread in threads)
    assert shop.calls["ask"] == 1
    assert eventually(lambda: shop.calls["give back"] == 1)


def test_the_server_s_absence_while_somebody_reads_is_told_once_and_costs_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    shop = FakeLimits()
    ours = pool(shop)
    with ours.place():
        shop.away = True
        assert eventually(lambda: shop.calls["renew"] >= 3)
    assert eventually(lambda: shop.calls["give back"] >= 3)
    shop.away = False
    assert eventually(lambda: not shop.leases)
    told = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert len(told) == 1 and "cannot be asked about places" in told[0].getMessage()


def test_a_place_that_the_server_has_forgotten_is_asked_for_anew_while_the_reading_goes_on() -> (
    None
):
    shop = FakeLimits()
    ours = pool(shop)
    with ours.place():
        assert eventually(lambda: shop.calls["ask"] == 1)
        shop.leases.clear()
        assert eventually(lambda: len(shop.leases) == 1)
    assert eventually(lambda: not shop.leases)


def test_without_an_answer_for_long_it_is_read_without_a_place_until_there_is_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    shop = FakeLimits(away=True)
    ours = pool(shop, replace(QUICK, without=0.3))
    with ours.place():
        assert "'shop' is read without a place among its readers" in caplog.text
        shop.away = False
        assert eventually(lambda: len(shop.leases) == 1)
    assert eventually(lambda: not shop.leases)


def test_an_error_that_nobody_knows_costs_no_reading_and_is_told_without_its_text(
    caplog: pytest.LogCaptureFixture,
) -> None:
    text = "http://user:s3cret@prefect.example/api"

    class Unknown(FakeLimits):
        def ask(self, seconds: float) -> Lease | None:
            try:
                raise ValueError(text)
            except ValueError as error:
                raise KeyError(text) from error

    with pool(Unknown()).place():
        (said,) = [each for each in caplog.records if "are kept no more" in each.getMessage()]
    assert "(KeyError): it is read without" in said.getMessage()
    assert "in ask" in caplog.text and "builtins.ValueError" in caplog.text
    assert "s3cret" not in caplog.text


def test_a_server_that_was_silent_long_ago_is_asked_first() -> None:
    shop = FakeLimits()
    ours = pool(shop, replace(QUICK, without=0.3, owed=0.2))
    with ours.place():
        shop.away = True
    assert eventually(lambda: ours.keeper is None)  # it has given up to give the place back
    shop.away = False
    shop.leases.clear()
    time.sleep(0.4)
    with ours.place():
        assert len(shop.leases) == 1


@pytest.mark.seconds
def test_a_long_wait_is_told_with_who_holds_the_places_and_ends_with_what_to_do(
    caplog: pytest.LogCaptureFixture,
) -> None:
    shop = FakeLimits(limit=1)
    holder, ours = pool(shop), pool(shop, replace(QUICK, log_after=0.7, give_up=2, look=0.1))
    with holder.place():
        with pytest.raises(BusyError) as refused, ours.place():
            raise AssertionError("there was a place")
        text = f"{NAME}: 1 of 1 places taken by flow run calm-otter (1)"
        assert text in caplog.text and text in str(refused.value)
        assert "under Concurrency" in str(refused.value)
    assert not ours.waiters


@pytest.mark.seconds
def test_a_thread_that_waits_for_its_own_process_s_reading_waits_for_as_long_as_that_takes() -> (
    None
):
    shop = FakeLimits(limit=1)
    ours = pool(shop, replace(QUICK, give_up=0.5))
    with reading(ours) as (first,):
        assert first.begun.wait(60)
        second = Reading(ours)
        assert not second.begun.wait(2)
    second.ended.set()
    assert second.begun.wait(60)


@pytest.mark.seconds
def test_a_wait_is_told_once_also_while_another_thread_of_the_process_reads(
    caplog: pytest.LogCaptureFixture,
) -> None:
    shop = FakeLimits(limit=1)
    ours = pool(shop, replace(QUICK, log_after=0.7, give_up=0.5))
    with reading(ours, 3) as threads:
        assert eventually(lambda: "waiting for a place among the readers" in caplog.text)
        time.sleep(1)
        assert sum(thread.begun.is_set() for thread in threads) == 1
    assert caplog.text.count("waiting for a place") == 1


def test_places_that_nobody_holds_are_found_and_free_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    shop = FakeLimits(leaked=4)
    with pool(shop).place():
        assert shop.leaked == 0
    assert "4 of these places nobody has held" in caplog.text


def test_a_watch_counts_only_what_was_unknown_at_each_look() -> None:
    def seen(watch: LeakWatch, now: float, taken: int, known: int) -> dict[str, int]:
        return watch.see([LimitState(NAME, 4, taken, (("run", known),))], now)

    watch = LeakWatch(90)
    assert seen(watch, 1000, 4, 1) == {}
    assert seen(watch, 1030, 4, 2) == {}
    assert seen(watch, 1060, 4, 0) == {}
    assert seen(watch, 1091, 4, 1) == {NAME: 2}
    assert seen(watch, 1100, 4, 2) == {}
    assert seen(watch, 1130, 4, 4) == {}  # all known: it begins anew
    assert seen(watch, 1170, 4, 2) == {}
    assert seen(watch, 1200, 4, 2) == {}
    assert seen(watch, 1300, 4, 2) == {}  # nobody looked meanwhile


def test_what_fails_in_the_background_lets_those_in_line_read(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(seconds: float) -> Lease:
        raise AssertionError("a mistake")

    shop = FakeLimits()
    monkeypatch.setattr(shop, "ask", broken)
    with pool(shop).place():
        assert "are kept no more (AssertionError)" in caplog.text
