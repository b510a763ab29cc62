"""What is PostgreSQL's alone: streaming the files, and what a session goes through."""

from __future__ import annotations

import dataclasses
import threading
import time
import traceback
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import pytest

from blocks.warehouses import PostgresWarehouse
from ferry.errors import (
    AccessError,
    BusyError,
    ConflictError,
    ConnectionLostError,
    DataError,
    FatalError,
    OutcomeUnknownError,
    SchemaError,
)
from ferry.schema import Column, DataType, Kind, TableName
from ferry.statements import PARAM, Statement

if TYPE_CHECKING:
    pass

TWO = (Column("id", DataType(Kind.INT32)), Column("name", DataType(Kind.TEXT, max_bytes=40)))
PASSWORD = "p'w \\\"%s{x}🔑$1"


def changed(engine: Any, **fields: Any) -> PostgresWarehouse:
    return type(engine.warehouse)(
        **{**engine.warehouse.model_dump(), "password": engine.warehouse.password, **fields}
    )


def test_many_files_are_loaded_over_several_connections_or_one(postgres_engine: Any) -> None:
    table = postgres_engine.create(TWO)
    files = [[(n * 10 + i, "x" * i) for i in range(10)] for n in range(7)]
    staged = postgres_engine.stage_rows(TWO, *files)
    for threads in (1, 2, 16):
        warehouse = changed(postgres_engine, copy_threads=threads)
        assert warehouse.copy_in(table, staged, postgres_engine.stage) == 70
        counted = f'SELECT count(DISTINCT id), count(*) FROM "{table.schema}"."t"'
        assert warehouse.fetch(counted) == [(70, 70)]
        warehouse.execute(f'DELETE FROM "{table.schema}"."t"')


def test_an_unlogged_staging_table_takes_files(postgres_engine: Any) -> None:
    kind = postgres_engine.warehouse.capabilities.staging_table_kind
    table = postgres_engine.table()
    postgres_engine.warehouse.execute(
        f'CREATE {kind} TABLE "{table.schema}"."t" (id integer, name text)'
    )
    staged = postgres_engine.stage_rows(TWO, [(1, "a")])
    assert postgres_engine.warehouse.copy_in(table, staged, postgres_engine.stage) == 1


def test_the_error_of_the_stage_is_what_is_raised(postgres_engine: Any, monkeypatch: Any) -> None:
    table = postgres_engine.create(TWO)
    staged = postgres_engine.stage_rows(TWO, [(1, "a")], [(2, "b")], [(3, "c")])

    class Broken:
        def __init__(self, file: Any) -> None:
            self._file = file

        def read(self, size: int = -1) -> bytes:
            if "part-1" in self._file.name:
                raise ConnectionLostError("the stage went away")
            return self._file.read(size)

        def close(self) -> None:
            self._file.close()

    kind = type(postgres_engine.stage)
    opened = kind.open
    monkeypatch.setattr(kind, "open", lambda self, file: Broken(opened(self, file)))
    with pytest.raises(ConnectionLostError, match="the stage went away"):
        postgres_engine.warehouse.copy_in(table, staged, postgres_engine.stage)
    assert postgres_engine.warehouse.fetch(f'SELECT * FROM "{table.schema}"."t"') == []


def test_a_file_that_fails_stops_the_others(postgres_engine: Any) -> None:
    table = postgres_engine.create(TWO)
    large = b"".join(b'%d,"some text"\n' % i for i in range(2_000_000))
    staged = postgres_engine.stage_text(TWO, large, b'x,"b"\n', large, large)
    began = time.monotonic()
    with pytest.raises(DataError, match=r"file part-1\.csv, line 1, column id"):
        changed(postgres_engine, copy_threads=4).copy_in(table, staged, postgres_engine.stage)
    assert time.monotonic() - began < 5


def test_a_damaged_file_is_told(postgres_engine: Any) -> None:
    table = postgres_engine.create(TWO)
    staged = postgres_engine.stage_rows(TWO, [(1, "a")])
    path = postgres_engine.stage.path / staged.files[0].key
    path.write_bytes(b"not zstd")
    with pytest.raises(DataError, match="cannot be decompressed"):
        postgres_engine.warehouse.copy_in(table, staged, postgres_engine.stage)


def test_a_nul_in_text_is_a_data_error_with_its_place(postgres_engine: Any) -> None:
    table = postgres_engine.create(TWO)
    staged = postgres_engine.stage_text(TWO, b'1,"a"\n2,"s3cret\x00"\n')
    with pytest.raises(DataError, match=r"file part-0\.csv, line 2") as caught:
        postgres_engine.warehouse.copy_in(table, staged, postgres_engine.stage)
    assert "s3cret" not in "".join(traceback.format_exception(caught.value))
    with pytest.raises(DataError):
        postgres_engine.warehouse.fetch(Statement(f"SELECT {PARAM}", ("a\0b",)))


