"""What receipts say of rows that are not there any more, or not whole, is not taken for loaded."""

from __future__ import annotations

import sys
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from prefect import flow
from prefect.logging import disable_run_logger

from ferry.errors import DataError, StaleReadError
from ferry.schema import TableName
from ferry.statements import PARAM, Statement
from ferry.windows import day_window
from flows.pipeline.carry_batch import Coordination, carry, carry_together
from flows.pipeline.carry_many import window_batches
from flows.pipeline.make_batch import load_route
from flows.pipeline.table_specs import load_table_specs
from flows.reconcile_tables import reconcile
from flows.sync_table import sync_table
from tasks.landed.history import count_run, read_run
from tasks.upsert import upsert
from tests.flows.rows.two_days import FIRST, SECOND, THIRD, fill, missing
from tests.harness.reads import read_now_land_later

pytestmark = pytest.mark.usefixtures("plain_runs")

SPEC = {"mode": "window", "key": ["id"], "start_date": "2023-01-05"}


@pytest.fixture
def people(journey: Any) -> Any:
    """Two days of one table, of which none is carried."""
    journey.sql(
        "CREATE TABLE people (id BIGINT NOT NULL PRIMARY KEY, created_at DATETIME NOT NULL)"
    )
    journey.sql("INSERT INTO people VALUES (1, '2023-01-05 10:00:00'), (2, '2023-01-06 10:00:00')")
    journey.write_specs(people=SPEC)
    return journey


def run(journey: Any, statement: str) -> None:
    journey.warehouse.execute(statement.format(f'"{journey.schema}"."people"'))


