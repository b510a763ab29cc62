"""backfill: a range of days, in parallel, and exactly what is not there is told and repaired."""

import re
from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import httpx
import pytest
from prefect.client.schemas.objects import State, StateType

from deployments.local.redshift_double import Fault
from ferry.day_ranges import DayRange
from ferry.statements import PARAM, Statement
from flows import backfill_tables
from flows.backfill_tables import backfill
from flows.pipeline import carry_plan
from flows.pipeline.make_batch import load_route
from flows.pipeline.table_specs import load_table_specs
from flows.sync_table import sync_table
from tasks.plan_backfill import plan_backfill
from tests.flows.pipeline.forks import begin
from tests.harness.api import Api
from tests.harness.plain_runs import pages_of

pytestmark = pytest.mark.usefixtures("plain_runs")  # but for those that ask for `api`
WINDOW = {"mode": "window", "key": ["id"], "insert_rows": 0}
JULY = {"start_date": date(2023, 7, 1), "end_date": date(2023, 7, 11)}
ONE_ROUTE = pytest.mark.parametrize("route", ["mysql-folder-postgres"], indirect=True)
ROWS_A_DAY = 3


@pytest.fixture
def shop(journey: Any) -> Any:
    """Three rows on each of ten days of July, and one on the eleventh."""
    journey.sql("CREATE TABLE nps (id INT NOT NULL PRIMARY KEY, modified DATETIME, score INT)")
    first = datetime(2023, 7, 1)
    step = timedelta(days=1) / ROWS_A_DAY
    rows = [(n, str(first + n * step), n % 11) for n in range(10 * ROWS_A_DAY + 1)]
    journey.sql("INSERT INTO nps VALUES (?, ?, ?)", rows)
    journey.write_specs(nps=WINDOW)
    return journey


def run(**parameters: Any) -> State[Any]:
    state: State[Any] = backfill(**{"table": "nps", **JULY, **parameters}, return_state=True)
    return state


def completed(**parameters: Any) -> str:
    state = run(**parameters)
    assert state.type is StateType.COMPLETED, state.message
    return state.message or ""


def failed(**parameters: Any) -> str:
    state = run(**parameters)
    assert state.type is StateType.FAILED, state.message
    return state.message or ""


def ids(shop: Any) -> list[int]:
    return [row[0] for row in shop.target("nps", "id")]


def carried_days(shop: Any) -> Counter[str]:
    return Counter(receipt.window_label for receipt in shop.receipts("nps"))


def page_of(state: State[Any]) -> str:
    return pages_of(state)["backfill"]


def test_rows_that_the_source_no_longer_has_are_counted_and_stay(
    shop: Any, caplog: pytest.LogCaptureFixture
) -> None:
    again = {"reprocess": "all", "max_concurrency": 2}
    assert "not in the source's" not in page_of(run())
    shop.sql("DELETE FROM nps WHERE id IN (0, 1, 14)")
    shop.sql("UPDATE nps SET modified = '2023-08-05 00:00:00' WHERE id = 29")  # leaves its window

    state = run(**again)

    assert state.type is StateType.COMPLETED, state.message
    page = page_of(state)
    assert f"{shop.schema}.nps: at least 4 rows of the target in these windows" in page
    assert "Ferry does not delete them" in page
    assert [message for message in caplog.messages if "at least 4 rows" in message]
    assert ids(shop) == list(range(10 * ROWS_A_DAY))
    assert sum(r.rows_deleted for r in shop.receipts("nps")) == 0
    only_one = run(**again, start_date=date(2023, 7, 5), end_date=date(2023, 7, 6))
    assert "at least 1 rows" in page_of(only_one)  # 14 was on the 5th
    assert "not in the source's" not in page_of(run(start_date=date(2023, 7, 2), **NEXT))


NEXT = {"end_date": date(2023, 7, 4), "reprocess": "all"}


