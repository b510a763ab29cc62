"""Who has died is told by what was seen while listening: no outage and no clock ends a run."""

from __future__ import annotations

import random
from bisect import bisect_right
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from ferry.runs.watch import (
    HEARTBEAT_SECONDS,
    Observation,
    Patience,
    SeenRun,
    ending_of,
    is_suspect,
    late_runs,
    unjudged_runs,
)
from ferry.runs.watch_notice import (
    late_notice,
    no_worker_notice,
    nobody_watches_notice,
    unjudged_notice,
)

NOW = datetime(2026, 11, 26, 9, 0, tzinfo=UTC)
PATIENCE = Patience()
LOOK, MAX_GAP, EVERY, LONGEST = 10.0, 30.0, 300.0, 240.0


def run(state: str = "RUNNING", age: float = 0.0, **fields: object) -> SeenRun:
    """A run that was last heard of so many seconds ago."""
    moment = NOW - timedelta(seconds=age)
    made = SeenRun(
        id="8f9d0b0e",
        name="sync all day",
        deployment="sync-all/daily",
        pool="ferry-pool",
        state=state,
        state_name=state.title(),
        since=moment,
        due_at=moment,
        sign="first",
        heard_at=moment,
    )
    return replace(made, **fields)  # type: ignore[arg-type]


RUNNING = run()


class TestSuspects:
    @pytest.mark.parametrize(
        ("seen", "suspect"),
        [
            (run(age=119), False),
            (run(age=121), True),
            (run("CANCELLING", age=121), True),
            (run(age=-121), True),  # its clock is ahead, or ours was set back
            (run(age=100_000, is_known=False), False),
            (run(age=179, heartbeat_seconds=60), False),
            (run(age=181, heartbeat_seconds=60), True),
            (run(age=539, heartbeat_seconds=180), False),
            (run("CANCELLING", age=541, heartbeat_seconds=180), True),
            (run(age=100_000, heartbeat_seconds=181), False),  # nobody can listen for so long
            (run("PENDING", age=601, heartbeat_seconds=600), True),
            (run("PENDING", age=599), False),
            (run("PENDING", age=601), True),
            (run("PENDING", age=-601), False),
            (run("SCHEDULED", age=100_000), False),
        ],
    )
    def test_a_clock_says_only_whom_to_listen_to(self, seen: SeenRun, suspect: bool) -> None:
        assert is_suspect(seen, NOW, PATIENCE) is suspect

    def test_of_whom_nobody_can_judge_it_is_said_once_silent_for_three_heartbeats(self) -> None:
        silent = run(age=541, is_known=False, heartbeat_seconds=180)
        rare = run(age=1_801, heartbeat_seconds=600, deployment="sync-all/rare")
        others = [
            run(age=1_000),  # which is ended
            run(age=539, is_known=False, heartbeat_seconds=180),
            run(age=1_799, heartbeat_seconds=600),
            run("PENDING", age=5_000, is_known=False),
        ]
        found = unjudged_runs([silent, rare, silent, *others], NOW, PATIENCE)
        assert found == {"sync-all/daily": [silent, silent], "sync-all/rare": [rare]}
        notice = unjudged_notice("sync-all/daily", [silent, silent])
        assert "and 1 more: nothing was heard since 2026-11-26 08:50 UTC." in notice.body


class TestObservation:
    def test_silence_counts_while_it_is_listened_to(self) -> None:
        observation = Observation(MAX_GAP)
        for at in range(0, 100, 10):
            observation.saw(float(at), {"a": "first"}, heard=at > 0)
        assert observation.silent_for("a") == 90.0
        assert not observation.was_heard("a")

    def test_a_new_sign_begins_it_anew(self) -> None:
        observation = Observation(MAX_GAP)
        for at in range(0, 100, 10):
            observation.saw(float(at), {"a": "first" if at < 50 else "second"}, heard=at > 0)
        assert observation.silent_for("a") == 40.0
        assert observation.was_heard("a")

    @pytest.mark.parametrize("how", ["missed", "deaf", "asleep"])
    def test_what_was_not_listened_to_does_not_count(self, how: str) -> None:
        observation = Observation(MAX_GAP)
        observation.saw(0, {"a": "first"}, heard=False)
        observation.saw(10, {"a": "first"}, heard=True)
        if how == "missed":
            observation.missed()
        observation.saw(70 if how == "asleep" else 20, {"a": "first"}, heard=how != "deaf")
        assert observation.silent_for("a") == 0.0

    def test_a_look_that_was_not_answered_leaves_nobody_silent(self) -> None:
        observation = Observation(MAX_GAP)
        for at in (0, 20):
            observation.saw(at, {"a": "first"}, heard=True)
        assert observation.silent_for("a") == 20
        observation.missed()
        assert observation.silent_for("a") == 0
        observation.saw(40, {"a": "first"}, heard=True)
        assert observation.silent_for("a") == 0

    def test_nothing_is_known_of_what_was_not_seen(self) -> None:
        observation = Observation(MAX_GAP)
        assert observation.silent_for("a") == 0.0
        observation.saw(0, {"a": "first"}, heard=True)
        observation.saw(10, {}, heard=True)
        assert observation.silent_for("a") == 0.0


