"""A full copy whose run fails goes on from what it had staged, when that run is started again."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from blocks.sources.mysql.select import Select
from blocks.stages import FolderStage
from blocks.warehouses import PostgresWarehouse
from ferry import statements as sql
from ferry.errors import BusyError, ConnectionLostError, FatalError
from ferry.receipts.failures import FAILURES
from ferry.resume.staged_record import StagedRecord
from flows.pipeline import carry_batch
from flows.sync_table import sync_table
from tasks import staged_pieces

pytestmark = [
    pytest.mark.usefixtures("plain_runs"),
    pytest.mark.parametrize("route", ["mysql-folder-postgres"], indirect=True),
]

ROWS = 3000
SPEC = {"mode": "full", "key": ["id"], "resume_rows": 500, "retries": 0}
AGAIN = sync_table.with_options(retries=1, retry_delay_seconds=0)


@pytest.fixture
def shop(journey: Any) -> Any:
    """Orders enough for some pieces."""
    journey.sql(
        "CREATE TABLE orders (id INT NOT NULL PRIMARY KEY, note VARCHAR(20), modified DATETIME)"
    )
    rows = [(n, f"note {n}", "2023-01-05 10:00:00") for n in range(ROWS)]
    for first in range(0, ROWS, 500):
        some = rows[first : first + 500]
        values = ", ".join(["(?, ?, ?)"] * len(some))
        journey.sql(f"INSERT INTO orders VALUES {values}", [[v for row in some for v in row]])
    journey.write_specs(orders=SPEC)
    return journey


class Interrupted:
    """Fails the upload of one piece, or of the fourth, once, after something else was done."""

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        piece: int | None,
        then: Callable[[], object] = lambda: None,
    ) -> None:
        self.uploaded: list[str] = []
        self.struck = False
        put = FolderStage.put

        def interrupted(stage: FolderStage, part: Any, key: str) -> Any:
            met = len(self.uploaded) == 3 if piece is None else f"piece-{piece:05}" in key
            if met and not self.struck:
                self.struck = True
                then()
                raise ConnectionLostError("the network is gone")
            self.uploaded.append(key.rpartition("/")[2][:11])
            return put(stage, part, key)

        monkeypatch.setattr(FolderStage, "put", interrupted)


def staged(shop: Any) -> list[Path]:
    return [path for path in Path(shop.stage.path).rglob("*") if path.is_file()]


def notes(shop: Any) -> list[tuple[int, str]]:
    return [(int(key), note) for key, note in shop.target("orders", "id, note")]


def told(caplog: pytest.LogCaptureFixture) -> bool:
    return "were staged by an earlier attempt" in caplog.text


def test_what_was_staged_is_not_read_again(
    shop: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stage = Interrupted(monkeypatch, 3)

    receipt = AGAIN(table="orders")

    assert stage.struck
    assert len(stage.uploaded) == len(set(stage.uploaded)) > 4  # each piece once
    pieces = len(stage.uploaded)
    assert f"it is read in {pieces} pieces" in caplog.text
    assert "when this run is retried: prefect flow-run retry " in caplog.text
    assert f"3 of the table's {pieces} pieces were staged by an earlier attempt" in caplog.text
    assert f"; {pieces - 3} of its {pieces} pieces were read now" in caplog.text
    assert (receipt.rows_extracted, receipt.rows_inserted) == (ROWS, ROWS)
    assert receipt.source_snapshot == "not one"
    assert notes(shop) == [(n, f"note {n}") for n in range(ROWS)]
    assert staged(shop) == []


@pytest.mark.usefixtures("api")
def test_a_retry_of_prefect_s_own_goes_on(shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    Interrupted(monkeypatch, 3)
    # Whoever calls the flow is given the first attempt's error, though the second has arrived.
    state: Any = AGAIN(table="orders", return_state=True)
    assert state.is_completed(), state.message
    assert [receipt.source_snapshot for receipt in shop.receipts("orders")] == ["not one"]
    assert notes(shop) == [(n, f"note {n}") for n in range(ROWS)]


def test_a_copy_that_nothing_interrupts_is_of_one_snapshot_and_says_nothing(
    shop: Any, caplog: pytest.LogCaptureFixture
) -> None:
    receipt = sync_table(table="orders")
    assert receipt.source_snapshot is None  # by one connection
    assert receipt.rows_inserted == ROWS
    assert not told(caplog)
    assert staged(shop) == []


@pytest.mark.parametrize("ranges", [2, 4])
def test_pieces_are_read_by_several_connections_and_are_of_one_snapshot(
    shop: Any, monkeypatch: pytest.MonkeyPatch, ranges: int
) -> None:
    monkeypatch.setattr("ferry.plan.RANGE_ROWS", 100)
    shop.write_specs(orders={**SPEC, "read_ranges": ranges})
    assert sync_table(table="orders").source_snapshot == "one"
    assert notes(shop) == [(n, f"note {n}") for n in range(ROWS)]

    Interrupted(monkeypatch, None)
    receipt = AGAIN(table="orders")
    assert receipt.source_snapshot == "not one"
    assert receipt.rows_extracted == receipt.rows_inserted == receipt.rows_deleted == ROWS


def test_a_step_s_retry_goes_on_too(
    shop: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    shop.write_specs(orders={**SPEC, "retries": 1})
    Interrupted(monkeypatch, 2)
    assert sync_table(table="orders").rows_inserted == ROWS
    assert told(caplog)


def test_what_failed_after_all_was_staged_reads_nothing_again(
    shop: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    failures = [BusyError("the warehouse is full")]
    write = FolderStage.write_manifest

    def fail_once(stage: FolderStage, files: Any, key: str) -> Any:
        if failures:
            raise failures.pop()
        return write(stage, files, key)

    monkeypatch.setattr(FolderStage, "write_manifest", fail_once)
    shop.sql("UPDATE orders SET note = 'before' WHERE id < 10")

    receipt = AGAIN(table="orders")

    assert told(caplog)
    assert (receipt.rows_extracted, receipt.source_snapshot) == (ROWS, None)  # of one attempt
    assert notes(shop) == [(n, "before" if n < 10 else f"note {n}") for n in range(ROWS)]
    assert staged(shop) == []


def test_rows_that_change_between_two_attempts_are_of_one_of_both_moments(
    shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def change() -> None:
        shop.sql("UPDATE orders SET note = 'changed'")
        shop.sql("DELETE FROM orders WHERE MOD(id, 100) = 7")
        shop.sql("INSERT INTO orders VALUES (-5, 'new', '2023-01-06'), (9999, 'new', '2023-01-06')")

    Interrupted(monkeypatch, 3, change)
    AGAIN(table="orders")

    found = dict(notes(shop))
    assert found.pop(9999) == "new"  # the last piece was read after it
    assert -5 not in found  # the first one before it
    changed = {n for n, note in found.items() if note == "changed"}
    assert all(found[n] == f"note {n}" for n in found.keys() - changed)
    assert min(changed) > max(found.keys() - changed)
    assert {n for n in range(ROWS) if n not in found} == {
        n for n in range(ROWS) if n % 100 == 7 and n > max(found.keys() - changed)
    }
    receipt = sync_table(table="orders")
    assert receipt.source_snapshot is None
    assert dict(notes(shop)) == {
        **{n: "changed" for n in range(ROWS) if n % 100 != 7},
        -5: "new",
        9999: "new",
    }


def _land(shop: Any) -> None:
    shop.sql("UPDATE orders SET note = 'newer'")
    shop.write_specs(orders={**SPEC, "mode": "window"}, day={**SPEC, "source_table": "orders"})
    sync_table(table="orders", run_date="2023-01-05")
    shop.write_specs(orders=SPEC)


def _alter(shop: Any) -> None:
    shop.sql("UPDATE orders SET note = 'newer'")
    shop.sql("ALTER TABLE orders ADD COLUMN n INT")


def _swap(shop: Any) -> None:
    shop.sql("CREATE TABLE loaded LIKE orders")
    shop.sql("INSERT INTO loaded SELECT id, 'newer', modified FROM orders")
    shop.sql("RENAME TABLE orders TO gone, loaded TO orders")


def _respecify(shop: Any) -> None:
    shop.sql("UPDATE orders SET note = 'newer'")
    shop.write_specs(orders={**SPEC, "exclude": ["modified"]})


def _upgrade(shop: Any) -> None:
    shop.sql("UPDATE orders SET note = 'newer'")


@pytest.mark.parametrize("meanwhile", [_land, _alter, _respecify, _swap, _upgrade])
def test_what_is_of_no_use_any_more_is_read_anew(
    shop: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    meanwhile: Callable[[Any], None],
) -> None:
    codes = iter(["one", "another"])
    if meanwhile is _upgrade:
        monkeypatch.setattr(staged_pieces, "_code", lambda: next(codes))
    time.sleep(1.1 if meanwhile is _swap else 0)  # tables tell their age in seconds
    Interrupted(monkeypatch, 3, lambda: meanwhile(shop))

    AGAIN(table="orders")

    assert "is of no use any more" in caplog.text
    assert not told(caplog)
    assert notes(shop) == [(n, "newer") for n in range(ROWS)]
    assert staged(shop) == []


def test_a_piece_of_which_a_file_is_gone_is_read_again(
    shop: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def remove() -> None:
        for path in staged(shop):
            if "piece-00001" in path.name:
                path.unlink()

    stage = Interrupted(monkeypatch, 3, remove)

    assert AGAIN(table="orders").source_snapshot == "not one"

    assert "2 of the table's" in caplog.text
    assert stage.uploaded.count("piece-00001") == 2
    assert notes(shop) == [(n, f"note {n}") for n in range(ROWS)]


def test_what_earlier_attempts_have_left_goes_when_it_lands(
    shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def leave() -> None:
        beside = next(path for path in staged(shop) if "piece-00001" in path.name)
        (beside.parent / "manifest.json").write_bytes(b"{}")  # as of one that was killed at COPY

    Interrupted(monkeypatch, 3, leave)
    assert AGAIN(table="orders").source_snapshot == "not one"
    assert staged(shop) == []


def test_rows_that_come_after_their_piece_leave_nothing_to_go_on_from(
    shop: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A piece that was taken for complete lacks them."""
    in_pieces = Select.in_pieces

    def in_disorder(select: Select, number: str, within: str, order: str) -> Select:
        return in_pieces(select, number, within, f"MOD({order}, 1000)")

    monkeypatch.setattr(Select, "in_pieces", in_disorder)
    with pytest.raises(FatalError, match="after those of the next one"):
        sync_table(table="orders")
    assert staged(shop) == []
    monkeypatch.setattr(Select, "in_pieces", in_pieces)
    assert sync_table(table="orders").rows_inserted == ROWS


