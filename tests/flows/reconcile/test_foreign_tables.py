"""reconcile over tables that another tool has loaded: dlt; and with an application that writes."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from prefect.client.schemas.objects import StateType

from ferry.audits.outcome import Difference
from flows.pipeline.table_specs import load_table_specs
from flows.reconcile_tables import reconcile
from tasks.audits.compare import compare
from tasks.audits.sides import all_days, both_sides

pytestmark = [
    pytest.mark.usefixtures("plain_runs"),
    pytest.mark.parametrize("route", ["mysql-folder-postgres"], indirect=True),
]

ROWS = 2_000
DRIFTS = 100
SPEC = {
    "mode": "window",
    "key": ["id"],
    "cursor": "modified",
    "every": "never",
    "hard_deletes": "delete",
    "target_only": ["_dlt_id", "_dlt_load_id"],
}
LOAD = """
import sys, dlt, pymysql, pymysql.cursors
source, target, schema = sys.argv[1:]
connection = pymysql.connect(**eval(source), cursorclass=pymysql.cursors.DictCursor)
with connection.cursor() as cursor:
    cursor.execute("SELECT * FROM orders")
    rows = cursor.fetchall()
times = {"data_type": "timestamp", "timezone": False, "precision": 6}
money = {"data_type": "decimal", "precision": 12, "scale": 2}
table = dlt.resource(
    rows, name="orders", write_disposition="replace", primary_key="id",
    columns={"modified": times, "price": money, "payload": {"data_type": "binary"}},
)
pipeline = dlt.pipeline(
    "orders", destination=dlt.destinations.postgres(target), dataset_name=schema
)
pipeline.run(table).raise_on_failed_jobs()
"""


@pytest.fixture
def shop(journey: Any, mariadb: Any, tmp_path: Path) -> Any:
    """Orders of a month, loaded by dlt."""
    seed = random.Random(7)
    journey.sql(
        "CREATE TABLE orders (id INT NOT NULL PRIMARY KEY, note VARCHAR(99) NULL, "
        "price DECIMAL(12,2) NULL, payload VARBINARY(20) NULL, modified DATETIME(6) NOT NULL)"
    )
    journey.sql(
        "INSERT INTO orders VALUES (?, ?, ?, ?, ?)",
        [
            (
                number,
                seed.choice([None, "", "a | b", f"é {number}"]),
                seed.choice([None, seed.randrange(10**6) / 100]),
                seed.choice([None, seed.randbytes(8)]),
                datetime(2023, 1, 1) + timedelta(seconds=number * 1_290, microseconds=number),
            )
            for number in range(ROWS)
        ],
    )
    source, warehouse = journey.source, journey.warehouse
    settings = {
        "host": source.host,
        "port": source.port,
        "user": source.user,
        "password": source.password.get_secret_value(),
        "database": source.database,
        "charset": "utf8mb4",
    }
    target = (
        f"postgresql://{warehouse.user}:{quote(warehouse.password.get_secret_value(), safe='')}"
        f"@{warehouse.host}:{warehouse.port}/{warehouse.database}"
    )
    done = subprocess.run(
        [sys.executable, "-c", LOAD, repr(settings), target, journey.schema],
        env={
            **os.environ,
            "DLT_DATA_DIR": str(tmp_path / "dlt"),
            "RUNTIME__DLTHUB_TELEMETRY": "false",
        },
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    journey.write_specs(orders=SPEC)
    return journey


def drift(shop: Any) -> dict[str, str]:
    """Plant drifts of random kinds; returns how each key differs."""
    seed = random.Random(11)
    table = f'"{shop.schema}"."orders"'
    keys = seed.sample(range(ROWS - 1), DRIFTS)  # the last tells how far dlt has loaded
    planted = {}
    for key in keys:
        kind = seed.choice(["lost", "altered", "emptied", "deleted", "silent", "doctored time"])
        if kind == "deleted":
            shop.sql(f"DELETE FROM orders WHERE id = {key}")
        elif kind == "silent":
            shop.sql(f"UPDATE orders SET note = 'silent' WHERE id = {key}")
        else:
            change = {
                "lost": "DELETE FROM {}",
                "altered": "UPDATE {} SET price = COALESCE(price, 0) + 1",
                "emptied": "UPDATE {} SET note = 'x', payload = NULL",
                "doctored time": "UPDATE {} SET modified = modified + interval '3 days'",
            }[kind]
            shop.warehouse.execute(f"{change.format(table)} WHERE id = {key}")
        planted[str(key)] = {"lost": "missing", "deleted": "extra"}.get(kind, "changed")
    return planted


def adopt(shop: Any) -> None:
    """Let rows be written that dlt did not write."""
    for column in ("_dlt_id", "_dlt_load_id"):
        shop.warehouse.execute(
            f'ALTER TABLE "{shop.schema}"."orders" ALTER COLUMN {column} DROP NOT NULL'
        )


def found(shop: Any) -> dict[str, str]:
    spec = load_table_specs().named("orders")
    sides = both_sides(spec, shop.source, shop.warehouse)
    audit = compare(sides, all_days(sides, "UTC"), datetime.now())
    return {row.key: str(row.how) for row in audit.different_rows(*Difference)}


def versions(shop: Any) -> dict[int, str]:
    """Which transaction of PostgreSQL's wrote each row."""
    return dict(shop.warehouse.fetch(f'SELECT id, xmin::text FROM "{shop.schema}"."orders"'))