def forget(shop: Any, *days: str) -> None:
    """Take days out of the target and out of the receipts."""
    receipt = f"DELETE FROM ferry.receipts WHERE table_name = {PARAM} AND window_label = {PARAM}"
    rows = f'DELETE FROM "{shop.schema}"."nps" WHERE CAST(modified AS DATE) = {PARAM}'
    for day in days:
        shop.warehouse.execute(Statement(receipt, (f"{shop.schema}.nps", day)))
        shop.warehouse.execute(Statement(rows, (date.fromisoformat(day),)))


def test_a_month_arrives_by_the_day_again_moves_nothing_and_repairs_just_what_is_missing(
    shop: Any,
) -> None:
    july = list(range(10 * ROWS_A_DAY))
    table = f"{shop.schema}.nps"

    first = completed()
    assert first.startswith(f"{table}: 10 windows carried, 0 failed, 0 skipped; 30 read, 30 ins")
    assert ids(shop) == july
    assert len(carried_days(shop)) == 10

    again = completed()
    assert again.startswith(f"{table}: 0 windows carried, 0 failed, 10 skipped; 0 read")

    forget(shop, "2023-07-03", "2023-07-04", "2023-07-09")
    assert len(ids(shop)) == 30 - 9
    repaired = completed(reprocess="missing")
    assert repaired.startswith(f"{table}: 3 windows carried, 0 failed, 7 skipped; 9 read, 9 ins")
    assert ids(shop) == july
    assert set(carried_days(shop).values()) == {1}
    assert shop.leftovers() == set()


@ONE_ROUTE
def test_all_carries_everything_again_and_changes_nothing(shop: Any) -> None:
    completed(granularity="week")
    told = completed(granularity="week", reprocess="all")
    assert "3 windows carried, 0 failed, 0 skipped; 30 read, 0 inserted, 0 updated, 30 unch" in told
    assert len(ids(shop)) == 30


@ONE_ROUTE
@pytest.mark.parametrize(("granularity", "windows"), [("hour", 24), ("month", 1)])
def test_a_window_is_as_long_as_the_granularity_says(
    shop: Any, granularity: str, windows: int
) -> None:
    end = date(2023, 7, 2) if granularity == "hour" else date(2023, 7, 11)
    completed(granularity=granularity, end_date=end, max_concurrency=8)
    assert sum(carried_days(shop).values()) == windows
    assert len(ids(shop)) == (ROWS_A_DAY if granularity == "hour" else 30)


@ONE_ROUTE
def test_windows_begin_in_the_order_asked_for(shop: Any) -> None:
    shop.write_specs(nps={**WINDOW, "batch_rows": 0})
    completed(order="newest", max_concurrency=1, start_date=date(2023, 7, 8))
    assert list(carried_days(shop)) == ["2023-07-10", "2023-07-09", "2023-07-08"]


@ONE_ROUTE
def test_a_dry_run_shows_the_plan_with_its_rows_and_carries_nothing(shop: Any) -> None:
    sync_table(table="nps", run_date=date(2023, 7, 2))

    state = run(dry_run=True)

    assert state.type is StateType.COMPLETED
    assert (state.message or "").startswith(
        f"Dry run: {shop.schema}.nps: 9 of 10 windows to carry, about "
    )
    assert list(carried_days(shop)) == ["2023-07-02"]
    ((key, page),) = pages_of(state).items()
    assert key == "backfill-plan"
    lines = page.splitlines()
    (overview,) = (line for line in lines if line.startswith(f"| {shop.schema}.nps |"))
    cells = [cell.strip() for cell in overview.split("|")[2:-1]]
    assert cells[:3] == ["10", "9", "1"]
    assert 15 <= int(cells[3]) <= 60  # the optimizer's guess of 27 rows
    assert int(cells[4].replace(",", "")) > 60
    assert lines[-3].startswith("| 2023-07-01 | 1 | carry | ")
    assert lines[-2] == "| 2023-07-02 | 1 | loaded |  |"
    assert lines[-1].startswith("| 2023-07-03 to 2023-07-10 | 8 | carry | ")


