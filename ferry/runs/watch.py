"""Which runs have died or are stuck, told by what was seen of them and not by what clocks say.

A clock only says whom to look at. A run is ended when nothing new was heard of it for three
heartbeats *while the watch was listening*: the server answered all the while, and what the watch
itself sent came through. So a server that was away, or a clock that was set back, ends nobody. One
that sends them more seldom is listened to for one heartbeat, after three that did not come; and one
that nobody can listen to for so long is not ended: its deployment is told of.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

WATCHED = "ferry-watched"
"""The tag of deployments whose runs are watched; those of Ferry's own flows are without it, too."""

HEARTBEAT_SECONDS = 30
"""How often a run says that it lives; Prefect allows nothing shorter."""

BELATED_SECONDS = 30.0
"""So much later a heartbeat may be there: its sender finds the server again, which keeps it."""

LONGEST_LISTENING_SECONDS = 210.0
"""For no longer one run of the watch can listen without a break: then the next one begins anew."""

BUSY_FACTOR = 12
"""A late run whose pool is at work waits for its turn: so many times longer before it is told."""

HEARD_OF = ("RUNNING", "CANCELLING")
"""The states in which a run sends heartbeats."""

EndState = Literal["Crashed", "Cancelled"]


@dataclass(frozen=True)
class Patience:
    """How long something may go on before anybody is told.

    What is said of heartbeats is said of runs that send one every 30 s; `silence_of` and
    `listening_to` say it of a run that sends them more seldom, too.

    Attributes:
        silent_seconds: Since the last sign of life of a run, before it is listened to.
        observe_seconds: For which it is then listened to, without a new sign.
        pending_seconds: Between a worker taking a run and its beginning.
        late_seconds: After its scheduled start, for a run that no worker takes.
    """

    silent_seconds: float = 120.0
    observe_seconds: float = 3.0 * HEARTBEAT_SECONDS
    pending_seconds: float = 600.0
    late_seconds: float = 1_800.0

    def silence_of(self, run: SeenRun) -> float:
        """Seconds since its last sign of life, before it counts as silent."""
        return max(self.silent_seconds, 3 * run.rare_seconds)

    def listening_to(self, run: SeenRun) -> float:
        """Seconds for which it is listened to, if it is silent: more than one heartbeat."""
        late = BELATED_SECONDS if run.rare_seconds else 0.0
        return max(self.observe_seconds, run.rare_seconds + late)

    def can_judge(self, run: SeenRun) -> bool:
        """Whether its silence tells that it has died: else no run of the watch could ever know."""
        return run.is_known and self.listening_to(run) <= LONGEST_LISTENING_SECONDS


@dataclass(frozen=True)
class SeenRun:
    """A run that is not over, as it was seen in one look.

    Attributes:
        id: The run's.
        name: The run's.
        deployment: Its flow and deployment, `sync-all/daily`.
        pool: The work pool it belongs to; empty if there is none.
        state: The type of its state, such as RUNNING.
        state_name: The state's name, such as Late.
        since: When it came into this state.
        due_at: When it was to start.
        sign: Names its newest sign of life: another sign, another name.
        heard_at: When that was, by the clock of whoever gave it.
        heartbeat_seconds: Between two of its heartbeats, as somebody says, or as is Prefect's
            default.
        is_known: Whether somebody says so, or heartbeats have told: of a run that perhaps sends
            none, or more seldom, silence tells nothing.
    """

    id: str
    name: str
    deployment: str
    pool: str
    state: str
    state_name: str
    since: datetime
    due_at: datetime
    sign: str
    heard_at: datetime
    heartbeat_seconds: float = HEARTBEAT_SECONDS
    is_known: bool = True

    @property
    def rare_seconds(self) -> float:
        """Between two of its heartbeats, if they are rarer than what is asked for; else 0."""
        rare = self.state in HEARD_OF and self.heartbeat_seconds > HEARTBEAT_SECONDS
        return self.heartbeat_seconds if rare else 0.0


@dataclass(frozen=True)
class Ending:
    """What is to become of a run of which nothing was heard."""

    state: EndState
    message: str


class Observation:
    """For how long, listening all the while, nothing new was seen of each thing.

    Args:
        max_gap_seconds: Longer between two looks, and nobody was listening in between.
    """

    def __init__(self, max_gap_seconds: float) -> None:
        self._max_gap = max_gap_seconds
        self._last: float | None = None
        self._since: dict[str, tuple[str, float]] = {}
        self._heard: set[str] = set()

    def saw(self, at: float, signs: Mapping[str, str], *, heard: bool) -> None:
        """Take note of a look that was answered.

        Args:
            at: When it was, by a clock of the watch's own that nobody sets.
            signs: The newest sign of life of each thing.
            heard: Whether what the watch itself sent lately has come through; if not, nor has what
                the runs sent, and the time until now does not count.
        """
        went_on = heard and self._last is not None and at - self._last <= self._max_gap
        kept = {}
        for key, sign in signs.items():
            before = self._since.get(key)
            if before and before[0] != sign:
                self._heard.add(key)
            kept[key] = before if went_on and before and before[0] == sign else (sign, at)
        self._since, self._last = kept, at

    def missed(self) -> None:
        """Take note of a look that was not answered: whatever was sent may be lost."""
        self._last = None

    def silent_for(self, key: str) -> float:
        """The seconds listened without a new sign of it."""
        if self._last is None or key not in self._since:
            return 0.0
        return self._last - self._since[key][1]

    def was_heard(self, key: str) -> bool:
        """Whether it gave a new sign since the first look."""
        return key in self._heard


