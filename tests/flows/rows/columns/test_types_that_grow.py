"""Columns that are altered in the source: what loses nothing is done, the rest has its statements.

All of it is told before a row is read.
"""

from __future__ import annotations

import re
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pytest
from prefect.logging import disable_run_logger

from deployments.local.redshift_double import Fault
from ferry.errors import BusyError, ConnectionLostError, SchemaError
from ferry.schema import Kind, TableName
from flows.pipeline.make_batch import Dates, load_route, make_batch
from flows.pipeline.table_specs import load_table_specs
from flows.sync_table import sync_table
from tasks.target.retype import plan_columns, retype

pytestmark = pytest.mark.usefixtures("plain_runs")

SPEC = {"mode": "window", "key": ["id"], "retries": 0}
FIRST, SECOND = {"run_date": date(2023, 1, 1)}, {"run_date": date(2023, 1, 2)}
BIG = 1_099_511_627_776
REDSHIFT = pytest.mark.parametrize("route", ["mysql-s3-redshift"], indirect=True)


def declare(journey: Any, columns: str, *rows: tuple[Any, ...]) -> None:
    """Make the source's table anew, so declared, with these rows."""
    journey.sql("DROP TABLE IF EXISTS g")
    journey.sql(
        f"CREATE TABLE g (id BIGINT NOT NULL PRIMARY KEY, {columns}, modified DATETIME NOT NULL)"
    )
    for row in rows:
        journey.sql(f"INSERT INTO g VALUES ({', '.join('?' * len(row))})", [row])


def loaded(journey: Any, columns: str, *values: Any, **spec: Any) -> Any:
    """A table with one row carried, of the first day."""
    declare(journey, columns, (1, *values, "2023-01-01 10:00:00"))
    journey.write_specs(g={**SPEC, **spec})
    sync_table(table="g", **FIRST)
    return journey


def nothing_is_read(journey: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(journey.source), "read", lambda *_: pytest.fail("a row was read"))


def refused(journey: Any, **run: Any) -> str:
    """What the refusal says; not a row was read, and the target is as it was."""
    target, receipts = journey.target("g"), journey.receipts("g")
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SchemaError) as caught:
        nothing_is_read(journey, patch)
        sync_table(table="g", **run)
    assert journey.target("g") == target
    assert journey.receipts("g") == receipts
    return str(caught.value)


def kinds(journey: Any) -> dict[str, Kind]:
    made = journey.warehouse.describe(TableName(journey.schema, "g"))
    return {column.name: column.type.kind for column in made.columns}


def run_script(journey: Any, told: str) -> None:
    """Run the statements of a message as they stand there."""
    (script,) = re.findall(r"BEGIN; .* COMMIT;", told)
    journey.warehouse.execute(script)


def test_types_grow_and_the_rows_that_are_there_keep_their_values(journey: Any, route: str) -> None:
    bit = "BIT(1)" if route.startswith("mysql") else "BOOLEAN"
    loaded(
        journey,
        f"n MEDIUMINT, s SMALLINT, m DECIMAL(10,2), f FLOAT, d DATE, b {bit}, u INT, t VARCHAR(5)",
        *(7, 3, "12345678.25", 0.5, "2023-01-05", 1, 5, "short"),
    )
    declare(
        journey,
        "n BIGINT, s MEDIUMINT, m DECIMAL(14,4), f DOUBLE, d DATETIME, b SMALLINT, "
        "u DECIMAL(20,0), t VARCHAR(50)",
        (
            *(2, BIG, 70_000, "9999999999.1234", 0.1, "2023-01-05 10:30:00", 2),
            *("9223372036854775807", "x" * 50, "2023-01-02 10:00:00"),
        ),
    )
    receipt = sync_table(table="g", **SECOND)

    assert receipt.rows_inserted == 1
    assert journey.target("g", "id, n, s, m, f, d, b, u, t") == [
        (*(1, 7, 3, Decimal("12345678.25"), 0.5, datetime(2023, 1, 5), 1, 5, "short"),),
        (
            *(2, BIG, 70_000, Decimal("9999999999.1234"), 0.1, datetime(2023, 1, 5, 10, 30), 2),
            *(9223372036854775807, "x" * 50),
        ),
    ]
    assert [r.status for r in journey.receipts("g")] == ["loaded", "loaded"]
    assert sync_table(table="g", **SECOND).rows_unchanged == 1
    assert journey.leftovers() == set()


