"""What a batch that was given up, and what a killed run, leaves behind is removed, and no more."""

from __future__ import annotations

import os
import sys
from datetime import UTC, date, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

import flows.pipeline.tidy as module
from blocks.stage import Stage
from blocks.warehouse import Warehouse
from blocks.work_folder import work_folder
from ferry.errors import (
    BusyError,
    ConflictError,
    ConnectionLostError,
    DataError,
    FerryError,
    OutcomeUnknownError,
    SchemaError,
)
from ferry.schema import TableName
from ferry.statements import Statement
from flows.backfill_tables import backfill
from flows.carry_windows import carry_windows
from flows.sync_all import sync_all
from flows.sync_table import sync_table
from tasks import staging_tables
from tasks.upsert import upsert
from tests.harness.embedded import EMBEDDED_ROUTE

pytestmark = pytest.mark.usefixtures("plain_runs")

UPSERT = sys.modules[upsert.fn.__module__]
SPEC = {"mode": "window", "key": ["id"], "insert_rows": 0}
DAY = date(2023, 1, 1)
SERVER_ROUTES = ("mysql-folder-postgres", "mysql-s3-redshift")
LONG_AGO = "stg_20230105_0b9d0b9d0b9d_0b9d0b_orders"
ONE_ROUTE = pytest.mark.parametrize("route", [EMBEDDED_ROUTE], indirect=True)
WINDOW = (datetime(2023, 1, 1, tzinfo=UTC), datetime(2023, 1, 2, tzinfo=UTC))
CARRY: dict[str, Any] = {
    "sync_table": lambda: sync_table(table="orders", run_date=DAY),
    "sync_all": lambda: sync_all(tables=["orders"], run_date=DAY),
    "backfill": lambda: backfill(table="orders", start_date=DAY, end_date=date(2023, 1, 2)),
    "carry_windows": lambda: carry_windows(
        "orders", [WINDOW], "UTC", uuid4(), datetime(2023, 1, 2, tzinfo=UTC)
    ),
}
EACH_WAY_OR_ROUTE = pytest.mark.parametrize(
    ("route", "carry"),
    [
        *product([EMBEDDED_ROUTE], CARRY),
        *((route, "sync_table") for route in SERVER_ROUTES),
    ],
    indirect=["route"],
)
"""All of them on one route, and one on each of the others."""


@pytest.fixture
def shop(journey: Any) -> Any:
    """A table of which the source does not say that its key is unique, and one key is twice."""
    journey.sql("CREATE TABLE orders (id BIGINT NOT NULL, note VARCHAR(9), modified DATETIME)")
    rows = [(n % 4, f"note {n}", f"2023-01-01 10:00:0{n}") for n in range(5)]
    journey.sql("INSERT INTO orders VALUES (?, ?, ?)", rows)
    journey.write_specs(orders=SPEC)
    return journey


def leftover(shop: Any, name: str = LONG_AGO) -> str:
    """A staging table that a killed run left."""
    shop.warehouse.execute('CREATE SCHEMA IF NOT EXISTS "ferry"')
    shop.warehouse.execute(f'CREATE TABLE "ferry"."{name}" (id INTEGER)')
    return name


def run(carry: Any) -> Exception | None:
    """The error of a run; None if it went well."""
    try:
        carry()
    except Exception as error:  # noqa: BLE001  # whichever it is
        return error
    return None


@EACH_WAY_OR_ROUTE
def test_no_staging_table_stays_where_the_source_does_not_vouch_for_the_key(
    shop: Any, carry: str
) -> None:
    assert run(CARRY[carry]) is None
    assert len(shop.target("orders")) == 4
    assert shop.leftovers() == set()


