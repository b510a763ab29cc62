"""What PostgreSQL refuses for a while, or for good, and what is said of it."""

from __future__ import annotations

import re
import time
import traceback
from collections.abc import Iterator
from typing import Any

import pytest

from blocks.warehouses import PostgresWarehouse
from ferry.errors import (
    AccessError,
    BusyError,
    DataError,
    FatalError,
    FerryError,
    RetriableError,
    SchemaError,
    is_retriable,
)
from ferry.schema import Column, DataType, Kind, TableName
from ferry.statements import PARAM, Statement

TWO = (Column("id", DataType(Kind.INT32)), Column("name", DataType(Kind.TEXT, max_bytes=40)))


@pytest.fixture
def other_user(postgres_engine: Any) -> Iterator[PostgresWarehouse]:
    """The warehouse as another superuser sees it, whose settings are a test's to change."""
    name = f"other_{postgres_engine.schema}"
    postgres_engine.warehouse.execute(f"CREATE ROLE {name} LOGIN SUPERUSER PASSWORD 'other'")
    yield PostgresWarehouse(
        **{**postgres_engine.warehouse.model_dump(), "user": name, "password": "other"}
    )
    postgres_engine.warehouse.execute(f"DROP OWNED BY {name}")
    postgres_engine.warehouse.execute(f"DROP ROLE {name}")


def test_a_server_that_takes_no_writes_is_tried_again(
    postgres_engine: Any, other_user: PostgresWarehouse
) -> None:
    table = postgres_engine.create(TWO)
    insert = f'INSERT INTO "{table.schema}"."t" VALUES (1, \'s3cret\')'
    alter = f"ALTER ROLE {other_user.user} SET default_transaction_read_only TO"
    postgres_engine.warehouse.execute(f"{alter} on")
    with other_user.transaction() as first, other_user.transaction() as second:
        assert first.fetch("SELECT 1") == second.fetch("SELECT 1")  # two that are kept
    with (
        pytest.raises(BusyError, match=r"takes no writes.*default_transaction_read_only") as caught,
        other_user.transaction() as tx,
    ):
        tx.execute(insert)
    assert "s3cret" not in "".join(traceback.format_exception(caught.value))
    postgres_engine.warehouse.execute(f"{alter} off")
    assert other_user.execute(insert) == 1  # over no connection that is of before


def test_a_user_who_may_not_log_in_is_told_so_and_is_not_tried_again(
    postgres_engine: Any, other_user: PostgresWarehouse
) -> None:
    postgres_engine.warehouse.execute(f"ALTER ROLE {other_user.user} NOLOGIN")
    with pytest.raises(AccessError, match=f'may not log in.*ALTER ROLE "{other_user.user}" LOGIN'):
        other_user.fetch("SELECT 1")


@pytest.mark.parametrize("sslmode", ["verify-full", "disable"])
def test_a_session_that_was_ended_for_waiting_says_by_which_setting(
    postgres_engine: Any, other_user: PostgresWarehouse, sslmode: str
) -> None:
    postgres_engine.warehouse.execute(
        f"ALTER ROLE {other_user.user} SET idle_in_transaction_session_timeout TO '200ms'"
    )
    warehouse = other_user.model_copy(update={"sslmode": sslmode})
    # Over TLS the driver finds the connection closed, and not what the server said before.
    with (
        pytest.raises(RetriableError, match="idle_in_transaction_session_timeout"),
        warehouse.transaction() as tx,
    ):
        tx.fetch("SELECT 1")
        time.sleep(1)
        tx.fetch("SELECT 1")


def test_temporary_files_beyond_their_limit_say_by_which_setting(
    postgres_engine: Any, other_user: PostgresWarehouse
) -> None:
    postgres_engine.warehouse.execute(f"ALTER ROLE {other_user.user} SET temp_file_limit TO '64kB'")
    with pytest.raises(BusyError, match="temp_file_limit"):
        other_user.fetch("SELECT g FROM generate_series(1, 3000000) AS g ORDER BY g DESC LIMIT 1")