def test_a_decimal_grows_to_hold_what_is_there_as_well(journey: Any) -> None:
    loaded(journey, "m DECIMAL(10,1)", "123456789.5")
    declare(journey, "m DECIMAL(8,4)", (2, "1234.5678", "2023-01-02 10:00:00"))
    sync_table(table="g", **SECOND)
    assert journey.target("g", "m") == [(Decimal("123456789.5"),), (Decimal("1234.5678"),)]


def test_a_type_that_shrinks_leaves_the_targets_type_and_its_values(journey: Any) -> None:
    wide, long = (Decimal("12345678.25"), "x" * 50)
    loaded(journey, "n BIGINT, m DECIMAL(10,2), f DOUBLE, t VARCHAR(50)", BIG, str(wide), 0.5, long)
    declare(
        journey,
        "n INT, m DECIMAL(6,1), f FLOAT, t VARCHAR(5)",
        (2, 7, "12345.5", 0.25, "short", "2023-01-02 10:00:00"),
    )
    sync_table(table="g", **SECOND)
    assert journey.target("g", "id, n, m, f, t") == [
        (1, BIG, wide, 0.5, long),
        (2, 7, Decimal("12345.5"), 0.25, "short"),
    ]
    assert kinds(journey)["n"] is Kind.INT64


@REDSHIFT
@pytest.mark.parametrize("at", ["^UPDATE", "DROP COLUMN", "RENAME COLUMN", "^COMMIT"])
def test_a_column_that_is_being_swapped_is_the_old_one_or_the_new_one(
    journey: Any, redshift_double: Any, at: str
) -> None:
    loaded(journey, "n INT", 7)
    declare(journey, "n BIGINT", (2, BIG, "2023-01-02 10:00:00"))
    redshift_double.inject(Fault("cut_before", at))
    with pytest.raises(Exception, match="connection"):
        sync_table(table="g", **SECOND)
    assert journey.target("g", "id, n") == [(1, 7)]
    assert kinds(journey)["n"] is Kind.INT32
    redshift_double.clear()
    sync_table(table="g", **SECOND)
    assert journey.target("g", "id, n") == [(1, 7), (2, BIG)]


@pytest.mark.seconds
def test_two_runs_that_find_the_same_type_too_small_change_it_once(journey: Any) -> None:
    loaded(journey, "n MEDIUMINT", 7)
    declare(journey, "n BIGINT", (2, BIG, "2023-01-02 10:00:00"))
    spec = load_table_specs().named("g")
    with disable_run_logger():
        route, batch = load_route(spec), make_batch(spec, Dates(**SECOND), None)
        columns = route.source.describe(spec.source_name, ()).columns
        plan = plan_columns(batch, route.warehouse.describe(batch.target), columns, route.warehouse)
        assert [change.there.name for change in plan.retype] == ["n"]
        sync_table(table="g", **SECOND)
        retype(batch, plan, columns, route.warehouse)
    assert journey.target("g", "id, n") == [(1, 7), (2, BIG)]


BOUND = pytest.mark.parametrize(
    "route", ["mysql-folder-postgres", "mysql-s3-redshift"], indirect=True
)


@pytest.mark.parametrize("route", ["sqlite-folder-duckdb"], indirect=True)
def test_a_view_that_is_not_bound_to_its_columns_stands_in_no_ones_way(journey: Any) -> None:
    loaded(journey, "n MEDIUMINT", 7)
    journey.warehouse.execute(
        f'CREATE VIEW "{journey.schema}".v AS SELECT id, n FROM "{journey.schema}".g'
    )
    declare(journey, "n BIGINT", (2, BIG, "2023-01-02 10:00:00"))
    sync_table(table="g", **SECOND)
    assert journey.target("v") == [(1, 7), (2, BIG)]


