"""Many windows in one process: when no other one begins, and what ends all of them.

What carries a window is a function of the test's own: whole windows are carried in
`tests/flows/test_backfill.py` and `test_catch_up.py`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any

import pytest
from prefect.exceptions import Abort
from prefect.logging import disable_run_logger

from ferry.backfills.outcomes import Outcome
from ferry.backfills.window_queue import FIRST_WINDOWS
from ferry.batch import Batch
from ferry.errors import AccessError, ApartError, BusyError, DataError, SchemaError, StoppedError
from ferry.specs.tables import TableSpec
from ferry.windows import day_window
from flows.pipeline import carry_batch, carry_many
from flows.pipeline.carry_batch import Coordination
from flows.pipeline.carry_many import (
    GiveUp,
    InARow,
    Report,
    at_first_failure,
    never,
    run_windows,
    when_refused,
)

FIRST = date(2023, 1, 1)
SPEC = TableSpec(name="nps", source="shop", source_table="nps", mode="window", key=["id"])
CARRIED: Any = SimpleNamespace(rows_extracted=10)
seen: list[Coordination] = []
"""What the windows of the last run shared."""

tried: list[str] = []
"""The days of each batch that was begun."""

recorded: list[int] = []
"""For how many windows at a time a failure was recorded."""

Carry = Callable[[int], object]


@pytest.fixture(autouse=True)
def plain_log() -> Iterator[None]:
    with disable_run_logger():
        yield


def run(
    monkeypatch: pytest.MonkeyPatch,
    carry: Carry,
    *,
    at_once: int = 1,
    give_up: GiveUp = never,
    stop: Event | None = None,
    together: bool = False,
    days: int = 6,
    report: Report = lambda *_: None,
) -> list[Outcome]:
    """So many days, each carried by the function, which is told its number."""

    seen.clear()
    tried.clear()

    def carried(batch: Batch, _: object, shared: Coordination) -> tuple[object, ...]:
        seen.append(shared)
        days = [(each.window.start.date() - FIRST).days for each in batch.each if each.window]
        tried.append("".join(map(str, days)))
        if shared.stopped:
            raise StoppedError("stopped")
        return tuple(carry(day) for day in days)

    monkeypatch.setattr(carry_many, "carry_together", carried)
    monkeypatch.setattr(
        carry_many, "record_failures", lambda batches, *_: recorded.append(len(batches))
    )
    now = datetime(2023, 2, 1, tzinfo=UTC)
    windows = [day_window(FIRST + timedelta(days=n), "UTC") for n in range(days)]
    spec = SPEC if together else SPEC.model_copy(update={"batch_rows": 0})
    rows = 10 if together else None
    batches = [
        Batch(spec, "window", window, "run", now, Path("parts"), estimated_rows=rows)
        for window in windows
    ]
    route: Any = SimpleNamespace(warehouse=None)
    return run_windows(
        batches, route, at_once=at_once, stop=stop or Event(), report=report, give_up=give_up
    )


def failing(*days: int, error: Callable[[str], Exception] = DataError) -> Carry:
    def carry(day: int) -> object:
        if day in days:
            raise error("as planned")
        return CARRIED

    return carry


def ends(outcomes: list[Outcome]) -> str:
    """A letter for each window: carried, failed, not begun."""
    return "".join("c" if each.receipt else "f" if each.begun else "n" for each in outcomes)


@pytest.mark.parametrize("at_once", [1, 4])
def test_a_window_that_fails_stops_no_other_and_outcomes_are_in_order(
    monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    outcomes = run(monkeypatch, failing(1, 4), at_once=at_once)
    assert ends(outcomes) == "cfccfc"
    assert [each.window.label for each in outcomes if each.window] == [
        f"2023-01-0{day}" for day in range(1, 7)
    ]


def test_how_far_it_is_is_told_after_each_and_no_receipt_is_counted_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of very many windows that would take longer than they do."""
    looks, told = list[int](), list[tuple[int, int, int]]()

    class Counted:
        @property
        def rows_extracted(self) -> int:
            looks.append(1)
            return 10

    monkeypatch.setattr(sys.modules[__name__], "CARRIED", Counted())
    run(monkeypatch, failing(1, 4), report=lambda *how_far: told.append(how_far))
    ends_with = [(1, 0, 10), (1, 1, 10), (2, 1, 20), (3, 1, 30), (3, 2, 30), (4, 2, 40)]
    assert sorted(set(told) - {(0, 0, 0)}) == ends_with
    assert len(looks) <= 2 * 4


def test_none_begins_after_the_first_that_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ends(run(monkeypatch, failing(2), give_up=at_first_failure)) == "ccfnnn"


