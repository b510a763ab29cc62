"""A key that does not tell all rows apart loses none in silence, on every route."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from ferry.errors import DataError, SchemaError
from ferry.schema import TableName
from flows.backfill_tables import backfill
from flows.sync_table import sync_table
from tasks.pages.receipt import receipt_line

pytestmark = pytest.mark.usefixtures("plain_runs")

DAY = {"run_date": date(2023, 1, 5)}
WINDOW = {"mode": "window", "key": ["id"], "cursor": "modified", "insert_rows": 0}
TWO_ROUTES = pytest.mark.parametrize(
    "route", ["sqlite-folder-duckdb", "mysql-folder-postgres"], indirect=True
)
NOON, LATER = "2023-01-05 12:00:00", "2023-01-05 13:00:00"
COLUMNS = (
    "(id INT NOT NULL, lang VARCHAR(9) NULL, tags JSON NULL, cover BLOB NULL, size DOUBLE NULL, "
    "modified DATETIME NOT NULL, deleted DATETIME NULL{})"
)


def book(
    number: int,
    lang: str | None = "en",
    modified: str = NOON,
    *,
    tags: str | None = "[1, 2]",
    cover: bytes | None = b"\x01",
    size: float | None = 0.1,
    deleted: str | None = None,
) -> tuple[Any, ...]:
    return (number, lang, tags, cover, size, modified, deleted)


@pytest.fixture
def library(journey: Any) -> Any:
    """Titles by number and language, and books, of which no catalog tells a key."""
    journey.sql(f"CREATE TABLE titles {COLUMNS}".format(", PRIMARY KEY (id, lang)"))
    journey.sql(f"CREATE TABLE books {COLUMNS}".format(""))
    journey.write_specs(titles=WINDOW, books=WINDOW)
    return journey


def put(library: Any, table: str, *rows: tuple[Any, ...]) -> None:
    library.sql(f"INSERT INTO {table} VALUES (?, ?, ?, ?, ?, ?, ?)", rows)


@TWO_ROUTES
@pytest.mark.parametrize("mode", ["window", "watermark"])
def test_a_key_that_is_a_part_of_the_primary_key_is_refused_before_a_row_is_read(
    library: Any, mode: str
):
    put(library, "titles", book(1), book(1, "de", LATER), book(2))
    library.write_specs(titles={**WINDOW, "mode": mode, "key": ["ID"]})

    with pytest.raises(SchemaError, match="only a part of the source's primary key") as refused:
        sync_table(table="titles", **(DAY if mode == "window" else {}))

    for text in (f"plan {library.schema}.titles", "[id, lang]", "[ID]", "on_repeated_key"):
        assert text in str(refused.value)
    assert library.warehouse.describe(TableName(library.schema, "titles")) is None


@TWO_ROUTES
def test_a_backfill_refuses_it_in_its_plan(library: Any):
    state = backfill(
        table="titles", start_date=date(2023, 1, 5), end_date=date(2023, 1, 7), return_state=True
    )
    assert state.is_failed()
    assert "only a part of the source's primary key" in state.message


def test_a_full_copy_carries_all_rows_whatever_the_key(library: Any):
    put(library, "titles", book(1), book(1, "de"), book(2))
    assert sync_table(table="titles", mode="full").rows_inserted == 3
    assert library.target("titles", "id, lang", "1, 2") == [(1, "de"), (1, "en"), (2, "en")]


def test_of_a_part_of_the_primary_key_the_newest_row_is_carried_if_the_spec_says_so(library: Any):
    put(library, "titles", book(1), book(1, "de", LATER), book(2))
    library.write_specs(titles={**WINDOW, "on_repeated_key": "newest"})

    first = sync_table(table="titles", **DAY)
    again = sync_table(table="titles", **DAY)

    assert library.target("titles", "id, lang") == [(1, "de"), (2, "en")]
    assert (first.rows_extracted, first.rows_inserted, first.rows_unchanged) == (3, 2, 0)
    assert (again.rows_extracted, again.changed, again.rows_unchanged) == (3, 0, 2)
    assert [r.rows_superseded for r in library.receipts("titles")] == [1, 1]
    assert receipt_line(first).endswith("0 unchanged, 1 superseded")


def test_the_newest_row_of_a_key_wins_and_equal_ones_are_one(library: Any):
    library.sql("CREATE VIEW shelf AS SELECT * FROM books")
    library.write_specs(books=WINDOW, shelf=WINDOW)
    put(library, "books", book(1), book(1, "de", LATER), book(2), book(2), book(2), book(3))

    for table in ("books", "shelf"):
        receipt = sync_table(table=table, **DAY)

        assert library.target(table, "id, lang") == [(1, "de"), (2, "en"), (3, "en")]
        assert (receipt.rows_inserted, receipt.rows_unchanged, receipt.rows_superseded) == (3, 0, 3)


DIFFERENCES = {
    "another text": {"lang": "de"},
    "a blank more": {"lang": "en "},
    "no text": {"lang": None},
    "other JSON": {"tags": '{"a": 1}'},
    "no JSON": {"tags": None},
    "other bytes": {"cover": b"\x01\x00"},
    "no bytes": {"cover": None},
    "another number": {"size": 0.2},
    "no number": {"size": None},
    "a deletion": {"deleted": NOON},
}


def test_rows_of_one_key_that_differ_and_none_is_newer_fail_the_batch(library: Any):
    put(library, "books", book(9))
    sync_table(table="books", **DAY)
    for each, difference in enumerate(DIFFERENCES.values()):
        library.sql("DELETE FROM books")
        put(library, "books", book(1), book(1, **difference), book(2), book(2), book(3))
        put(library, "books", book(9, "older", "2023-01-05 10:00:00"), book(9, "newer", LATER))

        with pytest.raises(DataError, match="none of them is newer by 'modified'") as refused:
            sync_table(table="books", **DAY)

        told = str(refused.value)
        for text in (f"upsert {library.schema}.books 2023-01-05", "(id)", "found 1 key", "newest"):
            assert text in told, list(DIFFERENCES)[each]
        assert library.target("books", "id, lang") == [(9, "en")]
    assert len(library.receipts("books")) == 1
    library.write_specs(books={**WINDOW, "mode": "watermark"})
    with pytest.raises(DataError, match="none of them is newer by 'modified'"):
        sync_table(table="books")


def test_one_of_them_wins_if_the_spec_says_so_and_the_log_tells_how_many(
    library: Any, caplog: pytest.LogCaptureFixture
):
    library.write_specs(books={**WINDOW, "on_repeated_key": "newest"})
    put(library, "books", book(1), book(1, "de"), book(2, "de"), book(2), book(3), book(3))

    receipt = sync_table(table="books", **DAY)
    again = sync_table(table="books", **DAY)

    assert library.target("books", "id, lang") == [(1, "en"), (2, "en"), (3, "en")]
    assert (receipt.rows_inserted, receipt.rows_superseded) == (3, 3)
    assert (again.changed, again.rows_unchanged, again.rows_superseded) == (0, 3, 3)
    told = "2 keys had rows that differ and of which none is newer"
    assert [message for message in caplog.messages if told in message]


def test_the_newest_row_of_a_key_tells_whether_it_is_deleted(library: Any):
    library.write_specs(books={**WINDOW, "soft_deletes": "apply"})
    put(
        library, "books", book(1, "en", "2023-01-04 12:00:00"), book(2, "en", "2023-01-04 12:00:00")
    )
    sync_table(table="books", run_date=date(2023, 1, 4))
    put(library, "books", book(1, deleted=NOON), book(1, "back", LATER))
    put(library, "books", book(2), book(2, "gone", LATER, deleted=LATER), book(3, deleted=NOON))

    receipt = sync_table(table="books", **DAY)

    assert library.target("books", "id, lang") == [(1, "back")]
    assert (receipt.rows_updated, receipt.rows_deleted, receipt.rows_inserted) == (1, 1, 0)
    assert (receipt.rows_unchanged, receipt.rows_superseded) == (1, 2)


@pytest.mark.parametrize("route", ["sqlite-folder-duckdb"], indirect=True)
def test_two_spellings_of_one_moment_are_one_key_that_is_there_twice(journey: Any):
    """SQLite keeps times as text: its primary key tells them apart, and the target would not."""
    journey.sql(
        "CREATE TABLE readings (at DATETIME NOT NULL PRIMARY KEY, modified DATETIME, value INT)"
    )
    rows = [("2023-01-05 10:00:00", NOON, 1), ("2023-01-05T10:00:00", NOON, 2)]
    journey.sql("INSERT INTO readings VALUES (?, ?, ?)", rows)
    journey.write_specs(readings={**WINDOW, "key": ["at"]})

    with pytest.raises(DataError, match=r"rows of one key \(at\) differ"):
        sync_table(table="readings", **DAY)
