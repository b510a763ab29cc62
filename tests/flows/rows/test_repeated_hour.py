"""The hour that the clocks repeat: what a wall clock cannot tell apart arrives as it is now."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any, Literal

import pytest

from ferry.errors import StaleReadError
from flows.reconcile_tables import reconcile
from flows.sync_table import sync_table
from tests.harness.reads import read_now_land_later

pytestmark = pytest.mark.usefixtures("plain_runs")

ONE_ROUTE = pytest.mark.parametrize("route", ["sqlite-folder-duckdb"], indirect=True)
DAY = date(2023, 10, 29)
BERLIN = {
    "mode": "window",
    "every": "hour",
    "key": ["id"],
    "cursor": "updated_at",
    "source_zone": "Europe/Berlin",
    "insert_rows": 0,
}


def hour(number: int) -> dict[str, datetime]:
    """The window of an hour of the night in UTC, in which Berlin's clocks go back at 1."""
    return {
        "window_start": datetime(2023, 10, 29, number, tzinfo=UTC),
        "window_end": datetime(2023, 10, 29, number + 1, tzinfo=UTC),
    }


@pytest.fixture
def shop(journey: Any) -> Any:
    """Two orders of the night, written by Berlin's wall clock."""
    journey.sql(
        "CREATE TABLE orders (id INT NOT NULL PRIMARY KEY, status VARCHAR(9), "
        "updated_at DATETIME, created_on DATETIME)"
    )
    for number, at in ((1, "02:50"), (2, "03:10")):
        journey.sql(
            "INSERT INTO orders VALUES (?, 'paid', ?, '2023-10-01 12:00:00')",
            [(number, f"2023-10-29 {at}:00")],
        )
    journey.write_specs(orders=BERLIN)
    return journey


def change(shop: Any, number: int, at: str) -> None:
    shop.sql(
        "UPDATE orders SET status = 'shipped', updated_at = ? WHERE id = ?",
        [(f"2023-10-29 {at}:00", number)],
    )


def arrived(shop: Any) -> dict[int, str]:
    rows = shop.target("orders", "id, status, updated_at")
    return {number: f"{status} {at:%H:%M}" for number, status, at in rows}


def test_a_change_in_the_second_pass_of_the_repeated_hour_replaces_the_one_of_the_first(
    shop: Any,
) -> None:
    for number in (0, 2):  # 02:00 to 03:00 in summer time, and 03:00 to 04:00 in winter time
        sync_table(table="orders", **hour(number))
    assert arrived(shop) == {1: "paid 02:50", 2: "paid 03:10"}

    change(shop, 1, "02:10")
    change(shop, 2, "02:20")  # it is surely older than what has been carried
    receipt = sync_table(table="orders", **hour(1))

    assert arrived(shop) == {1: "shipped 02:10", 2: "paid 03:10"}
    assert (receipt.rows_updated, receipt.rows_unchanged) == (1, 1)
    again = sync_table(table="orders", **hour(0))
    whole = sync_table(table="orders", run_date=DAY)
    assert [each.rows_updated for each in (again, whole)] == [0, 0]
    assert [each.rows_unchanged for each in (again, whole)] == [2, 2]
    assert shop.leftovers() == set()


def test_a_watermark_carries_the_change_of_the_second_pass(shop: Any) -> None:
    shop.write_specs(orders={**BERLIN, "mode": "watermark"})
    change(shop, 2, "02:20")
    sync_table(table="orders")
    assert arrived(shop) == {1: "paid 02:50", 2: "shipped 02:20"}

    change(shop, 1, "02:10")
    receipt = sync_table(table="orders")

    assert arrived(shop) == {1: "shipped 02:10", 2: "shipped 02:20"}
    assert (receipt.rows_updated, receipt.rows_unchanged) == (1, 1)
    assert sync_table(table="orders").rows_unchanged == 2


@ONE_ROUTE
@pytest.mark.parametrize("mode", ["window", "watermark"])
def test_a_version_beside_another_cursor_is_a_wall_clock_s_too(shop: Any, mode: str) -> None:
    spec = {**BERLIN, "cursor": "created_on", "version": "updated_at", "mode": mode}
    shop.write_specs(orders=spec)
    dates = {"run_date": date(2023, 10, 1)} if mode == "window" else {}
    sync_table(table="orders", **dates)

    change(shop, 1, "02:10")
    change(shop, 2, "02:20")
    sync_table(table="orders", **dates)

    assert arrived(shop) == {1: "shipped 02:10", 2: "paid 03:10"}