def test_a_watermark_of_ids_reads_all_again_after_a_run_that_died_behind_its_new_column(
    people: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    people.write_specs(people={"mode": "watermark", "key": ["id"], "cursor": "id"})
    sync_table(table="people")
    people.sql("ALTER TABLE people ADD COLUMN country CHAR(2) NOT NULL DEFAULT 'DE'")
    with monkeypatch.context() as patch:
        patch.setattr(sys.modules[upsert.fn.__module__], "_land", lambda *_: 1 / 0)
        with pytest.raises(Exception, match="ZeroDivisionError"):
            sync_table(table="people")
    sync_table(table="people")
    assert people.target("people", "id, country") == [(1, "DE"), (2, "DE")]
    assert sync_table(table="people").rows_extracted == 1


def test_rows_that_were_carried_again_and_are_gone_then_are_missed(people: Any) -> None:
    fill()
    people.sql("ALTER TABLE people ADD COLUMN country CHAR(2) NOT NULL DEFAULT 'DE'")
    fill(reprocess="all")
    assert missing() == {}
    run(people, "DELETE FROM {}")
    assert set(missing()) == {FIRST, SECOND}
    sync_table(table="people", run_date=SECOND)
    assert set(missing()) == {FIRST}


def test_rows_that_a_target_had_before_and_are_gone_are_missed(people: Any) -> None:
    run(people, f'CREATE SCHEMA IF NOT EXISTS "{people.schema}"')
    run(people, "CREATE TABLE {} (id BIGINT, created_at TIMESTAMP)")
    run(people, "INSERT INTO {} VALUES (1, '2023-01-05 10:00:00'), (2, '2023-01-06 10:00:00')")
    fill()
    assert missing() == {}
    run(people, "DELETE FROM {}")
    assert set(missing()) == {FIRST, SECOND}


def test_rows_that_came_after_what_a_fast_clock_dated_are_missed_when_they_are_gone(
    people: Any,
) -> None:
    people.sql("DELETE FROM people")
    sync_table(table="people", mode="full")  # of no rows, by a machine whose clock is ahead
    ahead = datetime.now(UTC) + timedelta(minutes=5)
    dated = f"UPDATE ferry.receipts SET finished_at = {PARAM} WHERE table_name = {PARAM}"
    people.warehouse.execute(Statement(dated, (ahead, f"{people.schema}.people")))
    people.sql("INSERT INTO people VALUES (1, '2023-01-05 10:00:00')")
    receipt = sync_table(table="people", run_date=FIRST)
    assert receipt.finished_at > ahead
    assert [each.mode for each in people.receipts("people")] == ["full", "window"]
    assert missing() == {}
    run(people, "DELETE FROM {}")
    assert set(missing()) == {FIRST, SECOND}


def test_rows_of_a_full_copy_over_more_than_it_brought_are_missed_when_they_are_gone(
    people: Any,
) -> None:
    run(people, f'CREATE SCHEMA IF NOT EXISTS "{people.schema}"')
    run(people, "CREATE TABLE {} (id BIGINT, created_at TIMESTAMP)")
    for number in range(10, 20):
        run(people, f"INSERT INTO {{}} VALUES ({number}, '2023-01-05 10:00:00')")
    copied = sync_table(table="people", mode="full")
    assert (copied.rows_inserted, copied.rows_deleted) == (2, 10)
    assert missing() == {}
    for _ in range(2):
        run(people, "DELETE FROM {}")
        assert set(missing()) == {FIRST, SECOND}
        sync_table(table="people", run_date=SECOND)
        assert set(missing()) == {FIRST}


@pytest.mark.parametrize("again", [True, False], ids=["carried again", "not since"])
def test_rows_of_a_full_copy_are_missed_though_more_were_deleted_than_it_brought(
    people: Any, again: bool
) -> None:
    people.write_specs(people={**SPEC, "hard_deletes": "delete"})
    sync_table(table="people", mode="full")
    for number in (11, 12, 13):
        run(people, f"INSERT INTO {{}} VALUES ({number}, '2023-01-05 10:00:00')")
    reconcile(table="people", start_date=FIRST, end_date=THIRD, repair="all", max_delete_percent=90)
    assert people.target("people", "id") == [(1,), (2,)]
    if again:
        fill(reprocess="all")
    run(people, "DELETE FROM {}")
    assert set(missing()) == {FIRST, SECOND}


def test_rows_that_a_target_had_before_are_missed_again_after_some_were_deleted(
    people: Any,
) -> None:
    run(people, f'CREATE SCHEMA IF NOT EXISTS "{people.schema}"')
    run(people, "CREATE TABLE {} (id BIGINT, created_at TIMESTAMP)")
    for number, day in ((1, 5), (2, 6), (11, 5), (12, 5), (13, 6)):
        run(people, f"INSERT INTO {{}} VALUES ({number}, '2023-01-0{day} 10:00:00')")
    people.write_specs(people={**SPEC, "hard_deletes": "delete"})
    fill()
    reconcile(table="people", start_date=FIRST, end_date=THIRD, repair="all", max_delete_percent=90)
    assert people.target("people", "id") == [(1,), (2,)]
    for _ in range(2):
        run(people, "DELETE FROM {}")
        assert set(missing()) == {FIRST, SECOND}
        fill()
        assert missing() == {}


@pytest.mark.parametrize("had", [(), (1, 2, 11, 12)], ids=["new", "had rows before"])
def test_a_table_whose_last_rows_a_repair_has_taken_out_has_lost_none(
    people: Any, had: tuple[int, ...]
) -> None:
    """As a queue that is worked off."""
    run(people, f'CREATE SCHEMA IF NOT EXISTS "{people.schema}"')
    run(people, "CREATE TABLE {} (id BIGINT, created_at TIMESTAMP)")
    for number in had:
        run(people, f"INSERT INTO {{}} VALUES ({number}, '2023-01-05 10:00:00')")
    people.write_specs(people={**SPEC, "hard_deletes": "delete", "max_delete_percent": 100})
    fill()
    fill(reprocess="all")
    people.sql("DELETE FROM people")
    reconcile(table="people", start_date=FIRST, end_date=THIRD, repair="all")
    assert people.target("people") == []
    assert missing() == {} and fill() == 0

    people.sql("INSERT INTO people VALUES (3, '2023-01-05 10:00:00')")
    sync_table(table="people", run_date=FIRST)
    run(people, "DELETE FROM {}")
    assert set(missing()) == {FIRST, SECOND}


def test_a_watermark_read_before_the_target_was_made_anew_does_not_land(people: Any) -> None:
    people.sql("INSERT INTO people VALUES (3, '2023-01-07 10:00:00')")
    people.write_specs(people={"mode": "watermark", "key": ["id"]})
    sync_table(table="people")

    def made_anew() -> None:
        run(people, "DROP TABLE {}")
        sync_table(table="people", mode="window", run_date=SECOND)

    with pytest.raises(StaleReadError, match="declared void since this batch was read"):
        read_now_land_later("people", None, {}, made_anew)
    sync_table(table="people")
    assert people.target("people", "id") == [(1,), (2,), (3,)]


def test_a_window_read_before_the_target_gained_a_column_does_not_land(people: Any) -> None:
    fill()

    def another_column() -> None:
        people.sql("ALTER TABLE people ADD COLUMN country CHAR(2) NOT NULL DEFAULT 'DE'")
        sync_table(table="people", run_date=SECOND)

    with pytest.raises(StaleReadError, match=r"gained columns since .* planned: country"):
        read_now_land_later("people", None, {"run_date": FIRST}, another_column)
    assert set(missing()) == {FIRST}


def test_a_column_is_looked_for_in_whatever_was_carried_before(people: Any) -> None:
    sync_table(table="people", mode="full")
    people.sql("ALTER TABLE people ADD COLUMN country CHAR(2) NOT NULL DEFAULT 'DE'")
    fill(reprocess="all", max_concurrency=1)
    sync_table(table="people", run_date=FIRST)
    assert missing() == {}
    people.sql("ALTER TABLE people ADD COLUMN city CHAR(2) NOT NULL DEFAULT 'X'")
    sync_table(table="people", run_date=FIRST)
    assert set(missing()) == {SECOND}


def test_a_full_copy_of_rows_that_are_all_deleted_does_not_empty_the_target(people: Any) -> None:
    people.sql("ALTER TABLE people ADD COLUMN deleted INT NOT NULL DEFAULT 0")
    people.write_specs(people={"mode": "full", "key": ["id"], "soft_deletes": "apply"})
    sync_table(table="people")
    people.sql("UPDATE people SET deleted = 1")
    told = "would empty the target.* found none in the source, leaving out those marked as deleted"
    with pytest.raises(DataError, match=told):
        sync_table(table="people")
    assert len(people.target("people")) == 2


def test_a_cursor_that_the_target_has_not_yet_puts_the_days_in_question(people: Any) -> None:
    fill()
    people.sql("ALTER TABLE people ADD COLUMN edited_on DATETIME")
    people.sql("UPDATE people SET edited_on = created_at")
    people.write_specs(people={**SPEC, "cursor": "edited_on"})
    assert set(missing()) == {FIRST, SECOND}
    assert fill() == 2
    assert missing() == {}


def test_a_column_of_the_target_alone_is_not_its_cursor(people: Any) -> None:
    people.write_specs(people={**SPEC, "target_only": ["updated_at"]})
    fill()
    run(people, "ALTER TABLE {} ADD COLUMN updated_at TIMESTAMP")
    assert missing() == {}
    assert fill() == 0


def test_a_batch_that_landed_in_a_target_that_is_gone_lands_once_more(people: Any) -> None:
    spec = load_table_specs().named("people")
    day = day_window(FIRST)
    (batch,) = window_batches(spec, [day], "a-run", datetime(2023, 2, 1, tzinfo=UTC))
    with disable_run_logger():
        carry_together(batch, load_route(spec), Coordination())
        run(people, "DROP TABLE {}")
        for _ in range(2):
            carry_together(batch, load_route(spec), Coordination())
    assert people.target("people", "id") == [(1,)]
    assert [r.status for r in people.receipts("people")] == ["loaded", "void", "loaded"]


def test_a_backfill_begun_again_carries_what_is_void_since(people: Any) -> None:
    receipt = sync_table(table="people", run_date=FIRST)
    table = receipt.table_name
    run(people, "DROP TABLE {}")
    sync_table(table="people", run_date=SECOND)
    name = TableName(*table.split("."))
    assert read_run.fn(receipt.flow_run_id, name, people.warehouse).receipts == {}


@pytest.mark.parametrize("statement", ["DROP TABLE {}", "DELETE FROM {}"])
def test_a_batch_that_is_tried_again_lands_once_more_where_its_rows_are_gone(
    people: Any, statement: str
) -> None:
    spec, landed = load_table_specs().named("people"), []

    @flow
    def carry_in_two_attempts() -> None:
        moment = datetime(2023, 2, 1, tzinfo=UTC)
        (batch,) = window_batches(spec, [day_window(FIRST)], "of the days", moment)
        landed.append(carry(batch, load_route(spec)))
        run(people, statement)
        for _ in range(2):
            landed.append(carry(replace(batch, attempt=2), load_route(spec)))

    carry_in_two_attempts()

    assert [receipt.rows_inserted for receipt in landed] == [1, 1, 1]
    assert landed[0].batch_id != landed[1].batch_id == landed[2].batch_id
    assert people.target("people", "id") == [(1,)]
    assert list(missing()) == [SECOND]


def test_how_far_a_run_is_is_counted_by_the_warehouse(people: Any) -> None:
    name, long_ago = TableName(people.schema, "people"), datetime(2023, 1, 1, tzinfo=UTC)
    landed = sync_table(table="people", run_date=FIRST)
    assert count_run(landed.flow_run_id, name, long_ago, people.warehouse) == (1, 0, 1)
    assert count_run(landed.flow_run_id, name, datetime.now(UTC), people.warehouse) == (0, 0, 0)
    people.write_specs(people={**SPEC, "cursor": "nope"})
    assert sync_table(table="people", run_date=SECOND, return_state=True).is_failed()
    ((run_id,),) = people.warehouse.fetch(
        f"SELECT flow_run_id FROM ferry.failures WHERE table_name = '{name}'"
    )
    assert count_run(run_id, name, long_ago, people.warehouse) == (0, 1, 0)
    assert count_run(run_id, name, datetime.now(UTC), people.warehouse) == (0, 0, 0)
    people.warehouse.execute(
        f"UPDATE ferry.receipts SET flow_run_id = '{run_id}', batch_id = (SELECT MAX(batch_id) "
        f"FROM ferry.failures WHERE table_name = '{name}') WHERE table_name = '{name}'"
    )
    assert count_run(run_id, name, long_ago, people.warehouse) == (1, 0, 1)  # it landed after all


BACKFILLED = "a backfill with reprocess=missing carries it again"
READ_NOW = "this run reads the whole table"


@pytest.mark.parametrize("route", ["sqlite-folder-duckdb"], indirect=True)
@pytest.mark.parametrize(
    ("spec", "given", "advice"),
    [
        (SPEC, {"run_date": SECOND}, BACKFILLED),
        ({"mode": "watermark", "key": ["id"]}, {}, READ_NOW),
        ({"mode": "full"}, {}, READ_NOW),
        (
            {"mode": "watermark", "key": ["id"]},
            {"mode": "window", "run_date": SECOND},
            "the next run in mode watermark reads the whole table again",
        ),
    ],
    ids=["window", "watermark", "full", "a window of a watermark's table"],
)
@pytest.mark.parametrize("loss", ["DELETE FROM {}", "DROP TABLE {}"])
def test_the_warning_says_what_carries_again_what_was_lost(
    people: Any,
    caplog: pytest.LogCaptureFixture,
    loss: str,
    spec: dict[str, Any],
    given: dict[str, Any],
    advice: str,
) -> None:
    people.write_specs(people=spec)
    sync_table(table="people", mode="full")
    run(people, loss)
    caplog.clear()
    sync_table(table="people", **given)
    told = [r.getMessage() for r in caplog.records if "count as loaded any more" in r.getMessage()]
    assert [line.partition("any more; ")[2] for line in told] == [advice]
    if "the next run" in advice:
        assert len(people.target("people")) == 1
        sync_table(table="people")
    if advice != BACKFILLED:  # it is as the warning says
        assert len(people.target("people")) == 2


@pytest.mark.parametrize("mode", ["watermark", "window"])
def test_versions_that_were_carried_without_a_key_do_not_stay_beside_a_keyed_row(
    people: Any, mode: str
) -> None:
    people.write_specs(people={"mode": "watermark"})
    sync_table(table="people")
    people.sql("UPDATE people SET created_at = '2023-01-07 10:00:00' WHERE id = 1")
    sync_table(table="people")
    assert people.target("people", "id") == [(1,), (1,), (2,)]
    people.write_specs(people={"mode": mode, "key": ["id"]})
    given = {"run_date": date(2023, 1, 7)} if mode == "window" else {}
    with pytest.raises(DataError, match=r"that were carried without a key.* key is now id"):
        sync_table(table="people", **given)
    sync_table(table="people", mode="full")
    sync_table(table="people", **given)
    assert people.target("people", "id") == [(1,), (2,)]
