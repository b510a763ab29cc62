"""A deletion that is marked by a text or number of the source's own is applied, on every route."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from blocks.sources import MySQLSource
from ferry.errors import SchemaError
from flows.backfill_tables import backfill
from flows.sync_table import sync_table

pytestmark = pytest.mark.usefixtures("plain_runs")

SPEC = {"mode": "window", "key": ["id"], "soft_deletes": "apply", "insert_rows": 0}
FIRST, SECOND = {"run_date": date(2023, 1, 5)}, {"run_date": date(2023, 1, 6)}
COLUMNS = {
    "text": ("VARCHAR(9)", ["Y", "gone"], "N", "Y", ("y", "Y ", "", None)),
    "number": ("INT", [2, 3], 1, 2, (0, 23, None)),
    "enum": ("ENUM('N','Y')", ["Y"], "N", "Y", (None,)),
    "char": ("CHAR(1)", [1], "0", "1", ("", None)),
}


@pytest.fixture(params=COLUMNS)
def marking(request: pytest.FixtureRequest, journey: Any) -> Any:
    """Users who are marked by such a column; the rest of its line in `COLUMNS`."""
    declared, values, alive, gone, others = COLUMNS[request.param]
    if declared.startswith("ENUM") and not isinstance(journey.source, MySQLSource):
        declared = "VARCHAR(1)"
    journey.sql(f"CREATE TABLE users (id INT PRIMARY KEY, state {declared}, modified DATETIME)")
    journey.write_specs(users={**SPEC, "deleted_column": "State", "deleted_values": values})
    return journey, alive, gone, others


def put(journey: Any, *rows: tuple[Any, ...], day: int = 5) -> None:
    at = f"2023-01-0{day} 12:00:00"
    journey.sql("REPLACE INTO users VALUES (?, ?, ?)", [(*row, at) for row in rows])


def test_only_the_rows_that_these_values_mark_are_deleted(marking: Any):
    journey, alive, gone, others = marking
    put(journey, (1, alive), (2, alive), *enumerate(others, 10))
    first = sync_table(table="users", **FIRST)
    put(journey, (1, gone), (2, alive), (3, gone), *enumerate(others, 10), day=6)

    second = sync_table(table="users", **SECOND)
    again = sync_table(table="users", **SECOND)

    kept = [(2,), *((n,) for n, _ in enumerate(others, 10))]
    assert journey.target("users", "id") == kept
    assert (first.rows_inserted, first.rows_deleted) == (2 + len(others), 0)
    assert (second.rows_deleted, second.rows_updated) == (1, len(kept))
    assert (second.rows_inserted, second.rows_unchanged) == (0, 1)
    assert (again.changed, again.rows_unchanged) == (0, again.rows_extracted)


def test_a_full_copy_leaves_them_out(marking: Any, caplog: pytest.LogCaptureFixture):
    journey, alive, gone, others = marking
    put(journey, (1, alive), (2, gone), *enumerate(others, 10))
    full = sync_table(table="users", mode="full")
    assert "0 deleted, 1 marked as deleted and left out" in caplog.text
    assert (full.rows_extracted - full.rows_inserted, full.rows_unchanged) == (1, 1)
    assert len(journey.target("users")) == 1 + len(others)


@pytest.mark.parametrize("route", ["sqlite-folder-duckdb"], indirect=True)
def test_text_that_marks_rows_needs_the_values(journey: Any):
    journey.sql("CREATE TABLE users (id INT PRIMARY KEY, deleted VARCHAR(1), modified DATETIME)")
    journey.write_specs(users=SPEC)
    with pytest.raises(SchemaError, match=r"such as `deleted_values: \[Y\]`"):
        sync_table(table="users", **FIRST)


@pytest.mark.parametrize("route", ["sqlite-folder-duckdb"], indirect=True)
def test_a_backfill_tells_how_many_were_deleted(journey: Any):
    journey.sql("CREATE TABLE users (id INT PRIMARY KEY, state INT, modified DATETIME)")
    spec = {**SPEC, "deleted_column": "state", "deleted_values": [2]}
    journey.write_specs(users=spec)
    put(journey, *((number, 1) for number in range(5)))
    days = {"start_date": date(2023, 1, 5), "end_date": date(2023, 1, 6), "reprocess": "all"}
    first: Any = backfill(table="users", **days, return_state=True)
    assert first.message.endswith("; 5 read, 5 inserted, 0 updated, 0 unchanged")
    put(journey, (0, 2), (1, 2), (2, 2))
    again: Any = backfill(table="users", **days, return_state=True)
    assert again.message.endswith("; 5 read, 0 inserted, 0 updated, 3 deleted, 2 unchanged")
