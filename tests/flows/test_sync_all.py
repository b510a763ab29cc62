"""sync-all: every table that is due, each by itself, and one that fails stops no other."""

from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from prefect.client.schemas.objects import State, StateType
from prefect.deployments import run_deployment
from prefect.flow_engine import run_flow

from ferry.errors import ConnectionLostError
from flows.pipeline import carry_batch, make_batch
from flows.sync_all import sync_all
from tests.harness.api import Api, eventually
from tests.harness.plain_runs import deployed, pages_of

pytestmark = pytest.mark.usefixtures("plain_runs")  # but for those that ask for `api`

TABLES = ("orders", "nps", "visits")
DAY = date(2023, 1, 2)
WINDOW = {"mode": "window", "key": ["id"], "insert_rows": 0}
ONE_ROUTE = pytest.mark.parametrize("route", ["mysql-folder-postgres"], indirect=True)


@pytest.fixture
def shop(journey: Any) -> Any:
    """Three tables with one row on each of three days."""
    for table in TABLES:
        journey.sql(f"CREATE TABLE {table} (id INT NOT NULL PRIMARY KEY, modified DATETIME)")
        rows = [(day, f"2023-01-{day:02} 12:00:00") for day in (1, 2, 3)]
        journey.sql(f"INSERT INTO {table} VALUES (?, ?)", rows)
    journey.write_specs(**dict.fromkeys(TABLES, WINDOW))
    return journey


def run(**parameters: Any) -> State[Any]:
    state: State[Any] = sync_all(**parameters, return_state=True)
    return state


def carried(shop: Any) -> dict[str, list[str]]:
    """The labels of the receipts of each table that has any."""
    found = {name: [r.window_label for r in shop.receipts(name)] for name in TABLES}
    return {name: labels for name, labels in found.items() if labels}


def test_all_tables_are_carried_and_each_has_its_receipt(shop: Any) -> None:
    state = run(run_date=DAY)

    assert state.type is StateType.COMPLETED, state.message
    receipts = state.result()
    assert set(receipts) == {f"{shop.schema}.{name}" for name in TABLES}
    for name in TABLES:
        assert shop.receipts(name) == [receipts[f"{shop.schema}.{name}"]]
        assert shop.target(name, "id") == [(2,)]
    assert shop.leftovers() == set()


def slug(shop: Any) -> str:
    return f"{type(shop.source).get_block_type_slug()}/{shop.name}"


def test_a_table_that_fails_stops_no_other_and_is_named_with_its_reason(shop: Any) -> None:
    shop.sql("DROP TABLE nps")

    state = run(run_date=DAY)

    assert state.type is StateType.FAILED
    where = f"plan {shop.schema}.nps 2023-01-02"
    reason = (
        f"1 of 3 tables failed: FERRY-SCHEMA: {where} at {slug(shop)}: there is no table 'nps' "
    )
    assert (state.message or "").startswith(reason)
    assert carried(shop) == {"orders": ["2023-01-02"], "visits": ["2023-01-02"]}
    rows = pages_of(state)["sync-all"].splitlines()
    assert sum("**failed**" in row and f"{shop.schema}.nps" in row for row in rows) == 1
    assert sum("| 2023-01-02 | 1 | 1 |" in row for row in rows) == 2


@ONE_ROUTE
def test_a_table_whose_dates_are_refused_stops_no_other(shop: Any) -> None:
    state = run(tables=["orders"], window_start=datetime(2023, 1, 2))
    assert state.type is StateType.FAILED
    assert "window needs both its ends" in (state.message or "")
    assert carried(shop) == {}


@pytest.mark.parametrize("route", ["sqlite-folder-duckdb"], indirect=True)
def test_wrong_dates_are_refused_and_right_ones_told_where_no_table_has_windows(
    shop: Any, caplog: pytest.LogCaptureFixture
) -> None:
    shop.write_specs(orders={"mode": "full"}, nps={"mode": "watermark", "key": ["id"]})
    first, tomorrow = datetime(2023, 1, 2), datetime.now(UTC).date() + timedelta(days=1)
    for given, why in (
        ({"window_start": first}, "window needs both its ends"),
        ({"window_start": first, "window_end": first}, "end is not after its start"),
        ({"run_date": DAY, "window_start": first, "window_end": first}, "not both"),
        ({"run_date": tomorrow}, "the window is in the future"),
        ({"run_date": date.max}, "where the calendar ends"),
        ({"zone": "Mars/Olympus"}, "no time zone 'Mars/Olympus'"),
    ):
        state = run(**given)
        assert state.type is StateType.FAILED and why in (state.message or ""), given
    assert carried(shop) == {}

    state = run(run_date=DAY)
    assert state.type is StateType.COMPLETED, state.message
    why = "the dates were for none of them: no table is in mode window"
    assert (state.message or "").startswith(f"2 tables carried; {why}")
    assert [message for message in caplog.messages if why in message]
    assert "the dates" not in str(run().message)


