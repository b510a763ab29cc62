"""carry-windows carries what a backfill planned with a spec, or nothing, and once, or once more."""

from __future__ import annotations

import logging
from collections import deque
from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID, uuid4

import pytest
from prefect.client.schemas.objects import FlowRun
from prefect.states import Completed, Failed, Scheduled

from ferry.batch import Batch
from ferry.day_ranges import DayRange, split_days
from ferry.errors import AccessError, RequestError
from ferry.schema import TableName
from ferry.specs.tables import TableSpec
from flows.backfill_tables import backfill
from flows.carry_windows import carry_windows
from flows.pipeline import carry_many, spread_windows
from flows.pipeline.carry_many import window_batches
from flows.pipeline.spread_windows import Group, Spread, make_groups
from flows.pipeline.table_specs import load_table_specs
from tasks.landed.history import count_run, landed_of_run, read_run

pytestmark = pytest.mark.usefixtures("plain_runs")

WINDOW = {"mode": "window", "key": ["id"]}
ONE_ROUTE = pytest.mark.parametrize("route", ["sqlite-folder-duckdb"], indirect=True)
DAY = [(datetime(2023, 7, 1, tzinfo=UTC), datetime(2023, 7, 2, tzinfo=UTC))]


@pytest.fixture
def shop(journey: Any) -> Any:
    """One row on the day."""
    journey.sql("CREATE TABLE nps (id INT NOT NULL PRIMARY KEY, modified DATETIME)")
    journey.sql("INSERT INTO nps VALUES (1, '2023-07-01 12:00:00')")
    journey.write_specs(nps=WINDOW)
    return journey


def carried(**given: Any) -> Any:
    return carry_windows(
        **{
            "table": "nps",
            "windows": DAY,
            "zone": "UTC",
            "backfill_run_id": "8f9d0b0e-6f0f-4c51-8f5d-0a6f5b1d2c3e",
            "scheduled_start": datetime.now(UTC),
            **given,
        },
        return_state=True,
    )


def refused(message: str, **given: Any) -> str:
    with pytest.raises(RequestError, match=message) as caught:
        carried(**given).result()
    assert caught.value.todo
    return str(caught.value)


@ONE_ROUTE
def test_no_windows_are_carried_without_a_word(shop: Any) -> None:
    assert carried(windows=[]).is_completed()
    assert not shop.has_landed("nps")


@ONE_ROUTE
def test_a_spec_that_says_otherwise_than_planned_is_refused_and_the_difference_named(
    shop: Any,
) -> None:
    planned = load_table_specs().named("nps").as_planned
    changes: list[dict[str, Any]] = [
        {"schema": f"{shop.schema}_x"},
        {"cursor": "modified"},
        {"key": ["id", "modified"]},
        {"mode": "watermark"},
        {"settle": 60},
    ]
    for change in changes:
        shop.write_specs(nps={**WINDOW, **change})
        (field,) = change
        told = refused("is not the one that the backfill was planned with", planned_spec=planned)
        assert f"expected {field}=" in told and f"found {field}=" in told
        assert told.startswith(f"FERRY-REQUEST: {shop.schema}.nps")
    assert shop.warehouse.describe(TableName(shop.schema, "nps")) is None

    shop.write_specs(nps=WINDOW)
    assert carried(planned_spec=planned).is_completed()
    assert shop.target("nps", "id") == [(1,)]


def test_what_the_backfill_has_landed_is_carried_once_more_only_where_it_says_so(
    shop: Any,
) -> None:
    for again in (0, 0, 2, 2):
        assert carried(again=again).is_completed()
    first, once_more = shop.receipts("nps")
    assert first.flow_run_id == once_more.flow_run_id
    assert (once_more.rows_extracted, once_more.rows_unchanged) == (1, 1)


def test_what_is_to_land_once_more_is_in_a_group_and_a_run_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spec = TableSpec(name="nps", source="shop", source_table="nps", mode="window", key=["id"])
    days = split_days(DayRange(date(2023, 7, 1), date(2023, 7, 5), "UTC"), "day")
    now = datetime(2024, 1, 1, tzinfo=UTC)
    batches = window_batches(spec, days, "run", now, again={days[1]: 3})
    handed: list[Any] = []

    def run_deployment(*_: Any, **given: Any) -> FlowRun:
        handed.append(given)
        return FlowRun(flow_id=uuid4())

    monkeypatch.setattr(spread_windows, "run_deployment", run_deployment)
    monkeypatch.setattr(spread_windows, "get_run_logger", lambda: None)
    spread = Spread("nps", "run", cast(Any, None), runs=1, max_concurrency=1)
    for group in make_groups(batches, days, 1):
        spread._begin(group)

    given = [each["parameters"] for each in handed]
    assert [len(each["windows"]) for each in given] == [3, 1]
    assert [each.get("again") for each in given] == [None, 3]
    first, once_more = (each["idempotency_key"] for each in handed)
    assert once_more == f"{first} again 3"


