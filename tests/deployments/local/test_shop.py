from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pymysql
import pytest

from deployments.local import shop
from deployments.local.servers import MariaDB
from deployments.local.shop_rows import COMMENTS, Span

ROWS = {"nps_rows": 6_200, "orders_rows": 2_000}


@pytest.fixture
def sqlite_shop(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(shop.make_sqlite(tmp_path / "shop.db", **ROWS))) as connection:
        yield connection


@pytest.fixture
def mariadb_shop(mariadb: MariaDB, mysql_database: str) -> Iterator[pymysql.Connection[Any]]:
    with mariadb.connect(mysql_database) as connection:
        shop.make_mariadb(connection, **ROWS)
        yield connection


def rows(connection: Any, table: str) -> list[tuple[str | None, ...]]:
    """All rows as text, in which both engines write every value alike."""
    cursor = connection.cursor()
    cursor.execute(f"SELECT * FROM {table} ORDER BY id")
    names = [column[0] for column in cursor.description]

    def text(name: str, value: object) -> str | None:
        if value is None:
            return None
        if name == "amount":
            return str(round(Decimal(str(value)), 2))
        return str(value).removesuffix(".000000")

    return [tuple(map(text, names, row)) for row in cursor.fetchall()]


def test_both_engines_hold_the_same_rows_also_after_a_day(
    sqlite_shop: sqlite3.Connection, mariadb_shop: pymysql.Connection[Any]
) -> None:
    for day in (None, date(2023, 2, 1), date(2023, 2, 2)):
        if day is not None:
            assert shop.a_day_passes(sqlite_shop, day) == shop.a_day_passes(mariadb_shop, day)
        for table in shop.TABLES:
            assert rows(sqlite_shop, table) == rows(mariadb_shop, table)


def test_it_is_always_the_same_shop(tmp_path: Path) -> None:
    dumps = []
    for name in ("a.db", "b.db"):
        path = shop.make_sqlite(tmp_path / name, **ROWS)
        path = shop.make_sqlite(path, **ROWS)  # in place of the one that is there
        with closing(sqlite3.connect(path)) as connection:
            dumps.append(list(connection.iterdump()))
    assert dumps[0] == dumps[1]


def test_every_day_of_the_span_has_its_share(sqlite_shop: sqlite3.Connection) -> None:
    counts = sqlite_shop.execute(
        "SELECT substr(created_at, 1, 10), count(*) FROM nps GROUP BY 1"
    ).fetchall()
    assert counts == [(f"2023-01-{day:02}", 200) for day in range(1, 32)]


def test_the_span_can_be_a_year(tmp_path: Path) -> None:
    path = shop.make_sqlite(tmp_path / "y.db", **ROWS, span=Span(date(2022, 1, 1), 365))
    with closing(sqlite3.connect(path)) as connection:
        found = connection.execute("SELECT min(created_at), max(modified) FROM orders").fetchone()
    assert found[0].startswith("2022-01-01")
    assert found[1].startswith("2022-12-31")


def test_text_holds_the_traps(mariadb_shop: pymysql.Connection[Any]) -> None:
    with mariadb_shop.cursor() as cursor:
        cursor.execute("SELECT DISTINCT BINARY comment FROM orders")
        assert {None if row[0] is None else row[0].decode() for row in cursor.fetchall()} == {
            None,
            *COMMENTS,
        }


def test_times_are_in_order_and_deleted_orders_say_so(sqlite_shop: sqlite3.Connection) -> None:
    for never in (
        "modified < created_at",
        "modified >= '2023-02-01'",
        "created_at < '2023-01-01'",
        "deleted <> modified",
    ):
        assert sqlite_shop.execute(f"SELECT * FROM orders WHERE {never}").fetchall() == []
    deleted, changed = sqlite_shop.execute(
        "SELECT count(deleted), sum(modified > created_at) FROM orders"
    ).fetchone()
    assert 0 < deleted < changed


def test_a_day_touches_what_it_says_and_nothing_later(sqlite_shop: sqlite3.Connection) -> None:
    before = {row[0]: row for row in rows(sqlite_shop, "orders")}
    counts = shop.a_day_passes(sqlite_shop, date(2023, 1, 20), changed_rows=7, deleted_rows=3)
    after = {row[0]: row for row in rows(sqlite_shop, "orders")}

    touched = [after[id_] for id_ in before if after[id_] != before[id_]]
    assert counts == shop.DayCounts(5_000, 300, 7, 3)
    assert len(after) - len(before) == counts.orders_added
    assert len(touched) == counts.orders_changed + counts.orders_deleted
    assert {str(row[9])[:10] for row in touched} == {"2023-01-20"}
    assert sum(row[10] is not None for row in touched) == counts.orders_deleted
    assert all(str(before[row[0]][9]) < "2023-01-20" for row in touched)


def test_the_demo_can_make_it_with_the_product_alone() -> None:
    code = "import deployments.local.shop, sys; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"moto", "boto3", "deployments.local.servers"} & set(loaded)