def test_json_that_the_server_refuses_is_told_with_its_line_and_column(
    postgres_engine: Any,
) -> None:
    columns = (*TWO, Column("doc", DataType(Kind.JSON)))
    table = postgres_engine.create(columns)
    for bad in (rb'{""s3cret"": ""\u0000""}', rb'{""s3cret"": ""\ud800""}', rb"{s3cret}"):
        staged = postgres_engine.stage_text(columns, b'1,"a","{}"\n2,"b","' + bad + b'"\n')
        with pytest.raises(DataError, match=r"part-0\.csv, line 2, column doc.*`as_text") as caught:
            postgres_engine.warehouse.copy_in(table, staged, postgres_engine.stage)
        assert "s3cret" not in "".join(traceback.format_exception(caught.value))


def test_the_primary_key_and_characters_are_described(postgres_engine: Any) -> None:
    postgres_engine.warehouse.execute(
        f'CREATE TABLE "{postgres_engine.schema}"."t" (a varchar(5), gone int, b int, '
        "c timestamp(0), d numeric, e uuid, f int[], PRIMARY KEY (b, a))"
    )
    postgres_engine.warehouse.execute(f'ALTER TABLE "{postgres_engine.schema}"."t" DROP gone')
    made = postgres_engine.warehouse.describe(postgres_engine.table())
    assert made.key == ("b", "a")
    assert made.columns[0].type == DataType(Kind.TEXT, max_bytes=5)
    assert [each.type.kind for each in made.columns[2:]] == [
        Kind.OTHER,
        Kind.DECIMAL,
        Kind.OTHER,
        Kind.OTHER,
    ]
    assert made.columns[0].native == "character varying(5)"


@pytest.mark.parametrize(
    ("fields", "error", "says"),
    [
        ({"password": PASSWORD}, AccessError, "wrong user or password"),
        ({"user": "nobody_here", "password": PASSWORD}, AccessError, "wrong user or password"),
        ({"database": "no_such", "password": None}, AccessError, "no such database"),
        ({"sslrootcert": None, "password": PASSWORD}, AccessError, "certificate"),
        ({"sslrootcert": "/no/such/file", "password": PASSWORD}, AccessError, "certificate"),
        (
            {"sslmode": "verify-ca", "sslrootcert": "system", "password": None},
            AccessError,
            "needs an authority of its own",
        ),
        ({"port": 1, "password": PASSWORD}, ConnectionLostError, "connection"),
        ({"host": "no-such-host.invalid", "password": PASSWORD}, ConnectionLostError, "connection"),
    ],
    ids=["password", "user", "database", "untrusted", "no-ca-file", "weak", "port", "host"],
)
def test_why_nobody_gets_in_is_told_without_the_password(
    postgres_engine: Any, fields: dict[str, Any], error: type[Exception], says: str
) -> None:
    password = fields["password"] or postgres_engine.warehouse.password.get_secret_value()
    warehouse = changed(postgres_engine, **{**fields, "password": password})
    assert password not in repr(warehouse)
    with pytest.raises(error, match=says) as caught:
        warehouse.fetch("SELECT 1")
    said = "".join(traceback.format_exception(caught.value)) + repr(caught.value.__cause__)
    assert password not in said
    assert caught.value.todo


def test_a_password_of_any_characters_works(postgres_engine: Any) -> None:
    name = f"user_{postgres_engine.schema}"
    quoted = PASSWORD.replace("'", "''").replace("\\", "\\\\")
    postgres_engine.warehouse.execute(f"CREATE ROLE {name} LOGIN PASSWORD E'{quoted}'")
    try:
        warehouse = changed(postgres_engine, user=name, password=PASSWORD)
        assert warehouse.fetch("SELECT current_user") == [(name,)]
        table = postgres_engine.create(TWO)
        with pytest.raises(AccessError):
            warehouse.fetch(f'SELECT * FROM "{table.schema}"."t"')
    finally:
        postgres_engine.warehouse.execute(f"DROP ROLE {name}")


def test_a_certificate_for_another_name_is_refused(postgres_engine: Any) -> None:
    warehouse = changed(postgres_engine, host="localhost.localdomain")
    with pytest.raises((AccessError, ConnectionLostError)):
        warehouse.fetch("SELECT 1")


def test_a_session_has_its_limits_and_its_zone(postgres_engine: Any) -> None:
    warehouse = changed(postgres_engine, statement_timeout_seconds=1)
    shown = warehouse.fetch(
        "SELECT current_setting('statement_timeout'), current_setting('timezone'), "
        "current_setting('application_name')"
    )
    assert shown == [("1s", "UTC", "ferry")]
    began = time.monotonic()
    with pytest.raises(BusyError):
        warehouse.fetch("SELECT pg_sleep(100)")
    assert time.monotonic() - began < 60