def test_files_that_were_changed_do_not_fail_every_attempt(
    shop: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An attempt fails on them, and the next one reads all anew."""
    shop.write_specs(orders={**SPEC, "keep_staged_days": 3})

    def change() -> None:
        for path in staged(shop):
            if "piece-00001" in path.name:
                path.write_bytes(bytes(path.stat().st_size))

    Interrupted(monkeypatch, 3, change)
    thrice = sync_table.with_options(retries=2, retry_delay_seconds=0)

    assert thrice(table="orders").source_snapshot is None  # of the third attempt alone

    assert told(caplog)  # by the second
    assert notes(shop) == [(n, f"note {n}") for n in range(ROWS)]
    assert [path for path in staged(shop) if path.name == "pieces.json"] == []


def test_what_was_staged_long_ago_is_read_anew(
    shop: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its files may be tidied away while they are waited for."""

    def age() -> None:
        (path,) = (path for path in staged(shop) if path.name == "pieces.json")
        record = StagedRecord.read(path.read_bytes())
        path.write_bytes(replace(record, begun=record.begun - timedelta(days=1)).text())

    Interrupted(monkeypatch, 3, age)
    assert AGAIN(table="orders").rows_inserted == ROWS
    assert not told(caplog)


@pytest.mark.parametrize("text", [b"", b"{}", b"no record", b'{"of": 1, "pieces": {"x": []}}'])
def test_a_record_that_is_none_is_read_anew(
    shop: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, text: bytes
) -> None:
    def spoil() -> None:
        (path,) = (path for path in staged(shop) if path.name == "pieces.json")
        path.write_bytes(text)

    Interrupted(monkeypatch, 3, spoil)
    assert AGAIN(table="orders").rows_inserted == ROWS
    assert not told(caplog)


def test_of_two_attempts_at_once_one_lands_and_the_other_says_so(
    shop: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A process that was taken for dead loads its files while its replacement lands."""
    carried: list[Any] = []
    arrive, copy_in = carry_batch._arrive, PostgresWarehouse.copy_in

    def noted(*args: Any) -> Any:
        carried.append(args)
        return arrive(*args)

    def overtaken(warehouse: PostgresWarehouse, *args: Any) -> int:
        if len(carried) == 1:
            batch, route, *_ = carried[0]
            carry_batch.carry(replace(batch, attempt=2), route)
        return copy_in(warehouse, *args)

    monkeypatch.setattr(carry_batch, "_arrive", noted)
    monkeypatch.setattr(PostgresWarehouse, "copy_in", overtaken)
    receipt = sync_table(table="orders")
    assert "has landed in this run, while this attempt failed" in caplog.text
    assert (len(carried), shop.receipts("orders")) == (2, [receipt])
    assert notes(shop) == [(n, f"note {n}") for n in range(ROWS)]
    assert staged(shop) == []
    failed = sql.count_where(FAILURES, "table_name", f"{shop.schema}.orders")
    assert not shop.warehouse.describe(FAILURES) or shop.warehouse.fetch(failed) == [(0,)]


def test_another_run_does_not_take_what_a_failed_one_has_staged(
    shop: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    Interrupted(monkeypatch, 3)
    with pytest.raises(ConnectionLostError):
        sync_table(table="orders")
    assert staged(shop) != []  # until it is tidied away, as all that is left over
    shop.sql("UPDATE orders SET note = 'newer'")
    assert sync_table(table="orders").source_snapshot is None
    assert not told(caplog)
    assert notes(shop) == [(n, "newer") for n in range(ROWS)]


@pytest.mark.parametrize(
    "spec", [{"resume_rows": 0}, {"mode": "watermark", "cursor": "id"}], ids=["not wanted", "ids"]
)
def test_a_table_that_is_not_staged_in_pieces_is_read_from_the_beginning(
    shop: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    spec: dict[str, Any],
) -> None:
    """Of two attempts, the later may see a higher id than one that the earlier has not seen."""
    shop.write_specs(orders={**SPEC, **spec})
    stage = Interrupted(monkeypatch, 0)
    assert AGAIN(table="orders", mode="full").rows_inserted == ROWS
    assert not stage.struck
    assert not told(caplog)
