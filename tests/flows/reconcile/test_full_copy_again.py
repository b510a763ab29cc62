"""A repair by a full copy goes on from what it had staged, when its run is started again."""

from __future__ import annotations

from typing import Any

import pytest

from ferry.statements import Statement
from flows.pipeline import repair
from flows.reconcile_tables import reconcile
from flows.sync_table import sync_table
from tests.flows.test_resume import ROWS, SPEC, Interrupted, notes, staged

pytestmark = [
    pytest.mark.usefixtures("plain_runs"),
    pytest.mark.parametrize("route", ["mysql-folder-postgres"], indirect=True),
]


@pytest.fixture
def shop(journey: Any) -> Any:
    """Orders enough for some pieces, carried, of which one is altered in the target."""
    journey.sql("CREATE TABLE orders (id INT NOT NULL PRIMARY KEY, note VARCHAR(20))")
    rows = [(n, f"note {n}") for n in range(ROWS)]
    journey.sql("INSERT INTO orders VALUES (?, ?)", rows)
    journey.write_specs(orders=SPEC)
    sync_table(table="orders")
    altered(journey)
    return journey


def altered(shop: Any) -> None:
    statement = f'UPDATE "{shop.schema}"."orders" SET note = \'by hand\' WHERE id = 7'
    shop.warehouse.execute(Statement(statement, ()))


def copies(shop: Any) -> list[str]:
    return [each.batch_id for each in shop.receipts("orders") if each.mode == "full"]


def test_the_retry_of_a_repair_reads_the_pieces_that_are_missing(
    shop: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stage = Interrupted(monkeypatch, 3)
    again = reconcile.with_options(retries=1, retry_delay_seconds=0)
    state: Any = again(table="orders", repair="carry", return_state=True)
    assert stage.struck
    assert state.is_completed(), state.message
    assert "were staged by an earlier attempt, and are not read again" in caplog.text
    assert len(stage.uploaded) == len(set(stage.uploaded)) > 4  # each piece once
    assert notes(shop) == [(n, f"note {n}") for n in range(ROWS)]
    assert staged(shop) == []
    assert len(copies(shop)) == 2


def test_a_repair_by_a_full_copy_tidies_what_killed_runs_left(shop: Any) -> None:
    shop.warehouse.execute(
        'CREATE TABLE "ferry"."stg_20230105_0b9d0b9d0b9d_0b9d0b_orders" (id INT)'
    )
    assert shop.leftovers()
    state: Any = reconcile(table="orders", repair="carry", return_state=True)
    assert state.is_completed(), state.message
    assert shop.leftovers() == set()


def test_the_retry_of_a_repair_that_has_landed_copies_what_differs_by_then(
    shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first attempt's copy is not taken for the second one's."""
    apply, looks = repair._apply, list[int]()

    def altered_once(*args: Any) -> None:
        apply(*args)
        looks.append(len(copies(shop)))
        if len(looks) == 1:
            altered(shop)

    monkeypatch.setattr(repair, "_apply", altered_once)
    again = reconcile.with_options(retries=1, retry_delay_seconds=0)
    state: Any = again(table="orders", repair="carry", return_state=True)
    assert state.is_completed(), state.message
    assert looks == [2, 3]
    assert len(set(copies(shop))) == 3
    assert notes(shop) == [(n, f"note {n}") for n in range(ROWS)]