@ONE_ROUTE
def test_days_that_fail_are_named_with_their_reason_and_a_second_run_finishes_the_job(
    shop: Any, api: Api
) -> None:
    shop.write_specs(nps={**WINDOW, "key": ["id", "score"]})
    shop.sql("UPDATE nps SET score = NULL WHERE id IN (0, 4, 29)")

    state = run()

    assert state.type is StateType.FAILED
    assert state.message == (
        f"{shop.schema}.nps: 3 windows failed, 2023-07-01 to 2023-07-02, 2023-07-10: "
        f"FERRY-DATA: upsert {shop.schema}.nps … at postgres-warehouse/{shop.name}: "
        "rows without a full key (id, score); expected no NULL in the key; found 1 rows. "
        "Choose a key whose columns are never NULL."
    )
    assert len(ids(shop)) == 7 * ROWS_A_DAY
    page = {a.key: str(a.data) for a in api.artifacts(state.state_details.flow_run_id)}["backfill"]
    assert page.count(f"| {shop.schema}.nps | 2023-07-") == 3
    assert shop.leftovers() == set()

    shop.sql("UPDATE nps SET score = 7 WHERE score IS NULL")
    told = completed(reprocess="failed")
    assert "3 windows carried, 0 failed, 7 skipped; 9 read, 9 inserted" in told
    assert len(ids(shop)) == 30


@ONE_ROUTE
def test_strict_order_ends_at_the_first_failure_and_says_what_was_not_begun(shop: Any) -> None:
    shop.write_specs(nps={**WINDOW, "key": ["id", "score"]})
    shop.sql("UPDATE nps SET score = NULL WHERE id = 3")
    told = failed(order="strict", end_date=date(2023, 7, 5))
    assert told.startswith("3 windows failed:\n")
    (why, not_begun) = told.splitlines()[1:]
    assert "nps: 1 window failed, 2023-07-02: FERRY-DATA: upsert" in why
    assert "2 windows failed, 2023-07-03 to 2023-07-04: not begun: one before" in not_begun
    assert list(carried_days(shop)) == ["2023-07-01"]


@pytest.mark.parametrize("route", ["mysql-s3-redshift"], indirect=True)
def test_a_retriable_failure_is_tried_again_in_its_window(shop: Any, redshift_double: Any) -> None:
    shop.write_specs(nps={**WINDOW, "batch_rows": 0})
    redshift_double.inject(Fault("cut_before", r"^COPY", nth=3))
    redshift_double.inject(Fault("cut_before", r"^INSERT INTO .*receipts"))
    completed(end_date=date(2023, 7, 6))
    assert redshift_double.struck() == 2
    assert len(ids(shop)) == 5 * ROWS_A_DAY


@ONE_ROUTE
def test_windows_that_apply_deletions_are_carried_one_at_a_time(shop: Any) -> None:
    shop.sql("ALTER TABLE nps ADD deleted DATETIME")
    shop.sql("UPDATE nps SET deleted = modified WHERE id IN (1, 7)")
    shop.write_specs(nps={**WINDOW, "soft_deletes": "apply"})
    assert "10 windows carried, 0 failed" in completed(max_concurrency=4)
    assert ids(shop) == [number for number in range(30) if number not in (1, 7)]


@ONE_ROUTE
def test_several_tables_or_all_that_have_windows(shop: Any, api: Api) -> None:
    for name in ("orders", "colours", "theirs"):
        shop.sql(f"CREATE TABLE {name} (id INT NOT NULL PRIMARY KEY, modified DATETIME)")
        shop.sql(f"INSERT INTO {name} VALUES (1, '2023-07-01 10:00:00')")
    theirs = {**WINDOW, "every": "never"}
    shop.write_specs(nps=WINDOW, orders=WINDOW, colours={"mode": "full"}, theirs=theirs)
    days = {"end_date": date(2023, 7, 3)}
    completed(table=["orders", f"{shop.schema}.nps"], **days)
    assert (len(shop.receipts("orders")), len(shop.receipts("nps"))) == (2, 2)
    state = run(table="all", reprocess="all", **days)
    assert state.type is StateType.COMPLETED
    assert [len(shop.receipts(name)) for name in ("orders", "nps", "theirs")] == [4, 4, 0]
    pages = {a.key: str(a.data) for a in api.artifacts(state.state_details.flow_run_id)}
    assert f"- {shop.schema}.colours is left out: a table in mode full" in pages["backfill-plan"]
    assert f"{shop.schema}.theirs is left out: every: never: carried" in pages["backfill-plan"]
    assert f"{shop.schema}.theirs: 2 windows carried" in completed(table=["all", "theirs"], **days)


