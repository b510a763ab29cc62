"""What a run sees of the source, what readers see of the target, and what a refusal leaves."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from datetime import date
from importlib import import_module
from typing import Any

import pytest

from ferry.errors import CountMismatchError, DataError, IncompleteReadError, StaleReadError
from flows.sync_table import sync_table

pytestmark = pytest.mark.usefixtures("plain_runs")

WINDOW = {"mode": "window", "key": ["id"], "cursor": "modified"}
FIRST, SECOND = {"run_date": date(2023, 1, 1)}, {"run_date": date(2023, 1, 2)}
EMBEDDED = pytest.mark.parametrize("route", ["sqlite-folder-duckdb"], indirect=True)
READERS_GO_ON = pytest.mark.parametrize(
    "route", ["sqlite-folder-duckdb", "mysql-folder-postgres"], indirect=True
)


@pytest.fixture
def shop(journey: Any) -> Any:
    """Two rows of the first day, carried; and the second day's first row, which is not."""
    journey.sql(
        "CREATE TABLE orders (id INT NOT NULL PRIMARY KEY, note VARCHAR(9), modified DATETIME NULL)"
    )
    journey.sql("INSERT INTO orders VALUES (1, 'a', '2023-01-01 10:00:00')")
    journey.sql("INSERT INTO orders VALUES (2, 'b', '2023-01-01 11:00:00')")
    journey.write_specs(orders=WINDOW)
    sync_table(table="orders", **FIRST)
    journey.sql("INSERT INTO orders VALUES (3, 'c', '2023-01-02 10:00:00')")
    return journey


def notes(shop: Any) -> list[tuple[Any, ...]]:
    return shop.target("orders", "id, note")


@EMBEDDED
def test_a_full_copy_again_leaves_the_same_rows_and_counts_all_as_replaced(shop: Any) -> None:
    sync_table(table="orders", mode="full")
    before = shop.target("orders")
    again = sync_table(table="orders", mode="full")
    assert shop.target("orders") == before
    assert (again.rows_inserted, again.rows_deleted, again.rows_unchanged) == (3, 3, 0)


@EMBEDDED
def test_a_row_that_changes_without_its_cursor_is_seen_when_its_own_window_is_carried_again(
    shop: Any,
) -> None:
    shop.sql("UPDATE orders SET note = 'new' WHERE id = 1")
    sync_table(table="orders", **SECOND)
    assert notes(shop) == [(1, "a"), (2, "b"), (3, "c")]
    sync_table(table="orders", **FIRST)
    assert notes(shop) == [(1, "new"), (2, "b"), (3, "c")]


@EMBEDDED
def test_rows_that_are_deleted_for_good_are_taken_out_by_a_full_copy_alone(shop: Any) -> None:
    shop.sql("DELETE FROM orders WHERE id = 1")
    sync_table(table="orders", **FIRST)
    sync_table(table="orders", **SECOND)
    assert notes(shop) == [(1, "a"), (2, "b"), (3, "c")]
    assert sync_table(table="orders", mode="full").rows_inserted == 2
    assert notes(shop) == [(2, "b"), (3, "c")]


@EMBEDDED
def test_a_key_that_changes_is_another_row_also_where_the_source_ignores_case(journey: Any) -> None:
    journey.sql(
        "CREATE TABLE orders (id TEXT COLLATE NOCASE NOT NULL PRIMARY KEY, modified DATETIME)"
    )
    journey.sql("INSERT INTO orders VALUES ('abc', '2023-01-01 10:00:00')")
    journey.write_specs(orders=WINDOW)
    sync_table(table="orders", **FIRST)
    journey.sql("UPDATE orders SET id = 'ABC', modified = '2023-01-02 10:00:00' WHERE id = 'aBc'")
    assert sync_table(table="orders", **SECOND).rows_inserted == 1
    assert journey.target("orders", "id") == [("ABC",), ("abc",)]


@EMBEDDED
def test_a_full_copy_carries_rows_without_a_cursor_as_well(shop: Any) -> None:
    shop.sql("INSERT INTO orders VALUES (4, 'd', NULL)")
    with pytest.raises(DataError, match="would never be carried"):
        sync_table(table="orders", **SECOND)
    sync_table(table="orders", mode="full")
    assert notes(shop) == [(1, "a"), (2, "b"), (3, "c"), (4, "d")]


@EMBEDDED
def test_a_refused_batch_leaves_the_rows_as_they_were_and_the_column_that_was_made_for_it(
    journey: Any,
) -> None:
    journey.sql("CREATE TABLE base (id INT NOT NULL, note TEXT, more INT, modified DATETIME)")
    journey.sql("INSERT INTO base VALUES (1, 'a', NULL, '2023-01-01 10:00:00')")
    journey.sql("CREATE VIEW orders AS SELECT id, note, modified FROM base")
    journey.write_specs(orders=WINDOW)
    sync_table(table="orders", **FIRST)
    journey.sql("DROP VIEW orders")
    journey.sql("CREATE VIEW orders AS SELECT id, note, more, modified FROM base")
    journey.sql("INSERT INTO base VALUES (1, 'x', 7, '2023-01-02 10:00:00')")
    journey.sql("INSERT INTO base VALUES (1, 'y', 8, '2023-01-02 10:00:00')")
    with pytest.raises(DataError, match="none of them is"):
        sync_table(table="orders", **SECOND)
    assert journey.target("orders", "id, note, more") == [(1, "a", None)]