def test_what_publishes_deletes_without_an_identity_says_what_to_do(postgres_engine: Any) -> None:
    table = postgres_engine.create(TWO)
    name = f'"{table.schema}"."t"'
    postgres_engine.warehouse.execute(f"CREATE PUBLICATION {table.schema} FOR TABLE {name}")
    try:
        with pytest.raises(FatalError, match="REPLICA IDENTITY FULL"):
            postgres_engine.warehouse.execute(f"DELETE FROM {name}")
    finally:
        postgres_engine.warehouse.execute(f"DROP PUBLICATION {table.schema}")


def test_what_hangs_on_a_partitioned_target_or_on_a_partition_is_told_once(
    postgres_engine: Any,
) -> None:
    warehouse, schema = postgres_engine.warehouse, postgres_engine.schema
    for statement in (
        "CREATE TABLE {s}.t (id int PRIMARY KEY) PARTITION BY RANGE (id)",
        "CREATE TABLE {s}.low PARTITION OF {s}.t FOR VALUES FROM (0) TO (9)",
        "CREATE TABLE {s}.rest PARTITION OF {s}.t DEFAULT",
        "CREATE TABLE {s}.line (id int, part int, CONSTRAINT whole FOREIGN KEY (id) "
        "REFERENCES {s}.t ON DELETE CASCADE, CONSTRAINT part FOREIGN KEY (part) "
        "REFERENCES {s}.low ON DELETE SET NULL) PARTITION BY RANGE (id)",
        "CREATE TABLE {s}.lines PARTITION OF {s}.line DEFAULT",
        "CREATE FUNCTION {s}.f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
        "CREATE TRIGGER whole BEFORE DELETE ON {s}.t FOR EACH ROW EXECUTE FUNCTION {s}.f()",
        "CREATE TRIGGER part BEFORE DELETE ON {s}.low FOR EACH ROW EXECUTE FUNCTION {s}.f()",
        "CREATE RULE part AS ON DELETE TO {s}.low DO INSTEAD NOTHING",  # not of its parent's DELETE
    ):
        warehouse.execute(statement.format(s=f'"{schema}"'))
    deletes = "deletes or empties rows there with each row that is replaced here"
    assert [each.replace('"', "") for each in warehouse.side_effects(TableName(schema, "t"))] == [
        f"the foreign key part of {schema}.line {deletes}",
        f"the foreign key whole of {schema}.line {deletes}",
        f"the trigger part of {schema}.low before a DELETE can keep the row",
        f"the trigger whole of {schema}.t before a DELETE can keep the row",
    ]


def test_a_trigger_before_an_insert_is_told_where_an_insert_into_the_target_goes(
    postgres_engine: Any,
) -> None:
    warehouse, schema = postgres_engine.warehouse, postgres_engine.schema
    trigger = "BEFORE INSERT OR UPDATE ON {s}.%s FOR EACH ROW EXECUTE FUNCTION {s}.stamp()"
    for statement in (
        "CREATE TABLE {s}.t (id int, at timestamp) PARTITION BY RANGE (id)",
        "CREATE TABLE {s}.low PARTITION OF {s}.t FOR VALUES FROM (0) TO (9)",
        "CREATE TABLE {s}.old (id int, at timestamp)",
        "CREATE TABLE {s}.older () INHERITS ({s}.old)",
        "CREATE FUNCTION {s}.stamp() RETURNS trigger LANGUAGE plpgsql "
        "AS 'BEGIN NEW.at := now(); RETURN NEW; END'",
        "CREATE TRIGGER stamp " + trigger % "low",
        "CREATE TRIGGER stamp " + trigger % "older",  # an INSERT into its parent stays there
        "CREATE TRIGGER after AFTER INSERT ON {s}.t FOR EACH ROW EXECUTE FUNCTION {s}.stamp()",
        "CREATE TRIGGER off " + trigger % "t",
        "ALTER TABLE {s}.t DISABLE TRIGGER off",
    ):
        warehouse.execute(statement.format(s=f'"{schema}"'))
    (told,) = warehouse.side_effects(TableName(schema, "t"))
    assert told.endswith(".low before an INSERT can change the row or leave it out")
    assert warehouse.side_effects(TableName(schema, "old")) == ()


