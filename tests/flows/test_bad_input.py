"""Bad input: a clear error that says what to do, and a target that is as it was."""

import re
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from itertools import product
from typing import Any

import pymysql
import pytest
from prefect.exceptions import ParameterTypeError
from pydantic import SecretStr

from blocks.sources import MySQLSource
from blocks.warehouses import PostgresWarehouse
from ferry.errors import (
    AccessError,
    ConfigurationError,
    FerryError,
    RequestError,
    SchemaError,
    SpecError,
)
from flows.backfill_tables import backfill
from flows.build_summary import build_summary
from flows.reconcile_tables import reconcile
from flows.show_coverage import show_coverage
from flows.sync_all import sync_all
from flows.sync_table import sync_table
from flows.update_symbols import update_symbols

TABLE = """CREATE TABLE orders (
  id BIGINT NOT NULL PRIMARY KEY, note VARCHAR(200) NULL, modified DATETIME NOT NULL)"""
SPEC = {"mode": "window", "key": ["id"]}
DAY = {"run_date": date(2023, 1, 1)}
SECRET = "p1anted-s3cret@/:?#"


@pytest.fixture
def loaded(journey: Any) -> Any:
    """A shop with one row carried, and another that waits."""
    journey.sql(TABLE)
    journey.sql("INSERT INTO orders VALUES (?, ?, ?)", [(1, "first", "2023-01-01 10:00:00")])
    journey.write_specs(orders=SPEC)
    sync_table(table="orders", **DAY)
    journey.sql("INSERT INTO orders VALUES (?, ?, ?)", [(2, "second", "2023-01-01 11:00:00")])
    return journey


@dataclass
class Case:
    """One bad input: what is changed, what is asked for, and what the message has to say."""

    error: type[FerryError]
    says: list[str]
    spec: dict[str, Any] = field(default_factory=dict)
    run: dict[str, Any] = field(default_factory=lambda: {"table": "orders", **DAY})
    before: Callable[[Any], object] = lambda journey: None


def with_full(journey: Any) -> None:
    journey.write_specs(orders={"mode": "full", "key": ["id"]})


def other_target(journey: Any) -> None:
    journey.warehouse.execute(f'DROP TABLE "{journey.schema}"."orders"')
    journey.warehouse.execute(
        f'CREATE TABLE "{journey.schema}"."orders" (id SMALLINT, note BIGINT, modified TIMESTAMP)'
    )
    journey.warehouse.execute(
        f'INSERT INTO "{journey.schema}"."orders" VALUES (1, 1, \'2023-01-01 10:00:00\')'
    )


CASES = {
    "unknown table": Case(
        RequestError, ["no table 'oders'", "one of orders"], run={"table": "oders"}
    ),
    "not in the source": Case(SchemaError, ["plan", "ordres"], {"source_table": "ordres"}),
    "a name with quotes and semicolons": Case(
        RequestError, ["no table 'orders\"; DROP"], run={"table": 'orders"; DROP TABLE orders; --'}
    ),
    "misspelled spec": Case(
        SpecError, ["tables.yaml:", "tables.orders.modes", "Known fields"], {"modes": "full"}
    ),
    "unreadable spec": Case(
        SpecError,
        ["tables.yaml:", "not readable as YAML"],
        before=lambda journey: journey.specs_file.write_text("tables: ["),
    ),
    "no spec file": Case(
        SpecError, ["cannot be read", "FERRY_TABLES"], before=lambda j: j.specs_file.unlink()
    ),
    "missing key column": Case(
        SchemaError, ["no column 'idd', which `key` names", "Correct `key`"], {"key": ["idd"]}
    ),
    "missing cursor column": Case(
        SchemaError, ["no column 'changed', which `cursor` names"], {"cursor": "changed"}
    ),
    "missing deleted column": Case(
        SchemaError, ["no column 'deleted', which `deleted_column`"], {"soft_deletes": "apply"}
    ),
    "missing excluded column": Case(
        SchemaError, ["no column 'nope', which `exclude` names"], {"exclude": ["nope"]}
    ),
    "excluded column that the target has": Case(
        SchemaError,
        ["the target has columns that the spec excludes: note", "DROP COLUMN", "`target_only`"],
        {"exclude": ["note"]},
    ),
    "end before start": Case(
        RequestError,
        ["end is not after its start", "half-open"],
        run={
            "table": "orders",
            "window_start": datetime(2023, 1, 2),
            "window_end": datetime(2023, 1, 1),
        },
    ),
    "half a window": Case(
        RequestError,
        ["needs both its ends"],
        run={"table": "orders", "window_start": datetime(2023, 1, 2)},
    ),
    "a window on a full-mode table": Case(
        RequestError, ["mode full takes no dates", "Leave the dates empty"], before=with_full
    ),
    "a zone that there is not, of a full-mode table": Case(
        RequestError,
        ["no time zone 'Mars/Base'"],
        run={"table": "orders", "zone": "Mars/Base"},
        before=with_full,
    ),
    "no such source block": Case(
        ConfigurationError,
        ["no source block named 'nowhere'", "register"],
        {"source": "nowhere"},
    ),
    "no such stage block": Case(
        ConfigurationError, ["no stage block named 'nowhere'"], {"stage": "nowhere"}
    ),
    "no such warehouse block": Case(
        ConfigurationError, ["no warehouse block named 'nowhere'"], {"warehouse": "nowhere"}
    ),
    "target whose columns do not fit": Case(
        SchemaError,
        ["the target's columns do not fit", "note is text", "in the source", "`exclude`"],
        before=other_target,
    ),
}


