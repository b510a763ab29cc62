"""sync-all catches up: past windows that are not loaded, of tables that ask for it."""

import threading
from datetime import UTC, date, datetime
from threading import Event
from typing import Any

import pytest
from prefect.client.schemas.objects import State, StateType
from prefect.flow_engine import run_flow
from prefect.logging import disable_run_logger
from prefect.states import AwaitingRetry
from pydantic import SecretStr

from ferry.errors import BusyError, DataError
from ferry.statements import PARAM, Statement
from flows.pipeline.catch_up import catch_up
from flows.pipeline.make_batch import Dates, Routes, make_batch
from flows.pipeline.table_specs import load_table_specs
from flows.sync_all import sync_all
from flows.sync_table import sync_table
from tasks.upsert import upsert
from tests.harness.api import Api
from tests.harness.plain_runs import pages_of, run_at

pytestmark = pytest.mark.usefixtures("plain_runs")  # but for those that ask for `api`

PER_DAY = {"mode": "window", "key": ["code"], "cursor": "modified", "insert_rows": 0}
CATCH_UP = {**PER_DAY, "start_date": date(2023, 1, 1), "catch_up": True}
ONE_ROUTE = pytest.mark.parametrize("route", ["mysql-folder-postgres"], indirect=True)
REDSHIFT = pytest.mark.parametrize("route", ["mysql-s3-redshift"], indirect=True)


@pytest.fixture
def shop(journey: Any) -> Any:
    """Orders, one on each of the first twelve days of 2023."""
    journey.sql("CREATE TABLE orders (id INT NOT NULL PRIMARY KEY, code INT, modified DATETIME)")
    rows = [(day, day, f"2023-01-{day:02} 02:30:00") for day in range(1, 13)]
    journey.sql("INSERT INTO orders VALUES (?, ?, ?)", rows)
    journey.write_specs(orders=CATCH_UP)
    return journey


def morning(day: int) -> datetime:
    return datetime(2023, 1, day, 9, tzinfo=UTC)


def carried(shop: Any) -> list[str]:
    """The days that have receipts, in the order in which they were carried."""
    return [receipt.window_label.removeprefix("2023-01-") for receipt in shop.receipts("orders")]


@REDSHIFT
def test_after_a_week_without_a_server_the_next_run_carries_every_day(shop: Any) -> None:
    run_at(sync_all, morning(3))
    assert carried(shop) == ["02", "01"]

    state = run_at(sync_all, morning(11))  # the runs of the 4th to the 10th were never made

    assert state.type is StateType.COMPLETED, state.message
    week = ["03", "04", "05", "06", "07", "08", "09"]
    assert carried(shop) == ["02", "01", "10", *week]
    assert shop.target("orders", "id") == [(day,) for day in range(1, 11)]
    table = f"{shop.schema}.orders"
    assert state.message == (
        f"1 tables carried; {table}: caught up 7 windows, 2023-01-03 to 2023-01-09"
    )
    receipts = state.result()
    assert list(receipts) == [table]
    assert receipts[table].window_label == "2023-01-10"
    page = pages_of(state)["sync-all"]
    assert [day in page for day in week].count(True) == 7
    assert f"| {table} | caught up: 2023-01-09 | 1 | 1 | 0 | 0 | 0 |" in page

    shop.warehouse.execute(f'DELETE FROM "{shop.schema}"."orders" WHERE id = 5')
    shop.warehouse.execute(
        Statement(
            "DELETE FROM ferry.receipts "
            f"WHERE table_name = {PARAM} AND window_label = '2023-01-05'",
            (table,),
        )
    )
    assert (
        run_at(sync_all, morning(12)).message == f"1 tables carried; {table}: caught up 2023-01-05"
    )
    assert carried(shop)[-2:] == ["11", "05"]
    assert shop.target("orders", "id") == [(day,) for day in range(1, 12)]

    run_at(sync_all, morning(12))
    assert carried(shop)[-2:] == ["05", "11"]  # nothing but its own


@ONE_ROUTE
def test_past_days_are_left_alone_unless_the_table_asks_and_the_run_has_no_dates(shop: Any) -> None:
    sync_table(table="orders", run_date=date(2023, 1, 8))
    run_at(sync_all, morning(9), run_date="2023-01-07")
    start, end = "2023-01-06T00:00:00+00:00", "2023-01-07T00:00:00+00:00"
    run_at(sync_all, morning(9), window_start=start, window_end=end)
    shop.write_specs(orders={**CATCH_UP, "catch_up": False})
    assert run_at(sync_all, morning(6)).message == "1 tables carried"
    assert carried(shop) == ["08", "07", "06", "05"]


@ONE_ROUTE
def test_a_past_day_that_fails_stops_no_other_is_named_and_caught_up_later(shop: Any) -> None:
    shop.sql("UPDATE orders SET code = NULL WHERE id = 2")
    table = f"{shop.schema}.orders"

    for again in (False, True):
        state = run_at(sync_all, morning(5))
        assert state.type is StateType.FAILED
        where = f"upsert {table} 2023-01-02 at postgres-warehouse/{shop.name}"
        reason = f"FERRY-DATA: {where}: rows without a full key (code)"
        assert (state.message or "").startswith(
            "1 past window(s) could not be caught up: "
            f"{table}: 1 window failed, 2023-01-02: {reason.replace('2023-01-02', '…')}"
        )
        assert carried(shop) == ["04", "01", "03", *(["04"] if again else [])]

    shop.sql("UPDATE orders SET code = 2 WHERE id = 2")
    assert (
        run_at(sync_all, morning(5)).message == f"1 tables carried; {table}: caught up 2023-01-02"
    )
    assert shop.target("orders", "id") == [(1,), (2,), (3,), (4,)]


