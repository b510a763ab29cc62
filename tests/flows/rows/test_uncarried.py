"""Rows whose cursor is NULL, a zero date or no date at all: refused, or left behind, never lost.

No window and no watermark would ever take them, so without a word they would be missing for good.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest
from prefect.client.schemas.objects import StateType

from ferry.errors import DataError
from ferry.schema import TableName
from flows.backfill_tables import backfill
from flows.sync_all import sync_all
from flows.sync_table import sync_table
from tests.harness.plain_runs import run_at

pytestmark = pytest.mark.usefixtures("plain_runs")

DAY = {"run_date": date(2023, 1, 5)}
GOOD = [(1, "2023-01-05 10:00:00"), (3, "2023-01-06 10:00:00")]

NO_TIMES = [None, 1672912800, 1672912800.5, "", "05.01.2023", b"2023-01-05 10:00:00"]
ON_SQLITE = [
    ("DATETIME", [*NO_TIMES, "2023-01-05 10:00:00Z", "0000-00-00 00:00:00"]),
    ("DATE", [*NO_TIMES, "2023-02-31", "0000-00-00"]),
]
ON_MYSQL = [
    ("DATETIME NULL", [None, "0000-00-00 00:00:00", "0000-12-31 23:59:59"]),
    ("DATE NOT NULL", ["0000-00-00", "0000-12-00"]),
    ("TIMESTAMP NULL", [None, "0000-00-00 00:00:00"]),
]
ROUTES = [
    *[("sqlite-folder-duckdb", *case) for case in ON_SQLITE],
    *[("mysql-folder-postgres", *case) for case in ON_MYSQL],
    ("mysql-s3-redshift", *ON_MYSQL[0]),
]
NUMBERS = [("sqlite-folder-duckdb", "INTEGER", "x7"), ("mysql-folder-postgres", "INT NULL", None)]
SAYS = r"items .*: rows whose cursor .modified. is NULL, a zero date or no date at all.* would"


@pytest.fixture
def route(request: pytest.FixtureRequest) -> str:
    """The route of the case that the test is at."""
    where: str = request.node.callspec.params["where"]
    return where


def shop(journey: Any, definition: str, **spec: Any) -> None:
    journey.sql(f"CREATE TABLE items (id INT NOT NULL PRIMARY KEY, modified {definition})")
    whole_days = definition.split(maxsplit=1)[0] == "DATE"
    rows = [(n, at[:10] if whole_days else at) for n, at in GOOD]
    journey.sql("INSERT INTO items VALUES (?, ?)", rows)
    journey.write_specs(items={"mode": "window", "key": ["id"], **spec})


def add(journey: Any, values: list[Any], first_id: int = 10) -> str:
    """Rows with these cursors; what a refusal says of them."""
    journey.sql("INSERT INTO items VALUES (?, ?)", list(enumerate(values, first_id)))
    return f"found {first_id - 10 + len(values)} rows without one"


def ids(journey: Any) -> list[int]:
    return [row[0] for row in journey.target("items", "id")]


def arrived(journey: Any) -> bool:
    return journey.warehouse.describe(TableName(journey.schema, "items")) is not None


@pytest.mark.parametrize(("where", "definition", "values"), ROUTES)
def test_a_window_refuses_what_no_window_would_carry_also_when_it_comes_later(
    journey: Any, where: str, definition: str, values: list[Any]
) -> None:
    shop(journey, definition)
    sync_table(table="items", **DAY)
    count = add(journey, values)

    with pytest.raises(DataError, match=SAYS) as caught:
        sync_table(table="items", run_date=date(2023, 1, 6))
    assert count in str(caught.value)
    assert "null_cursors: ignore" in str(caught.value)
    assert ids(journey) == [1]

    journey.write_specs(items={"mode": "window", "key": ["id"], "null_cursors": "ignore"})
    sync_table(table="items", run_date=date(2023, 1, 6))
    assert ids(journey) == [1, 3]


@pytest.mark.parametrize(("where", "definition", "values"), ROUTES)
def test_a_backfill_refuses_it_before_anything_moves(
    journey: Any, where: str, definition: str, values: list[Any]
) -> None:
    # With zero_dates: null, too: that word is about what is carried.
    shop(journey, definition, zero_dates="null")
    count = add(journey, values)
    january = {"start_date": date(2023, 1, 1), "end_date": date(2023, 1, 8)}

    state = backfill(table="items", **january, return_state=True)
    assert state.type is StateType.FAILED
    assert count in (state.message or "")
    assert not arrived(journey)

    journey.write_specs(items={"mode": "window", "key": ["id"], "null_cursors": "ignore"})
    state = backfill(table="items", **january, return_state=True)
    assert state.type is StateType.COMPLETED, state.message
    assert ids(journey) == [1, 3]


EDGES = [
    ("sqlite-folder-duckdb", "DATETIME", ["0001-01-01 00:00:00", "9999-12-31T10:00:00"], {}),
    ("sqlite-folder-duckdb", "DATE", ["0001-01-01", "9999-12-31"], {}),
    ("sqlite-folder-duckdb", "BIGINT", [-(10**11), 1_672_912_800_000], {"cursor_unit": "s"}),
    ("mysql-folder-postgres", "DATETIME", ["0001-01-01 00:00:00", "9999-12-31 10:00:00"], {}),
    ("mysql-folder-postgres", "DATE NOT NULL", ["0001-01-01", "9999-12-31"], {}),
    ("mysql-folder-postgres", "BIGINT", [-(10**11), 1_672_912_800_000], {"cursor_unit": "s"}),
]


@pytest.mark.parametrize(("where", "definition", "values", "spec"), EDGES)
def test_what_lies_where_no_window_reaches_is_refused_by_a_window_and_carried_by_a_watermark(
    journey: Any, where: str, definition: str, values: list[Any], spec: dict[str, str]
) -> None:
    spec = {"key": ["id"], "cursor": "modified", **spec}
    by_day = {**spec, "mode": "window"}
    journey.sql(f"CREATE TABLE items (id INT NOT NULL PRIMARY KEY, modified {definition})")
    good = 1_672_912_800 if "cursor_unit" in spec else "2023-01-05"
    journey.sql("INSERT INTO items VALUES (?, ?)", [(1, good)])
    journey.write_specs(items=by_day)
    sync_table(table="items", **DAY)

    add(journey, values, 2)
    refused = "or lies before 0001-01-02 or after 9999-12-29, would never.* found 2 rows"
    with pytest.raises(DataError, match=refused):
        sync_table(table="items", **DAY)
    january = {"start_date": date(2023, 1, 1), "end_date": date(2023, 1, 8)}
    state = backfill(table="items", **january, reprocess="all", return_state=True)
    assert state.type is StateType.FAILED
    assert "2 rows without one" in (state.message or "")

    journey.write_specs(items={**by_day, "null_cursors": "ignore"})
    sync_table(table="items", **DAY)
    assert ids(journey) == [1]

    if "cursor_unit" not in spec:  # such a number is no time of a watermark either
        journey.write_specs(items={**spec, "mode": "watermark"})
        sync_table(table="items")
        assert ids(journey) == [1, 2, 3]
        state = backfill(table="items", **january, reprocess="all", return_state=True)
        assert state.type is StateType.COMPLETED, state.message


FULL = [
    ("sqlite-folder-duckdb", "DATETIME", None, {}, True),
    ("sqlite-folder-duckdb", "DATETIME", "05.01.2023", {"zero_dates": "null"}, False),
    ("mysql-folder-postgres", "DATETIME NULL", None, {}, True),
    ("mysql-folder-postgres", "DATETIME NULL", "0000-00-00 00:00:00", {}, False),
    ("mysql-folder-postgres", "DATETIME NULL", "0000-00-00 00:00:00", {"zero_dates": "null"}, True),
]


@pytest.mark.parametrize(("where", "definition", "value", "spec", "taken"), FULL)
def test_the_advice_to_copy_it_in_full_says_which_such_rows_that_takes(
    journey: Any, where: str, definition: str, value: Any, spec: dict[str, str], taken: bool
) -> None:
    shop(journey, definition, **spec)
    add(journey, [value])
    with pytest.raises(DataError) as caught:
        sync_table(table="items", **DAY)
    with_nulls = "" if spec else r" (with `zero_dates: null`)"
    told = f"takes NULL and MySQL's zero dates{with_nulls}, but no value that is no date at all"
    assert told in str(caught.value)
    if taken:
        sync_table(table="items", mode="full")
        assert journey.target("items", "id, modified")[2] == (10, None)
    else:
        with pytest.raises(DataError):
            sync_table(table="items", mode="full")


@pytest.mark.parametrize("key", [["id"], []], ids=["keyed", "keyless"])
@pytest.mark.parametrize(("where", "definition", "values"), ROUTES)
def test_a_watermark_refuses_it_in_its_first_run_and_in_later_ones(
    journey: Any, where: str, definition: str, values: list[Any], key: list[str]
) -> None:
    spec = {"mode": "watermark", "key": key, "zero_dates": "null"}
    shop(journey, definition, **spec)
    count = add(journey, values)
    with pytest.raises(DataError, match=SAYS) as caught:
        sync_table(table="items")
    assert count in str(caught.value)
    assert not arrived(journey)

    journey.write_specs(items={**spec, "null_cursors": "ignore"})
    sync_table(table="items")
    assert ids(journey) == [1, 3]  # left behind by the first run as by every later one

    count = add(journey, values, 10 + len(values))
    sync_table(table="items")
    assert ids(journey) == [1, 3]

    journey.write_specs(items=spec)
    with pytest.raises(DataError, match=count):
        sync_table(table="items")
    assert ids(journey) == [1, 3]


@pytest.mark.parametrize(("where", "definition", "value"), NUMBERS)
def test_a_watermark_of_numbers_refuses_what_is_no_number(
    journey: Any, where: str, definition: str, value: Any
) -> None:
    journey.sql(f"CREATE TABLE items (id INT NOT NULL PRIMARY KEY, modified {definition})")
    journey.sql("INSERT INTO items VALUES (?, ?)", [(1, 10), (2, 11)])
    journey.write_specs(items={"mode": "watermark", "key": ["id"], "cursor": "modified"})
    sync_table(table="items")
    journey.sql("INSERT INTO items VALUES (?, ?)", [(3, value), (4, 12)])
    with pytest.raises(DataError, match="1 row without one"):
        sync_table(table="items")
    journey.write_specs(
        items={"mode": "watermark", "key": ["id"], "cursor": "modified", "null_cursors": "ignore"}
    )
    sync_table(table="items")
    assert ids(journey) == [1, 2, 4]


@pytest.mark.parametrize("where", ["mysql-folder-postgres"])
def test_dates_that_do_not_exist_between_two_that_do_are_met_by_a_window(
    journey: Any, where: str
) -> None:
    shop(journey, "DATETIME NOT NULL")
    journey.sql("INSERT INTO items VALUES (2, '2023-01-00 00:00:00')")
    sync_table(table="items", **DAY)  # they are in another window

    window = {"mode": "window", "key": ["id"]}
    for spec in (window, {**window, "zero_dates": "null"}):  # which is of other columns
        journey.write_specs(items=spec)
        with pytest.raises(DataError, match=r"zero or impossible dates.*`null_cursors: ignore`"):
            sync_table(table="items", run_date=date(2022, 12, 31))
    journey.write_specs(items={**window, "null_cursors": "ignore"})
    sync_table(table="items", run_date=date(2022, 12, 31))
    assert ids(journey) == [1]


@pytest.mark.parametrize("where", ["mysql-folder-postgres"])
@pytest.mark.parametrize("date_type", ["DATETIME", "DATE"])
@pytest.mark.parametrize("key", [[], ["id"]], ids=["keyless", "keyed"])
def test_a_watermark_does_not_bring_a_date_that_does_not_exist_with_every_run(
    journey: Any, where: str, date_type: str, key: list[str]
) -> None:
    journey.sql(f"CREATE TABLE items (id INT, modified {date_type} NOT NULL, paid DATE)")
    journey.sql("INSERT INTO items VALUES (1, '2023-01-05', '2023-01-00'), (2, '2030-00-00', NULL)")
    spec = {"mode": "watermark", "key": key, "cursor": "modified", "zero_dates": "null"}
    journey.write_specs(items=spec)
    with pytest.raises(DataError, match="zero or impossible dates"):
        sync_table(table="items")
    journey.write_specs(items={**spec, "null_cursors": "ignore"})
    for _ in range(3):
        sync_table(table="items")
    assert journey.target("items", "id, paid") == [(1, None)]  # as of any other column


@pytest.mark.parametrize("where", ["sqlite-folder-duckdb", "mysql-folder-postgres"])
def test_past_windows_are_refused_as_the_run_s_own_is(where: str, journey: Any) -> None:
    shop(journey, "DATETIME NULL", catch_up=True, start_date="2023-01-05")
    says = add(journey, [None, None])
    for scheduled in (datetime(2023, 1, 7, 9, tzinfo=UTC), datetime(2023, 1, 8, 9, tzinfo=UTC)):
        state = run_at(sync_all, scheduled)
        assert state.type is StateType.FAILED
        assert says in str(state.message)
    assert not journey.has_landed("items")