@BOUND
@pytest.mark.parametrize(
    ("before", "after", "value"),
    [("INT", "BIGINT", BIG), ("VARCHAR(5)", "VARCHAR(50)", "x" * 50)],
    ids=["number", "text"],
)
def test_a_column_under_a_view_is_named_with_the_views_and_the_statements_before_a_row_is_read(
    journey: Any, route: str, before: str, after: str, value: Any
) -> None:
    loaded(journey, f"n {before}, other INT", 7, 1)
    schema = journey.schema
    if before != "INT" and not route.endswith("redshift"):
        journey.warehouse.execute(f'ALTER TABLE "{schema}".g ALTER n TYPE varchar(20)')
    views = {
        "direct": f'SELECT id, n FROM "{schema}".g',
        "over_it": f'SELECT n FROM "{schema}".direct',
        "of_another": f'SELECT id, other FROM "{schema}".g',
    }
    for name, text in views.items():
        journey.warehouse.execute(f'CREATE VIEW "{schema}"."{name}" AS {text}')
    declare(journey, f"n {after}, other INT", (2, value, 1, "2023-01-02 10:00:00"))

    told = refused(journey, **SECOND)
    assert f"n under {schema}.direct, {schema}.over_it" in told
    drops = re.findall(r"DROP VIEW \S+;", told)
    assert drops == [f'DROP VIEW "{schema}"."{name}";' for name in ("over_it", "direct")]
    assert "ALTER TABLE" in told
    assert ("NO SCHEMA BINDING" in told) is route.endswith("redshift")
    texts = re.findall(r"SELECT definition FROM [^;]*", told)
    assert [bool(journey.warehouse.fetch(text)[0][0]) for text in texts] == [True, True]

    for drop in drops:
        journey.warehouse.execute(drop)
    sync_table(table="g", **SECOND)
    assert [row[1] for row in journey.target("g", "id, n")] == [
        7 if before == "INT" else "7",
        value,
    ]
    assert len(journey.target("of_another")) == 2


@REDSHIFT
@pytest.mark.parametrize("key", ["sort_key", "dist_key", "key"])
def test_a_column_of_a_key_is_refused_with_the_statements_that_copy_the_table(
    journey: Any, key: str
) -> None:
    declare(journey, "n INT, o INT", (1, 7, 8, "2023-01-01 10:00:00"))
    journey.sql("ALTER TABLE g MODIFY id INT NOT NULL")
    named = {"sort_key": {"sort_key": ["o", "n"]}, "dist_key": {"dist_key": "n"}, "key": {}}
    journey.write_specs(g={**SPEC, **named[key]})
    sync_table(table="g", **FIRST)
    grown = "id" if key == "key" else "n"
    journey.sql(f"ALTER TABLE g MODIFY {grown} BIGINT NOT NULL")
    journey.sql(f"UPDATE g SET {grown} = {BIG}, modified = '2023-01-02 10:00:00'")

    told = refused(journey, **SECOND)
    part = {"sort_key": "sort key", "dist_key": "distribution key", "key": "primary key"}[key]
    assert f"{grown} (of the {part}" in told
    run_script(journey, told)
    sync_table(table="g", **SECOND)
    assert journey.target("g", grown, grown)[-1] == (BIG,)
    found = journey.warehouse.held_columns(TableName(journey.schema, "g"))
    expected = {"sort_key": 'SORTKEY ("o", "n")', "dist_key": 'DISTKEY ("n")', "key": ""}[key]
    assert expected in found.declared


