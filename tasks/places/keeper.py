"""The background thread of a pool: asks for places, renews them, gives them back, tells of them.

It lives as long as there is something to do. Losing contact with Prefect's server is logged once,
and tried again; the reading goes on.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from prefect.exceptions import MissingContextError
from prefect.logging import get_logger, get_run_logger
from prefect.logging.loggers import LoggingAdapter

from ferry.reasons import explained
from tasks.places.leaks import LeakWatch
from tasks.places.limits import UnreachableError
from tasks.places.place import Place

if TYPE_CHECKING:
    from tasks.places.place_pool import PlacePool

BUSY_AT_ONCE = 5
"""So often a busy server is asked again at once before it counts as silent."""

Deed = tuple[float, Callable[[], None]]
"""When to do what."""


class Keeper:
    """What a pool's background thread does.

    Args:
        pool: The pool, whose lock guards all that is read and written here.
    """

    def __init__(self, pool: PlacePool) -> None:
        self._pool, self._limits, self._times = pool, pool.limits, pool.times
        self._leaks = LeakWatch(pool.times.leaked)
        self._report_at = self._look_at = time.monotonic()
        pool.ask_at = min(pool.ask_at, self._report_at + pool.times.ask)
        # What the server was told last; None: not known.
        self._reported: dict[str, int] | None = None if self._limits.reported else {}
        self._unreported_since: float | None = None
        self._in_vain = False  # whether it has asked since the server fell silent
        self._busy = 0  # how often in a row the server was too busy to answer

    def run(self) -> None:
        """Do what there is to do until there is nothing left."""
        with self._limits.opened():
            try:
                while self._step():
                    pass
            except Exception as error:  # noqa: BLE001  # a night's data is worth more than places
                logger().warning(
                    "places among the readers of %r are kept no more (%s): it is read without",
                    self._pool.source,
                    type(error).__name__,
                    exc_info=explained(error),  # of its text only the class and the place are told
                )
                with self._pool.wake:
                    self._pool.keeper = None
                    self._pool.unlimited_until = time.monotonic() + self._times.trust
                    self._pool.places = [place for place in self._pool.places if place.used]
                    self._pool.read_without()

    def _step(self) -> bool:
        """Do one thing, or wait for the next; whether there is any."""
        with self._pool.wake:
            deeds = self._deeds()
            if not deeds:
                self._pool.keeper = None
                return False
            at, deed = min(deeds, key=lambda each: each[0])
            pause = at - time.monotonic()
            if pause > 0:
                self._pool.wake.wait(pause)
                return True
        deed()
        return True

    def _deeds(self) -> list[Deed]:
        """All that is to be done, now or later."""
        pool, times = self._pool, self._times
        deeds: list[Deed] = [
            (place.renew_at, partial(self._give_back, place)) for place in pool.owed
        ]
        for place in pool.places:
            if not place.used:
                deeds.append((place.idle_since + times.idle, partial(self._let_go, place)))
            if place.lease:
                deeds.append((place.renew_at, partial(self._renew, place)))
        if pool.waiters or pool.extras or any(place.lease is None for place in pool.places):
            deeds.append((pool.ask_at, self._ask))
        if pool.waiters:
            deeds.append((max(self._look_at, pool.waiters[0].since + times.look), self._look))
        if pool.silent_since is not None and pool.waiters and self._in_vain:
            deeds.append((pool.silent_since + times.without, self._read_without))
        held = pool.held()
        if pool.closed:
            return deeds
        if held != self._reported:
            deeds.append((self._report_at, self._report))
        elif held:
            deeds.append((self._report_at + times.renew, self._report))
        return deeds

    def _ask(self) -> None:
        pool, times = self._pool, self._times
        try:
            lease = self._limits.ask(times.lease)
        except UnreachableError as error:
            if self._is_busy(error):
                pool.ask_at = time.monotonic() + times.busy
                return
            pool.ask_at = time.monotonic() + times.ask
            self._in_vain = True
            self._silent(error)
            with pool.wake:
                pool.refuse_extras()
            return
        self._answered()
        with pool.wake:
            now = time.monotonic()
            if lease is None:
                pool.refuse_extras()
                some = any(place.lease for place in pool.places)
                pool.ask_at = now + (times.ask_more if some else times.ask)
                return
            pool.ask_at, renew_at = now, now + times.renew
            place = Place(lease, now, renew_at)
            if not lease.limits:  # there are none: what was given is nothing
                pool.unlimited_until = now + times.trust
                pool.places = [each for each in pool.places if each.lease]
                pool.places.append(place)
                pool.give_up(place)
                for line in (pool.waiters, pool.extras):
                    while line:
                        line.popleft().served.set()
                return
            lost = next((each for each in pool.places if each.lease is None), None)
            if lost:
                lost.lease, lost.since, lost.renew_at = lease, now, renew_at
                return
            pool.places.append(place)
            pool.hand_on(place)

    def _let_go(self, place: Place) -> None:
        """Give up a place that nobody has used for a while."""
        with self._pool.wake:
            if not place.used and place in self._pool.places:
                self._pool.give_up(place)

    def _give_back(self, place: Place) -> None:
        assert place.lease
        try:
            self._limits.give_back(place.lease)
        except UnreachableError as error:
            now = place.renew_at = time.monotonic()
            if self._is_busy(error):
                place.renew_at += self._times.busy
                return
            place.renew_at += self._times.again
            self._silent(error)
            if now - place.idle_since < self._times.owed:
                return
        else:
            self._answered()
        with self._pool.wake:
            if place in self._pool.owed:
                self._pool.owed.remove(place)

    def _renew(self, place: Place) -> None:
        assert place.lease
        try:
            known = self._limits.renew(place.lease, self._times.lease)
        except UnreachableError as error:
            busy = self._is_busy(error)
            place.renew_at = time.monotonic() + (self._times.busy if busy else self._times.again)
            if not busy:
                self._silent(error)
            return
        self._answered()
        with self._pool.wake:
            place.renew_at = time.monotonic() + self._times.renew
            if known:
                return
            for places in (self._pool.owed, self._pool.places):
                if place in places and not place.used:
                    places.remove(place)
            place.lease = None

    def _report(self) -> None:
        try:
            with self._pool.reporting:
                with self._pool.wake:
                    held = self._pool.held()
                    if self._pool.closed:  # and has told so: nothing may come after it
                        return
                self._limits.report(held)
        except UnreachableError as error:  # whoever reads of it takes it for dead before long
            now = time.monotonic()
            self._unreported_since = self._unreported_since or now
            # What cannot be taken back by then, the process's end or others take back.
            goes_on = self._limits.reported and now - self._unreported_since < self._times.owed
            self._reported, self._report_at = None if goes_on else {}, now + self._times.again
            logger().debug("what this process holds could not be told (%s)", error)
            return
        self._reported, self._report_at, self._unreported_since = held, time.monotonic(), None

    def _look(self) -> None:
        """See who holds the places, and give back to the limits what nobody holds."""
        pool, times = self._pool, self._times
        with pool.wake:
            some = any(place.lease for place in pool.places)
            self._look_at = time.monotonic() + times.look * (3 if some else 1)
        try:
            states = self._limits.state()
            leaked = self._leaks.see(states, time.monotonic())
            for name, count in leaked.items():
                self._limits.correct(name, count)
        except UnreachableError as error:
            self._silent(error)
            return
        for state in states:
            if state.name in leaked:
                logger().warning(
                    "%s; %s of these places nobody has held for %.0f s: they are free again. Does "
                    "Prefect's server keep leases in its memory, and was it started anew? See "
                    "'Places among readers' in the runbook",
                    state,
                    leaked[state.name],
                    times.leaked,
                )
                pool.ask_at = time.monotonic()
        with pool.wake:
            pool.states = states

    def _read_without(self) -> None:
        with self._pool.wake:
            if self._pool.silent_since is None:
                return
            count = len(self._pool.waiters)
        if self._pool.may_log("without"):
            logger().warning(
                "Prefect's server has not answered for %.0f s: until it does, %r is read without a "
                "place among its readers, by %s at once by now",
                self._times.without,
                self._pool.source,
                count,
            )
        with self._pool.wake:
            self._pool.read_without()

    def _silent(self, error: UnreachableError) -> None:
        self._leaks.forget()
        with self._pool.wake:
            if self._pool.silent_since is None:
                self._pool.silent_since = time.monotonic()
        if self._pool.may_log("silent"):
            logger().warning(
                "Prefect's server cannot be asked about places among the readers of %r (%s): tried "
                "again; what is being read goes on",
                self._pool.source,
                error,
            )

    def _is_busy(self, error: UnreachableError) -> bool:
        """Whether the server is only busy, and not for long: then it is asked again at once."""
        self._busy += error.busy
        return error.busy and self._busy <= BUSY_AT_ONCE

    def _answered(self) -> None:
        self._busy = 0
        with self._pool.wake:
            silent, self._pool.silent_since = self._pool.silent_since, None
            self._in_vain = False
        if silent is not None:
            logger().debug("Prefect's server answers again")


def insistently(deed: Callable[[], None], pause: float) -> bool:
    """Do it, again while the server is busy, as the keeper does; whether the server has done it.

    Args:
        deed: What raises `UnreachableError` where the server does not do it.
        pause: So many seconds lie between two attempts.
    """
    for attempt in range(BUSY_AT_ONCE + 1):
        if attempt:
            time.sleep(pause)
        try:
            deed()
        except UnreachableError as error:
            if not error.busy:
                return False
        else:
            return True
    return False


def logger() -> logging.Logger | LoggingAdapter:
    """The run's logger, or Ferry's where there is no run."""
    try:
        return get_run_logger()
    except MissingContextError:
        return get_logger("ferry")