@ONE_ROUTE
def test_a_table_that_cannot_be_planned_stops_no_other_and_is_named_with_its_reason(
    shop: Any,
) -> None:
    late = {**WINDOW, "start_date": date(2023, 7, 2)}
    shop.sql("CREATE TABLE late (id INT NOT NULL PRIMARY KEY, modified DATETIME)")
    shop.write_specs(gone=WINDOW, nps=WINDOW, late=late, lost={**WINDOW, "source": "no-such"})
    days = {"end_date": date(2023, 7, 3)}
    gone, late_, lost = (f"{shop.schema}.{name}" for name in ("gone", "late", "lost"))
    dry = failed(table="all", dry_run=True, **days)
    assert f"{shop.schema}.nps: 2 of 2 windows to carry" in dry
    state = run(table="all", **days)

    assert state.type is StateType.FAILED
    message = state.message or ""
    assert message.startswith("3 tables could not be planned, and were not carried:\n")
    lines = message.splitlines()
    for told in (dry.splitlines(), lines):
        (why,) = (line for line in told if line.startswith(f"{gone}: "))
        assert "FERRY-SCHEMA: " in why and "there is no table" in why
        assert any(line.startswith(f"{late_}: FERRY-REQUEST") for line in told)
        assert any(line.startswith(f"{lost}: FERRY-CONFIGURATION") for line in told)
    assert len(shop.receipts("nps")) == 2
    for page in ("backfill-plan", "backfill"):
        assert pages_of(state)[page].count("could not be planned") == 3
        assert "there is no table" in pages_of(state)[page]
    assert "there is no table" in failed(table=["nps", "gone"], **days)
    assert "there is no table" in failed(table="gone", **days)


@pytest.mark.parametrize("route", ["sqlite-folder-duckdb"], indirect=True)
def test_bad_input_is_refused_before_anything_runs(shop: Any) -> None:
    shop.sql("CREATE TABLE days (id INT NOT NULL PRIMARY KEY, day DATE)")
    shop.sql("CREATE TABLE timeless (id INT NOT NULL PRIMARY KEY, name TEXT)")
    shop.write_specs(
        nps={**WINDOW, "start_date": "2023-07-01"},
        days={**WINDOW, "cursor": "day"},
        colours={"mode": "full"},
        timeless=WINDOW,
    )
    for parameters, problem in (
        ({"end_date": date(2023, 7, 1)}, "the range's end is not after its start"),
        ({"start_date": date(2200, 1, 1), "end_date": date(2200, 1, 2)}, "is in the future"),
        ({"start_date": date(2023, 6, 1)}, "begins before the table does"),
        ({"zone": "Mars/Olympus"}, "there is no time zone 'Mars/Olympus'"),
        (
            {"granularity": "hour", "start_date": date(1910, 1, 1), "table": "days"},
            "Use granularity=week",
        ),
        ({"granularity": "hour", "table": "days"}, "column 'day' has no time of day"),
        ({"table": "colours"}, "a table in mode full cannot be backfilled"),
        ({"table": "timeless"}, "mode window needs a cursor column"),
        ({"table": []}, "no table is named"),
        ({"table": "npz"}, "there is no table 'npz' among the specs"),
        ({"order": "strict", "workers": 2}, "strict order is for one worker"),
        ({"granularity": "fortnight"}, "'hour', 'day', 'week' or 'month'"),
        ({"max_concurrency": 0}, "greater than or equal to 1"),
    ):
        assert problem in failed(**parameters), parameters
    assert shop.warehouse.tables_in(shop.schema) == []