@ONE_ROUTE
@pytest.mark.parametrize("zone", ["UTC", "Asia/Seoul"])
def test_where_no_hour_is_repeated_an_earlier_version_is_older(shop: Any, zone: str) -> None:
    shop.write_specs(orders={**BERLIN, "zone": zone, "source_zone": zone})
    sync_table(table="orders", run_date=DAY)
    change(shop, 1, "02:10")
    sync_table(table="orders", run_date=DAY)
    assert arrived(shop)[1] == "paid 02:50"


@ONE_ROUTE
def test_lord_howe_repeats_half_an_hour(shop: Any) -> None:
    zone = "Australia/Lord_Howe"
    shop.write_specs(orders={**BERLIN, "zone": zone, "source_zone": zone})
    for number, at in ((1, "01:50"), (2, "02:05")):
        shop.sql("UPDATE orders SET updated_at = ? WHERE id = ?", [(f"2023-04-02 {at}:00", number)])
    day = {"run_date": date(2023, 4, 2)}
    sync_table(table="orders", **day)

    statement = "UPDATE orders SET status = 'shipped', updated_at = ? WHERE id = ?"
    shop.sql(statement, [("2023-04-02 01:35:00", 1), ("2023-04-02 01:40:00", 2)])
    sync_table(table="orders", **day)

    assert arrived(shop) == {1: "shipped 01:35", 2: "paid 02:05"}


@ONE_ROUTE
def test_what_was_read_in_the_first_pass_does_not_replace_what_landed_since(shop: Any) -> None:
    sync_table(table="orders", **hour(2))

    def changed_and_carried() -> None:
        change(shop, 1, "02:10")
        sync_table(table="orders", **hour(1))

    with pytest.raises(StaleReadError, match="the clocks repeat"):
        read_now_land_later("orders", "window", hour(0), changed_and_carried)
    assert arrived(shop)[1] == "shipped 02:10"


@ONE_ROUTE
@pytest.mark.parametrize("case", ["window", "watermark", "another cursor"])
def test_what_was_read_before_the_clocks_went_back_does_not_replace_what_landed_after(
    shop: Any, case: str
) -> None:
    mode: Literal["window", "watermark"] = "watermark" if case == "watermark" else "window"
    spec, dates = {**BERLIN, "mode": mode}, {"window": hour(0), "watermark": {}}.get(case)
    if dates is None:
        spec |= {"every": "day", "cursor": "created_on", "version": "updated_at"}
        dates = {"run_date": date(2023, 10, 1)}
    shop.write_specs(orders=spec)
    if case == "watermark":  # it has landed before, and so reads from there on
        shop.sql("UPDATE orders SET updated_at = '2023-10-29 02:05:00' WHERE id = 2")
        shop.sql("UPDATE orders SET updated_at = '2023-10-29 02:00:00' WHERE id = 1")
        sync_table(table="orders")
        change(shop, 1, "02:50")

    def changed_and_carried() -> None:
        change(shop, 1, "02:10")
        sync_table(table="orders", **(hour(1) if case == "window" else dates))

    first_pass = datetime(2023, 10, 29, 0, 55, tzinfo=UTC)
    with pytest.raises(StaleReadError, match="the clocks repeat"):
        read_now_land_later("orders", mode, dates, changed_and_carried, read_at=first_pass)
    assert arrived(shop)[1] == "shipped 02:10"


@ONE_ROUTE
def test_a_row_that_moved_to_another_day_in_that_hour_is_not_brought_back(shop: Any) -> None:
    """The days do not overlap, and the versions do not tell: what was read before is read again."""
    spec = {**BERLIN, "every": "day", "cursor": "created_on", "version": "updated_at"}
    shop.write_specs(orders=spec)

    def moved_and_carried() -> None:
        shop.sql(
            "UPDATE orders SET status = 'shipped', created_on = '2023-10-02 12:00:00', "
            "updated_at = '2023-10-29 02:50:00' WHERE id = 1"
        )
        sync_table(table="orders", run_date=date(2023, 10, 2))

    shop.sql("UPDATE orders SET updated_at = '2023-10-29 02:10:00' WHERE id = 1")
    with pytest.raises(StaleReadError, match="the clocks repeat"):
        read_now_land_later("orders", "window", {"run_date": date(2023, 10, 1)}, moved_and_carried)
    assert arrived(shop)[1] == "shipped 02:50"


@ONE_ROUTE
def test_a_comparison_repairs_a_change_of_the_second_pass_that_was_not_carried(shop: Any) -> None:
    for number in (0, 1):
        sync_table(table="orders", **hour(number))
    sync_table(table="orders", run_date=DAY)
    change(shop, 1, "02:10")
    days = {"start_date": DAY, "end_date": date(2023, 10, 30)}
    reconcile(table="orders", **days, repair="all")
    assert arrived(shop)[1] == "shipped 02:10"