@pytest.mark.parametrize("route", ["sqlite-folder-duckdb"], indirect=True)
def test_a_column_with_a_constraint_is_refused_with_the_statements_that_copy_the_table(
    journey: Any,
) -> None:
    loaded(journey, "n BIGINT", 7)
    target = f'"{journey.schema}"."g"'
    journey.warehouse.execute(f"DROP TABLE {target}")
    journey.warehouse.execute(
        f"CREATE TABLE {target} (id INTEGER PRIMARY KEY, n INTEGER NOT NULL, modified TIMESTAMP)"
    )
    journey.warehouse.execute(f"INSERT INTO {target} VALUES (1, 7, '2023-01-01 10:00:00')")
    declare(journey, "n BIGINT", (BIG, BIG, "2023-01-02 10:00:00"))
    told = refused(journey, **SECOND)
    assert "id (of a key or constraint)" in told
    run_script(journey, told)
    sync_table(table="g", **SECOND)
    assert journey.target("g", "id, n") == [(1, 7), (BIG, BIG)]
    assert journey.warehouse.describe(TableName(journey.schema, "g")).key == ("id",)


def test_a_type_that_a_person_has_to_decide_on_is_refused_with_the_statements(
    journey: Any,
) -> None:
    loaded(journey, "n INT", 7)
    declare(journey, "n VARCHAR(20)", (2, "seven", "2023-01-02 10:00:00"))
    told = refused(journey, **SECOND)
    assert "n is text(80 bytes) in the source" in told
    assert re.search("--param table=g --param mode=full.*what the source has no more", told)
    run_script(journey, told)
    sync_table(table="g", **SECOND)
    assert journey.target("g", "id, n") == [(1, "7"), (2, "seven")]


@BOUND
def test_times_without_a_zone_that_become_moments_ask_for_their_zone(journey: Any) -> None:
    loaded(journey, "seen DATETIME", "2023-01-01 09:00:00", zone="Asia/Seoul")
    declare(journey, "seen TIMESTAMP", (2, "2023-01-02 09:00:00", "2023-01-02 10:00:00"))
    told = refused(journey, **SECOND)
    assert "AT TIME ZONE '<the zone of its times>'" in told
    run_script(journey, told.replace("<the zone of its times>", "Asia/Seoul"))
    sync_table(table="g", **SECOND)
    assert [row[0].isoformat() for row in journey.target("g", "seen")][:1] == [
        "2023-01-01T00:00:00+00:00"
    ]


