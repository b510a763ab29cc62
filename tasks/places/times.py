"""How long everything about places takes, in seconds; tests shorten it."""

from __future__ import annotations

from dataclasses import dataclass

from tasks.places.leaks import ENDED_AFTER_SECONDS


@dataclass(frozen=True)
class Times:
    """Seconds.

    Attributes:
        lease: A place that a killed process held is free again after this, and a little; the
            server takes no less than 60.
        renew: A place that is held is renewed so often.
        idle: A place that nobody uses is given back after this.
        turn: A place held for so long is given back once, so that other processes get theirs.
        pause: For so long this process then asks for none: longer than others wait between asking.
        ask: While all places are taken, and this process has none, it asks so often.
        busy: A server that is busy is asked again after this, a few times (`BUSY_AT_ONCE`).
        ask_more: And so often for more than it has: its threads pass on what there is.
        again: What the server did not answer is tried again so often.
        owed: And a place given back for no longer than this: by then its lease has ended.
        trust: A source without a limit is read without one for so long.
        log_after: A wait for so long is logged.
        look: While it waits, it looks so often who holds the places.
        leaked: A place of which nobody told for so long is held by nobody.
        without: Without an answer for so long, the source is read without a place.
        at_once: A place more for a read that has one is waited for no longer than this.
        give_up: Nothing is read for so long: the wait ends with an error.
    """

    lease: float = 60.0
    renew: float = 20.0
    idle: float = 1.0
    turn: float = 60.0
    pause: float = 1.5
    ask: float = 1.0
    busy: float = 0.1
    ask_more: float = 5.0
    again: float = 5.0
    owed: float = 120.0
    trust: float = 60.0
    log_after: float = 60.0
    look: float = 10.0
    leaked: float = ENDED_AFTER_SECONDS
    without: float = 120.0
    at_once: float = 2.0
    give_up: float = 1800.0
