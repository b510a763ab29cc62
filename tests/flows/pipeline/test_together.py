"""Windows that travel together leave what they leave each by itself, and each has its receipt."""

from __future__ import annotations

import json
import random
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from prefect.client.schemas.objects import State, StateType

import tasks.copy_in
from blocks.postgres.session import SESSIONS
from deployments.local.redshift_double import Fault
from ferry.day_ranges import DayRange, split_days
from ferry.errors import BusyError
from ferry.receipts.receipt import Receipt
from ferry.schema import TableName
from ferry.statements import PARAM, Statement, table_sql
from ferry.write import upsert
from flows.backfill_tables import backfill
from flows.pipeline import carry_batch
from flows.pipeline.make_batch import load_route
from flows.pipeline.table_specs import load_table_specs
from tasks.landed.failures import read_failures
from tasks.landed.history import read_coverage
from tests.flows.pipeline.test_killed import kill_at

EMBEDDED = pytest.mark.parametrize("route", ["sqlite-folder-duckdb"], indirect=True)
REDSHIFT = pytest.mark.parametrize("route", ["mysql-s3-redshift"], indirect=True)
pytestmark = pytest.mark.usefixtures("plain_runs")
WINDOW = {"mode": "window", "key": ["id"], "insert_rows": 0}
FIRST, DAYS = date(2023, 3, 20), 12
"""Days among which the clocks of Berlin are put forward."""


def run(table: str, start: int = 0, end: int = DAYS, **more: Any) -> State[Any]:
    first, last = (FIRST + timedelta(days=day) for day in (start, end))
    state: State[Any] = backfill(
        table=table, start_date=first, end_date=last, **more, return_state=True
    )
    return state


def completed(table: str, *days: int, **more: Any) -> str:
    state = run(table, *days, **more)
    assert state.type is StateType.COMPLETED, state.message
    return state.message or ""


def told(receipt: Receipt) -> tuple[Any, ...]:
    """All that a receipt says of its window, but when and in which files."""
    counts = [
        {name: sums.split(":")[0] for name, sums in json.loads(each).items()} if each else None
        for each in (receipt.sums_read, receipt.sums_staged)
    ]
    return (
        receipt.window_label,
        receipt.window_start,
        receipt.window_end,
        receipt.mode,
        receipt.status,
        receipt.rows_extracted,
        receipt.rows_staged,
        receipt.rows_copied,
        receipt.rows_inserted,
        receipt.rows_updated,
        receipt.rows_deleted,
        receipt.rows_unchanged,
        receipt.rows_superseded,
        receipt.cursor_name,
        receipt.read_as,
        receipt.text_sums,
        counts,
    )


def coverage(table: str) -> list[tuple[str, str]]:
    spec = load_table_specs().named(table)
    found = read_coverage(spec, load_route(spec).warehouse)
    days = DayRange(FIRST - timedelta(days=1), FIRST + timedelta(days=DAYS + 1), "UTC")
    standings = map(found.of, split_days(days, "hour"))
    return [(str(each.status), each.reason) for each in standings]


