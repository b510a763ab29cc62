"""Days that were loaded and are not there any more do not count as loaded."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from prefect.client.schemas.objects import StateType
from prefect.exceptions import FailedRun

from ferry.errors import BusyError, DataError, RequestError, StaleReadError
from flows.backfill_tables import backfill
from flows.carry_windows import carry_windows
from flows.pipeline.carry_batch import carry_together
from flows.sync_table import sync_table
from tests.flows.rows.two_days import FIRST, SECOND, fill, missing
from tests.harness.reads import read_now_land_later

pytestmark = pytest.mark.usefixtures("plain_runs")

SPEC = {"mode": "window", "key": ["id"], "start_date": "2023-01-05"}


@pytest.fixture
def people(journey: Any) -> Any:
    """Two days of one table, both carried."""
    journey.sql("CREATE TABLE people (id BIGINT NOT NULL PRIMARY KEY, modified DATETIME NOT NULL)")
    journey.sql("INSERT INTO people VALUES (1, '2023-01-05 10:00:00'), (2, '2023-01-06 10:00:00')")
    journey.write_specs(people=SPEC)
    sync_table(table="people", run_date=FIRST)
    sync_table(table="people", run_date=SECOND)
    return journey


def test_a_target_that_is_gone_has_no_loaded_days(people: Any) -> None:
    assert missing() == {}
    people.warehouse.execute(f'DROP TABLE "{people.schema}"."people"')
    assert missing() == dict.fromkeys((FIRST, SECOND), "the target is gone")
    assert fill() == 2
    assert missing() == {}


def test_a_target_made_anew_has_no_loaded_days_but_those_carried_since(people: Any) -> None:
    people.warehouse.execute(f'ALTER TABLE "{people.schema}"."people" RENAME TO people_old')
    sync_table(table="people", run_date=SECOND)
    assert missing() == {FIRST: "the target was made anew"}
    statuses = [receipt.status for receipt in people.receipts("people")]
    assert statuses == ["loaded", "loaded", "void", "loaded"]
    assert fill() == 1
    assert people.target("people", "id") == [(1,), (2,)]


def test_a_target_that_was_emptied_has_no_loaded_days_but_those_carried_since(people: Any) -> None:
    people.warehouse.execute(f'DELETE FROM "{people.schema}"."people"')
    assert missing() == dict.fromkeys((FIRST, SECOND), "the target has lost its rows")
    sync_table(table="people", run_date=SECOND)
    assert missing() == {FIRST: "the target had lost its rows"}
    assert fill() == 1


def test_a_table_whose_source_is_empty_stays_loaded(people: Any) -> None:
    people.sql("DELETE FROM people")
    people.write_specs(people={**SPEC, "allow_empty": True})
    sync_table(table="people", mode="full")
    assert missing() == {}


def test_a_full_copy_of_nothing_does_not_empty_the_target(people: Any) -> None:
    people.sql("DELETE FROM people")
    with pytest.raises(
        DataError, match=r"upsert .*people full at .*: a full copy of no rows would"
    ):
        sync_table(table="people", mode="full")
    assert len(people.target("people")) == 2
    people.sql("INSERT INTO people VALUES (1, '2023-01-05 10:00:00')")
    people.write_specs(people={**SPEC, "max_shrink_percent": 40})
    with pytest.raises(DataError, match="by more than 40 %"):
        sync_table(table="people", mode="full")
    people.write_specs(people={**SPEC, "max_shrink_percent": 50})
    assert sync_table(table="people", mode="full").rows_deleted == 2


@pytest.mark.parametrize("declared", ["CHAR(2) NOT NULL DEFAULT 'DE'", "CHAR(2) DEFAULT 'DE'"])
def test_days_carried_before_a_column_with_a_value_in_their_rows_are_carried_again(
    people: Any, declared: str
) -> None:
    people.sql(f"ALTER TABLE people ADD COLUMN country {declared}")
    sync_table(table="people", run_date=SECOND)
    why = "older rows have no value in the new column country"
    assert missing() == {FIRST: why}
    assert fill() == 1
    assert people.target("people", "id, country") == [(1, "DE"), (2, "DE")]


def test_a_full_copy_that_fails_leaves_no_day_without_its_new_column_loaded(people: Any) -> None:
    people.sql("ALTER TABLE people ADD COLUMN country CHAR(2) DEFAULT 'DE'")
    people.sql("DELETE FROM people WHERE id = 1")
    people.write_specs(people={**SPEC, "max_shrink_percent": 10})
    with pytest.raises(DataError):
        sync_table(table="people", mode="full")
    assert set(missing()) == {FIRST, SECOND}
    people.write_specs(people=SPEC)
    assert (fill(), missing()) == (2, {})


def test_a_backfill_carries_what_it_finds_to_be_missing_on_its_way(people: Any) -> None:
    people.sql("ALTER TABLE people ADD COLUMN country CHAR(2) DEFAULT 'DE'")
    people.sql("INSERT INTO people VALUES (3, '2023-01-07 10:00:00', 'FR')")
    carried = backfill(table="people", start_date=FIRST, end_date=date(2023, 1, 8))
    labels = [receipt.window_label for receipt in next(iter(carried.values()))]
    assert labels == ["2023-01-07", "2023-01-05", "2023-01-06"]
    assert missing() == {}
    assert people.target("people", "id, country") == [(1, "DE"), (2, "DE"), (3, "FR")]


@pytest.mark.parametrize("reprocess", ["missing", "all"])
def test_a_backfill_carries_once_more_what_is_taken_from_the_target_on_its_way(
    people: Any, monkeypatch: pytest.MonkeyPatch, reprocess: Any
) -> None:
    people.sql("INSERT INTO people VALUES (3, '2023-01-07 10:00:00')")
    people.write_specs(people={**SPEC, "batch_rows": 0})
    people.warehouse.execute(f'DROP TABLE "{people.schema}"."people"')
    carried: list[Any] = []

    def carry_after_a_loss(batch: Any, *given: Any) -> Any:
        if len(carried) == 2:
            people.warehouse.execute(f'DELETE FROM "{people.schema}"."people"')
        carried.append(batch.label)
        return carry_together(batch, *given)

    monkeypatch.setattr("flows.pipeline.carry_many.carry_together", carry_after_a_loss)
    receipts = backfill(
        table="people",
        start_date=FIRST,
        end_date=date(2023, 1, 8),
        max_concurrency=1,
        reprocess=reprocess,
    )
    assert carried == ["2023-01-05", "2023-01-06", "2023-01-07", "2023-01-05", "2023-01-06"]
    assert len(next(iter(receipts.values()))) == 3
    assert missing() == {}
    assert people.target("people", "id") == [(1,), (2,), (3,)]


def test_a_backfill_that_cannot_look_again_says_so_and_what_it_has_carried(
    people: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    people.sql("INSERT INTO people VALUES (3, '2023-01-07 10:00:00')")

    def nobody_answers(*_: Any) -> Any:
        raise BusyError("the warehouse does not answer", todo="Look at it.")

    monkeypatch.setattr("flows.pipeline.carry_plan._lost", nobody_answers)
    days: Any = {"start_date": FIRST, "end_date": date(2023, 1, 8)}
    state: Any = backfill(table="people", **days, return_state=True)
    assert state.type is StateType.FAILED
    assert "2 windows failed, 2023-01-05 to 2023-01-06: not known whether" in state.message
    assert len(people.receipts("people")) == 3


def test_days_carried_before_a_column_that_is_empty_in_their_rows_stay_loaded(people: Any) -> None:
    people.sql("ALTER TABLE people ADD COLUMN country CHAR(2)")
    people.sql("INSERT INTO people VALUES (3, '2023-01-06 11:00:00', 'FR')")
    people.sql("INSERT INTO people VALUES (4, '2023-01-07 11:00:00', 'IT')")  # not carried yet
    sync_table(table="people", run_date=SECOND)
    assert missing() == {}


def test_a_column_that_was_left_out_and_is_not_any_more_fills_the_days_before(people: Any) -> None:
    people.sql("ALTER TABLE people ADD COLUMN country CHAR(2)")
    people.write_specs(people={**SPEC, "exclude": ["country"]})
    people.sql("UPDATE people SET country = 'FR'")
    sync_table(table="people", run_date=FIRST)
    people.write_specs(people=SPEC)
    sync_table(table="people", run_date=FIRST)  # the day after it was carried without
    assert list(missing()) == [SECOND]


def test_a_watermark_reads_all_again_for_a_column_that_older_rows_have_a_value_in(
    people: Any,
) -> None:
    people.write_specs(people={"mode": "watermark", "key": ["id"]})
    sync_table(table="people")
    people.sql("ALTER TABLE people ADD COLUMN country CHAR(2) DEFAULT 'DE'")
    sync_table(table="people")
    assert people.target("people", "id, country") == [(1, "DE"), (2, "DE")]
    assert sync_table(table="people").rows_extracted == 1


def test_a_target_emptied_while_a_watermark_was_read_is_read_from_the_beginning(
    people: Any,
) -> None:
    people.write_specs(people={"mode": "watermark", "key": ["id"]})
    sync_table(table="people")
    empty = f'DELETE FROM "{people.schema}"."people"'
    with pytest.raises(StaleReadError, match="the target lost its rows since"):
        read_now_land_later("people", None, {}, lambda: people.warehouse.execute(empty))


def test_changing_the_cursor_puts_the_days_in_question_that_another_one_carried(
    people: Any, caplog: pytest.LogCaptureFixture
) -> None:
    people.sql("ALTER TABLE people ADD COLUMN made DATETIME")
    people.sql("UPDATE people SET made = '2023-01-05 09:00:00'")
    people.write_specs(people={**SPEC, "cursor": "made"})
    why = "it was carried by the cursor modified, and the cursor is now made"
    sync_table(table="people", run_date=FIRST)
    assert f"from 2023-01-05 up to 2023-01-07 do not count as loaded any more ({why})" in (
        caplog.text.replace("they were carried", "it was carried")
    )
    cursors = {receipt.cursor_name for receipt in people.receipts("people")}
    assert cursors - {None} == {"modified", "made"}
    assert missing() == {SECOND: why}
    assert fill() == 1


CORRECTIONS: list[tuple[dict[str, Any], str]] = [
    ({"key": ["id", "shop"]}, "with key id, and key is now id, shop"),
    ({"source_zone": "Asia/Seoul"}, "with source_zone UTC, and source_zone is now Asia/Seoul"),
]


@pytest.mark.parametrize(("corrected", "why"), CORRECTIONS, ids=["key", "zone"])
def test_a_correction_of_the_spec_puts_the_days_in_question_that_were_read_otherwise(
    people: Any, caplog: pytest.LogCaptureFixture, corrected: dict[str, Any], why: str
) -> None:
    people.sql("ALTER TABLE people ADD COLUMN shop INT NOT NULL DEFAULT 1")
    sync_table(table="people", run_date=FIRST)
    sync_table(table="people", run_date=SECOND)
    assert missing() == {}
    people.undeclare_key("people")
    people.write_specs(people={**SPEC, "on_repeated_key": "newest", **corrected})
    assert missing() == dict.fromkeys((FIRST, SECOND), f"it was carried {why}")
    sync_table(table="people", run_date=FIRST)
    assert f"do not count as loaded any more (they were carried {why})" in caplog.text
    assert list(missing()) == [SECOND]
    assert fill() == 1
    assert missing() == {}


@pytest.mark.parametrize(
    "spec", [SPEC, {"mode": "watermark", "key": ["id"]}, {"mode": "watermark"}], ids=str
)
def test_rows_of_another_source_table_are_taken_out_before_any_are_added(
    people: Any, spec: dict[str, Any]
) -> None:
    people.write_specs(people=spec)
    people.warehouse.execute(f'DROP TABLE "{people.schema}"."people"')
    sync_table(table="people")
    people.sql("CREATE TABLE persons (id BIGINT NOT NULL PRIMARY KEY, modified DATETIME NOT NULL)")
    people.sql("INSERT INTO persons VALUES (1, '2023-01-05 09:00:00')")
    corrected = {**spec, "source_table": "persons"}
    people.write_specs(people=corrected)
    told = "of another source table.* source_table people, and source_table is now persons"
    with pytest.raises(DataError, match=told):
        sync_table(table="people", run_date=None if spec["mode"] == "watermark" else FIRST)
    if spec is SPEC:
        assert set(missing()) == {FIRST, SECOND}
        with pytest.raises((DataError, FailedRun), match="of another source table"):
            fill()
    sync_table(table="people", mode="full")
    assert people.target("people", "id") == [(1,)]
    assert sync_table(table="people").changed == 0
    if spec is SPEC:
        assert missing() == {}


def test_rows_that_another_key_replaced_come_back(people: Any) -> None:
    people.sql("ALTER TABLE people ADD COLUMN code INT NOT NULL DEFAULT 7")
    sync_table(table="people", run_date=FIRST)
    sync_table(table="people", run_date=SECOND)
    people.sql("UPDATE people SET modified = '2023-01-06 11:00:00' WHERE id = 2")
    people.undeclare_key("people")
    people.write_specs(people={**SPEC, "key": ["code"], "on_repeated_key": "newest"})
    sync_table(table="people", run_date=SECOND)
    assert people.target("people", "id") == [(2,)]  # it has the same code
    people.write_specs(people=SPEC)
    assert set(missing()) == {FIRST, SECOND}  # the first's row is not there any more
    assert fill() == 2
    assert people.target("people", "id") == [(1,), (2,)]
    assert missing() == {}


@pytest.mark.parametrize("why", ["a new column", "a zone", "no receipts"])
def test_a_watermark_that_reads_all_again_keeps_what_the_source_has_forgotten(
    people: Any, why: str
) -> None:
    people.sql("ALTER TABLE people ADD COLUMN made DATETIME")
    people.sql("UPDATE people SET made = modified")
    people.write_specs(people={"mode": "watermark", "cursor": "modified"})
    people.warehouse.execute(f'DROP TABLE "{people.schema}"."people"')
    sync_table(table="people")
    people.sql("DELETE FROM people WHERE id = 1")
    people.sql(
        "INSERT INTO people (id, modified, made) VALUES (3, '2023-01-07 10:00', '2023-01-07 10:00')"
    )
    if why == "a new column":
        people.sql("ALTER TABLE people ADD COLUMN country CHAR(2) DEFAULT 'DE'")
    elif why == "no receipts":
        people.warehouse.execute("DELETE FROM ferry.receipts")
    corrected = {"source_zone": "Asia/Seoul"} if why == "a zone" else {}
    people.write_specs(people={"mode": "watermark", "cursor": "modified", **corrected})
    receipt = sync_table(table="people")
    counted = (receipt.rows_extracted, receipt.rows_inserted, receipt.rows_deleted)
    assert counted == ((2, 2, 1) if why == "a new column" else (2, 1, 0))
    assert people.target("people", "id") == [(1,), (2,), (3,)]
    assert sync_table(table="people").changed == 0


def test_a_watermark_without_a_key_is_not_begun_by_a_cursor_that_the_target_has_not(
    people: Any,
) -> None:
    people.undeclare_key("people")
    people.write_specs(people={"mode": "watermark"})
    sync_table(table="people")
    people.sql("ALTER TABLE people ADD COLUMN made DATETIME")
    people.sql("UPDATE people SET made = '2023-01-08 10:00:00'")
    people.write_specs(people={"mode": "watermark", "cursor": "made"})
    with pytest.raises(DataError, match="that were read by another cursor, and has no key"):
        sync_table(table="people")
    people.warehouse.execute("DELETE FROM ferry.receipts")  # as of a target made by hand
    with pytest.raises(DataError, match="nothing tells which rows of the target it replaces"):
        sync_table(table="people")
    sync_table(table="people", mode="full")
    assert people.target("people", "id") == [(1,), (2,)]
    assert sync_table(table="people").changed == 0


def test_a_watermark_goes_by_what_was_read_last(
    people: Any, caplog: pytest.LogCaptureFixture
) -> None:
    spec = {"mode": "watermark", "key": ["id"]}
    people.write_specs(people=spec)
    sync_table(table="people")
    people.warehouse.execute("UPDATE ferry.receipts SET read_as = NULL")  # of an older Ferry
    sync_table(table="people")
    for corrected, read in ((spec, 1), ({**spec, "source_zone": "Asia/Seoul"}, 2), (spec, 2)):
        people.write_specs(people=corrected)
        caplog.clear()
        assert sync_table(table="people").rows_extracted == read
        assert ("all of it is read, not only what is new" in caplog.text) is (read == 2)
    assert "it was carried with source_zone Asia/Seoul, and source_zone is now UTC" in caplog.text


def test_a_table_without_a_key_has_no_windows_whoever_asks(people: Any) -> None:
    people.write_specs(people={"mode": "watermark"})
    before = people.target("people")
    windows = [("2023-01-05T00:00:00+00:00", "2023-01-06T00:00:00+00:00")]
    with pytest.raises((RequestError, FailedRun), match="without a key"):
        carry_windows(
            table="people",
            windows=windows,
            zone="UTC",
            backfill_run_id="8f9d0b0e-6f0f-4c51-8f5d-0a6f5b1d2c3e",
            scheduled_start="2023-02-01T00:00:00+00:00",
        )
    assert people.target("people") == before


def test_a_window_read_before_another_of_the_same_day_landed_is_read_again(people: Any) -> None:
    """Where the cursor says only when a row was made, nothing tells which version is newer."""

    def newer() -> None:
        people.sql("UPDATE people SET note = 'new' WHERE id = 1")
        sync_table(table="people", run_date=FIRST)

    people.sql("ALTER TABLE people ADD COLUMN note VARCHAR(9)")
    people.sql("UPDATE people SET note = 'old'")
    sync_table(table="people", run_date=FIRST)
    people.sql("UPDATE people SET note = 'older' WHERE id = 1")
    with pytest.raises(StaleReadError, match="1 rows that differ"):
        read_now_land_later("people", None, {"run_date": FIRST}, newer)
    assert people.target("people", "id, note")[0] == (1, "new")
    assert people.leftovers() == set()
    # A window of another day holds no row of this one.
    read_now_land_later("people", None, {"run_date": SECOND}, newer)
    assert people.target("people", "id, note") == [(1, "new"), (2, "old")]


def test_a_lag_tells_what_it_replaced_so_that_summaries_follow(people: Any) -> None:
    people.sql("CREATE TABLE log (id INT, note VARCHAR(9), modified DATETIME NOT NULL)")
    people.sql("INSERT INTO log VALUES (1, 'a', '2023-01-05 10:00:00')")
    people.sql("INSERT INTO log VALUES (2, 'b', '2023-01-05 11:00:00')")
    people.write_specs(log={"mode": "watermark", "lag": 7200})
    sync_table(table="log")
    people.sql("UPDATE log SET note = 'c' WHERE id = 1")
    receipt = sync_table(table="log")
    assert (receipt.rows_inserted, receipt.rows_deleted, receipt.rows_unchanged) == (1, 1, 1)
    assert sync_table(table="log").changed == 0
