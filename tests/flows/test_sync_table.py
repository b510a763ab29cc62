"""sync-table on every route: what arrives is what was there, and every batch has its receipt."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from prefect.flow_engine import run_flow_sync
from prefect.states import AwaitingRetry

from blocks.stages import S3Stage
from ferry.errors import ConfigurationError, DataError, RequestError
from ferry.statements import PARAM, Statement
from flows.sync_all import sync_all
from flows.sync_table import sync_table
from tests.harness.api import Api
from tests.harness.plain_runs import BY_PREFECT

pytestmark = pytest.mark.usefixtures("plain_runs")

ORDERS = """CREATE TABLE orders (
  id BIGINT NOT NULL PRIMARY KEY,
  amount DECIMAL(12,2) NOT NULL,
  note VARCHAR(200) NULL,
  created_at DATETIME(6) NOT NULL,
  modified DATETIME(6) NOT NULL,
  deleted DATETIME(6) NULL
)"""
SPEC = {"mode": "window", "key": ["id"], "insert_rows": 0}
INSERT = "INSERT INTO orders VALUES (?, ?, ?, ?, ?, ?)"
UPDATE = "UPDATE orders SET note = ?, modified = ? WHERE id = ?"


def order(number: int, day: int, note: str | None = "plain") -> tuple[Any, ...]:
    moment = f"2023-01-{day:02} 12:00:00.{number:06}"
    return (number, f"{number}.50", note, moment, moment, None)


def moment(day: int, number: int) -> datetime:
    return datetime(2023, 1, day, 12, 0, 0, number)


@pytest.fixture
def shop(journey: Any) -> Any:
    journey.sql(ORDERS)
    journey.sql(INSERT, [order(n, day=1 + n % 3) for n in range(1, 13)])
    journey.write_specs(orders=SPEC)
    return journey


@BY_PREFECT
def test_a_full_copy_is_the_source_value_for_value(shop):
    notes = ["", None, 'say "hi"', "a,b", "line\nbreak", "back\\slash", "\\N", "🚢 ünï", " pad "]
    shop.sql("DELETE FROM orders")
    shop.sql(INSERT, [order(n, 1, note) for n, note in enumerate(notes)])

    receipt = sync_table(table="orders", mode="full")

    assert shop.target("orders") == [
        (n, Decimal(n) + Decimal("0.5"), note, moment(1, n), moment(1, n), None)
        for n, note in enumerate(notes)
    ]
    assert (receipt.rows_extracted, receipt.rows_staged, receipt.rows_copied) == (9, 9, 9)
    assert (receipt.rows_inserted, receipt.status) == (9, "loaded")
    assert shop.receipts("orders") == [receipt]


@BY_PREFECT
def test_a_day_carries_exactly_its_rows_and_again_changes_nothing(shop):
    first = sync_table(table="orders", run_date=date(2023, 1, 2))
    rows = shop.target("orders")
    again = sync_table(table="orders", run_date=date(2023, 1, 2))

    assert [row[0] for row in rows] == [1, 4, 7, 10]
    assert first.rows_inserted == 4
    assert first.window_label == "2023-01-02"
    assert first.window_start.astimezone(UTC) == datetime(2023, 1, 2, tzinfo=UTC)
    assert (again.rows_extracted, again.rows_unchanged, again.changed) == (4, 4, 0)
    assert shop.target("orders") == rows
    assert [r.batch_id for r in shop.receipts("orders")] == [first.batch_id, again.batch_id]


def test_a_window_is_half_open_to_the_microsecond(shop):
    shop.sql("DELETE FROM orders")
    edges = ["2023-01-02 00:00:00.000000", "2023-01-02 23:59:59.999999"]
    outside = ["2023-01-01 23:59:59.999999", "2023-01-03 00:00:00.000000"]
    shop.sql(INSERT, [(n, 1, None, t, t, None) for n, t in enumerate(edges + outside)])
    sync_table(table="orders", run_date=date(2023, 1, 2))
    assert [row[0] for row in shop.target("orders")] == [0, 1]


def test_days_carried_in_any_order_never_bring_an_older_version_back(shop):
    sync_table(table="orders", run_date=date(2023, 1, 2))
    shop.sql(UPDATE, [("newer", "2023-01-05 08:00:00.000000", 1)])
    sync_table(table="orders", run_date=date(2023, 1, 5))
    shop.sql(UPDATE, [("older", "2023-01-02 08:00:00.000000", 1)])

    receipt = sync_table(table="orders", run_date=date(2023, 1, 2))

    assert shop.target("orders", "note", "id")[0] == ("newer",)
    assert (receipt.rows_extracted, receipt.rows_updated) == (4, 0)


@pytest.mark.parametrize("route", ["mysql-s3-redshift"], indirect=True)
def test_a_window_over_one_column_knows_the_newer_row_by_another(shop):
    shop.write_specs(orders={**SPEC, "cursor": "created_at", "version": "modified"})
    sync_table(table="orders", run_date=date(2023, 1, 2))
    shop.sql(UPDATE, [("newer", "2023-01-05 08:00:00.000000", 1)])
    newer = sync_table(table="orders", run_date=date(2023, 1, 2))
    shop.sql(UPDATE, [("older", "2023-01-04 08:00:00.000000", 1)])

    older = sync_table(table="orders", run_date=date(2023, 1, 2))

    assert shop.target("orders", "id, note")[0] == (1, "newer")
    assert (newer.rows_extracted, newer.rows_updated, newer.rows_unchanged) == (4, 1, 3)
    assert (older.rows_extracted, older.changed) == (4, 0)


def test_changed_and_softly_deleted_rows_are_carried_as_they_are(shop):
    for day in (1, 2, 3):
        sync_table(table="orders", run_date=date(2023, 1, day))
    shop.sql(UPDATE, [("changed", "2023-01-04 08:00:00.000000", 5)])
    shop.sql(
        "UPDATE orders SET deleted = ?, modified = ? WHERE id = ?",
        [("2023-01-04 09:00:00.000000",) * 2 + (6,)],
    )

    receipt = sync_table(table="orders", run_date=date(2023, 1, 4))

    assert (receipt.rows_updated, receipt.rows_inserted, receipt.rows_deleted) == (2, 0, 0)
    assert shop.target("orders", "id, note, deleted IS NOT NULL")[4:6] == [
        (5, "changed", False),
        (6, "plain", True),
    ]


def test_soft_deletes_are_applied_when_the_spec_says_so(shop):
    shop.write_specs(orders={**SPEC, "soft_deletes": "apply"})
    sync_table(table="orders", mode="full")
    shop.sql(
        "UPDATE orders SET deleted = ?, modified = ? WHERE id = ?",
        [("2023-01-04 09:00:00.000000",) * 2 + (6,)],
    )

    receipt = sync_table(table="orders", run_date=date(2023, 1, 4))

    assert receipt.rows_deleted == 1
    assert [row[0] for row in shop.target("orders")] == [1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 12]
    assert sync_table(table="orders", run_date=date(2023, 1, 4)).changed == 0


def test_an_empty_window_is_a_success_with_a_receipt(shop):
    receipt = sync_table(table="orders", run_date=date(2022, 6, 1))
    assert (receipt.rows_extracted, receipt.changed, receipt.status) == (0, 0, "loaded")
    assert shop.target("orders") == []
    assert len(shop.receipts("orders")) == 1


def test_a_handful_of_rows_goes_in_by_insert_and_more_by_copy(shop):
    shop.write_specs(orders={**SPEC, "insert_rows": 4})
    few = sync_table(table="orders", run_date=date(2023, 1, 2))
    many = sync_table(table="orders", mode="full")
    assert (few.rows_inserted, few.manifest_uri) == (4, None)
    assert many.manifest_uri.endswith("manifest.json")
    assert len(shop.target("orders")) == 12


def test_a_watermark_carries_what_is_new_and_reads_ties_again(shop):
    shop.write_specs(orders={**SPEC, "mode": "watermark", "cursor": "id"})
    first = sync_table(table="orders")
    shop.sql(INSERT, [order(13, 4), order(14, 4)])
    second = sync_table(table="orders")
    third = sync_table(table="orders")
    assert (first.rows_inserted, second.rows_extracted, second.rows_inserted) == (12, 3, 2)
    assert (third.rows_extracted, third.changed) == (1, 0)
    assert len(shop.target("orders")) == 14


def test_a_table_without_a_key_is_appended_to_and_no_row_doubled(shop):
    shop.sql("CREATE TABLE events (seen DATETIME(6) NOT NULL, what VARCHAR(9) NULL)")
    add = "INSERT INTO events VALUES (?, ?)"
    shop.sql(add, [("2023-01-01 00:00:00.000001", "a"), ("2023-01-01 00:00:00.000002", "b")])
    shop.write_specs(events={"mode": "watermark", "cursor": "seen"})
    sync_table(table="events")
    shop.sql(add, [("2023-01-01 00:00:00.000002", "tie"), ("2023-01-01 00:00:00.000003", "c")])

    receipt = sync_table(table="events")
    again = sync_table(table="events")

    assert [r[0] for r in shop.target("events", "what", "seen, what")] == ["a", "b", "tie", "c"]
    assert (receipt.rows_extracted, receipt.rows_inserted, receipt.rows_unchanged) == (3, 2, 1)
    assert again.changed == 0


def test_composite_keys_and_reserved_names_are_carried(shop):
    shop.sql(
        "CREATE TABLE `order` (`group` INT, `Select` INT, modified DATETIME, "
        "PRIMARY KEY (`group`, `Select`))"
    )
    rows = [(1, 1, "2023-01-01 00:00:00"), (1, 2, "2023-01-01 00:00:00")]
    shop.sql("INSERT INTO `order` VALUES (?, ?, ?)", [*rows, (2, 1, "2023-01-01 00:00:00")])
    shop.write_specs(order={"mode": "window", "key": ["group", "select"]})
    assert sync_table(table="order", run_date=date(2023, 1, 1)).rows_inserted == 3
    assert shop.target("order", '"group", "select"', "1, 2") == [(1, 1), (1, 2), (2, 1)]
    assert sync_table(table="order", run_date=date(2023, 1, 1)).changed == 0


def test_a_column_that_the_source_gained_is_added_to_the_target(shop):
    sync_table(table="orders", run_date=date(2023, 1, 1))
    shop.sql("ALTER TABLE orders ADD COLUMN channel VARCHAR(10) NULL")
    shop.sql("UPDATE orders SET channel = ?", [("web",)])
    receipt = sync_table(table="orders", run_date=date(2023, 1, 1))
    assert receipt.rows_updated == 4
    assert {row[0] for row in shop.target("orders", "channel", "1")} == {"web"}


@BY_PREFECT
def test_nothing_is_left_behind(shop):
    sync_table(table="orders", mode="full")
    assert shop.leftovers() == set()
    prefix = f"{shop.schema}.orders/"
    assert shop.stage.discard_older(prefix, datetime(2099, 1, 1, tzinfo=UTC)) == 0


def test_staged_files_are_kept_when_the_spec_asks(shop):
    shop.write_specs(orders={**SPEC, "keep_staged_days": 3})
    sync_table(table="orders", mode="full")
    prefix = f"{shop.schema}.orders/"
    assert shop.stage.discard_older(prefix, datetime(2099, 1, 1, tzinfo=UTC)) == 2


@pytest.mark.parametrize("route", ["mysql-s3-redshift"], indirect=True)
def test_a_stage_that_the_warehouse_cannot_load_from_is_refused_before_rows_are_read(
    shop, monkeypatch
):
    monkeypatch.setattr(
        S3Stage, "uri", lambda *_: "s3://arn:aws:s3:x:1:accesspoint/a/manifest.json"
    )
    monkeypatch.setattr("flows.pipeline.carry_batch.extract", None)
    with pytest.raises(ConfigurationError, match=r"orders.*alias"):
        sync_table(table="orders", run_date=date(2023, 1, 2))


@pytest.mark.parametrize("route", ["mysql-s3-redshift"], indirect=True)
def test_a_missing_target_is_made_with_the_keys_of_its_spec(shop, redshift_double):
    shop.write_specs(orders={**SPEC, "sort_key": ["modified", "id"], "dist_key": "id"})
    sync_table(table="orders", run_date=date(2023, 1, 2))
    created = f'CREATE TABLE "{shop.schema}"."orders"'
    (made,) = [s.sql for s in redshift_double.statements() if s.sql.startswith(created)]
    assert made.endswith(') DISTSTYLE KEY DISTKEY ("id") SORTKEY ("modified", "id")')


@pytest.mark.parametrize("route", ["mysql-s3-redshift"], indirect=True)
@pytest.mark.parametrize(
    ("column", "declared"),
    [("INT NOT NULL PRIMARY KEY", True), ("INT NOT NULL", False), ("CHAR(9) PRIMARY KEY", False)],
    ids=["the source's own key", "no key of the source's", "text, of which blanks are ignored"],
)
def test_a_primary_key_is_declared_only_if_the_source_vouches_for_it(
    journey, redshift_double, column, declared
):
    journey.sql(f"CREATE TABLE t (id {column}, modified DATETIME)")
    journey.sql("INSERT INTO t VALUES (1, '2023-01-02')")
    journey.write_specs(t=SPEC)
    sync_table(table="t", run_date=date(2023, 1, 2))
    created = f'CREATE TABLE "{journey.schema}"."t"'
    (made,) = [s.sql for s in redshift_double.statements() if s.sql.startswith(created)]
    assert ('PRIMARY KEY ("id")' in made) == declared


def key_indexes(shop):
    """The columns of each index of the target."""
    indexes = shop.warehouse.fetch(
        Statement(
            f"SELECT indexdef FROM pg_indexes WHERE schemaname = {PARAM} AND tablename = 'orders'",
            (shop.schema,),
        )
    )
    return [index.rpartition(" ")[2] for (index,) in indexes]


@pytest.mark.parametrize("route", ["mysql-folder-postgres"], indirect=True)
def test_a_target_of_few_rows_has_an_index_on_its_key(shop):
    sync_table(table="orders", run_date=date(2023, 1, 2))
    assert key_indexes(shop) == ["(id)"]


@pytest.mark.parametrize("route", ["mysql-folder-postgres"], indirect=True)
def test_a_target_and_its_index_are_made_together_or_neither(shop, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("ferry.target.key_index.create_index", lambda *_: "SELECT 1 / 0")
        with pytest.raises(DataError):
            sync_table(table="orders", run_date=date(2023, 1, 2))
    sync_table(table="orders", run_date=date(2023, 1, 2))
    assert key_indexes(shop) == ["(id)"]


@pytest.mark.parametrize("route", ["sqlite-folder-duckdb"], indirect=True)
@pytest.mark.parametrize("flow", [sync_table, sync_all], ids=["sync-table", "sync-all"])
def test_a_completed_run_that_is_retried_says_that_it_read_nothing_again(
    shop: Any, api: Api, flow: Any
) -> None:
    given = {"tables": ["orders"]} if flow is sync_all else {"table": "orders"}
    first = flow(**given, run_date=date(2023, 1, 2), return_state=True)
    run_id = first.state_details.flow_run_id
    shop.sql(INSERT, [order(50, day=2)])

    api.client.set_flow_run_state(run_id, AwaitingRetry(), force=True)
    parameters = flow.validate_parameters({**given, "run_date": "2023-01-02"})
    again = run_flow_sync(flow, api.flow_run(run_id), parameters, return_type="state")

    assert "landed in an earlier attempt" not in first.message
    assert again.is_completed()
    assert "landed in an earlier attempt of this run, and not read again" in again.message
    assert len(shop.receipts("orders")) == 1


@pytest.mark.parametrize("route", ["sqlite-folder-duckdb"], indirect=True)
def test_days_before_the_table_s_start_date_are_refused_as_by_a_backfill(shop: Any) -> None:
    shop.write_specs(
        orders={**SPEC, "start_date": "2023-01-02", "zone": "Europe/Berlin"},
        early={**SPEC, "source_table": "orders"},
    )
    midnight = datetime(2023, 1, 1, 23, tzinfo=UTC)  # in Berlin
    a_second_early = {"window_start": midnight.replace(hour=22, minute=59), "window_end": midnight}
    for given in ({"run_date": date(2023, 1, 1)}, a_second_early):
        with pytest.raises(RequestError, match="window begins before the table does") as caught:
            sync_table(table="orders", **given)
        assert f"{shop.schema}.orders" in str(caught.value)
        assert "a start on 2023-01-02 or later: `start_date`" in str(caught.value)
    state = sync_all(run_date=date(2023, 1, 1), return_state=True)
    assert "1 of 2 tables failed" in str(state.message)
    assert "orders: the window begins before the table does" in str(state.message)
    assert [len(shop.receipts(name)) for name in ("orders", "early")] == [0, 1]
    sync_table(table="orders", window_start=midnight, window_end=midnight.replace(day=2))
    assert sync_table(table="orders", run_date=date(2023, 1, 2)).rows_extracted == 4
    assert sync_table(table="orders", mode="full").rows_extracted == 12