def carry_the_fifth() -> None:
    sync_table(table="nps", run_date=date(2023, 7, 5))


@pytest.mark.usefixtures("api")
@ONE_ROUTE
def test_a_backfill_and_the_daily_run_at_once_end_with_the_right_table(shop: Any) -> None:
    daily = begin(carry_the_fifth)
    completed(reprocess="all")
    completed(reprocess="all", order="newest")
    daily.join()
    assert daily.exitcode == 0
    assert ids(shop) == list(range(30))


@ONE_ROUTE
@pytest.mark.parametrize(("carried", "partial"), [(10, 0), (3, 0), (10, 3)])
def test_a_table_that_ends_between_its_windows_stops_no_other(
    shop: Any, monkeypatch: pytest.MonkeyPatch, caplog: Any, carried: int, partial: int
) -> None:
    shop.sql("CREATE TABLE people AS SELECT * FROM nps WHERE id = 6")
    shop.write_specs(nps=WINDOW, people={**WINDOW, "insert_rows": 0})

    def away(plan: Any, options: Any, route: Any, carry: Any = carry_plan._carry) -> Any:
        done = carry(replace(plan, windows=plan.windows[:carried]), options, route)
        days = f"table_name = '{shop.schema}.nps' AND window_label < '2023-07-0{partial + 1}'"
        shop.warehouse.execute(f"UPDATE ferry.receipts SET status = 'partial' WHERE {days}")
        if plan.spec.name == "people":
            return done
        raise httpx.ConnectError("refused")  # as of Prefect, when it is asked for a block

    monkeypatch.setattr(carry_plan, "_carry", away)
    told, left = failed(table=["nps", "people"]), 10 - carried + partial
    assert re.search(r"FERRY-UNKNOWN: .*nps: failed in a way .*: ConnectError", told)
    assert re.findall(r"(\d+) windows failed", told) == [str(left)] * bool(left)
    assert f"nps: {10 - left} windows carried, {left} failed, 0 skipped" in caplog.text
    assert (len(shop.receipts("nps")), shop.target("people", "id")) == (carried, [(6,)])


@ONE_ROUTE
@pytest.mark.parametrize("reprocess", ["missing", "all"])
def test_a_run_that_is_tried_again_with_another_key_carries_all_of_it_again(
    shop: Any, monkeypatch: pytest.MonkeyPatch, reprocess: str
) -> None:
    ended, failed_once = backfill_tables._ended, list[bool]()

    def fails_first(*told: Any) -> Any:
        if not failed_once:
            failed_once.append(True)
            shop.write_specs(nps={**WINDOW, "key": ["id", "score"]})
            raise RuntimeError("the key was corrected")
        return ended(*told)

    monkeypatch.setattr(backfill_tables, "_ended", fails_first)
    given = {"table": "nps", **JULY, "reprocess": reprocess, "return_state": True}
    state = backfill.with_options(retries=1)(**given)
    assert "10 windows carried, 0 failed, 0 skipped" in str(state.message)
    assert set(carried_days(shop).values()) == {2}
    assert "0 windows carried" in completed()
    assert sum('"score"' in receipt.read_as for receipt in shop.receipts("nps")) == 10


@ONE_ROUTE
def test_a_run_that_is_tried_again_does_only_what_is_left(shop: Any) -> None:
    """As after a crash: the same run, a second attempt, whatever `reprocess` says."""
    state = run(end_date=date(2023, 7, 4), reprocess="all")
    spec = load_table_specs().named("nps")
    route = load_route(spec)
    plan = plan_backfill.fn(
        spec,
        DayRange(date(2023, 7, 1), date(2023, 7, 6), "UTC"),
        "day",
        "all",
        route.source,
        route.warehouse,
        now=datetime.now(UTC),
        flow_run_id=str(state.state_details.flow_run_id),
    )
    assert [planned.window.label for planned in plan.to_run] == ["2023-07-04", "2023-07-05"]
