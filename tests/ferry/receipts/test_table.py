"""What is asked of the receipts for each batch looks at those that matter to it, not at all."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb
import pytest

from ferry import statements as sql
from ferry.receipts import table as receipts_table
from ferry.receipts.losses import Loss, last_loss, last_replaced
from ferry.receipts.other_windows import carried_up_to, read_by_others
from ferry.receipts.receipt import (
    LOADED,
    PARTIAL,
    RECEIPT_COLUMNS,
    RECEIPTS,
    RECONCILE,
    TARGET_LOST_ROWS,
    Receipt,
    to_row,
    void_receipt,
)
from ferry.schema import TableName
from ferry.statements import PARAM, Statement, Transaction
from tests.harness.write_engine import run

TABLE = TableName("raw", "t")
FIRST, DAY = datetime(2010, 1, 1, tzinfo=UTC), timedelta(days=1)
DAYS = 5000
TYPES = {"timestamptz": "TIMESTAMPTZ", "int64": "BIGINT"}


class Engine:
    """DuckDB in memory with many receipts; counts the rows that a statement's WHERE lets by."""

    def __init__(self) -> None:
        self.connection = duckdb.connect()
        self.connection.execute("CREATE SCHEMA ferry")
        native = lambda each: TYPES.get(each.kind, "VARCHAR")  # noqa: E731
        self.connection.execute(sql.create_table(RECEIPTS, RECEIPT_COLUMNS, native))
        self.looked_at: list[int] = []
        self.asked: list[str] = []
        self.add("modified", range(DAYS))

    def add(self, cursor: str, days: range, landed: datetime = FIRST) -> None:
        """A receipt for each of these days, and a void one before them."""
        for status, label in (("void", "0"), ("loaded", "i")):
            self.connection.execute(
                "INSERT INTO ferry.receipts SELECT ? || i, 'raw.t', 'window', "
                f"CASE ? WHEN 'loaded' THEN ?::TIMESTAMPTZ + to_days({label}::INT) END, "
                f"CASE ? WHEN 'loaded' THEN ?::TIMESTAMPTZ + to_days({label}::INT + 1) END, "
                "i, ?, 0, 0, 0, 1, 0, 0, 0, '', NULL, '', '', ?, ?, ?, ?, NULL, NULL, NULL, NULL, "
                "NULL, NULL, NULL, NULL "
                "FROM range(?, ?) AS days(i)",
                [
                    *(cursor, status, FIRST, status, FIRST, status, FIRST, landed),
                    None if status == "void" else cursor,
                    landed,
                    days.start,
                    days.stop if status == "loaded" else days.start + 1,
                ],
            )

    def put(self, receipt: Receipt) -> None:
        run(self.connection, sql.insert_rows(RECEIPTS, RECEIPT_COLUMNS, [to_row(receipt)]))

    def execute(self, statement: Statement | str) -> int:
        raise NotImplementedError

    def fetch(self, statement: Statement | str) -> list[tuple[Any, ...]]:
        whole = Statement.of(statement)
        self.asked.append(whole.sql)
        head, rest = whole.sql.split(" FROM ", 1)
        rest = re.sub(" GROUP BY .*", "", rest)
        count = Statement(f"SELECT COUNT(*) FROM {rest}", whole.values[head.count(PARAM) :])
        self.looked_at.append(run(self.connection, count).fetchall()[0][0])
        return run(self.connection, whole).fetchall()


def day(number: int) -> tuple[datetime, datetime]:
    return FIRST + number * DAY, FIRST + (number + 1) * DAY


Ask = Callable[[Transaction], Any]
ASKED: list[Ask] = [
    lambda tx: receipts_table.read_landed_before(tx, TABLE, day(2000), "modified"),
    lambda tx: receipts_table.read_landed_now(tx, TABLE, day(2000), "modified", ["none"]),
    lambda tx: read_by_others(tx, TABLE, "modified", "as it is", day(2000)[0]),
]


@pytest.mark.parametrize("ask", ASKED, ids=["before it is read", "before it lands", "cursors"])
def test_a_batch_looks_at_the_receipts_of_its_own_stretch_alone(ask: Ask) -> None:
    engine = Engine()
    ask(engine)
    assert max(engine.looked_at) <= 2  # its own day's, and what says that all were void