ON_ALL_ROUTES = (
    "not in the source",
    "excluded column that the target has",
    "target whose columns do not fit",
)
"""What a source or a warehouse is asked for; of the others it hears nothing."""


@pytest.mark.usefixtures("plain_runs")
@pytest.mark.parametrize(
    ("route", "name"),
    [
        *(("sqlite-folder-duckdb", name) for name in CASES),
        *product(("mysql-folder-postgres", "mysql-s3-redshift"), ON_ALL_ROUTES),
    ],
    indirect=["route"],
)
def test_bad_input_is_refused_and_the_target_is_as_it_was(loaded: Any, name: str):
    case = CASES[name]
    if case.spec:
        loaded.write_specs(orders={**SPEC, **case.spec})
    case.before(loaded)
    target, receipts = loaded.target("orders"), loaded.receipts("orders")

    with pytest.raises(case.error) as caught:
        sync_table(**case.run)

    message = str(caught.value)
    assert [text for text in case.says if text not in message] == [], message
    assert loaded.target("orders") == target
    assert loaded.receipts("orders") == receipts
    assert loaded.leftovers() == set()


@pytest.mark.parametrize("route", ["sqlite-folder-duckdb"], indirect=True)
def test_a_date_that_is_none_is_refused_before_anything_runs(loaded: Any):
    with pytest.raises(ParameterTypeError, match="run_date"):
        sync_table(table="orders", run_date="notadate")
    assert len(loaded.target("orders")) == 1


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"window_start": "2026", "window_end": "2027"}, "write a moment as 2026-01-05T06:00"),
        ({"window_start": 20260105, "window_end": 20260106}, "write a moment as 2026-01-05T06:00"),
        ({"window_start": "today", "window_end": ""}, "write a moment as 2026-01-05T06:00"),
        ({"run_date": 20260105}, "write a day as 2026-01-05"),
        ({"run_date": "2026-1-5"}, "write a day as 2026-01-05"),
        ({"run_date": ""}, "write a day as 2026-01-05"),
        ({"run_date": "2026-W05"}, "write a day as 2026-01-05"),
        ({"run_date": "2026-01-05T06:00"}, "write a day as 2026-01-05"),
        ({"run_date": 1.5}, "write a day as 2026-01-05"),
    ],
)
def test_what_is_no_date_is_refused_and_says_how_a_date_is_written(
    given: dict[str, Any], says: str
) -> None:
    with pytest.raises(ParameterTypeError, match=re.escape(says)):
        sync_table.validate_parameters({"table": "orders", **given})