class TestFull:
    """A full copy replaces every row, so what is lost with a type is nothing."""

    def test_a_column_of_another_type_is_replaced_with_its_rows(self, journey: Any) -> None:
        loaded(journey, "n INT, o VARCHAR(9), p INT", 7, "8", 9)
        rows = [
            (1, "seven", 8, 9, "2023-01-01 10:00:00"),
            (2, "many", 9, 9, "2023-01-02 10:00:00"),
        ]
        declare(journey, "n VARCHAR(20), o INT, p INT", *rows)
        receipt = sync_table(table="g", mode="full")
        assert (receipt.rows_inserted, receipt.rows_deleted) == (2, 1)
        assert journey.target("g", "id, n, o, p") == [(1, "seven", 8, 9), (2, "many", 9, 9)]
        assert sync_table(table="g", **SECOND).rows_unchanged == 1

    @REDSHIFT
    @pytest.mark.parametrize("at", ["DROP COLUMN", "ADD COLUMN", "^INSERT INTO .*g. .*SELECT"])
    def test_one_that_is_killed_leaves_the_old_column_and_its_values(
        self, journey: Any, redshift_double: Any, at: str
    ) -> None:
        loaded(journey, "n INT", 7)
        declare(journey, "n VARCHAR(20)", (1, "seven", "2023-01-01 10:00:00"))
        redshift_double.inject(Fault("cut_before", at))
        with pytest.raises(ConnectionLostError):
            sync_table(table="g", mode="full")
        assert journey.target("g", "id, n") == [(1, 7)]
        redshift_double.clear()
        sync_table(table="g", mode="full")
        assert journey.target("g", "id, n") == [(1, "seven")]

    def test_the_only_column_of_a_table_can_become_of_another_type(self, journey: Any) -> None:
        journey.sql("CREATE TABLE g (n INT)")
        journey.sql("INSERT INTO g VALUES (7)")
        journey.write_specs(g={"mode": "full", "retries": 0})
        sync_table(table="g")
        journey.sql("DROP TABLE g")
        journey.sql("CREATE TABLE g (n VARCHAR(20))")
        journey.sql("INSERT INTO g VALUES ('seven')")
        sync_table(table="g")
        assert journey.target("g", "n", "n") == [("seven",)]

    def test_a_column_that_was_renamed_is_refused_with_the_statement(self, journey: Any) -> None:
        loaded(journey, "n INT", 7)
        declare(journey, "amount INT", (1, 7, "2023-01-01 10:00:00"))
        told = refused(journey, mode="full")
        (rename,) = re.findall(r"ALTER TABLE \S+ RENAME COLUMN [^;]*;", told)
        assert 'RENAME COLUMN "n" TO "amount"' in rename
        journey.warehouse.execute(rename)
        sync_table(table="g", mode="full")
        assert journey.target("g", "id, amount") == [(1, 7)]

    def test_a_column_that_was_dropped_is_refused_with_the_statement(self, journey: Any) -> None:
        loaded(journey, "n INT, o INT", 7, 8)
        declare(journey, "n INT", (1, 7, "2023-01-01 10:00:00"))
        told = refused(journey, mode="full")
        (drop,) = re.findall(r"ALTER TABLE \S+ DROP COLUMN [^;]*;", told)
        assert "RENAME" not in told
        journey.warehouse.execute(drop)
        sync_table(table="g", mode="full")
        assert journey.target("g", "id, n") == [(1, 7)]

    @REDSHIFT
    def test_a_column_of_a_key_of_another_type_is_refused_with_the_statement(
        self, journey: Any
    ) -> None:
        loaded(journey, "n INT", 7, sort_key=["n"])
        declare(journey, "n VARCHAR(20)", (1, "seven", "2023-01-01 10:00:00"))
        told = refused(journey, mode="full")
        (aside,) = re.findall(r"ALTER TABLE \S+ RENAME TO [^;]*;", told)
        journey.warehouse.execute(aside)
        sync_table(table="g", mode="full")
        assert journey.target("g", "id, n") == [(1, "seven")]

    def test_a_table_that_moves_to_another_schema_is_made_there_and_left_where_it_was(
        self, journey: Any
    ) -> None:
        loaded(journey, "n INT", 7)
        moved = f"{journey.schema}_moved"
        journey.write_specs(g={**SPEC, "schema": moved})
        try:
            receipt = sync_table(table="g", mode="full")
            assert receipt.table_name == f"{moved}.g"
            found = journey.warehouse.fetch(f'SELECT id, n FROM "{moved}"."g"')
            assert found == journey.target("g", "id, n") == [(1, 7)]
        finally:
            journey.warehouse.execute(f'DROP SCHEMA IF EXISTS "{moved}" CASCADE')


def test_a_table_that_is_altered_before_a_step_is_tried_again_is_planned_again(
    journey: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when MySQL says `Table definition has changed, please retry transaction`."""
    loaded(journey, "n INT", 5, retries=1, retry_delay_seconds=0)
    journey.sql("INSERT INTO g VALUES (?, ?, ?)", [(2, 6, "2023-01-02 10:00:00")])
    read, refused_at = type(journey.source).read, []

    def altered_at_first(source: Any, query: Any) -> Any:
        if not refused_at:
            refused_at.append(query.schema.column_names)
            journey.sql("ALTER TABLE g ADD COLUMN m INT")
            journey.sql("UPDATE g SET m = 7 WHERE id = ?", [(2,)])
            raise BusyError("the table's definition has changed")
        return read(source, query)

    monkeypatch.setattr(type(journey.source), "read", altered_at_first)
    sync_table(table="g", **SECOND)
    assert refused_at == [("id", "n", "modified")]
    assert journey.target("g", "id, n, m") == [(1, 5, None), (2, 6, 7)]