class TestEndings:
    def listened(self) -> Observation:
        observation = Observation(MAX_GAP)
        for at in range(0, 100, 10):
            observation.saw(float(at), {"8f9d0b0e": "first"}, heard=True)
        return observation

    def test_a_silent_run_is_told_what_is_known_and_no_more(self) -> None:
        end = ending_of(run(age=300), self.listened(), NOW)
        assert end.state == "Crashed"
        assert end.message == (
            "No heartbeat was heard for 90 s while the server was up and listening, nor since "
            "2026-11-26 08:55:00 UTC: its process or its machine has died, or does not reach the "
            "server. What had landed is in the receipts; the same run again carries the rest."
        )

    def test_one_that_was_to_be_cancelled_is_cancelled(self) -> None:
        assert ending_of(run("CANCELLING", age=300), self.listened(), NOW).state == "Cancelled"

    def test_one_that_never_began_is_told_with_the_command_that_carries_its_date(self) -> None:
        end = ending_of(run("PENDING", age=900), self.listened(), NOW)
        assert end.state == "Crashed"
        assert "Pending for 15 min and did not begin" in end.message
        assert "This attempt has carried nothing." in end.message  # an earlier one may have
        assert end.message.endswith("prefect flow-run retry 8f9d0b0e")


class TestLateRuns:
    late = run("SCHEDULED", age=3_600, state_name="Late")
    waiting = run("SCHEDULED", age=3_600, state_name="AwaitingConcurrencySlot")

    def test_runs_that_nobody_takes_are_told_once_for_their_deployment(self) -> None:
        older = run("SCHEDULED", age=7_200, state_name="Late")
        (told,) = late_runs([self.late, older], [], NOW, PATIENCE)
        assert (told.deployment, told.runs, told.due_at) == ("sync-all/daily", 2, older.due_at)
        assert not told.waits_for_place

    def test_a_run_that_is_not_late_enough_is_not_told(self) -> None:
        assert late_runs([run("SCHEDULED", age=1_700)], [], NOW, PATIENCE) == []

    def test_without_a_worker_that_is_what_is_told(self) -> None:
        assert late_runs([self.late], ["ferry-pool"], NOW, PATIENCE) == []

    def test_one_behind_a_pool_that_is_at_work_waits_for_its_turn_but_not_for_ever(self) -> None:
        other = run(deployment="backfill/on-demand")
        assert late_runs([self.late, other], [], NOW, PATIENCE) == []
        for state in ("PENDING", "CANCELLING"):
            at_work = run(state, deployment="backfill/on-demand")
            assert late_runs([self.late, at_work], [], NOW, PATIENCE) == []
        old = run("SCHEDULED", age=7 * 3_600, state_name="Late")
        assert len(late_runs([old, other], [], NOW, PATIENCE)) == 1

    def test_one_that_waits_for_another_of_its_deployment_only_waits_but_not_for_ever(self) -> None:
        holder = replace(run(), due_at=NOW - timedelta(days=3))
        assert late_runs([self.waiting, holder], [], NOW, PATIENCE) == []
        old = replace(self.waiting, due_at=NOW - timedelta(days=1), pool="")
        (told,) = late_runs([old, holder], [], NOW, PATIENCE)
        assert told.waits_for_place and told.behind == holder
        text = late_notice(told, NOW).body
        assert f"They wait for the run {holder.name}, which was due at 20" in text
        assert "cancel it" in text

    def test_one_that_waits_for_a_place_that_nobody_holds_is_told(self) -> None:
        (told,) = late_runs([self.waiting, self.late], [], NOW, PATIENCE)
        assert not told.waits_for_place  # not all of them do
        (told,) = late_runs([self.waiting], [], NOW, PATIENCE)
        assert told.waits_for_place and told.behind is None
        assert "no other run of it is there to hold one" in late_notice(told, NOW).body


def test_whoever_starts_a_worker_is_told_of_the_environment_that_it_needs() -> None:
    runs, watch = no_worker_notice("some-pool"), nobody_watches_notice("some-pool")
    for notice, limit in ((runs, ""), (watch, " --limit 2")):
        (line,) = [line for line in notice.body.splitlines() if line.startswith("Start one")]
        assert line.endswith(f"prefect worker start --pool some-pool{limit}")
        for name in ("FERRY_TABLES", "FERRY_SUMMARIES", "FERRY_NOTIFY"):
            assert name in line