def test_digits_are_the_date_that_they_spell_and_not_seconds() -> None:
    digits = {"window_start": "20260105", "window_end": "20260106T0600Z"}
    given = sync_table.validate_parameters({"table": "orders", **digits})
    assert given["window_start"] == datetime(2026, 1, 5)
    assert given["window_end"] == datetime(2026, 1, 6, 6, tzinfo=UTC)
    whole_day = sync_table.validate_parameters({"table": "orders", "run_date": "20260105"})
    assert whole_day["run_date"] == date(2026, 1, 5)


@pytest.mark.parametrize(
    "flow",
    [sync_table, sync_all, backfill, show_coverage, reconcile, build_summary, update_symbols],
    ids=lambda flow: flow.name,
)
def test_every_date_that_a_person_may_give_a_run_is_read_so(flow: Any) -> None:
    properties = flow.parameters.properties
    dates = [name for name, field in properties.items() if "'format': 'date" in str(field)]
    assert len(dates) >= 2
    others = {"backfill": {"start_date": "2026-01-05", "end_date": "2026-01-06"}}.get(flow.name, {})
    for name in dates:
        given = {"table": "orders", **others, name: 20260105}
        given = {key: value for key, value in given.items() if key in properties}
        with pytest.raises(ParameterTypeError, match=r"write a (day|moment) as"):
            flow.validate_parameters(given)


def refused(journey: Any, error: type[FerryError], *says: str) -> None:
    """Run it; the error says all this, no secret, and the target is as it was."""
    target, receipts = journey.target("orders"), journey.receipts("orders")
    with pytest.raises(error) as caught:
        sync_table(table="orders", **DAY)
    chain: BaseException | None = caught.value
    while chain:
        assert SECRET not in str(chain) and SECRET not in repr(chain)
        chain = chain.__cause__
    message = str(caught.value)
    assert [text for text in says if text not in message] == [], message
    assert (journey.target("orders"), journey.receipts("orders")) == (target, receipts)


@contextmanager
def owner_of(mariadb: Any) -> Iterator[Any]:
    """A cursor of the server's own administrator, by the socket that only this account may use."""
    with mariadb.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT @@socket")
        ((socket,),) = cursor.fetchall()
    with (
        closing(pymysql.connect(unix_socket=socket, user="root")) as connection,
        connection.cursor() as cursor,
    ):
        yield cursor


@pytest.mark.parametrize("route", ["mysql-folder-postgres"], indirect=True)
class TestSource:
    def test_a_wrong_password_is_refused(self, loaded: Any):
        loaded.source.password = SecretStr(SECRET)
        loaded.source.save(loaded.name, overwrite=True)
        refused(loaded, AccessError, "plan", loaded.schema, "2023-01-01", "wrong user or passw")

    def test_an_unknown_database_is_refused(self, loaded: Any):
        loaded.source.database = "test_nobody_made_this"
        loaded.source.save(loaded.name, overwrite=True)
        refused(loaded, AccessError, "test_nobody", "there is no such database", "`database`")

    def test_a_right_that_the_user_has_not_is_named(self, loaded: Any, mariadb: Any):
        database = loaded.source.database
        with owner_of(mariadb) as cursor:
            cursor.execute("CREATE OR REPLACE USER clerk@'%%' IDENTIFIED BY %s", (SECRET,))
            loaded.source.user, loaded.source.password = "clerk", SecretStr(SECRET)
            loaded.source.save(loaded.name, overwrite=True)
            refused(loaded, AccessError, "no right to the database", f"SELECT ON `{database}`.*")
            cursor.execute(f"GRANT SELECT (id), INSERT ON `{database}`.orders TO clerk@'%'")
            cursor.execute(f"CREATE VIEW `{database}`.v AS SELECT * FROM `{database}`.orders")
            cursor.execute(f"GRANT SHOW VIEW ON `{database}`.v TO clerk@'%'")
            loaded.write_specs(orders={**SPEC, "source_table": "v"})
            refused(loaded, AccessError, "not the right SELECT", f"SELECT ON `{database}`.`v`")
            cursor.execute(f"GRANT SELECT ON `{database}`.v TO clerk@'%'")
        loaded.write_specs(of_a_view={**SPEC, "source_table": "v"})
        assert sync_table(table="of_a_view", **DAY).rows_extracted == 2

    def test_a_wrong_ca_is_refused(self, loaded: Any, another_ca: str):
        loaded.source.ca_path = another_ca
        loaded.source.save(loaded.name, overwrite=True)
        refused(loaded, AccessError, "certificate")

    def test_no_permission_is_refused(self, loaded: Any, mariadb: Any):
        loaded.source.database = "mysql"
        loaded.source.save(loaded.name, overwrite=True)
        refused(loaded, AccessError, "plan", "mysql")