@pytest.mark.parametrize("route", ["sqlite-folder-duckdb"], indirect=True)
def test_a_day_that_is_none_in_one_table_s_zone_stops_no_other(shop: Any) -> None:
    samoa = {**WINDOW, "zone": "Pacific/Apia"}  # whose clocks left this day out
    shop.write_specs(orders=WINDOW, nps=samoa)
    state = run(run_date=date(2011, 12, 30))
    assert "1 of 2 tables failed" in str(state.message)
    assert carried(shop) == {"orders": ["2011-12-30"]}


@ONE_ROUTE
def test_only_tables_that_are_due_this_often_are_carried(shop: Any) -> None:
    shop.write_specs(orders=WINDOW, nps={**WINDOW, "every": "hour"}, visits=WINDOW)

    assert run(every="hour", run_date=DAY).type is StateType.COMPLETED
    assert carried(shop) == {"nps": ["2023-01-02"]}

    assert run(every="day", run_date=DAY).type is StateType.COMPLETED
    assert set(carried(shop)) == set(TABLES)
    assert len(shop.receipts("nps")) == 1


@ONE_ROUTE
def test_by_hand_all_tables_are_carried_however_often_they_are_due(shop: Any) -> None:
    """A lost day is carried again by `sync-all/on-demand` and its date alone."""
    hourly, never = {**WINDOW, "every": "hour"}, {**WINDOW, "every": "never"}
    shop.write_specs(orders=WINDOW, nps=hourly, visits=never)
    state = run(**deployed(sync_all, "on-demand"), run_date=DAY)
    assert state.type is StateType.COMPLETED
    assert carried(shop) == {"orders": ["2023-01-02"], "nps": ["2023-01-02"]}


@ONE_ROUTE
def test_named_tables_are_carried_once_due_or_not(shop: Any) -> None:
    shop.write_specs(orders=WINDOW, nps={**WINDOW, "every": "hour"}, visits=WINDOW)
    state = run(tables=["nps", f"{shop.schema}.visits", "nps"], run_date=DAY)
    assert state.type is StateType.COMPLETED
    assert carried(shop) == {"nps": ["2023-01-02"], "visits": ["2023-01-02"]}


@ONE_ROUTE
def test_an_unknown_table_is_refused_before_anything_runs(shop: Any) -> None:
    state = run(tables=["orders", "oders"], run_date=DAY)
    assert state.type is StateType.FAILED
    assert "there is no table 'oders'" in (state.message or "")
    assert "nps, orders, visits" in (state.message or "")
    assert carried(shop) == {}


@pytest.mark.parametrize("route", ["sqlite-folder-duckdb"], indirect=True)
def test_no_table_at_all_is_not_every_table(shop: Any) -> None:
    message = run(tables=[], run_date=DAY).message or ""
    assert "no table is named" in message and "the parameter `tables`" in message, message
    assert carried(shop) == {}


@pytest.mark.parametrize("route", ["sqlite-folder-duckdb"], indirect=True)
def test_all_leaves_out_what_is_carried_only_when_it_is_named(shop: Any) -> None:
    shop.write_specs(orders=WINDOW, nps=WINDOW, visits={"mode": "full", "every": "never"})
    assert run(tables=["all"], run_date=DAY).type is StateType.COMPLETED
    assert set(carried(shop)) == {"orders", "nps"}
    assert run(tables=["all", "visits"], run_date=DAY).type is StateType.COMPLETED
    assert set(carried(shop)) == {"orders", "nps", "visits"}


@ONE_ROUTE
def test_dates_are_for_window_tables_and_the_others_carry_what_their_mode_says(shop: Any) -> None:
    shop.write_specs(
        orders=WINDOW, nps={"mode": "full"}, visits={"mode": "watermark", "key": ["id"]}
    )
    state = run(run_date=DAY)
    assert state.type is StateType.COMPLETED, state.message
    assert carried(shop) == {
        "orders": ["2023-01-02"],
        "nps": ["full"],
        "visits": ["watermark"],
    }
    assert [len(shop.target(name)) for name in TABLES] == [1, 3, 3]


