"""What waits for its next use is used again only if nothing was wrong with it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from blocks import pool as pool_module
from blocks.pool import Pool
from blocks.postgres import session as postgres_session
from blocks.warehouses import RedshiftWarehouse
from ferry.schema import TableName


@dataclass
class Thing:
    """Something open."""

    good: bool = True
    closed: bool = False


def close(thing: Thing) -> None:
    thing.closed = True


@pytest.fixture
def pool() -> Pool[Thing]:
    return Pool(close, lambda thing, _: thing.good)


def use(pool: Pool[Thing], key: str = "a") -> Thing:
    with pool.lease(key, Thing) as lease:
        return lease.thing


def test_it_is_used_again_by_whoever_asks_for_the_same(pool: Pool[Thing]) -> None:
    first = use(pool)
    assert use(pool) is first
    assert use(pool, "b") is not first


def test_it_has_one_user_at_a_time(pool: Pool[Thing]) -> None:
    held, lock = set[int](), threading.Lock()

    def work() -> None:
        for _ in range(50):
            with pool.lease("a", Thing) as lease:
                with lock:
                    assert id(lease.thing) not in held
                    held.add(id(lease.thing))
                time.sleep(0.0005)
                with lock:
                    held.remove(id(lease.thing))

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert held == set()


def test_after_an_error_it_is_closed(pool: Pool[Thing]) -> None:
    with pytest.raises(KeyboardInterrupt), pool.lease("a", Thing) as lease:
        raise KeyboardInterrupt
    assert lease.thing.closed
    assert use(pool) is not lease.thing


def test_one_that_its_user_does_not_keep_is_closed(pool: Pool[Thing]) -> None:
    with pool.lease("a", Thing) as lease:
        lease.keep = False
    assert lease.thing.closed


def test_one_that_went_bad_while_it_waited_is_closed(pool: Pool[Thing]) -> None:
    first = use(pool)
    first.good = False
    assert use(pool) is not first
    assert first.closed


def test_one_that_nobody_comes_back_for_is_closed_in_time(
    pool: Pool[Thing], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "IDLE_SECONDS", 0.1)
    first = use(pool)
    deadline = time.monotonic() + 5
    while not first.closed and time.monotonic() < deadline:
        time.sleep(0.02)
    assert first.closed


def test_an_old_one_is_closed_after_its_use() -> None:
    assert use(Pool(close, lambda *_: True, max_age_seconds=0)).closed


def test_not_more_wait_than_are_worth_it(pool: Pool[Thing]) -> None:
    leases = [pool.lease("a", Thing) for _ in range(pool_module.MAX_IDLE + 2)]
    things = [lease.__enter__().thing for lease in leases]
    for lease in leases:
        lease.__exit__(None, None, None)
    assert sum(thing.closed for thing in things) == 2
    pool.close_all()
    assert all(thing.closed for thing in things)


@pytest.fixture(params=["postgres_warehouse", "redshift_warehouse"])
def warehouse(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


def session(warehouse: Any) -> int:
    return int(warehouse.fetch("SELECT pg_backend_pid()")[0][0])


class TestWarehouseSessions:
    def test_a_session_serves_the_next_call_and_transaction(self, warehouse: Any) -> None:
        first = session(warehouse)
        with warehouse.transaction() as tx:
            assert tx.fetch("SELECT pg_backend_pid()") == [(first,)]
        assert session(warehouse) == first

    def test_looks_at_a_target_keep_it(self, warehouse: Any) -> None:
        table = TableName("raw_data", "looked_at")
        first = session(warehouse)
        with warehouse.transaction() as tx:
            warehouse.side_effects(table, tx)
            warehouse.describe(table, tx)
        warehouse.held_columns(table)
        assert session(warehouse) == first

    def test_one_that_the_server_ended_meanwhile_fails_nobody(
        self, warehouse: Any, postgres: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if isinstance(warehouse, RedshiftWarehouse):  # the double does not pass the goodbye on
            monkeypatch.setattr(postgres_session, "_PING_AFTER_SECONDS", 0.0)
        first = session(warehouse)
        with closing(postgres.connect()) as server, server.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s)", (first,))
        time.sleep(0.1)
        with warehouse.transaction() as tx:
            assert tx.fetch("SELECT pg_backend_pid()") != [(first,)]

    def test_after_an_error_another_one_is_used(self, warehouse: Any) -> None:
        first = session(warehouse)
        with pytest.raises(Exception, match="no_such"):
            warehouse.fetch("SELECT * FROM no_such")
        assert session(warehouse) != first

    @pytest.mark.parametrize(
        "statement",
        [
            "CREATE TEMP TABLE left_behind (id int)",
            "SET statement_timeout TO 1",
            "SELECT set_config('search_path', 'pg_catalog', false)",
        ],
    )
    def test_one_that_a_statement_has_changed_is_not_used_again(
        self, warehouse: Any, statement: str
    ) -> None:
        first = session(warehouse)
        with warehouse.transaction() as tx:
            assert tx.fetch("SELECT pg_backend_pid()") == [(first,)]
            tx.execute(statement)
        assert session(warehouse) != first

    def test_what_a_failed_transaction_wrote_is_gone(self, warehouse: Any, pg_schema: str) -> None:
        table = f'"{pg_schema}"."idle_t"'
        warehouse.execute(f'CREATE SCHEMA IF NOT EXISTS "{pg_schema}"')
        warehouse.execute(f"CREATE TABLE {table} (id int)")
        try:
            with pytest.raises(RuntimeError), warehouse.transaction() as tx:
                tx.execute(f"INSERT INTO {table} VALUES (1)")
                raise RuntimeError
            warehouse.execute(f"INSERT INTO {table} VALUES (2)")
            assert warehouse.fetch(f"SELECT id FROM {table}") == [(2,)]
        finally:
            warehouse.execute(f'DROP SCHEMA "{pg_schema}" CASCADE')
            warehouse.execute(f'CREATE SCHEMA "{pg_schema}"')

    def test_another_user_s_settings_are_another_session(self, warehouse: Any) -> None:
        fields = {**warehouse.model_dump(), "password": warehouse.password}
        other = type(warehouse)(**{**fields, "statement_timeout_seconds": 17})
        assert session(other) != session(warehouse)


class TestSourceConnections:
    def test_a_connection_serves_the_next_cursor(self, mysql_source: Any) -> None:
        assert connection(mysql_source) == connection(mysql_source)

    def test_one_that_the_server_ended_meanwhile_fails_nobody(
        self, mysql_source: Any, mariadb: Any
    ) -> None:
        first = connection(mysql_source)
        with mariadb.connect() as server, server.cursor() as cursor:
            cursor.execute(f"KILL {first}")
        time.sleep(0.1)
        assert connection(mysql_source) != first

    def test_after_an_error_another_one_is_used(self, mysql_source: Any) -> None:
        first = connection(mysql_source)
        with pytest.raises(Exception, match="1146"), cursor(mysql_source) as failing:
            failing.execute("SELECT * FROM no_such")
        assert connection(mysql_source) != first


@contextmanager
def cursor(mysql_source: Any) -> Iterator[Any]:
    with mysql_source[0]._server.cursor() as opened:
        yield opened


def connection(mysql_source: Any) -> int:
    with cursor(mysql_source) as opened:
        opened.execute("SELECT CONNECTION_ID()")
        return int(opened.fetchone()[0])