def is_suspect(run: SeenRun, now: datetime, patience: Patience) -> bool:
    """Whether to listen to the run: nothing is known yet."""
    if run.state in HEARD_OF:
        return is_silent(run, now, patience) and patience.can_judge(run)
    if run.state == "PENDING":
        return (now - run.since).total_seconds() > patience.pending_seconds
    return False


def is_silent(run: SeenRun, now: datetime, patience: Patience) -> bool:
    """Whether a run that sends heartbeats in this state was not heard of for long.

    A heartbeat that seems to come from the future is as suspect as an old one: a clock was set.
    """
    apart = abs((now - run.heard_at).total_seconds())
    return run.state in HEARD_OF and apart > patience.silence_of(run)


def ending_of(run: SeenRun, observation: Observation, now: datetime) -> Ending:
    """How a suspect run that was listened to in vain is ended, saying no more than is known."""
    seconds = observation.silent_for(run.id)
    if run.state == "PENDING":
        minutes = (now - run.since).total_seconds() / 60
        return Ending(
            "Crashed",
            f"It was Pending for {minutes:,.0f} min and did not begin: its worker or its process "
            "has probably died before that. This attempt has carried nothing. This carries the "
            f"same dates: prefect flow-run retry {run.id}",
        )
    heard = (
        f"no heartbeat was heard for {seconds:,.0f} s while the server was up and listening, nor "
        f"since {_utc(run.heard_at)}"
    )
    if run.state == "CANCELLING":
        return Ending("Cancelled", f"It was to be cancelled, and {heard}.")
    return Ending(
        "Crashed",
        f"{heard[0].upper()}{heard[1:]}: its process or its machine has died, or does not reach "
        "the server. What had landed is in the receipts; the same run again carries the rest.",
    )


def unjudged_runs(
    runs: Iterable[SeenRun], now: datetime, patience: Patience
) -> dict[str, list[SeenRun]]:
    """The silent runs that are never ended, by deployment: no run of the watch could judge them.

    A person who is told of them looks, and cancels what has died.
    """
    found: dict[str, list[SeenRun]] = {}
    for run in runs:
        if is_silent(run, now, patience) and not patience.can_judge(run):
            found.setdefault(run.deployment, []).append(run)
    return found


@dataclass(frozen=True)
class LateRuns:
    """Runs of one deployment that nobody takes.

    Attributes:
        deployment: Flow and deployment.
        pool: Their work pool.
        runs: How many they are.
        due_at: When the first of them was to start.
        waits_for_place: Whether they wait for a place of their deployment.
        behind: The run of their deployment that holds it; None if nobody does.
    """

    deployment: str
    pool: str
    runs: int
    due_at: datetime
    waits_for_place: bool
    behind: SeenRun | None = None


def late_runs(
    runs: Iterable[SeenRun],
    pools_without_worker: Collection[str],
    now: datetime,
    patience: Patience,
) -> list[LateRuns]:
    """The deployments whose runs nobody takes, though a worker of their pool lives.

    Without a worker, that is what is told. A run that waits for a place which another run of its
    deployment holds only waits, for a while; so does one whose pool is at work.
    """
    runs = list(runs)
    begun = [run for run in runs if run.state in ("RUNNING", "PENDING", "CANCELLING")]
    holders, busy = {run.deployment: run for run in begun}, {run.pool for run in begun}
    late: dict[str, list[SeenRun]] = {}
    for run in runs:
        waits = run.pool in busy or (_waits_for_place(run) and run.deployment in holders)
        limit = patience.late_seconds * (BUSY_FACTOR if waits else 1)
        if (
            run.state == "SCHEDULED"
            and (now - run.due_at).total_seconds() > limit
            and run.pool not in pools_without_worker
        ):
            late.setdefault(run.deployment, []).append(run)
    return [
        LateRuns(
            deployment,
            theirs[0].pool,
            len(theirs),
            min(run.due_at for run in theirs),
            all(map(_waits_for_place, theirs)),
            holders.get(deployment),
        )
        for deployment, theirs in sorted(late.items())
    ]


def _waits_for_place(run: SeenRun) -> bool:
    return run.state_name == "AwaitingConcurrencySlot"


def _utc(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