SIX_DAYS = split_days(DayRange(date(2023, 7, 1), date(2023, 7, 7), "UTC"), "day")


@ONE_ROUTE
def test_a_group_travels_together_by_the_guesses_that_the_backfill_made(
    shop: Any, groups_here: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    together, carry = list[int](), carry_many.carry_together

    def counted(batch: Batch, *given: Any) -> Any:
        together.append(len(batch.each))
        return carry(batch, *given)

    monkeypatch.setattr(carry_many, "carry_together", counted)
    days = {"start_date": date(2023, 7, 1), "end_date": date(2023, 7, 7)}
    state: Any = backfill(table="nps", **days, workers=2, return_state=True)

    assert state.is_completed(), state.message
    assert groups_here.handed == [4, 2]
    assert together == [4, 2]


@ONE_ROUTE
@pytest.mark.parametrize("rows", [None, [1, None]])
def test_windows_without_guesses_are_carried_all_the_same(shop: Any, rows: Any) -> None:
    bounds = [(day.start, day.end) for day in SIX_DAYS]
    assert carried(windows=bounds, rows=rows).is_completed()
    assert sorted(each.window_label for each in shop.receipts("nps")) == [
        day.label for day in SIX_DAYS
    ]


@pytest.fixture
def refusing(shop: Any, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A source that lets nobody in; the days that were tried, each a batch."""
    tried: list[str] = []

    def carry(batch: Batch, *_: object) -> None:
        tried.append(batch.label)
        raise AccessError("wrong user or password")

    monkeypatch.setattr(carry_many, "carry_together", carry)
    shop.write_specs(nps={**WINDOW, "batch_rows": 0})
    return tried


@ONE_ROUTE
def test_a_group_that_is_refused_three_times_in_a_row_knocks_no_more(refusing: list[str]) -> None:
    bounds = [(day.start, day.end) for day in SIX_DAYS]
    state = carried(windows=bounds, max_concurrency=1)
    assert refusing == [day.label for day in SIX_DAYS[:3]]
    assert state.is_failed()
    assert "6 of 6 windows failed" in state.message
    assert "3 windows failed, 2023-07-01 to 2023-07-03: FERRY-ACCESS" in state.message
    assert "3 windows failed, 2023-07-04 to 2023-07-06: not begun" in state.message


@ONE_ROUTE
@pytest.mark.parametrize("order", ["oldest", "strict"])
def test_a_backfill_that_is_refused_three_times_in_a_row_knocks_no_more(
    refusing: list[str], order: str
) -> None:
    state: Any = backfill(
        table="nps",
        start_date=date(2023, 7, 1),
        end_date=date(2023, 7, 7),
        max_concurrency=1,
        order=order,
        return_state=True,
    )
    assert len(refusing) == (1 if order == "strict" else 3)
    assert state.is_failed()
    assert f"{6 - len(refusing)} windows failed" in state.message
    assert "not begun: " in state.message


@pytest.mark.parametrize(
    ("answer", "landed", "ends"),
    [
        ("FERRY-ACCESS: refused", 0, True),
        ("FERRY-ACCESS: refused", 1, False),  # of one window, on one machine
        ("FERRY-BUSY: a lock", 0, False),
    ],
)
def test_no_other_group_is_handed_over_after_three_in_a_row_that_were_refused(
    monkeypatch: pytest.MonkeyPatch, answer: str, landed: int, ends: bool
) -> None:
    spec = TableSpec(name="nps", source="shop", source_table="nps", mode="window", key=["id"])
    now, handed = datetime(2024, 1, 1, tzinfo=UTC), list[str]()
    days = split_days(DayRange(date(2023, 7, 1), date(2023, 7, 21), "UTC"), "day")
    runs: dict[UUID, FlowRun] = {}

    def begin(spread: Spread, group: Group) -> None:
        run = FlowRun(flow_id=uuid4(), state=Failed(message=f"4 of 4 windows failed:\n{answer}"))
        handed.append(group.name)
        runs[run.id] = run
        spread._under_way[run.id] = group

    landed_ids, read = set[str](), SimpleNamespace(receipts={}, failures=[], void={})
    answers: dict[Any, Any] = {read_run: lambda *_: read, landed_of_run: lambda *_: landed_ids}
    monkeypatch.setattr(spread_windows, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(spread_windows, "get_run_logger", logging.getLogger)
    monkeypatch.setattr(spread_windows, "with_retries", lambda step, _: answers[step])
    monkeypatch.setattr(Spread, "_begin", begin)
    monkeypatch.setattr(Spread, "_look", lambda self: [runs[each] for each in self._under_way])
    spread = Spread("nps", "run", cast(Any, None), runs=1, max_concurrency=1)
    groups = make_groups(window_batches(spec, days, "run", now), days, 1)
    own: Any = SimpleNamespace(raise_if_ended=lambda: None)
    batches = [batch for group in groups for batch in group.batches]
    landed_ids |= {batch.id for group in groups for batch in group.batches[:landed]}
    spread._feed(deque(groups), batches, own, lambda *_: None)

    outcomes = spread._gather(batches)
    assert len(groups) == 4
    assert len(handed) == (3 if ends else 4)
    begun = [each.begun for each in outcomes]
    assert begun == [True] * 15 + [not ends] * 5
    assert outcomes[-1].reason.startswith("not begun" if ends else "Failed run")


@pytest.fixture
def groups_here(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Groups are carried at once and in this process; what ran, and what is called before each."""
    pool, runs = SimpleNamespace(handed=[], before=lambda: None), dict[UUID, FlowRun]()

    def run_deployment(*_: Any, parameters: dict[str, Any], **__: Any) -> FlowRun:
        pool.before()
        state = carry_windows(**parameters, return_state=True)
        run = FlowRun(flow_id=uuid4(), state=Scheduled(), parameters=parameters)
        runs[run.id] = run.model_copy(update={"state": state})
        pool.handed.append(len(parameters["windows"]))
        return run

    monkeypatch.setattr(spread_windows, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(spread_windows, "run_deployment", run_deployment)
    monkeypatch.setattr(Spread, "_look", lambda self: [runs[each] for each in self._under_way])
    return pool


@ONE_ROUTE
def test_what_workers_have_landed_and_is_void_on_the_way_is_carried_once_more(
    shop: Any, groups_here: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = list[int]()

    def count(*given: Any) -> tuple[int, int, int]:
        counted.append(count_run(*given)[0])
        return counted[-1], 0, 0

    monkeypatch.setattr(spread_windows, "COUNT_EVERY_SECONDS", 0.0)
    monkeypatch.setattr(spread_windows, "count_run", count)
    rows = [(day.start.day, f"{day.label} 12:00:00") for day in SIX_DAYS[1:]]
    shop.sql("INSERT INTO nps VALUES (?, ?)", rows)

    def lose_rows() -> None:
        if len(groups_here.handed) == 1:
            shop.warehouse.execute(f'DELETE FROM "{shop.schema}"."nps"')

    groups_here.before = lose_rows
    days = {"start_date": date(2023, 7, 1), "end_date": date(2023, 7, 7)}
    state: Any = backfill(table="nps", **days, workers=2, return_state=True)

    assert state.is_completed(), state.message
    assert "6 windows carried, 0 failed, 0 skipped" in state.message
    assert groups_here.handed == [4, 2, 4]
    assert counted == [6, 4]  # of those that are carried once more, not of all
    assert shop.target("nps", "id") == [(number,) for number in range(1, 7)]


@ONE_ROUTE
@pytest.mark.parametrize("state", [Completed(), Failed(message="FERRY-BUSY: a lock")])
def test_what_a_run_of_an_earlier_attempt_was_not_given_is_handed_over_after_it(
    shop: Any, groups_here: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, state: Any
) -> None:
    """As of a day that was loaded when that run began, and is not since."""
    rows = [(day.start.day, f"{day.label} 12:00:00") for day in SIX_DAYS[1:]]
    shop.sql("INSERT INTO nps VALUES (?, ?)", rows)
    begin, look, earlier = Spread._begin, Spread._look, list[FlowRun]()

    def finds_one_of_an_earlier_attempt(spread: Spread, group: Group) -> None:
        if earlier:
            return begin(spread, group)
        bounds = [[day.start.isoformat(), day.end.isoformat()] for day in SIX_DAYS[1:3]]
        given = {"windows": bounds}
        earlier.append(FlowRun(flow_id=uuid4(), state=state, parameters=given))
        spread._under_way[earlier[0].id] = group
        return None

    def look_with_it(spread: Spread) -> list[FlowRun]:
        return earlier if earlier[0].id in spread._under_way else look(spread)

    monkeypatch.setattr(Spread, "_begin", finds_one_of_an_earlier_attempt)
    monkeypatch.setattr(Spread, "_look", look_with_it)
    days = {"start_date": date(2023, 7, 1), "end_date": date(2023, 7, 5)}
    ended: Any = backfill(table="nps", **days, workers=2, return_state=True)

    assert "2 windows failed, 2023-07-02 to 2023-07-03: " in ended.message
    assert ("FERRY-BUSY: a lock" in ended.message) is state.is_failed()
    assert groups_here.handed == [2]
    assert shop.target("nps", "id") == [(1,), (4,)]


@ONE_ROUTE
def test_what_has_no_windows_is_refused_whoever_asks(shop: Any) -> None:
    assert carried().is_completed()
    for spec in ({"mode": "full"}, {"mode": "watermark"}, {"mode": "full", "key": ["id"]}):
        shop.write_specs(nps=spec)
        refused("cannot be backfilled" if spec["mode"] == "full" else "has no windows")
    shop.write_specs(nps=WINDOW)
    begins = datetime.now(UTC) + timedelta(hours=1)
    refused("is in the future", windows=[(begins, begins + timedelta(hours=1))])
    assert shop.target("nps", "id") == [(1,)]
    assert len(shop.receipts("nps")) == 1