class World:
    """Runs that send heartbeats, a server that is away at times, and the watch over them.

    Seconds are counted from the start. A heartbeat of a time when the server is away is lost; the
    first one after it takes up to twenty seconds longer, while its sender finds the server again.
    """

    HOURS = 6

    def __init__(self, seed: int, runs: int, heartbeat_seconds: float = HEARTBEAT_SECONDS) -> None:
        self.random, self.heartbeat_seconds = random.Random(seed), heartbeat_seconds
        length = self.HOURS * 3_600.0
        outages = sorted(
            (start, start + self.random.choice([9, 60, 150, 400, 1_000]))
            for start in (self.random.uniform(0, length) for _ in range(10))
        )
        self.turns: list[float] = []  # when it goes, when it comes back, when it goes ...
        for start, end in outages:
            if self.turns and start <= self.turns[-1]:
                self.turns[-1] = max(end, self.turns[-1])
            else:
                self.turns += [start, end]
        self.died: dict[str, float] = {}
        self.clock = {at: self.random.uniform(-7_200, 7_200) for at in (length / 3, length / 2)}
        self.beats = {f"run {number}": self._beats(length) for number in range(runs)}
        self.length = length

    def kill(self, name: str) -> None:
        """Let the run die at some moment of the first half."""
        at = self.died[name] = self.random.uniform(60, self.length / 2)
        self.beats[name] = [beat for beat in self.beats[name] if beat < at]

    def _beats(self, length: float) -> list[float]:
        beats, at = [0.0], self.random.uniform(0, self.heartbeat_seconds)
        lost = False
        while at < length + 1_000:
            away = self.away(at)
            if not away:
                beats.append(at + (self.random.uniform(0, 20) if lost else 0))
            lost = away
            at += self.heartbeat_seconds + self.random.uniform(0, 2)
        return beats

    def away(self, at: float) -> bool:
        return bisect_right(self.turns, at) % 2 == 1

    def wall(self, at: float) -> datetime:
        """What the watch's clock says, which somebody sets now and then."""
        return NOW + timedelta(seconds=at + sum(by for when, by in self.clock.items() if at > when))

    def watch(self) -> dict[str, tuple[float, int]]:
        """When each run was ended, and after how many looks since it had died."""
        ended: dict[str, tuple[float, int]] = {}
        answered: list[float] = []
        for begun in range(0, int(self.length), int(EVERY)):
            observation, at = Observation(MAX_GAP), float(begun)
            heard_until = None  # nothing has been sent yet
            while at < begun + LONGEST:
                if self.away(at):
                    observation.missed()
                    at += LOOK
                    continue
                answered.append(at)
                doubt = self.look(at, observation, ended, answered, heard_until is not None)
                heard_until = at
                if not doubt:
                    break
                at += LOOK
        return ended

    def look(
        self,
        at: float,
        observation: Observation,
        ended: dict[str, tuple[float, int]],
        answered: list[float],
        heard: bool,
    ) -> bool:
        now, signs, suspects = self.wall(at), {}, []
        for name, beats in self.beats.items():
            if name in ended:
                continue
            newest = bisect_right(beats, at) - 1
            beat = beats[newest]
            seen = replace(
                RUNNING,
                id=name,
                heard_at=self.wall(beat),
                sign=str(newest),
                heartbeat_seconds=self.heartbeat_seconds,
            )
            if is_suspect(seen, now, PATIENCE):
                suspects.append(seen)
                signs[name] = seen.sign
        observation.saw(at, signs, heard=heard)
        for seen in suspects:
            if observation.silent_for(seen.id) >= PATIENCE.listening_to(seen):
                looks = sum(when > self.died.get(seen.id, 0) for when in answered)
                ended[seen.id] = (at, looks)
        return any(seen.id not in ended and not observation.was_heard(seen.id) for seen in suspects)


@pytest.mark.seconds
@pytest.mark.parametrize("heartbeat_seconds", [HEARTBEAT_SECONDS, 89, 180])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_of_a_thousand_healthy_runs_and_ten_outages_none_is_ended(
    seed: int, heartbeat_seconds: float
) -> None:
    assert World(seed, 1_000, heartbeat_seconds).watch() == {}


@pytest.mark.parametrize(("heartbeat_seconds", "most"), [(HEARTBEAT_SECONDS, 60), (180, 120)])
@pytest.mark.parametrize("seed", range(10))
def test_whatever_has_died_is_ended_within_a_bounded_number_of_looks(
    seed: int, heartbeat_seconds: float, most: int
) -> None:
    world = World(seed, 30, heartbeat_seconds)
    dead = [f"run {number}" for number in range(10)]
    for name in dead:
        world.kill(name)
    ended = world.watch()
    assert set(ended) == set(dead)
    assert all(at > world.died[name] for name, (at, _) in ended.items())
    assert max(looks for _, looks in ended.values()) <= most
