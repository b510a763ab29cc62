"""Claims to messages: a Prefect variable each, made by whoever sends the message, before it does.

The hook of a run and the backstop may come at the same time. The server lets only one of them make
the variable of a name, and that one sends. A run that is started once more, and fails again, is
told again: the number of the attempt is in the name. Prefect counts an attempt when it begins: of
one that died before, the name says how often the run was started once more.

A message that nobody answered may have arrived. Its claim says so, and a second claim lets it be
sent once more; there is no third.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import VariableCreate, VariableUpdate
from prefect.client.schemas.objects import FlowRun, State
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound

from ferry.coverage.deadlines import KEPT_DAYS
from tasks.runs.paging import PAGE, all_pages

PREFIX = "ferry_told_"
_NO_NAME = re.compile(r"[^a-z0-9_]")
SENDING, SENT, PERHAPS = "sending", "sent", "perhaps sent"
SENDING_FOR = timedelta(seconds=60)
"""Longer than it takes to send a message: whoever took it before that has died."""

KEPT = timedelta(days=30)
DUE, DUE_KEPT = f"{PREFIX}due_", timedelta(days=KEPT_DAYS + 2)
"""Each table with a deadline makes a claim a day: they are kept for no longer than it is judged."""

MOST = 1_000


@dataclass(frozen=True)
class NoticeClaim:
    """The claim to one message, made by whoever is going to send it.

    Of what it tells, its name says: an attempt of a run (`of`), a pool without a worker
    (`claim_name`), a table that is late (`Deadline.key`).

    Attributes:
        client: Prefect's.
        name: The variable's.
        again: Whether it is the second one, for a message that was perhaps sent before.
    """

    client: SyncPrefectClient
    name: str
    again: bool = False

    @classmethod
    def of(cls, run: FlowRun, client: SyncPrefectClient) -> NoticeClaim:
        """The claim of the run's last attempt, made or not."""
        name = f"{PREFIX}{str(run.id).replace('-', '_')}_{run.run_count}"
        if run.state and (run.state.is_crashed() or run.state.is_cancelled()):
            name += _not_begun(client.read_flow_run_states(run.id))
        return cls(client, name)

    def value(self) -> str | None:
        """What it says; None if it is not made."""
        found = self.client.read_variable_by_name(self.name)
        return str(found.value) if found else None

    @property
    def second(self) -> NoticeClaim:
        """The claim with which the message is sent once more."""
        return replace(self, name=f"{self.name}_again", again=True)

    @property
    def over(self) -> NoticeClaim:
        """The claim with which it is told that what the message was about is over."""
        return replace(self, name=f"{PREFIX}over_{self.name.removeprefix(PREFIX)}")

    def is_being_sent(self) -> bool:
        """Whether somebody has taken it just now, by either clock, and is about to send."""
        found = self.client.read_variable_by_name(self.name)
        if found is None or found.value != SENDING or found.updated is None:
            return False
        return abs(datetime.now(UTC) - found.updated) < SENDING_FOR

    def take(self, value: str = SENDING) -> bool:
        """Whether it is for the caller to send, or to say this: nobody else has, or is about to."""
        try:
            self.client.create_variable(VariableCreate(name=self.name, value=value))
        except ObjectAlreadyExists:
            return False
        return True

    def take_patiently(self, seconds: float) -> NoticeClaim | None:
        """The claim with which the caller is to send; None if there is nothing to send any more.

        Whoever is sending gets this long to finish. If it does not, or does not know whether the
        message was taken, the second claim is made, which is the last: so there are two messages
        at most.
        """
        deadline = time.monotonic() + seconds
        while not self.take():
            found = self.client.read_variable_by_name(self.name)
            if found and found.value == SENT:
                return None
            if found and (found.value == PERHAPS or time.monotonic() >= deadline):
                return self.second if self.second.take() else None
            time.sleep(0.5)
        return self

    def confirm(self, value: str = SENT) -> None:
        """The message was sent; what it said, where that matters."""
        self.client.update_variable(VariableUpdate(name=self.name, value=value))

    def doubt(self) -> None:
        """The message was perhaps sent: it may be sent once more, if this is the first claim."""
        self.client.update_variable(VariableUpdate(name=self.name, value=PERHAPS))

    def release(self) -> None:
        """The message could not be sent, or what it told of is over: it may be told anew."""
        with suppress(ObjectNotFound):  # somebody else has just done it
            self.client.delete_variable_by_name(self.name)


def _not_begun(states: Sequence[State[Any]]) -> str:
    """What the name of an attempt ends with that died before it began; empty for all others."""
    again, over, began = 0, False, False
    for state in states:
        if over and state.is_scheduled():
            again, over, began = again + 1, False, False
        over, began = over or state.is_final(), began or state.is_running()
    return f"_restart{again}" if again and not began else ""


def claim_name(what: str) -> str:
    """The name of the claim of something else than a run, such as a pool without a worker."""
    return PREFIX + _NO_NAME.sub("_", what.lower())


def forget_old_claims(client: SyncPrefectClient, now: datetime | None = None) -> int:
    """Delete claims that nobody will ask for any more, page by page; returns how many.

    At most `MOST` of them, so that the watch, which calls it, does not wait for that; but it reads
    all claims that there are.
    """
    at = now or datetime.now(UTC)
    deleted = kept = 0
    while deleted < MOST:
        page = _page(client, kept, like_=PREFIX)
        old = [claim for claim in page if _is_old(claim, at)]
        for claim in old:
            with suppress(ObjectNotFound):  # somebody else has just done it
                client.delete_variable_by_name(claim["name"])
        deleted += len(old)
        kept += len(page) - len(old)
        if len(page) < PAGE:
            break
    return deleted


def _is_old(claim: dict[str, Any], at: datetime) -> bool:
    name: str = claim["name"]
    kept = DUE_KEPT if name.startswith(DUE) else KEPT
    return name.startswith(PREFIX) and datetime.fromisoformat(claim["updated"]) < at - kept


def all_claims(client: SyncPrefectClient, *whats: str) -> dict[str, str]:
    """What each claim says that there is, by its name.

    Args:
        client: Prefect's.
        whats: What their names begin with, after `PREFIX`; all claims if none is given. Those of
            the deadlines are many: who is not about them is not to page through them.
    """
    claims = [
        claim
        for what in whats or [""]
        for claim in all_pages(partial(_page, client, like_=PREFIX + what))
    ]
    return {claim["name"]: str(claim["value"]) for claim in claims}


def claims_named(client: SyncPrefectClient, names: Iterable[str]) -> dict[str, str]:
    """What each of these claims says that there is, by its name."""
    claims = all_pages(partial(_page, client, any_=list(names)))
    return {claim["name"]: str(claim["value"]) for claim in claims}


def _page(client: SyncPrefectClient, offset: int, **name: Any) -> list[dict[str, Any]]:
    """Some of the claims, in the order of their names; other variables may be among them."""
    chosen = {
        "variables": {"name": name},
        "sort": "NAME_ASC",
        "offset": offset,
        "limit": PAGE,
    }
    response = client.request("POST", "/variables/filter", json=chosen)
    response.raise_for_status()
    found: list[dict[str, Any]] = response.json()
    return found
