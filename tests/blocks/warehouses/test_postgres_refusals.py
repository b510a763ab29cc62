"""What PostgreSQL refuses for a while, or for good, and what is said of it."""

from __future__ import annotations

import time
import traceback
from collections.abc import Iterator
from typing import Any

import pytest

from blocks.warehouses import PostgresWarehouse
from ferry.errors import (
    BusyError,
    FatalError,
    FerryError,
    RetriableError,
    is_retriable,
)
from ferry.schema import Column, DataType, Kind
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


@pytest.mark.parametrize("code", ["P0001", "23514", "22023", "XX000", "42501", "57014"])
def test_a_trigger_that_refuses_a_row_is_named_and_its_words_are_withheld(
    postgres_engine: Any, code: str
) -> None:
    table, warehouse = postgres_engine.create(TWO), postgres_engine.warehouse
    guard = f'"{table.schema}"."guard"'
    warehouse.execute(
        f"CREATE FUNCTION {guard}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"RAISE 'too many clients: %', NEW.name USING ERRCODE = '{code}'; END $$"
    )
    warehouse.execute(
        f'CREATE TRIGGER t BEFORE INSERT ON "{table.schema}"."t" '
        f"FOR EACH ROW EXECUTE FUNCTION {guard}()"
    )
    with pytest.raises(FerryError, match=rf"{table.schema}\.guard\(\).*DISABLE TRIGGER") as caught:
        warehouse.execute(
            Statement(f'INSERT INTO "{table.schema}"."t" VALUES (1, {PARAM})', ("s3cret",))
        )
    assert "s3cret" not in "".join(traceback.format_exception(caught.value))
    assert is_retriable(caught.value) is (code == "57014")  # by its author's own choice