_KEEPALIVES = "SELECT " + ", ".join(
    f"current_setting('tcp_keepalives_{each}')" for each in ("idle", "interval", "count")
)


def test_the_server_finds_out_that_a_session_s_machine_is_gone(postgres_engine: Any) -> None:
    """Else what that held locked would stay locked for two hours."""
    warehouse = changed(postgres_engine, statement_timeout_seconds=86)
    assert warehouse.fetch(_KEEPALIVES) == [("60", "10", "6")]


def test_a_server_that_does_not_let_keepalives_be_set_is_used_without(
    postgres_engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        f"{PostgresWarehouse.__module__}.KEEPALIVES", {"tcp_keepalives_unheard_of": 1}
    )
    warehouse = changed(postgres_engine, statement_timeout_seconds=87)
    limits = "SELECT current_setting('statement_timeout'), current_setting('timezone')"
    assert warehouse.fetch(limits) == [("87s", "UTC")]


def test_a_lost_connection_is_told_apart_before_and_at_commit(postgres_engine: Any) -> None:
    warehouse = postgres_engine.warehouse
    with pytest.raises(ConnectionLostError), warehouse.transaction() as tx:
        (pid,) = tx.fetch("SELECT pg_backend_pid()")[0]
        warehouse.fetch(Statement(f"SELECT pg_terminate_backend({PARAM})", (pid,)))
        tx.fetch("SELECT 1")
    with pytest.raises(OutcomeUnknownError), warehouse.transaction() as tx:
        (pid,) = tx.fetch("SELECT pg_backend_pid()")[0]
        warehouse.fetch(Statement(f"SELECT pg_terminate_backend({PARAM})", (pid,)))


@pytest.mark.parametrize("words", ["cache lookup failed", "could not open relation with oid"])
def test_words_of_a_value_make_no_conflict(postgres_engine: Any, words: str) -> None:
    table = f'"{postgres_engine.schema}"."t"'
    postgres_engine.warehouse.execute(f"CREATE TABLE {table} (name text PRIMARY KEY)")
    with pytest.raises(DataError):
        for _ in range(2):
            postgres_engine.warehouse.execute(
                Statement(f"INSERT INTO {table} VALUES ({PARAM})", (words,))
            )


def test_a_deadlock_is_a_conflict(postgres_engine: Any) -> None:
    table = f'"{postgres_engine.schema}"."t"'
    postgres_engine.create(TWO)
    postgres_engine.warehouse.execute(f"INSERT INTO {table} VALUES (1, 'a'), (2, 'b')")
    both = threading.Barrier(2, timeout=20)
    errors: list[BaseException] = []
    change = f"UPDATE {table} SET name = 'x' WHERE id = {PARAM}"

    def update(first: int, second: int) -> None:
        try:
            with postgres_engine.warehouse.transaction() as tx:
                tx.execute(Statement(change, (first,)))
                both.wait()
                tx.execute(Statement(change, (second,)))
        except ConflictError as error:
            errors.append(error)

    threads = [threading.Thread(target=update, args=each) for each in ((1, 2), (2, 1))]
    for each in threads:
        each.start()
    for each in threads:
        each.join(30)
    assert len(errors) == 1


def test_two_sessions_that_make_one_schema_do_not_fail_for_good(postgres_engine: Any) -> None:
    name = f"{postgres_engine.schema}_both"
    try:
        with pytest.raises(ConflictError), postgres_engine.warehouse.transaction() as tx:
            tx.execute(f'CREATE SCHEMA IF NOT EXISTS "{name}"')
            impatient = changed(postgres_engine, statement_timeout_seconds=5)
            failed: list[BaseException] = []
            other = threading.Thread(target=_make_schema, args=(impatient, name, failed))
            other.start()
            time.sleep(0.5)
            tx.execute("SELECT 1")
            _commit_now(tx)
            other.join(20)
            raise failed[0]
    finally:
        postgres_engine.warehouse.execute(f'DROP SCHEMA IF EXISTS "{name}"')


def _make_schema(warehouse: Any, name: str, failed: list[BaseException]) -> None:
    try:
        warehouse.execute(f'CREATE SCHEMA IF NOT EXISTS "{name}"')
    except ConflictError as error:
        failed.append(error)


def _commit_now(tx: Any) -> None:
    tx.execute("COMMIT")