@pytest.mark.parametrize(
    ("route", "carry", "error"),
    [
        *product(
            [EMBEDDED_ROUTE],
            ["sync_table", "backfill"],
            [ConflictError, BusyError, OutcomeUnknownError, DataError],
        ),
        *((route, "sync_table", ConflictError) for route in SERVER_ROUTES),
    ],
    indirect=["route"],
)
def test_no_staging_table_stays_of_a_batch_that_was_given_up_in_upsert(
    shop: Any, carry: str, error: type[FerryError], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.step.CONFLICT_PAUSE_SECONDS", 0)
    found, dropped, drop = [], [], UPSERT.drop_quietly

    def fail(*_: Any) -> None:
        found.append(shop.leftovers())
        raise error("as planned")

    def note(warehouse: Warehouse, *tables: TableName) -> None:
        dropped.append({table.name for table in tables} & found[0])
        drop(warehouse, *tables)

    monkeypatch.setattr(UPSERT, "_land", fail)
    monkeypatch.setattr(UPSERT, "drop_quietly", note)
    assert "as planned" in str(run(CARRY[carry]))
    assert len({frozenset(tables) for tables in found}) == 1  # the retry had the same one
    assert len(found[0]) == 1
    assert dropped == found[:1]  # once, when no retry is left
    assert shop.leftovers() == set()


def test_a_batch_whose_staging_table_grew_too_old_fails_and_can_be_carried_again(
    shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    land = UPSERT._land

    def a_week_later(*given: Any) -> Any:
        for name in shop.leftovers():  # as another run tidies
            shop.warehouse.execute(f'DROP TABLE "ferry"."{name}"')
        return land(*given)

    with monkeypatch.context() as patch:
        patch.setattr(UPSERT, "_land", a_week_later)
        error = run(CARRY["sync_table"])
    assert isinstance(error, FerryError)
    assert "upsert" in str(error) and "2023-01-01" in str(error), str(error)
    assert (shop.target("orders"), shop.receipts("orders")) == ([], [])
    assert run(CARRY["sync_table"]) is None
    assert len(shop.target("orders")) == 4


@pytest.mark.parametrize("error", [ConnectionLostError("as planned"), RuntimeError("as planned")])
def test_no_staging_table_stays_of_a_copy_that_failed(
    shop: Any, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        assert shop.leftovers()
        raise error

    monkeypatch.setattr("tasks.copy_in._load", fail)
    assert run(CARRY["sync_table"]) is not None
    assert shop.leftovers() == set()


def test_no_staging_table_stays_where_the_target_cannot_be_made(
    shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise BusyError("as planned")

    monkeypatch.setattr(UPSERT, "prepare_target", fail)
    assert "as planned" in str(run(CARRY["sync_table"]))
    assert shop.leftovers() == set()


@EACH_WAY_OR_ROUTE
@pytest.mark.parametrize("fails", [False, True])
def test_what_killed_runs_left_is_removed_whether_the_run_fails_or_not(
    shop: Any, carry: str, fails: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    leftover(shop)
    (forgotten := work_folder().parent / "on-elsewhere-0b9d").mkdir()
    os.utime(forgotten, (1, 1))
    if fails:

        def fail(*_: Any) -> None:
            raise SchemaError("as planned")

        monkeypatch.setattr(UPSERT, "_land", fail)
    assert (run(CARRY[carry]) is not None) is fails
    assert shop.leftovers() == set()
    assert not forgotten.exists()


@ONE_ROUTE
@pytest.mark.parametrize("broken", ["discard_forgotten", "drop_forgotten", "remove_forgotten"])
@pytest.mark.parametrize("error", [BusyError("as planned"), RuntimeError("as planned")])
def test_a_place_that_cannot_be_tidied_keeps_neither_the_run_nor_the_other_places(
    shop: Any, broken: str, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    called = []

    def watched(name: str) -> Any:
        def remove(*_: Any) -> int:
            called.append(name)
            if name == broken:
                raise error
            return 1

        return remove

    places = ("discard_forgotten", "drop_forgotten", "remove_forgotten")
    for name in places:
        monkeypatch.setattr(module, name, watched(name))
    assert run(CARRY["sync_table"]) is None
    assert called == list(places)


def test_a_staging_table_that_cannot_be_dropped_does_not_keep_the_others(
    shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = leftover(shop, LONG_AGO[:-1] + "a")
    leftover(shop, LONG_AGO[:-1] + "b")
    execute = type(shop.warehouse).execute

    def stubborn(self: Any, statement: Any) -> int:
        sql = Statement.of(statement).sql
        if first in sql and sql.startswith("DROP"):
            raise BusyError("somebody reads it")
        return execute(self, statement)

    monkeypatch.setattr(type(shop.warehouse), "execute", stubborn)
    run(CARRY["sync_table"])
    assert shop.leftovers() == {first}
    monkeypatch.undo()
    shop.warehouse.execute(f'DROP TABLE "ferry"."{first}"')


@pytest.mark.parametrize("days", [-400, 400])
def test_a_machine_with_another_clock_makes_and_removes_by_the_warehouses_and_the_stages(
    shop: Any, days: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What another run has just made stays; a staging table is named by the warehouse's day."""
    today = staging_tables.today(shop.warehouse)
    living = leftover(shop, f"stg_{today:%Y%m%d}_0b9d0b9d0b9d_0b9d0b_orders")
    spec_key = f"{shop.schema}.orders/2023-01-01/0b9d/0b9d/manifest.json"
    staged = shop.stage.write_manifest([], spec_key)

    class Wrong(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return datetime.now(tz) + timedelta(days=days)

    for name in ("tasks.stage", "tasks.staging_tables", "tasks.copy_in", "tasks.upsert"):
        monkeypatch.setattr(sys.modules[name], "datetime", Wrong, raising=False)
    made = []

    def seen(*_: Any) -> None:
        made.extend(shop.leftovers() - {living})
        raise BusyError("as planned")

    monkeypatch.setattr(UPSERT, "_land", seen)
    run(CARRY["sync_table"])
    assert {name[4:12] for name in made} == {f"{today:%Y%m%d}"}
    assert shop.leftovers() == {living}
    with shop.stage.open(staged) as file:
        assert file.read()
    shop.warehouse.execute(f'DROP TABLE "ferry"."{living}"')


@ONE_ROUTE
def test_staged_files_are_kept_as_long_as_a_batch_may_wait_for_its_retries(
    shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[datetime] = []

    def discard_older(_: Stage, _prefix: str, before: datetime) -> int:
        asked.append(before)
        return 0

    monkeypatch.setattr(type(shop.stage), "discard_older", discard_older)
    day = 86_400
    ages = []
    for fields in (
        {},
        {"keep_staged_days": 1},
        {"keep_staged_days": 9},
        {"keep_staged_days": 1, "retries": 2, "retry_delay_seconds": day},
    ):
        shop.write_specs(orders={**SPEC, "retries": 0, **fields})
        run(CARRY["sync_table"])
        ages.append(round((datetime.now(UTC) - asked[-1]).total_seconds() / day))
    assert ages == [7, 2, 9, 5]


@ONE_ROUTE
def test_part_files_are_written_to_a_folder_of_this_process_alone(
    shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Path] = []
    land = upsert.fn

    def look(batch: Any, plan: Any, extracted: Any, *rest: Any) -> Any:
        seen.extend(part.path for part in extracted.parts)
        assert all(path.stat().st_mode & 0o077 == 0 for path in seen)
        assert all(path.parent.stat().st_mode & 0o077 == 0 for path in seen)
        return land(batch, plan, extracted, *rest)

    before = set(work_folder().iterdir())  # what other tests in this process have left
    monkeypatch.setattr(upsert, "fn", look)
    assert run(CARRY["backfill"]) is None
    assert {path.parents[1] for path in seen} == {work_folder()}
    assert set(work_folder().iterdir()) == before


@ONE_ROUTE
def test_a_temporary_folder_that_another_user_has_taken_is_refused(
    shop: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place := tmp_path / "shared").mkdir()
    (taken := place / f"ferry-private-{os.geteuid()}").mkdir()
    taken.chmod(0o777)
    monkeypatch.setattr("tempfile.tempdir", str(place))
    assert "not this user's alone" in str(run(CARRY["sync_table"]))
    assert list(taken.iterdir()) == []
