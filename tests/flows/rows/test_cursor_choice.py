"""The column that decides which rows are carried is named, and never guessed among several."""

from __future__ import annotations

import dataclasses
from datetime import date, datetime
from typing import Any

import pytest
from prefect.client.schemas.objects import StateType

from ferry.errors import SchemaError, StaleReadError
from flows.backfill_tables import backfill
from flows.sync_table import sync_table
from tasks.pages import receipt as page_of_receipt
from tests.harness.plain_runs import pages_of
from tests.harness.reads import read_now_land_later

pytestmark = pytest.mark.usefixtures("plain_runs")

DAY = {"run_date": date(2023, 1, 5)}
TWO_ROUTES = pytest.mark.parametrize(
    "route", ["sqlite-folder-duckdb", "mysql-folder-postgres"], indirect=True
)


@pytest.fixture
def shop(journey: Any) -> Any:
    """A row made on the fifth and changed on the sixth, which only `edited` tells."""
    journey.sql(
        "CREATE TABLE items (id INT NOT NULL PRIMARY KEY, created_at DATETIME NOT NULL, "
        "edited DATETIME NOT NULL)"
    )
    journey.sql("INSERT INTO items VALUES (1, '2023-01-05 10:00:00', '2023-01-06 10:00:00')")
    return journey


@TWO_ROUTES
@pytest.mark.parametrize("mode", ["window", "watermark"])
def test_a_table_is_not_carried_by_created_at_while_another_column_tells_its_changes(
    shop: Any, mode: str
) -> None:
    spec = {"mode": mode, "key": ["id"]}
    shop.write_specs(items=spec)
    with pytest.raises(SchemaError, match=r"items .*: .*names no cursor.*edited, created_at"):
        sync_table(table="items", **(DAY if mode == "window" else {}))
    if mode == "window":
        days = {"start_date": date(2023, 1, 5), "end_date": date(2023, 1, 7)}
        state = backfill(table="items", **days, return_state=True)
        assert state.type is StateType.FAILED
        assert "names no cursor" in (state.message or "")

    shop.write_specs(items={**spec, "cursor": "created_at"})
    assert sync_table(table="items", **(DAY if mode == "window" else {})).rows_inserted == 1


def test_a_window_read_by_a_cursor_that_has_changed_since_does_not_land_over_newer_rows(
    shop: Any,
) -> None:
    by = {"mode": "window", "key": ["id"]}
    shop.write_specs(items={**by, "cursor": "created_at"})

    def carried_by_another_cursor() -> None:
        shop.sql("UPDATE items SET edited = '2023-01-07 10:00:00'")
        shop.write_specs(items={**by, "cursor": "edited"})
        sync_table(table="items", run_date=date(2023, 1, 7))

    with pytest.raises(StaleReadError, match="another batch of the table landed since"):
        read_now_land_later("items", "window", DAY, carried_by_another_cursor)
    assert shop.target("items", "edited") == [(datetime(2023, 1, 7, 10),)]


@TWO_ROUTES
def test_a_full_copy_needs_no_cursor(shop: Any) -> None:
    shop.write_specs(items={"mode": "full", "key": ["id"]})
    assert sync_table(table="items").rows_inserted == 1


@pytest.mark.parametrize("route", ["sqlite-folder-duckdb"], indirect=True)
@pytest.mark.parametrize(
    ("named", "told"),
    [
        (None, "cursor 'updatedAt', which the spec does not name"),
        ("updatedat", "cursor 'updatedAt'"),
    ],
)
def test_the_log_and_the_plan_name_the_cursor_and_say_when_nobody_chose_it(
    journey: Any, caplog: pytest.LogCaptureFixture, named: str | None, told: str
) -> None:
    journey.sql("CREATE TABLE items (id INT NOT NULL PRIMARY KEY, updatedAt DATETIME NOT NULL)")
    journey.sql("INSERT INTO items VALUES (1, '2023-01-05 10:00:00')")
    journey.write_specs(items={"mode": "window", "key": ["id"], "cursor": named})
    sync_table(table="items", **DAY)
    lines = [r.getMessage() for r in caplog.records if r.getMessage().startswith("extract")]
    assert [line.rpartition(" in 1 files, by ")[2] for line in lines] == [told]

    days = {"start_date": date(2023, 1, 5), "end_date": date(2023, 1, 6)}
    state = backfill(table="items", **days, dry_run=True, return_state=True)
    assert f"By {told}." in pages_of(state)["backfill-plan"]


@pytest.mark.parametrize("route", ["sqlite-folder-duckdb"], indirect=True)
def test_the_receipts_page_names_the_cursor(shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.write_specs(items={"mode": "full"})
    receipt = sync_table(table="items")
    shown: list[str] = []
    monkeypatch.setattr(
        page_of_receipt, "create_markdown_artifact", lambda markdown, **_: shown.append(markdown)
    )
    page_of_receipt.show_receipt(dataclasses.replace(receipt, cursor_name=None))
    page_of_receipt.show_receipt(dataclasses.replace(receipt, cursor_name="edited"))
    assert ["- cursor edited" in page for page in shown] == [False, True]