class World:
    """A table at the source, two targets that read it, and what happens to them, by chance."""

    def __init__(self, shop: Any, seed: int) -> None:
        self.shop, self.chance = shop, random.Random(seed)
        self.ids = 0
        shop.sql(
            "CREATE TABLE orders (id INT NOT NULL PRIMARY KEY, ref INT NOT NULL, "
            "note VARCHAR(9) NULL, modified DATETIME NULL, day DATE NULL, at_second BIGINT NULL, "
            "gone INT NULL)"
        )
        spec: dict[str, Any] = {**WINDOW, "insert_rows": self.chance.choice([0, 50])}
        spec |= self.chance.choice(
            [
                {"cursor": "modified"},
                {"cursor": "modified", "zone": "Europe/Berlin"},
                {"cursor": "day"},
                {"cursor": "at_second", "cursor_unit": "s"},
            ]
        )
        spec["deleted_column"] = "gone"
        spec["soft_deletes"] = self.chance.choice(["carry", "carry", "apply"])
        spec["key"] = self.chance.choice([["id"], ["id"], ["ref"]])
        self.parallel = self.chance.choice([1, 3]) if spec["key"] == ["id"] else 1
        if spec["key"] == ["ref"]:
            spec["on_repeated_key"] = "newest"
        whole_days = spec["cursor"] == "day"
        self.granularity = "day" if whole_days else self.chance.choice(["day", "day", "hour"])
        # The hours that the clocks skip are among few days: each hour is carried by itself, too.
        self.days = (0, DAYS) if self.granularity == "day" else (5, 8)
        self.order = self.chance.choice(["oldest", "newest"])
        shop.write_specs(
            single={**spec, "source_table": "orders", "batch_rows": 0},
            several={**spec, "source_table": "orders"},
        )

    def rows_arrive(self) -> None:
        rows = [self._row() for _ in range(self.chance.randint(5, 40))]
        self.shop.sql("INSERT INTO orders VALUES (?, ?, ?, ?, ?, ?, ?)", rows)

    def rows_change(self) -> None:
        for number in self.chance.sample(range(self.ids), self.ids // 3):
            _, ref, note, *rest = self._row(number)
            if self.chance.random() < 0.2:
                self.shop.sql("DELETE FROM orders WHERE id = ?", [(number,)])
            else:
                self.shop.sql(
                    "UPDATE orders SET ref = ?, note = ?, modified = ?, day = ?, at_second = ?, "
                    "gone = ? WHERE id = ?",
                    [(ref, note, *rest, number)],
                )

    def targets_change(self) -> None:
        for number in self.chance.sample(range(self.ids), self.ids // 5):
            later = datetime(2023, 3, 30, 12)
            for table in ("single", "several"):
                name = table_sql(TableName(self.shop.schema, table))
                change = (
                    Statement(f"DELETE FROM {name} WHERE id = {PARAM}", (number,))
                    if number % 2
                    else Statement(
                        f"UPDATE {name} SET note = 'theirs', modified = {PARAM}, "
                        f"at_second = {PARAM} WHERE id = {PARAM}",
                        (later, int(later.replace(tzinfo=UTC).timestamp()), number),
                    )
                )
                self.shop.warehouse.execute(change)

    def carried_alike(self, reprocess: str) -> None:
        first, last = self.days
        start = self.chance.randint(first, first + (last - first) // 4)
        days = (start, self.chance.randint(start + (last - first) // 4 + 1, last))
        how = {
            "granularity": self.granularity,
            "order": self.order,
            "reprocess": reprocess,
            "max_concurrency": self.parallel,
        }
        assert completed("single", *days, **how).replace("single", "several") == completed(
            "several", *days, **how
        )
        one, other = (sorted(self.shop.target(t), key=repr) for t in ("single", "several"))
        assert one == other
        one, other = (
            sorted(map(told, self.shop.receipts(table)), key=str) for table in ("single", "several")
        )
        assert one == other
        assert coverage("single") == coverage("several")

    def _row(self, number: int | None = None) -> tuple[Any, ...]:
        if number is None:
            number, self.ids = self.ids, self.ids + 1
        moment = datetime(FIRST.year, FIRST.month, FIRST.day) + timedelta(
            seconds=self.chance.randrange(self.days[0] * 86_400, self.days[1] * 86_400)
        )
        if self.chance.random() < 0.3:  # right at a window's bound
            moment = moment.replace(hour=0, minute=0, second=0)
        return (
            number,
            self.chance.randint(0, 30),
            self.chance.choice(["a", "b", "", None]),
            str(moment),
            str(moment.date()),
            int(moment.replace(tzinfo=UTC).timestamp()),
            self.chance.choice([None, 0, 1]),
        )


@pytest.mark.parametrize(
    ("route", "seed"),
    [
        pytest.param(route, seed, marks=[] if seed < every_day else [pytest.mark.nights])
        for route, every_day in (
            ("sqlite-folder-duckdb", 3),
            ("mysql-folder-postgres", 1),
            ("mysql-s3-redshift", 2),
        )
        for seed in range(12)
    ],
    indirect=["route"],
)
def test_any_plan_leaves_the_same_carried_together_and_window_by_window(
    journey: Any, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upsert, "MANY_ROWS", 100_000 if seed % 2 else 0)
    world = World(journey, seed)
    world.rows_arrive()
    world.carried_alike("missing")
    world.rows_arrive()
    world.rows_change()
    world.carried_alike("missing")
    world.targets_change()
    world.rows_change()
    world.carried_alike("all")
    world.carried_alike("all")
    assert journey.leftovers() == set()


@pytest.fixture
def shop(journey: Any) -> Any:
    """Two rows on each of 31 days."""
    journey.sql("CREATE TABLE nps (id INT NOT NULL PRIMARY KEY, modified DATETIME, score FLOAT)")
    first = datetime(2023, 7, 1)
    rows = [(n, str(first + n * timedelta(hours=12)), n % 11) for n in range(62)]
    journey.sql("INSERT INTO nps VALUES (?, ?, ?)", rows)
    journey.write_specs(nps=WINDOW)
    return journey


JULY = {"table": "nps", "start_date": date(2023, 7, 1), "end_date": date(2023, 8, 1)}


@REDSHIFT
def test_neighbours_share_a_read_a_copy_and_a_transaction(shop: Any, redshift_double: Any) -> None:
    before = len(redshift_double.statements())
    state = backfill(**JULY, max_concurrency=1, return_state=True)
    assert state.type is StateType.COMPLETED, state.message
    sql = [each.sql for each in redshift_double.statements()[before:]]
    assert sum(each.startswith("COPY") for each in sql) == 1
    assert sum(each.startswith("INSERT INTO") and "SELECT" in each for each in sql) == 1
    receipts = shop.receipts("nps")
    assert [each.rows_inserted for each in receipts] == [2] * 31
    assert len({each.manifest_uri for each in receipts}) == 1
    assert len({each.batch_id for each in receipts}) == 31
    assert len(shop.target("nps")) == 62


@EMBEDDED
def test_three_years_of_days_without_rows_are_a_few_questions(
    shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.sql("DELETE FROM nps WHERE id > 0")
    reads: list[object] = []
    kind = type(shop.source)
    read = kind.read
    monkeypatch.setattr(kind, "read", lambda self, query: reads.append(query) or read(self, query))
    days = {"start_date": date(2021, 1, 1), "end_date": date(2024, 1, 1)}
    state = backfill(table="nps", **days, return_state=True)
    assert state.type is StateType.COMPLETED, state.message
    assert len(reads) < 10
    receipts = shop.receipts("nps")
    assert len({each.window_label for each in receipts}) == len(receipts) == 1095
    assert sum(each.rows_inserted for each in receipts) == 1


def test_of_a_month_with_a_bad_value_thirty_days_land_and_the_one_is_named(
    shop: Any, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = {**WINDOW, "key": ["id", "score"]}
    shop.write_specs(nps=wrong)
    shop.sql("UPDATE nps SET score = NULL WHERE id = 33")
    state = backfill(**JULY, return_state=True)
    assert state.type is StateType.FAILED
    assert f"{shop.schema}.nps: 1 window failed, 2023-07-17: FERRY-DATA: upsert" in state.message
    assert len(shop.receipts("nps")) == 30
    assert [row[0] for row in shop.target("nps", "id")] == [n for n in range(62) if n // 2 != 16]
    failures = shop.warehouse.fetch(
        Statement(
            f"SELECT window_label FROM ferry.failures WHERE table_name = {PARAM}",
            (f"{shop.schema}.nps",),
        )
    )
    assert failures == [("2023-07-17",)]
    assert [message for message in caplog.messages if "in smaller batches" in message]

    shop.sql("UPDATE nps SET score = 1 WHERE id = 33")
    assert backfill(**JULY, return_state=True).type is StateType.COMPLETED
    assert len(shop.target("nps")) == 62


@REDSHIFT
@pytest.mark.parametrize("order", ["oldest", "newest"])
def test_the_days_before_and_after_a_value_that_is_refused_are_read_once_more_and_not_in_halves(
    shop: Any, order: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.sql("ALTER TABLE nps ADD note VARCHAR(9) NOT NULL DEFAULT 'fine'")
    shop.sql("UPDATE nps SET note = CONCAT('a', CHAR(0), 'b') WHERE id = 33")
    read: list[str] = []
    tried = carry_batch.extract.fn
    monkeypatch.setattr(
        carry_batch.extract,
        "fn",
        lambda batch, *rest: read.append(batch.label) or tried(batch, *rest),
    )
    state = backfill(**JULY, order=order, return_state=True)
    assert state.type is StateType.FAILED
    assert "1 window failed, 2023-07-17: FERRY-DATA: extract" in (state.message or "")
    assert "column note" in (state.message or "")
    assert len(shop.receipts("nps")) == 30
    parts = ["2023-07-01 to 2023-07-16", "2023-07-17", "2023-07-18 to 2023-07-31"]
    assert read == ["2023-07-01 to 2023-07-31", *(parts if order == "oldest" else parts[::-1])]


@EMBEDDED
def test_a_row_that_came_to_be_of_another_window_fails_the_batch_and_each_is_carried_alone(
    shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = tasks.copy_in._load
    together = []

    def moved(table: TableName, extracted: Any, *rest: Any) -> int:
        rows = load(table, extracted, *rest)
        if extracted.by_window:
            together.append(len(extracted.by_window))
            shop.warehouse.execute(f'UPDATE {table_sql(table)} SET "ferry__window" = 0')
        return rows

    monkeypatch.setattr(tasks.copy_in, "_load", moved)
    assert backfill(**JULY, return_state=True).type is StateType.COMPLETED
    assert together
    assert max(together) > 4
    assert [each.rows_inserted for each in shop.receipts("nps")] == [2] * 31


def carry_all() -> None:
    backfill(**JULY, reprocess="all", max_concurrency=1)


@pytest.mark.parametrize("route", ["sqlite-s3-redshift"], indirect=True)
@pytest.mark.parametrize(
    "statement",
    [
        r"^CREATE TABLE IF NOT EXISTS .*stg_",
        r"^COPY",
        r"GROUP BY .*ferry__window",
        r"^LOCK",
        r"^DELETE FROM .*stg_",
        r"^DELETE FROM .*nps",
        r"^INSERT INTO .*nps.* SELECT",
        r"^INSERT INTO .*receipts",
        r"^COMMIT",
        r"^DROP TABLE .*stg_",
    ],
)
def test_killed_at_a_statement_all_of_the_batch_has_landed_or_none(
    shop: Any, redshift_double: Any, postgres: Any, statement: str
) -> None:
    backfill(**JULY)
    shop.sql("UPDATE nps SET score = 99 WHERE id >= 4")
    SESSIONS.close_all()
    kill_at(redshift_double, postgres, carry_all, Fault("stall", statement, seconds=1))
    changed = [row[0] for row in shop.target("nps", "id, score") if row[1] == 99]
    updated = sum(each.rows_updated for each in shop.receipts("nps"))
    assert len(changed) == updated
    assert updated in (0, 58)

    carry_all()

    assert [row[1] for row in shop.target("nps", "id, score")] == [0, 1, 2, 3, *[99] * 58]
    assert sum(each.rows_updated for each in shop.receipts("nps")) == 58
    assert sum(each.rows_inserted for each in shop.receipts("nps")) == 62


@REDSHIFT
def test_a_lost_answer_at_commit_looks_all_windows_up(shop: Any, redshift_double: Any) -> None:
    redshift_double.inject(Fault("cut_after", r"^COMMIT", nth=2))  # the first is COPY's
    backfill(**JULY, max_concurrency=1)
    redshift_double.clear()
    assert [each.rows_inserted for each in shop.receipts("nps")] == [2] * 31
    assert len(shop.target("nps")) == 62


@pytest.mark.parametrize("route", ["sqlite-folder-duckdb"], indirect=True)
def test_windows_that_have_landed_are_no_failures_whatever_fails_after(
    shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise BusyError("the stage is busy")

    monkeypatch.setattr(carry_batch, "discard", fails)
    backfill(**JULY)
    assert [each.rows_inserted for each in shop.receipts("nps")] == [2] * 31
    spec = load_table_specs()["nps"]
    assert read_failures(spec.target, load_route(spec).warehouse) == []