@pytest.mark.usefixtures("task_runs_recorded")
@ONE_ROUTE
def test_a_small_table_has_one_task_run_with_the_lines_and_retries_of_its_steps(
    shop: Any, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = 0
    kind, read = type(shop.source), type(shop.source).read

    def cut_once(self: Any, query: Any) -> Any:
        nonlocal reads
        reads += 1
        if reads == 1:
            raise ConnectionLostError("cut")
        return read(self, query)

    monkeypatch.setattr(kind, "read", cut_once)
    loads: list[tuple[str, ...]] = []
    load = make_batch.load_blocks
    monkeypatch.setattr(
        make_batch, "load_blocks", lambda *names: loads.append(names) or load(*names)
    )
    state = run(run_date=DAY)
    assert state.type is StateType.COMPLETED, state.message
    assert (reads, len(loads)) == (4, 1)
    run_id = state.state_details.flow_run_id
    expected = sorted(f"sync {shop.schema}.{name} 2023-01-02" for name in TABLES)
    assert eventually(lambda: sorted(run.name for run in api.task_runs(run_id)) == expected)
    assert [a.key for a in api.artifacts(run_id)] == ["sync-all"]
    for name in TABLES:
        for line in (f"extract {shop.schema}.{name} 2023-01-02: 1 rows", f"upsert {shop.schema}."):
            assert eventually(lambda line=line: [each for each in api.log(run_id) if line in each])
    assert [line for line in api.log(run_id) if "once more in" in line]


@pytest.mark.usefixtures("task_runs_recorded")
@ONE_ROUTE
def test_a_larger_table_has_a_task_run_for_each_step_and_a_page(
    shop: Any, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carry_batch, "SMALL_TABLE_ROWS", 0)
    state = run(run_date=DAY, tables=["nps"])
    assert state.type is StateType.COMPLETED, state.message
    run_id = state.state_details.flow_run_id
    steps = {"sync", "extract", "stage", "copy", "upsert"}
    assert eventually(
        lambda: {task_run.name.partition(" ")[0] for task_run in api.task_runs(run_id)} == steps
    )
    keys = {artifact.key for artifact in api.artifacts(run_id)}
    assert any(key and key.startswith("receipt-") for key in keys)


@ONE_ROUTE
def test_tables_are_carried_at_the_same_time(shop: Any, mariadb: Any) -> None:
    with mariadb.connect(database=shop.source.database) as held, held.cursor() as cursor:
        cursor.execute("LOCK TABLES nps WRITE")
        with ThreadPoolExecutor() as threads:
            # A copy: it holds the settings, and with them where the Prefect server is.
            all_of_them = threads.submit(copy_context().run, run, run_date=DAY)
            try:
                others = eventually(lambda: set(carried(shop)) == {"orders", "visits"}, 60)
                assert others, "the others waited for the table that is locked"
                assert not all_of_them.done()
            finally:
                cursor.execute("UNLOCK TABLES")
    assert all_of_them.result().type is StateType.COMPLETED
    assert set(carried(shop)) == set(TABLES)


def schedule(start: datetime, **parameters: Any) -> str:
    """A deployment's run that was to start at this moment; its id."""
    sync_all.to_deployment("as-scheduled").apply()
    scheduled: Any = run_deployment(
        "sync-all/as-scheduled", scheduled_time=start, parameters=parameters, timeout=0
    )
    return str(scheduled.id)


@ONE_ROUTE
def test_a_run_carries_the_day_before_its_scheduled_start_in_any_zone_and_however_late(
    shop: Any, api: Api
) -> None:
    three_days_ago = (datetime.now(UTC) - timedelta(days=3)).replace(hour=9, minute=0)
    runs = {
        # The first run of a schedule that begins on 2021-02-05 and is daily.
        "orders": schedule(datetime(2021, 2, 6, tzinfo=UTC), tables=["orders"]),
        # In Tokyo, 6 February has begun.
        "nps": schedule(
            datetime(2021, 2, 5, 23, 30, tzinfo=UTC), tables=["nps"], zone="Asia/Tokyo"
        ),
        "visits": schedule(three_days_ago, tables=["visits"]),
    }
    shop.sql("UPDATE orders SET modified = '2021-02-05 08:30:00' WHERE id = 1")

    for flow_run_id in runs.values():
        run = api.flow_run(flow_run_id)
        run_flow(sync_all, flow_run=run, parameters=run.parameters)

    assert carried(shop) == {
        "orders": ["2021-02-05"],
        "nps": ["2021-02-05"],
        "visits": [(three_days_ago.date() - timedelta(days=1)).isoformat()],
    }
    assert shop.target("orders", "id") == [(1,)]
    for table, flow_run_id in runs.items():
        assert [r.flow_run_id for r in shop.receipts(table)] == [flow_run_id]
        assert api.flow_run(flow_run_id).state_type is StateType.COMPLETED
