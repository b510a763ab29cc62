"""Faults that the double can be told to play, and the channel by which it is told."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from typing import Literal

FaultKind = Literal["serialization", "ddl_conflict", "cut_after", "cut_before", "stall"]


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong at a statement.

    Attributes:
        kind: ``serialization`` answers error 1023 with SQLSTATE XX000; ``ddl_conflict`` answers
            ``message`` and ``detail`` with SQLSTATE XX000; ``cut_after`` lets the statement run and
            closes the connection without an answer (on COMMIT: the outcome is unknown to the
            client);
            ``cut_before`` closes it before the statement runs; ``stall`` waits, within the reach
            of statement_timeout and cancel requests, before the statement runs and is answered.
        pattern: Regular expression, without regard to case, searched in the statement's text.
        nth: The first matching statement that it applies to, counted from 1.
        times: How many matching statements it applies to from there on.
        seconds: How long a stall lasts.
        message: What ``ddl_conflict`` answers.
        detail: The DETAIL of it.
    """

    kind: FaultKind
    pattern: str = r"^\s*(commit|end)\b"
    nth: int = 1
    times: int = 1
    seconds: float = 0.0
    message: str = "could not complete because of conflict with concurrent transaction"
    detail: str = ""


class FaultBook:
    """The faults that wait for their statement."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Fault, list[int]]] = []
        self._struck = 0

    def take(self, sql: str) -> Fault | None:
        """Returns the fault that a statement meets, and counts it."""
        hit = None
        for fault, seen in self._waiting:
            if re.search(fault.pattern, sql, re.IGNORECASE):
                seen[0] += 1
                if hit is None and fault.nth <= seen[0] < fault.nth + fault.times:
                    hit = fault
        self._struck += hit is not None
        return hit

    def obey(self, line: bytes) -> bytes:
        """Carries out one line of the control channel and returns the answer's line."""
        try:
            order = json.loads(line)
            if order["do"] == "inject":
                fault = Fault(**order["fault"])
                re.compile(fault.pattern)
                self._waiting.append((fault, [0]))
            elif order["do"] == "clear":
                self._waiting.clear()
                self._struck = 0
            elif order["do"] != "ask":
                raise ValueError(f"unknown order {order['do']!r}")
        except (ValueError, KeyError, TypeError, re.error) as error:
            return json.dumps({"error": str(error)}).encode() + b"\n"
        return json.dumps({"struck": self._struck}).encode() + b"\n"


def order(do: str, fault: Fault | None = None) -> bytes:
    """Returns an order for the control channel as one line."""
    return json.dumps({"do": do, "fault": asdict(fault) if fault else None}).encode() + b"\n"