def test_rows_that_no_partition_takes_are_told_with_the_statement_that_makes_one(
    postgres_engine: Any,
) -> None:
    warehouse, schema = postgres_engine.warehouse, f'"{postgres_engine.schema}"'
    for statement in (
        f"CREATE TABLE {schema}.t (id int, name text) PARTITION BY RANGE (id)",
        f"CREATE TABLE {schema}.low PARTITION OF {schema}.t FOR VALUES FROM (0) TO (9)",
    ):
        warehouse.execute(statement)
    insert = f"INSERT INTO {schema}.%s VALUES (77777, 's3cret')"
    with pytest.raises(DataError, match='"low" is a partition that takes no such rows'):
        warehouse.execute(insert % "low")
    with pytest.raises(DataError, match=r'"t" has no partition for some rows') as caught:
        warehouse.execute(insert % "t")
    assert "77777" not in "".join(traceback.format_exception(caught.value))
    assert "Correct the value" not in str(caught.value)

    (make,) = re.findall(r"CREATE TABLE \S+_default\S* PARTITION OF [^;]*;", str(caught.value))
    warehouse.execute(make)
    assert warehouse.execute(insert % "t") == 1


def test_a_view_is_no_target(postgres_engine: Any) -> None:
    table = postgres_engine.create(TWO)
    postgres_engine.warehouse.execute(
        f'CREATE VIEW "{table.schema}".v AS SELECT * FROM "{table.schema}"."t"'
    )
    (told,) = postgres_engine.warehouse.side_effects(TableName(table.schema, "v"))
    assert told.startswith("it is a view")


PARENT, CHILD = '"{s}".parent', '"{s}".child'
FAMILY = (
    f"CREATE TABLE {PARENT} (id int PRIMARY KEY, name text)",
    f'CREATE TABLE {CHILD} (id int CONSTRAINT "its parent" REFERENCES {PARENT} {{extra}}, '
    "age int NOT NULL, rank int CONSTRAINT high CHECK (rank < 5), code text UNIQUE)",
    f"INSERT INTO {PARENT} VALUES (1, 'a')",
    f"INSERT INTO {CHILD} VALUES (1, 1, 1, 's3cret')",
)
DROP = r'ALTER TABLE "{s}"\."child" DROP CONSTRAINT "{name}";'


def family(postgres_engine: Any, extra: str = "") -> PostgresWarehouse:
    for statement in FAMILY:
        postgres_engine.warehouse.execute(statement.format(s=postgres_engine.schema, extra=extra))
    warehouse: PostgresWarehouse = postgres_engine.warehouse
    return warehouse


@pytest.mark.parametrize("extra", ["", "ON DELETE RESTRICT"])
def test_a_foreign_key_onto_replaced_rows_says_how_to_defer_it(
    postgres_engine: Any, extra: str
) -> None:
    warehouse, schema = family(postgres_engine, extra), postgres_engine.schema
    defer = (
        rf'ALTER TABLE "{schema}"\."child" ALTER CONSTRAINT "its parent" DEFERRABLE INITIALLY DEF'
    )
    with pytest.raises(DataError, match=rf"{defer}.*RESTRICT"):
        warehouse.execute(f'DELETE FROM "{schema}".parent')


def test_rows_that_a_deferred_foreign_key_misses_at_commit_are_told(postgres_engine: Any) -> None:
    warehouse = family(postgres_engine, "DEFERRABLE INITIALLY DEFERRED")
    drop = DROP.format(s=postgres_engine.schema, name="its parent")
    with (
        pytest.raises(DataError, match=rf"points to rows that are gone.*{drop}"),
        warehouse.transaction() as tx,
    ):
        tx.execute(f'DELETE FROM "{postgres_engine.schema}".parent')


