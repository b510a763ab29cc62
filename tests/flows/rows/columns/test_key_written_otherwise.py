"""A key whose type the source alters to one that writes it otherwise: no row comes twice."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest
from prefect.client.schemas.objects import StateType

from blocks.sources import MySQLSource
from ferry.errors import BusyError, DataError
from flows.backfill_tables import backfill
from flows.reconcile_tables import reconcile
from flows.sync_all import sync_all
from flows.sync_table import sync_table
from tests.harness.plain_runs import run_at

pytestmark = pytest.mark.usefixtures("plain_runs")

ROUTE = pytest.mark.parametrize("route", ["mysql-folder-postgres"], indirect=True)
HEX = "6f9619ff8b86d011b42d00c04fc964ff"
ALTERED = [
    ("CHAR(32)", "UUID", HEX, "text, and it is now uuid"),
    ("TIME", "TIME(3)", "10:00:00", r"time, and it is now time\(3\)"),
    ("BINARY(10)", "BINARY(16)", "0123456789", r"binary\(10\), and it is now binary\(16\)"),
]
BY_DAY = {"mode": "window", "key": ["id"]}
DAY = {"run_date": date(2023, 1, 5)}


def shop(journey: Any, definition: str, value: str, **spec: Any) -> None:
    journey.sql(f"CREATE TABLE items (id {definition} PRIMARY KEY, modified DATETIME, stock INT)")
    journey.sql("INSERT INTO items VALUES (?, '2023-01-05 10:00:00', 1)", [(value,)])
    journey.write_specs(items=spec)


@ROUTE
@pytest.mark.parametrize(
    ("before", "after", "value", "says", "mode"),
    [
        *((*ALTERED[0], mode) for mode in ("watermark", "full")),
        *((*each, "window") for each in ALTERED),
    ],
)
def test_a_key_that_is_written_otherwise_is_refused_until_a_full_copy(
    journey: Any, before: str, after: str, value: str, says: str, mode: str
) -> None:
    spec = {**BY_DAY, "mode": "watermark" if mode == "watermark" else "window"}
    shop(journey, before, value, **spec)
    again = DAY if spec["mode"] == "window" else {}
    sync_table(table="items", **(DAY if mode == "window" else {"mode": mode}))
    journey.sql(f"ALTER TABLE items MODIFY id {after}")
    journey.sql("UPDATE items SET stock = 2, modified = '2023-01-05 11:00:00'")

    with pytest.raises(DataError, match=f"whose key the source wrote otherwise.*{says}"):
        sync_table(table="items", **again)
    if spec["mode"] == "window":
        days = {"start_date": date(2023, 1, 5), "end_date": date(2023, 1, 6), "reprocess": "all"}
        state = backfill(table="items", **days, return_state=True)
        assert (state.type, "wrote otherwise" in state.message) == (StateType.FAILED, True)
    assert journey.target("items", "stock") == [(1,)]

    sync_table(table="items", mode="full")
    assert journey.target("items", "stock") == [(2,)]
    assert sync_table(table="items", **again).changed == 0


@ROUTE
def test_a_repair_does_not_add_rows_beside_those_whose_key_was_written_otherwise(
    journey: Any,
) -> None:
    shop(journey, "CHAR(32)", HEX, **BY_DAY)
    sync_table(table="items", **DAY)
    journey.sql("ALTER TABLE items MODIFY id UUID")

    state = reconcile(table="items", repair="carry", return_state=True)
    assert state.type is StateType.FAILED
    assert "whose key the source wrote otherwise" in str(state.message)
    assert journey.target("items", "id") == [(HEX,)]


@ROUTE
def test_past_days_are_not_added_where_the_source_cannot_be_asked_for_what_none_would_carry(
    journey: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    caught_up = {**BY_DAY, "start_date": "2023-01-05", "catch_up": True}
    shop(journey, "CHAR(32)", HEX, **caught_up)
    run_at(sync_all, datetime(2023, 1, 6, 9, tzinfo=UTC))
    journey.sql("ALTER TABLE items MODIFY id UUID")
    journey.sql("UPDATE items SET stock = 2, modified = '2023-01-06 10:00:00'")

    def busy(*_: Any) -> int:
        raise BusyError("the question takes too long")

    monkeypatch.setattr(MySQLSource, "count_uncarried", busy)
    state = run_at(sync_all, datetime(2023, 1, 8, 9, tzinfo=UTC))  # nobody has carried the 6th
    assert "whose key the source wrote otherwise" in str(state.message)
    assert journey.target("items", "stock") == [(1,)]


@ROUTE
@pytest.mark.parametrize(
    ("before", "after", "value"),
    [("VARCHAR(32)", "VARCHAR(40)", HEX), ("CHAR(32)", "UUID", HEX)],
    ids=["only longer", "receipts of an older Ferry"],
)
def test_a_key_of_which_nothing_tells_that_it_is_written_otherwise_is_carried(
    journey: Any, before: str, after: str, value: str
) -> None:
    shop(journey, before, value, **BY_DAY)
    sync_table(table="items", **DAY)
    if after == "UUID":
        older = 'UPDATE ferry.receipts SET read_as = \'{"key": ["id"]}\''
        journey.warehouse.execute(older)
    journey.sql(f"ALTER TABLE items MODIFY id {after}")
    assert sync_table(table="items", **DAY).rows_extracted == 1


@ROUTE
def test_what_was_carried_by_another_cursor_is_told_until_it_was_carried_by_this_one(
    journey: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Receipts of a key of text say how it is spelled: those of now are known again by it."""
    shop(journey, "CHAR(32)", HEX, **BY_DAY)
    journey.sql("ALTER TABLE items ADD COLUMN made DATETIME")
    journey.sql("UPDATE items SET made = modified")
    sync_table(table="items", **DAY)
    journey.write_specs(items={**BY_DAY, "cursor": "made"})
    for told in (True, False):
        caplog.clear()
        sync_table(table="items", **DAY)
        assert ("do not count as loaded any more" in caplog.text) is told