def postgres_execute(postgres: Any, database: str | None = None) -> Callable[..., None]:
    def execute(statement: str, parameters: tuple[Any, ...] = ()) -> None:
        connection = postgres.connect(database)
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(statement, parameters or None)
        finally:
            connection.close()

    return execute


@pytest.mark.parametrize("route", ["mysql-folder-postgres", "mysql-s3-redshift"], indirect=True)
class TestWarehouse:
    def test_a_wrong_password_is_refused(self, loaded: Any):
        self.registered(loaded, password=SecretStr(SECRET))
        refused(loaded, AccessError, "wrong user or password", "Correct `user` and `password`")

    def test_an_unknown_database_is_refused(self, loaded: Any):
        self.registered(loaded, database="nobody_made_this")
        refused(loaded, AccessError, "there is no such database", "Correct `database`")

    def test_a_wrong_ca_is_refused(self, loaded: Any, another_ca: str):
        self.registered(loaded, sslrootcert=another_ca)
        refused(loaded, AccessError, "certificate")

    def test_no_permission_is_refused(self, loaded: Any, postgres: Any):
        execute = postgres_execute(postgres)
        execute("DROP ROLE IF EXISTS nobody")
        execute("CREATE ROLE nobody LOGIN PASSWORD %s", (SECRET,))
        self.registered(loaded, user="nobody", password=SecretStr(SECRET))
        refused(loaded, AccessError, "permission denied")

    @pytest.mark.usefixtures("plain_runs")
    def test_each_right_that_is_missing_is_named_with_the_grant_that_gives_it(
        self, loaded: Any, postgres: Any
    ):
        admin, given = postgres_execute(postgres, loaded.warehouse.database), set()
        admin("DROP ROLE IF EXISTS apprentice")
        admin("CREATE ROLE apprentice LOGIN PASSWORD %s", (SECRET,))
        self.registered(loaded, user="apprentice", password=SecretStr(SECRET))
        try:
            while True:
                try:
                    receipt = sync_table(table="orders", **DAY)
                    break
                except AccessError as error:
                    (grant,) = re.findall(r"GRANT .*? TO \"apprentice\";", str(error))
                    assert grant not in given, error
                    given.add(grant)
                    admin(grant)
            assert receipt.rows_inserted == 1
            assert any(f'ON SCHEMA "{loaded.schema}"' in grant for grant in given)
            assert any("INSERT" in grant and '"receipts"' in grant for grant in given)
        finally:
            admin("DROP OWNED BY apprentice")
            admin("DROP ROLE apprentice")

    def registered(self, journey: Any, **changes: Any) -> None:
        changed = journey.warehouse.model_copy(update=changes)
        changed.save(journey.name, overwrite=True)


@pytest.mark.parametrize("route", ["mysql-s3-redshift"], indirect=True)
class TestStage:
    @pytest.fixture(autouse=True)
    def by_copy(self, loaded: Any) -> None:
        loaded.write_specs(orders={**SPEC, "insert_rows": 0})

    def test_no_such_bucket_is_refused(self, loaded: Any):
        loaded.stage.bucket_name = "nobody-made-this"
        loaded.stage.save(loaded.name, overwrite=True)
        refused(loaded, AccessError, "nobody-made-this", "stage")


def test_the_blocks_repr_hides_the_password():
    for block in (
        MySQLSource(host="h", user="u", password=SecretStr(SECRET), database="d"),
        PostgresWarehouse(host="h", user="u", password=SecretStr(SECRET), database="d"),
    ):
        assert SECRET not in repr(block) and SECRET not in str(block)