def test_what_a_run_has_landed_is_asked_of_the_table_and_the_stretch_and_without_sums() -> None:
    """A group of a backfill's windows asks that: of all receipts each, they would be very many."""
    engine = Engine()
    found = receipts_table.read_receipts_of(engine, "", TABLE, (day(7)[0], day(9)[1]))
    assert sorted(each.batch_id for each in found) == ["modified7", "modified8", "modified9"]
    assert len(receipts_table.read_receipts_of(engine, "", TABLE)) == DAYS + 1
    assert receipts_table.read_receipts_of(engine, "", TableName("raw", "u")) == []
    assert engine.looked_at == [3, DAYS + 1, 0]
    assert not any("sums_" in statement for statement in engine.asked)
    assert found[0].columns_carried is None and found[0].finished_at == FIRST


def test_what_it_finds_is_what_may_hold_its_rows() -> None:
    engine = Engine()
    before = receipts_table.read_landed_before(engine, TABLE, day(2000), "modified")
    assert (before.batches, before.voids) == (1, 1)
    engine.add("created_at", range(7, 10), FIRST + DAY)
    before = receipts_table.read_landed_before(engine, TABLE, day(2000), "modified")
    assert (before.batches, before.voids) == (4, 2)
    now = receipts_table.read_landed_now(engine, TABLE, day(2000), "modified", ["modified2000"])
    assert (now.batches, now.voids, now.last_void, now.this_one) == (4, 2, FIRST + DAY, True)
    assert now.last == FIRST + DAY
    assert receipts_table.read_landed_before(engine, TABLE, None, None).batches == DAYS + 3
    (other,), own, reached = read_by_others(engine, TABLE, "modified", "as it is", day(2000)[0])
    assert reached and own is not None
    assert (other.cursor, other.windows, other.first, other.last) == (
        "created_at",
        3,
        day(7)[0],
        day(9)[1],
    )
    assert receipts_table.read_to(engine, TABLE) == day(DAYS - 1)[1]


def test_what_nobody_has_read_before_a_window_is_seen() -> None:
    engine = Engine()
    start = day(DAYS)[1]  # a day after the last one
    assert not read_by_others(engine, TABLE, "modified", "as it is", start)[-1]
    assert carried_up_to(engine, TABLE, start) == day(DAYS - 1)[1]
    assert carried_up_to(engine, TABLE, FIRST - DAY) is None


def repair(number: int, read_as: str, landed: datetime) -> Receipt:
    start, end = day(number)
    made = void_receipt(TABLE, str(start), flow_run_id="run", started_at=landed, at=landed)
    return replace(
        made,
        mode=RECONCILE,
        status=PARTIAL,
        window_start=start,
        window_end=end,
        cursor_name="modified",
        read_as=read_as,
    )


def test_a_repair_is_no_window_that_was_read_by_another_cursor_or_otherwise() -> None:
    """By its spec it may have been read as the table is now, so that nobody warned of windows."""
    engine = Engine()
    engine.add("created_at", range(7, 10))
    found = read_by_others(engine, TABLE, "modified", "as it is", day(8)[1])
    for number, text in ((7, "as it was"), (8, "as it is"), (9, "in other words")):
        engine.put(repair(number, text, FIRST + DAY))
    assert read_by_others(engine, TABLE, "modified", "as it is", day(8)[1]) == found
    assert [each.windows for each in found[0]] == [3]


def test_a_repair_has_carried_nothing_up_to_its_own_date() -> None:
    engine = Engine()
    as_a_whole = repair(8, "as it is", FIRST + 2 * DAYS * DAY)
    engine.put(replace(as_a_whole, window_start=None, window_end=None))
    assert receipts_table.read_to(engine, TABLE) == day(DAYS - 1)[1]
    assert carried_up_to(engine, TABLE, day(DAYS)[1]) == day(DAYS - 1)[1]


def test_a_void_is_dated_after_receipts_of_a_clock_that_is_ahead_and_is_a_loss() -> None:
    """Of one with the same date as a full copy nobody would tell that it is younger."""
    engine = Engine()
    now = FIRST + DAY / 2
    ahead = replace(
        void_receipt(TABLE, "full", flow_run_id="run", started_at=now, at=FIRST + DAY),
        mode="full",
        status=LOADED,
        rows_inserted=9,
    )
    engine.put(ahead)
    before = last_replaced(engine, [str(TABLE)])
    at = receipts_table.void_moment(engine, TABLE, now)
    lost = void_receipt(
        TABLE, TARGET_LOST_ROWS, flow_run_id="run", started_at=now, at=at, rows_lost=9
    )
    engine.put(lost)
    assert last_loss(engine, TABLE) == Loss(9, at)
    assert last_replaced(engine, [str(TABLE)]) - before == {(str(TABLE), at)}
