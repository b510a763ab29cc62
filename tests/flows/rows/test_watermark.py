"""What a watermark reads, whatever is dated or numbered ahead of the rest, and who lands first."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from ferry.errors import BusyError, DataError, StaleReadError
from flows.sync_table import sync_table
from tests.harness.reads import read_now_land_later

pytestmark = pytest.mark.usefixtures("plain_runs")

TWO_ROUTES = pytest.mark.parametrize(
    "route", ["sqlite-folder-duckdb", "mysql-folder-postgres"], indirect=True
)
FAR = "9999-12-31 23:59:59"


def ago(**delta: Any) -> str:
    return f"{datetime.now(UTC) - timedelta(**delta):%Y-%m-%d %H:%M:%S}"


@pytest.fixture(params=[["id"], []], ids=["keyed", "keyless"])
def visits(request: pytest.FixtureRequest, journey: Any) -> Any:
    """Two visits, of which one is dated far ahead, carried once; with a key and without."""
    journey.sql(
        "CREATE TABLE visits (id BIGINT NOT NULL PRIMARY KEY, note VARCHAR(30), "
        "modified DATETIME NOT NULL)"
    )
    journey.write_specs(visits={"mode": "watermark", "key": request.param, "insert_rows": 0})
    journey.sql(
        "INSERT INTO visits VALUES (?, ?, ?)",
        [(1, "old", ago(days=3)), (2, "dated ahead", FAR), (3, "latest", ago(hours=1))],
    )
    sync_table(table="visits")
    return journey


def test_a_row_dated_ahead_hides_nothing_that_is_written_later(
    visits: Any, caplog: pytest.LogCaptureFixture
) -> None:
    visits.sql("INSERT INTO visits VALUES (?, ?, ?)", [(4, "after the first run", ago(minutes=1))])
    receipt = sync_table(table="visits")
    assert visits.target("visits", "id, note")[-1] == (4, "after the first run")
    assert (receipt.rows_inserted, receipt.rows_updated, receipt.rows_deleted) == (1, 0, 0)
    assert receipt.rows_unchanged == 2  # the latest, and the one dated ahead
    assert sync_table(table="visits").changed == 0
    told = [message for message in caplog.messages if "dated ahead" in message]
    assert "1 rows are dated ahead of the source's clock, by modified" in told[0]


def test_a_change_of_a_row_is_seen_beside_one_dated_ahead(visits: Any) -> None:
    visits.sql("UPDATE visits SET note = 'changed', modified = ? WHERE id = 3", [(ago(seconds=5),)])
    receipt = sync_table(table="visits")
    assert receipt.changed > 0
    assert (3, "changed") in visits.target("visits", "id, note")


def test_a_target_that_lost_its_rows_is_read_from_the_beginning(visits: Any) -> None:
    visits.warehouse.execute(f'DELETE FROM "{visits.schema}"."visits"')
    assert sync_table(table="visits").rows_inserted == 3
    assert [r.status for r in visits.receipts("visits")] == ["loaded", "void", "loaded"]


def test_a_full_copy_lets_the_watermark_go_on_from_there(visits: Any) -> None:
    sync_table(table="visits", mode="full")
    assert sync_table(table="visits").rows_extracted == 2
    assert len(visits.target("visits")) == 3


def test_of_two_runs_at_once_the_one_that_read_earlier_does_not_take_back_what_is_newer(
    visits: Any,
) -> None:
    keyed = bool(visits.specs()["visits"]["key"])

    def another_run() -> None:
        visits.sql("INSERT INTO visits VALUES (?, 'late', ?)", [(5, ago(minutes=30))])
        sync_table(table="visits")

    if keyed:
        read_now_land_later("visits", None, {}, another_run)
    else:
        with pytest.raises(StaleReadError, match="another batch of the table landed"):
            read_now_land_later("visits", None, {}, another_run)
    assert (5, "late") in visits.target("visits", "id, note")


@pytest.fixture(params=[["id"], []], ids=["keyed", "keyless"])
def ids(journey: Any, request: pytest.FixtureRequest) -> Any:
    journey.sql("CREATE TABLE hits (id BIGINT NOT NULL PRIMARY KEY, note VARCHAR(30))")
    journey.sql("INSERT INTO hits VALUES (?, 'x')", [(number,) for number in range(1, 40)])
    spec = {"mode": "watermark", "key": request.param, "cursor": "id"}
    journey.write_specs(hits=spec)
    return journey, spec


@TWO_ROUTES
@pytest.mark.parametrize("first_run", ["before it", "with it", "full", "mode full in the spec"])
def test_a_number_far_ahead_is_refused_before_it_can_hide_what_comes_below_it(
    ids: Any, first_run: str
) -> None:
    journey, spec = ids
    if first_run == "before it":
        sync_table(table="hits")
    journey.sql("INSERT INTO hits VALUES (2147483647, 'stray')")
    mode = "full" if first_run == "full" else None
    if first_run == "mode full in the spec":
        spec, mode = {**spec, "mode": "full"}, "watermark"
        journey.write_specs(hits=spec)
    with pytest.raises(DataError, match="'id' are out of all proportion, and would hide"):
        sync_table(table="hits", mode=mode)
    assert 2147483647 not in [row[0] for row in ids_there(journey)]
    journey.write_specs(hits={**spec, "cursor_jumps": "allow"})
    sync_table(table="hits", mode=mode)
    assert ids_there(journey)[-1][0] == 2147483647


@TWO_ROUTES
def test_a_second_range_of_ids_is_refused_before_it_can_hide_those_of_the_first(ids: Any) -> None:
    journey, _ = ids
    sync_table(table="hits")
    beyond = [(number,) for number in range(10**9, 10**9 + 150)]
    journey.sql("INSERT INTO hits VALUES (?, 'second range')", beyond)
    journey.sql("INSERT INTO hits VALUES (?, 'x')", [(number,) for number in range(40, 540)])
    with pytest.raises(DataError, match=r"found 150 row\(s\) beyond such a gap"):
        sync_table(table="hits")
    journey.sql("DELETE FROM hits WHERE id >= 1000000000")
    assert sync_table(table="hits").rows_inserted == 500


def test_rows_of_another_table_are_not_continued_from(ids: Any) -> None:
    journey, spec = ids
    journey.sql("CREATE TABLE older (id BIGINT NOT NULL PRIMARY KEY, note VARCHAR(30))")
    journey.sql("INSERT INTO older VALUES (9000, 'x')")
    journey.write_specs(hits={**spec, "source_table": "older"})
    sync_table(table="hits")
    journey.write_specs(hits=spec)
    for _ in range(2):
        with pytest.raises(DataError, match=r"rows of another source table.* source_table older"):
            sync_table(table="hits")
    sync_table(table="hits", mode="full")
    journey.sql("INSERT INTO hits VALUES (500, 'x')")
    assert sync_table(table="hits").rows_inserted == 1
    assert len(ids_there(journey)) == 40


def test_ids_that_windows_brought_are_not_continued_from(journey: Any) -> None:
    journey.sql("CREATE TABLE hits (id INT NOT NULL PRIMARY KEY, modified DATETIME NOT NULL)")
    journey.sql("INSERT INTO hits VALUES (1, '2023-01-05 12:00:00')")
    by_ids = {"mode": "watermark", "key": ["id"], "cursor": "id"}
    journey.write_specs(hits=by_ids)
    sync_table(table="hits")

    rows = [(2, "2023-01-06 12:00:00"), (3, "2023-01-07 12:00:00")]
    journey.sql("INSERT INTO hits VALUES (?, ?)", rows)
    journey.write_specs(hits={"mode": "window", "key": ["id"], "cursor": "modified"})
    sync_table(table="hits", run_date=date(2023, 1, 7))  # the day before has not been carried

    journey.write_specs(hits=by_ids)
    assert sync_table(table="hits").rows_inserted == 1
    assert journey.target("hits", "id") == [(1,), (2,), (3,)]
    assert sync_table(table="hits").rows_extracted == 1


def test_ids_that_a_watermark_by_another_cursor_brought_are_not_continued_from(
    journey: Any,
) -> None:
    journey.sql("CREATE TABLE hits (id INT NOT NULL PRIMARY KEY, modified DATETIME)")
    journey.sql("INSERT INTO hits VALUES (1, '2023-01-05 12:00:00')")
    by_ids = {"mode": "watermark", "key": ["id"], "cursor": "id"}
    journey.write_specs(hits=by_ids)
    sync_table(table="hits")

    journey.sql("INSERT INTO hits VALUES (2, NULL), (3, '2023-01-07 12:00:00')")
    journey.write_specs(hits={**by_ids, "cursor": "modified", "null_cursors": "ignore"})
    sync_table(table="hits")
    assert journey.target("hits", "id") == [(1,), (3,)]

    journey.write_specs(hits=by_ids)
    assert sync_table(table="hits").rows_inserted == 1
    assert journey.target("hits", "id") == [(1,), (2,), (3,)]
    assert sync_table(table="hits").rows_extracted == 1


def ids_there(journey: Any) -> list[Any]:
    there = journey.warehouse.fetch(
        f"SELECT 1 FROM information_schema.tables WHERE table_schema = '{journey.schema}'"
    )
    return journey.target("hits") if there else []


def test_numbers_that_grow_are_carried_on_from_the_highest(ids: Any) -> None:
    journey, _ = ids
    sync_table(table="hits")
    journey.sql("INSERT INTO hits VALUES (9000, 'x'), (9001, 'x')")
    receipt = sync_table(table="hits")
    assert (receipt.rows_inserted, receipt.rows_unchanged) == (2, 1)
    assert receipt.cursor_name == "id"


@TWO_ROUTES
@pytest.mark.parametrize("lag", [0, 30])
def test_ids_that_have_begun_anew_below_the_highest_are_told(
    ids: Any, caplog: pytest.LogCaptureFixture, lag: int
) -> None:
    journey, spec = ids
    journey.write_specs(hits={**spec, "lag": lag})
    sync_table(table="hits")
    told = "the source's highest id is below what was read before"
    journey.sql("DELETE FROM hits")
    assert sync_table(table="hits").rows_extracted == 0
    assert told not in caplog.text  # a source that was archived: its ids may go on
    journey.sql("INSERT INTO hits VALUES (1, 'anew'), (12, 'anew')")
    assert sync_table(table="hits").rows_extracted == (1 if lag else 0)
    assert told in caplog.text and "mode full carries them all, and takes out" in caplog.text
    sync_table(table="hits", mode="full")
    assert journey.target("hits") == [(1, "anew"), (12, "anew")]
    caplog.clear()
    journey.sql("INSERT INTO hits VALUES (13, 'anew')")
    assert sync_table(table="hits").rows_inserted == 1
    assert told not in caplog.text


@TWO_ROUTES
def test_a_lag_of_ids_is_no_time_by_which_a_first_run_or_a_copy_is_early(ids: Any) -> None:
    journey, spec = ids
    journey.write_specs(hits={**spec, "lag": 90_000_000_000_000})  # as seconds, more than time has
    for mode in (None, "full", None):
        receipt = sync_table(table="hits", mode=mode)
        assert receipt.rows_extracted == 39
        assert receipt.complete_until == receipt.read_at


@TWO_ROUTES
def test_a_look_that_fails_after_a_good_read_fails_nothing(
    ids: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    journey, _ = ids
    sync_table(table="hits")
    journey.sql("DELETE FROM hits")

    def nobody_answers(*_: Any) -> Any:
        raise BusyError("as planned")

    monkeypatch.setattr(type(journey.source), "bounds", nobody_answers)
    assert sync_table(table="hits").rows_extracted == 0


@pytest.mark.parametrize("kind", ["DATE", "TIMESTAMP"])
@pytest.mark.parametrize("route", ["mysql-folder-postgres", "mysql-s3-redshift"], indirect=True)
def test_whatever_kind_of_time_the_cursor_is(kind: str, journey: Any) -> None:
    ahead = "2037-12-31"
    journey.sql(f"CREATE TABLE days (id INT PRIMARY KEY, modified {kind} NOT NULL)")
    journey.write_specs(days={"mode": "watermark", "key": ["id"], "zone": "Asia/Seoul"})
    journey.sql("INSERT INTO days VALUES (1, ?), (2, ?)", [(ago(days=3), ahead)])
    sync_table(table="days")
    journey.sql("INSERT INTO days VALUES (3, ?)", [(ago(seconds=1),)])
    sync_table(table="days")
    assert journey.target("days", "id") == [(1,), (2,), (3,)]
    assert sync_table(table="days").changed == 0


@TWO_ROUTES
def test_without_a_key_rows_within_the_lag_are_taken_out_unless_none_at_all_is_read(
    journey: Any,
) -> None:
    journey.sql("CREATE TABLE log (id BIGINT NOT NULL, at DATETIME NOT NULL)")
    journey.sql("INSERT INTO log VALUES (?, ?)", [(n, ago(minutes=20 - n)) for n in (1, 2, 3)])
    journey.write_specs(
        log={"mode": "watermark", "cursor": "at", "lag": 3600, "max_shrink_percent": 50}
    )
    sync_table(table="log")
    journey.sql("DELETE FROM log WHERE id = 2")
    receipt = sync_table(table="log")
    assert (receipt.rows_extracted, receipt.rows_deleted) == (2, 1)
    journey.sql("DELETE FROM log")
    receipt = sync_table(table="log")
    assert (receipt.rows_extracted, receipt.rows_deleted) == (0, 0)
    assert journey.target("log", "id") == [(1,), (3,)]