@pytest.mark.parametrize("error", [BusyError, AccessError])
def test_none_begins_after_three_in_a_row_that_failed_by_no_fault_of_their_own(
    monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    carry = failing(0, 2, 3, 4, error=error)
    assert ends(run(monkeypatch, carry, give_up=InARow(3))) == "fcfffn"
    assert ends(run(monkeypatch, failing(0, 2, 3, 4), give_up=InARow(3))) == "fcfffc"


@pytest.mark.parametrize("at_once", [1, 2])
def test_none_begins_after_three_in_a_row_that_were_refused(
    monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    def ends_of(*days: int, error: type[Exception] = AccessError) -> str:
        carry = failing(*days, error=error)
        return ends(run(monkeypatch, carry, at_once=at_once, give_up=when_refused()))

    assert "fff" <= ends_of(*range(6)).rstrip("n") <= "f" * (2 + at_once)
    assert ends_of(*range(6), error=BusyError) == "ffffff"  # worth waiting for
    assert ends_of(0, 1, 4, 5) == "ffccff"


@pytest.mark.parametrize("at_once", [1, 4])
def test_none_begins_once_all_are_to_stop(monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    stop = Event()
    stop.set()
    assert ends(run(monkeypatch, failing(), at_once=at_once, stop=stop)) == "nnnnnn"


@pytest.mark.parametrize("at_once", [1, 4])
@pytest.mark.parametrize("ended", [Abort, SystemExit, KeyboardInterrupt])
def test_what_ends_the_run_is_no_error_of_a_window_and_leaves_none_under_way(
    monkeypatch: pytest.MonkeyPatch, at_once: int, ended: type[BaseException]
) -> None:
    stop = Event()

    def carry(day: int) -> object:
        if day == 2:
            raise ended
        return CARRIED

    with pytest.raises(ended):
        run(monkeypatch, carry, at_once=at_once, stop=stop)
    assert all(shared.stopped for shared in seen)
    assert not stop.is_set()  # which other tables share


def test_of_windows_that_travel_together_the_one_at_fault_stands_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert ends(run(monkeypatch, failing(4), together=True)) == "ccccfc"
    assert tried == ["012345", "012", "345", "3", "45", "4", "5"]


@pytest.fixture
def shallow() -> Iterator[int]:
    """Fewer frames than Python lets be, by its own default."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(250)
    yield 250
    sys.setrecursionlimit(before)


def test_each_window_of_a_large_batch_may_be_at_fault(
    monkeypatch: pytest.MonkeyPatch, shallow: int
) -> None:
    def first_at_fault(problem: str) -> DataError:
        error = DataError(problem)
        error.window_number = 0
        return error

    days = FIRST_WINDOWS + shallow
    carry = failing(*range(FIRST_WINDOWS, days), error=first_at_fault)
    outcomes = run(monkeypatch, carry, together=True, days=days)
    assert ends(outcomes) == FIRST_WINDOWS * "c" + shallow * "f"


def test_in_strict_order_none_begins_after_the_one_at_fault(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    outcomes = run(monkeypatch, failing(3), give_up=at_first_failure, together=True)
    assert ends(outcomes) == "cccfnn"
    assert tried == ["012345", "012", "345", "3"]


@pytest.mark.parametrize("error", [BusyError, partial(SchemaError, step="plan")])
def test_what_is_no_window_s_fault_is_that_of_all_that_travel_together(
    monkeypatch: pytest.MonkeyPatch, error: Callable[[str], Exception]
) -> None:
    recorded.clear()
    assert ends(run(monkeypatch, failing(2, error=error), together=True)) == "ffffff"
    assert (tried, recorded) == (["012345"], [6])


@pytest.mark.parametrize("give_up", [at_first_failure, InARow(1), InARow(3)])
def test_whoever_gives_up_tells_of_all_windows_that_failed_together(
    monkeypatch: pytest.MonkeyPatch, give_up: GiveUp
) -> None:
    recorded.clear()
    outcomes = run(monkeypatch, failing(2, error=BusyError), together=True, give_up=give_up)
    assert (ends(outcomes), recorded) == ("ffffff", [6])


def test_what_failed_together_is_one_failure_in_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    in_a_row = InARow(3)
    run(monkeypatch, failing(2, error=BusyError), together=True, give_up=in_a_row)
    assert not in_a_row(BusyError("the second"))
    assert in_a_row(BusyError("the third"))


def test_windows_that_cannot_travel_together_travel_each_by_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def carry(day: int) -> object:
        if len(tried[-1]) > 1:
            raise ApartError("as planned")
        return CARRIED

    assert ends(run(monkeypatch, carry, together=True)) == "cccccc"
    assert tried == ["012345", *"012345"]


@pytest.mark.parametrize("together", [False, True])
def test_what_fails_once_the_run_is_over_is_no_failure_of_its_windows(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, together: bool
) -> None:
    """A thread that reads on while its process ends is refused new threads, for one."""
    recorded.clear()
    stop = Event()

    def arrive(*_: object) -> Any:
        stop.set()
        raise RuntimeError("cannot schedule new futures after interpreter shutdown")

    for module in (carry_batch, carry_many):
        monkeypatch.setattr(
            module, "record_failures", lambda batches, *_: recorded.append(len(batches))
        )
    monkeypatch.setattr(carry_batch, "_arrive", arrive)
    now = datetime(2023, 2, 1, tzinfo=UTC)
    windows = [day_window(FIRST + timedelta(days=n), "UTC") for n in range(3)]
    spec = SPEC if together else SPEC.model_copy(update={"batch_rows": 0})
    batches = [
        Batch(spec, "window", window, "run", now, tmp_path, estimated_rows=1) for window in windows
    ]
    route: Any = SimpleNamespace(warehouse=None)
    outcomes = run_windows(batches, route, at_once=1, stop=stop)
    assert ends(outcomes) == ("fff" if together else "fnn")
    assert outcomes[0].reason.startswith("FERRY-STOPPED: ")
    assert recorded == []