@READERS_GO_ON
def test_readers_see_the_old_rows_while_a_full_copy_is_written_and_do_not_wait(
    shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    upsert = import_module("tasks.upsert")
    shop.sql("UPDATE orders SET note = 'new'")
    seen: list[list[tuple[Any, ...]]] = []
    write_receipts = upsert.write_receipts

    def looked_at(*args: Any) -> None:
        seen.append(notes(shop))  # on another connection; the new rows are written, not committed
        write_receipts(*args)

    monkeypatch.setattr(upsert, "write_receipts", looked_at)
    sync_table(table="orders", mode="full")
    assert seen == [[(1, "a"), (2, "b")]]
    assert notes(shop) == [(1, "new"), (2, "new"), (3, "new")]


@EMBEDDED
def test_a_batch_is_read_again_three_times_at_most(
    shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def always_stale(*args: Any) -> None:
        tried.append(args)
        raise StaleReadError("another batch of the table landed since this one was read")

    monkeypatch.setattr("flows.pipeline.carry_batch._steps", always_stale)
    with pytest.raises(StaleReadError, match="another batch"):
        sync_table(table="orders", **SECOND)
    assert len(tried) == 1 + 3


@EMBEDDED
def test_of_a_part_of_what_a_watermark_was_to_read_nothing_lands(
    shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = type(shop.source).read

    def cut_short(*args: Any) -> Any:
        yield from read(*args)
        raise IncompleteReadError("a part could not be read")

    shop.write_specs(orders={**WINDOW, "mode": "watermark"})
    monkeypatch.setattr(type(shop.source), "read", cut_short)
    with pytest.raises(IncompleteReadError, match="a part could not be read"):
        sync_table(table="orders")
    assert notes(shop) == [(1, "a"), (2, "b")]
    assert len(shop.receipts("orders")) == 1


@pytest.mark.parametrize("route", ["mysql-s3-redshift"], indirect=True)
def test_on_redshift_readers_wait_for_a_full_copy_and_see_the_new_rows(
    shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    upsert = import_module("tasks.upsert")
    shop.sql("UPDATE orders SET note = 'new'")
    write_receipts = upsert.write_receipts
    with ThreadPoolExecutor(1) as reader:
        readings: list[Future[list[tuple[Any, ...]]]] = []

        def looked_at(*args: Any) -> None:
            readings.append(reader.submit(notes, shop))
            assert not wait(readings, timeout=1).done
            write_receipts(*args)

        monkeypatch.setattr(upsert, "write_receipts", looked_at)
        sync_table(table="orders", mode="full")
        assert readings[0].result(60) == [(1, "new"), (2, "new"), (3, "new")]


@EMBEDDED
@pytest.mark.parametrize(("step", "says"), [("stage", ""), ("copy", "and `insert_rows: 0`")])
def test_a_hand_off_that_loses_a_row_fails_the_run_and_leaves_the_target_as_it_was(
    shop: Any, monkeypatch: pytest.MonkeyPatch, step: str, says: str
) -> None:
    shop.write_specs(orders={**WINDOW, "insert_rows": 0})
    put, copy_in = type(shop.stage).put, type(shop.warehouse).copy_in

    def one_less(*args: Any) -> Any:
        file = put(*args)
        return replace(file, rows=file.rows - 1)

    if step == "stage":
        monkeypatch.setattr(type(shop.stage), "put", one_less)
    else:
        monkeypatch.setattr(type(shop.warehouse), "copy_in", lambda *args: copy_in(*args) - 1)
    with pytest.raises(CountMismatchError, match=f"{step} .*expected 1; found 0.*{says}"):
        sync_table(table="orders", **SECOND)
    assert notes(shop) == [(1, "a"), (2, "b")]
    assert shop.leftovers() == set()


@EMBEDDED
@pytest.mark.parametrize(
    ("module_name", "before"),
    [("tasks.summarize", "built_in"), ("flows.pipeline.summaries.publish", "newest_rows")],
    ids=["checked", "published"],
)
def test_what_was_built_and_lost_its_rows_in_a_crash_is_built_again(
    survey: Any, monkeypatch: pytest.MonkeyPatch, module_name: str, before: str
) -> None:
    module = import_module(module_name)
    what, lost = getattr(module, before), []

    def after_a_crash(*args: Any) -> Any:
        if not lost:
            lost.extend(survey.journey.leftovers())
            for name in lost:
                survey.journey.warehouse.execute(f'DELETE FROM "ferry"."{name}"')
        return what(*args)

    monkeypatch.setattr(module, before, after_a_crash)
    survey.answer(3, [9, 9, 0])
    sync_table(table="nps", mode="full")
    assert len(lost) == 1
    assert [responses for *_, responses in survey.published()] == [3]
    assert survey.journey.leftovers() == set()