def test_a_unique_violation_tells_the_constraint_and_no_value(postgres_engine: Any) -> None:
    table = f'"{postgres_engine.schema}"."t"'
    postgres_engine.warehouse.execute(f"CREATE TABLE {table} (name text PRIMARY KEY)")
    insert = f"INSERT INTO {table} VALUES ('s3cret')"
    postgres_engine.warehouse.execute(insert)
    with pytest.raises(DataError, match="t_pkey") as caught:
        postgres_engine.warehouse.execute(insert)
    assert "s3cret" not in "".join(traceback.format_exception(caught.value))


def test_what_a_trigger_raises_is_not_repeated(postgres_engine: Any) -> None:
    with pytest.raises(FatalError, match="function or trigger") as caught:
        postgres_engine.warehouse.execute("DO $$ BEGIN RAISE 'bad row %', 'pl' || 'anted'; END $$")
    assert "planted" not in "".join(traceback.format_exception(caught.value))


def test_no_files_are_no_rows(postgres_engine: Any) -> None:
    table = postgres_engine.create(TWO)
    staged = dataclasses.replace(postgres_engine.stage_rows(TWO, [(1, "a")]), files=())
    assert postgres_engine.warehouse.copy_in(table, staged, postgres_engine.stage) == 0


def test_views_over_a_column_are_told_in_the_order_in_which_they_can_be_dropped(
    postgres_engine: Any,
) -> None:
    table, warehouse = postgres_engine.create(TWO), postgres_engine.warehouse
    schema = f'"{postgres_engine.schema}"'
    for statement in (
        "VIEW {s}.low AS SELECT name FROM {s}.t",
        "MATERIALIZED VIEW {s}.mid AS SELECT name FROM {s}.low",
        "VIEW {s}.top AS SELECT t.name FROM {s}.t, {s}.mid",
        "VIEW {s}.beside AS SELECT id FROM {s}.t",
    ):
        warehouse.execute("CREATE " + statement.format(s=schema))
    with pytest.raises(SchemaError, match="Drop the views"):
        warehouse.execute(f"ALTER TABLE {schema}.t ALTER COLUMN name TYPE varchar(9)")
    views = warehouse.bound_views(table, "name")
    assert [view.name.name for view in views] == ["top", "mid", "low"]
    for view in views:
        assert "name" in warehouse.fetch(view.definition_query)[0][0]
        warehouse.execute(view.drop)
    warehouse.execute(f"ALTER TABLE {schema}.t ALTER COLUMN name TYPE varchar(9)")


def test_files_are_read_as_utf_8_whatever_the_environment_says(
    postgres_engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    elsewhere = changed(postgres_engine, connect_timeout_seconds=11)  # no connection that is kept
    columns = (Column("a_text", DataType(Kind.TEXT)), Column("a_json", DataType(Kind.JSON)))
    staged = postgres_engine.stage_text(columns, '"José","{""n"": ""José""}"\n'.encode())
    table = postgres_engine.create(columns)
    elsewhere.copy_in(table, staged, postgres_engine.stage)
    found = f'SELECT a_text, a_json::text FROM "{table.schema}"."{table.name}"'
    assert postgres_engine.warehouse.fetch(found) == [("José", '{"n": "José"}')]


def test_a_character_that_the_database_s_encoding_has_not_is_told(
    postgres_engine: Any, plain_database: str
) -> None:
    latin = f"{plain_database}_latin1"
    postgres_engine.warehouse.execute(
        f"CREATE DATABASE {latin} ENCODING 'LATIN1' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"
    )
    warehouse = changed(postgres_engine, database=latin)
    warehouse.execute("CREATE TABLE t (id integer, name text)")
    table = TableName("public", "t")
    for name, told in (("José", ""), ("3 €", "database in UTF8")):
        staged = postgres_engine.stage_text(TWO, f'1,"{name}"\n'.encode())
        with pytest.raises(DataError, match=told) if told else nullcontext():
            warehouse.copy_in(table, staged, postgres_engine.stage)
    assert warehouse.fetch("SELECT name FROM t") == [("José",)]


def test_row_level_security_is_a_side_effect_for_whom_it_hides_rows_from(
    postgres_engine: Any,
) -> None:
    table = postgres_engine.create(TWO)
    name = f'"{table.schema}"."{table.name}"'
    role = f"reader_{table.schema}"
    for statement in (
        f"ALTER TABLE {name} ENABLE ROW LEVEL SECURITY",
        f"CREATE ROLE {role} LOGIN PASSWORD 'reader'",
        f'GRANT USAGE ON SCHEMA "{table.schema}" TO {role}',
    ):
        postgres_engine.warehouse.execute(statement)
    assert postgres_engine.warehouse.side_effects(table) == ()
    theirs = changed(postgres_engine, user=role, password="reader")
    assert theirs.side_effects(table) == ("row level security hides rows from this user",)