@pytest.mark.parametrize(
    ("values", "says", "name"),
    [
        ("(2, 1, 1, 'b')", "Carry the table that it points to first", "its parent"),
        ("(1, NULL, 1, 'b')", 'ALTER COLUMN "age" DROP NOT NULL', ""),
        ("(1, 1, 77777, 'b')", "[Cc]orrect", "high"),
        ("(1, 1, 1, 's3cret')", "`key`", "child_code_key"),
    ],
    ids=["foreign key", "not null", "check", "unique"],
)
def test_a_constraint_of_the_target_says_which_it_is_and_how_to_lift_it(
    postgres_engine: Any, values: str, says: str, name: str
) -> None:
    warehouse, schema = family(postgres_engine), postgres_engine.schema
    with pytest.raises(DataError, match=says) as caught:
        warehouse.execute(f'INSERT INTO "{schema}".child VALUES {values}')
    assert not name or re.search(DROP.format(s=schema, name=name), str(caught.value))
    said = "".join(traceback.format_exception(caught.value))
    assert "s3cret" not in said
    assert "77777" not in said


def insert_past(postgres_engine: Any, function: str) -> None:
    """Insert a row with a secret into a table whose BEFORE INSERT trigger does this."""
    table, warehouse = postgres_engine.create(TWO), postgres_engine.warehouse
    guard = f'"{table.schema}"."guard"'
    warehouse.execute(
        f"CREATE FUNCTION {guard}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {function} END $$"
    )
    warehouse.execute(
        f'CREATE TRIGGER t BEFORE INSERT ON "{table.schema}"."t" '
        f"FOR EACH ROW EXECUTE FUNCTION {guard}()"
    )
    warehouse.execute(
        Statement(f'INSERT INTO "{table.schema}"."t" VALUES (1, {PARAM})', ("s3cret",))
    )


GUARD_REFUSES = r"\.guard\(\).*DISABLE TRIGGER"


@pytest.mark.parametrize("code", ["P0001", "23514", "22023", "XX000", "42501", "57014"])
def test_a_trigger_that_refuses_a_row_is_named_and_its_words_are_withheld(
    postgres_engine: Any, code: str
) -> None:
    with pytest.raises(FerryError, match=GUARD_REFUSES) as caught:
        insert_past(
            postgres_engine, f"RAISE 'too many clients: %', NEW.name USING ERRCODE = '{code}';"
        )
    assert "s3cret" not in "".join(traceback.format_exception(caught.value))
    assert is_retriable(caught.value) is (code == "57014")  # by its author's own choice


def test_a_name_that_a_trigger_makes_of_a_row_is_withheld(postgres_engine: Any) -> None:
    with pytest.raises(SchemaError, match=GUARD_REFUSES) as caught:
        insert_past(
            postgres_engine,
            "EXECUTE format('INSERT INTO part_%s VALUES (1)', NEW.name); RETURN NULL;",
        )
    assert "s3cret" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("rights", "also", "says"),
    [
        ("SELECT", "", ".*right that the function needs.*SECURITY DEFINER"),
        ("SELECT, INSERT", " ON CONFLICT (name) DO NOTHING", ".*change the function"),
    ],
    ids=["no right", "no such constraint"],
)
def test_a_value_in_what_a_trigger_makes_of_a_row_is_withheld(
    postgres_engine: Any, other_user: PostgresWarehouse, rights: str, also: str, says: str
) -> None:
    table, warehouse = postgres_engine.create(TWO), postgres_engine.warehouse
    for each in (
        "CREATE TABLE {s}.audit (name text)",
        "CREATE FUNCTION {s}.guard() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"EXECUTE format('INSERT INTO {{s}}.audit VALUES(%L){also}', NEW.name); "
        "RETURN NULL; END $$",
        "CREATE TRIGGER t AFTER INSERT ON {s}.t FOR EACH ROW EXECUTE FUNCTION {s}.guard()",
        "ALTER ROLE {user} NOSUPERUSER",
        "GRANT USAGE ON SCHEMA {s} TO {user}",
        "GRANT INSERT ON {s}.t TO {user}",
        f"GRANT {rights} ON {{s}}.audit TO {{user}}",
    ):
        warehouse.execute(each.format(s=table.schema, user=other_user.user))
    row = Statement(f'INSERT INTO "{table.schema}"."t" VALUES (1, {PARAM})', ("s3cret",))
    named = rf"the function {table.schema}\.guard\(\) refuses it"
    with pytest.raises(FerryError, match=named + says) as caught:
        other_user.execute(row)
    assert "s3cret" not in "".join(traceback.format_exception(caught.value))