@ONE_ROUTE
def test_a_table_whose_past_days_all_cannot_be_planned_is_counted_beside_a_day_that_fails(
    shop: Any,
) -> None:
    shop.sql("CREATE TABLE odd AS SELECT * FROM orders WHERE id < 3")
    shop.sql("INSERT INTO odd VALUES (20, 20, NULL)")  # which no window would take
    shop.write_specs(orders=CATCH_UP, odd=CATCH_UP)

    def head() -> str:
        return (run_at(sync_all, morning(5)).message or "").splitlines()[0]

    one, of_table = "1 of 2 tables failed and ", "past windows of 1 table could not be caught up:"
    assert head() == one + of_table
    shop.sql("UPDATE orders SET code = NULL, modified = '2023-01-02 03:00:00' WHERE id = 4")
    shop.warehouse.execute(f"DELETE FROM ferry.receipts WHERE table_name = '{shop.schema}.orders'")
    assert head() == one + "1 past window(s), and those of 1 table, could not be caught up:"


@ONE_ROUTE
def test_a_retry_carries_a_day_once_more_that_has_failed_since_it_was_caught_up(
    shop: Any, api: Api
) -> None:
    shop.write_specs(orders=CATCH_UP, wrong={**PER_DAY, "source_table": "nowhere"})
    state = run_at(sync_all, morning(3))  # which fails by the other table: somebody retries it
    assert carried(shop) == ["02", "01"]
    shop.sql("INSERT INTO orders VALUES (20, NULL, '2023-01-01 03:00:00')")
    with pytest.raises(DataError):
        sync_table(table="orders", run_date=date(2023, 1, 1))
    run_id = state.state_details.flow_run_id

    def retry() -> State[Any]:
        api.client.set_flow_run_state(run_id, AwaitingRetry(), force=True)
        run = api.client.read_flow_run(run_id)
        ended: Any = run_flow(
            sync_all, flow_run=run, parameters=run.parameters, return_type="state"
        )
        return ended

    assert "past window(s) could not be caught up" in (retry().message or "")
    assert carried(shop) == ["02", "01"]
    shop.sql("UPDATE orders SET code = 20 WHERE id = 20")
    assert "could not be caught up" not in (retry().message or "")
    assert carried(shop) == ["02", "01", "01"]
    assert shop.target("orders", "id") == [(1,), (2,), (20,)]


@ONE_ROUTE
def test_a_table_carried_by_the_hour_is_caught_up_by_the_hour(shop: Any) -> None:
    shop.write_specs(orders={**CATCH_UP, "every": "hour"})
    start = datetime(2023, 1, 1, 4, 5, tzinfo=UTC)
    state = run_at(sync_all, start, every="hour")
    assert state.type is StateType.COMPLETED, state.message
    hours = [receipt.window_start.hour for receipt in shop.receipts("orders")]
    assert hours == [3, 0, 1, 2]
    assert shop.target("orders", "id") == [(1,)]


@ONE_ROUTE
def test_a_run_that_is_cancelled_while_a_step_waits_to_be_tried_again_lands_nothing_more(
    shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.write_specs(orders={**CATCH_UP, "retries": 1, "retry_delay_seconds": 2})
    own = make_batch(load_table_specs().named("orders"), Dates(run_date=date(2023, 1, 4)))
    shared, lands = Event(), upsert.fn

    def busy_once(*args: Any) -> Any:
        if shared.is_set():
            return lands(*args)
        threading.Timer(0.5, shared.set).start()
        raise BusyError("as planned")

    monkeypatch.setattr(upsert, "fn", busy_once)
    with disable_run_logger():
        outcomes = catch_up.fn(own, Routes(), shared)

    assert [each.receipt for each in outcomes if each.receipt] == []
    assert carried(shop) == []
    assert shop.leftovers() == set()


@ONE_ROUTE
def test_while_the_source_refuses_the_rest_is_left_to_the_next_run(shop: Any, api: Api) -> None:
    shop.source.model_copy(update={"password": SecretStr("wrong")}).save(shop.name, overwrite=True)

    state = run_at(sync_all, morning(12))

    assert state.type is StateType.FAILED
    head, *reasons = (state.message or "").splitlines()
    assert head == "1 of 1 tables failed and 10 past window(s) could not be caught up:"
    own, late, left = reasons
    assert " 2023-01-11 " in own.replace(":", " ")
    assert late.startswith(f"{shop.schema}.orders: 3 windows failed, 2023-01-01 to 2023-01-03: ")
    assert "FERRY-ACCESS: " in late
    assert left == f"{shop.schema}.orders: 7 more windows are left to the next run"
    assert carried(shop) == []