@contextmanager
def writing(mariadb: Any, shop: Any) -> Iterator[list[int]]:
    """An application that changes and adds orders all the while, each with its time."""
    stop, written = threading.Event(), [0]

    def write() -> None:
        seed = random.Random(5)
        with mariadb.connect(database=shop.source.database) as connection:
            connection.autocommit(True)
            with connection.cursor() as cursor:
                while not stop.is_set():
                    cursor.execute(
                        "UPDATE orders SET note = 'w', modified = UTC_TIMESTAMP(6) WHERE id = %s",
                        (seed.randrange(ROWS),),
                    )
                    cursor.execute(
                        "INSERT INTO orders VALUES (%s, 'w', 1, NULL, UTC_TIMESTAMP(6))",
                        (ROWS + written[0],),
                    )
                    written[0] += 1
                    time.sleep(0.002)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield written
    finally:
        stop.set()
        thread.join()


def test_exactly_the_drifts_are_found_and_repaired_and_nothing_else_is_touched(shop: Any) -> None:
    assert found(shop) == {}
    planted = drift(shop)
    assert found(shop) == planted
    adopt(shop)
    before = versions(shop)

    state: Any = reconcile(table="orders", repair="all", return_state=True)

    assert state.type is StateType.COMPLETED, state.message
    assert "compared again: equal" in str(state.message)
    assert found(shop) == {}
    after = versions(shop)
    touched = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
    assert touched == {int(key) for key in planted}


def test_no_change_of_an_application_that_writes_is_taken_for_a_difference(
    shop: Any, mariadb: Any
) -> None:
    planted = drift(shop)
    with writing(mariadb, shop) as written:
        while written[0] < 100:
            time.sleep(0.01)
        for _ in range(3):
            told = found(shop)
            differing = {key: how for key, how in told.items() if how != "pending"}
            # What the application changes meanwhile, is pending; so is a drift that it passes over.
            assert differing.items() <= planted.items()
            passed_over = [key for key in planted if key not in differing]
            assert all(told.get(key) in ("pending", None) for key in passed_over)
        assert sum(how == "pending" for how in told.values()) > 50
        adopt(shop)
        state: Any = reconcile(table="orders", repair="all", return_state=True)
        assert state.type is StateType.COMPLETED, state.message
    assert written[0] > 200
    assert set(found(shop).values()) == {"pending"}


def test_what_is_still_to_come_is_so_after_a_repair_that_only_takes_rows_out(journey: Any) -> None:
    """Of a table that Ferry is yet to carry, the repair's is the only receipt."""
    table = "CREATE TABLE {} (id INT NOT NULL PRIMARY KEY, modified TIMESTAMP(6) NOT NULL)"
    rows = "INSERT INTO {} VALUES (1, '2023-01-01 12:00:00'), (2, '2023-01-02 12:00:00')"
    journey.warehouse.execute(f'CREATE SCHEMA "{journey.schema}"')
    for statement in (table, rows):
        journey.sql(statement.format("orders").replace("TIMESTAMP", "DATETIME"))
        journey.warehouse.execute(statement.format(f'"{journey.schema}"."orders"'))
    journey.sql("DELETE FROM orders WHERE id = 1")
    journey.sql("INSERT INTO orders VALUES (3, '2023-01-03 12:00:00')")
    spec = {"mode": "window", "key": ["id"], "cursor": "modified", "hard_deletes": "delete"}
    journey.write_specs(orders={**spec, "max_delete_percent": 100})
    assert found(journey) == {"1": "extra", "3": "pending"}
    state: Any = reconcile(table="orders", repair="all", return_state=True)
    assert state.type is StateType.COMPLETED, state.message
    assert found(journey) == {"3": "pending"}
