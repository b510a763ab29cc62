"""DuckDB alters nothing of a table with an index: what is to be run says so, and can be run."""

from __future__ import annotations

import re
from typing import Any

import pytest

from ferry.errors import SchemaError
from flows.sync_table import sync_table

pytestmark = [
    pytest.mark.usefixtures("plain_runs"),
    pytest.mark.parametrize("route", ["sqlite-folder-duckdb"], indirect=True),
]

SPEC = {"key": ["id"], "cursor": "modified", "retries": 0}


def make(journey: Any, target: str, mode: str) -> None:
    """A table of two rows, and a target of these columns that has one of them, and an index."""
    journey.sql("CREATE TABLE g (id INTEGER NOT NULL PRIMARY KEY, n BIGINT, modified DATETIME)")
    journey.sql("INSERT INTO g VALUES (1, 7, '2023-01-01'), (2, 8, '2023-01-02')")
    journey.write_specs(g={**SPEC, "mode": mode})
    table = f'"{journey.schema}"."g"'
    journey.warehouse.execute(f'CREATE SCHEMA "{journey.schema}"')
    journey.warehouse.execute(f"CREATE TABLE {table} ({target})")
    journey.warehouse.execute(f'CREATE INDEX "by N" ON {table} (modified)')
    journey.warehouse.execute(f"INSERT INTO {table} (id, modified) VALUES (1, '2023-01-01')")


def follow(journey: Any, script: str) -> str:
    """Run what the refusal says to run, then the table again; returns what was said."""
    with pytest.raises(SchemaError) as caught:
        sync_table(table="g")
    said = str(caught.value)
    (statements,) = re.findall(script, said)
    journey.warehouse.execute(statements)
    sync_table(table="g")
    assert journey.target("g", "id, n") == [(1, 7), (2, 8)]
    return said


@pytest.mark.parametrize("mode", ["full", "watermark"])
def test_a_column_that_has_to_grow_is_freed(journey: Any, mode: str) -> None:
    make(journey, "id BIGINT, n SMALLINT, modified TIMESTAMP", mode)
    said = follow(journey, r"Run: (DROP INDEX \S+\.\"by N\";) Run the table again")
    assert "make again what this has taken away" in said


def test_one_of_a_type_that_a_person_decides_on_is_freed_in_the_script(journey: Any) -> None:
    make(journey, "id BIGINT, n VARCHAR, modified TIMESTAMP", "watermark")
    assert "DROP INDEX" in follow(journey, r"BEGIN; .* COMMIT;")


def test_a_table_with_a_constraint_besides_is_put_aside(journey: Any) -> None:
    make(journey, "id INTEGER PRIMARY KEY, n BIGINT, modified TIMESTAMP", "full")
    follow(journey, r"(DROP INDEX \S+\.\"by N\"; ALTER TABLE \S+ RENAME TO [^;]*;)")


def test_a_copy_says_which_constraints_it_leaves_out(journey: Any) -> None:
    make(journey, "id INTEGER PRIMARY KEY, n BIGINT CHECK (n > 0), modified TIMESTAMP", "watermark")
    said = follow(journey, r"BEGIN; .* COMMIT;")
    assert "That copies no partitions, indexes" in said and "no defaults, and of the constr" in said


@pytest.mark.parametrize(
    ("columns", "script"),
    [
        ("n BIGINT, old INT", r"drop them: (DROP INDEX .* DROP COLUMN \"old\";)"),
        ("old BIGINT", r"rename it: (DROP INDEX .* RENAME COLUMN \"old\" TO \"n\";)"),
    ],
)
def test_a_column_that_is_gone_is_dropped_or_renamed(
    journey: Any, columns: str, script: str
) -> None:
    make(journey, f"id BIGINT, {columns}, modified TIMESTAMP", "full")
    follow(journey, script)
