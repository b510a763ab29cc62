"""A source table with a dot in its name is carried, and found when it is written wrongly."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from blocks.sources import MySQLSource
from ferry.errors import SchemaError, SpecError
from flows.backfill_tables import backfill
from flows.sync_table import sync_table

pytestmark = pytest.mark.usefixtures("plain_runs")

SPEC = {"mode": "window", "key": ["id"], "insert_rows": 0}
DAY = {"run_date": date(2023, 1, 5)}


@pytest.fixture
def dotted(journey: Any) -> Any:
    journey.sql("CREATE TABLE `app.users` (id INT NOT NULL PRIMARY KEY, modified DATETIME)")
    journey.sql("INSERT INTO `app.users` VALUES (1, '2023-01-05 12:00:00')")
    return journey


def database(journey: Any) -> str:
    return journey.source.database if isinstance(journey.source, MySQLSource) else "main"


def test_a_table_in_backticks_is_carried(dotted: Any):
    dotted.write_specs(
        users={**SPEC, "source_table": "`app.users`"},
        of_database={**SPEC, "source_table": f"{database(dotted)}.`app.users`"},
        in_backticks={**SPEC, "source_table": f"`{database(dotted)}`.`app.users`"},
    )
    for table in ("users", "of_database", "in_backticks"):
        assert sync_table(table=table, **DAY).rows_extracted == 1
    assert sync_table(table="users", mode="full").rows_inserted == 1
    days = {"start_date": date(2023, 1, 5), "end_date": date(2023, 1, 6)}
    (receipt,) = backfill(table="users", **days, reprocess="all")[f"{dotted.schema}.users"]
    assert receipt.rows_unchanged == 1


@pytest.mark.parametrize("route", ["sqlite-folder-duckdb", "mysql-folder-postgres"], indirect=True)
@pytest.mark.parametrize("whole", [False, True])
def test_without_backticks_the_message_says_how_to_write_it(dotted: Any, whole: bool):
    name, meant = "app.users", "`app.users`"
    if whole:
        name = f"{database(dotted)}.app.users"
        meant = f"`{database(dotted)}`.`app.users`"
    dotted.write_specs(users={**SPEC, "source_table": name})
    with pytest.raises(SchemaError, match="there is no table 'users'") as refused:
        sync_table(table="users", **DAY)
    assert f'`source_table: "{meant}"`' in str(refused.value)


@pytest.mark.parametrize("route", ["sqlite-folder-duckdb"], indirect=True)
def test_stray_backticks_are_refused(dotted: Any):
    dotted.write_specs(users={**SPEC, "source_table": "app.`users"})
    with pytest.raises(SpecError, match=r"users.source_table.*backticks stand around a whole name"):
        sync_table(table="users", **DAY)


@pytest.mark.parametrize("route", ["mysql-folder-postgres"], indirect=True)
def test_without_backticks_a_dot_parts_database_and_table(dotted: Any):
    dotted.sql("CREATE TABLE users (id INT NOT NULL PRIMARY KEY, modified DATETIME)")
    dotted.write_specs(users={**SPEC, "source_table": f"{database(dotted)}.users"})
    assert sync_table(table="users", **DAY).rows_extracted == 0
