"""A column that the target has, and that a table begins to carry: older rows get it, too."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from ferry.errors import DataError, SchemaError, StaleReadError
from flows.sync_table import sync_table
from tasks.target.prepare import prepare_target
from tests.flows.rows.two_days import FIRST, SECOND, THIRD, fill, missing
from tests.harness.reads import read_now_land_later

pytestmark = pytest.mark.usefixtures("plain_runs")

SPEC = {"mode": "window", "key": ["id"], "start_date": "2023-01-05"}
WITHOUT = {**SPEC, "exclude": ["country"], "target_only": ["country"]}
WHY = "older rows have no value in the column country"


@pytest.fixture
def people(journey: Any) -> Any:
    """Two days, carried without the column `country`, which the target has all the same."""
    journey.sql(
        "CREATE TABLE people (id BIGINT NOT NULL PRIMARY KEY, modified DATETIME NOT NULL, "
        "country CHAR(2))"
    )
    journey.sql(
        "INSERT INTO people VALUES (1, '2023-01-05 10:00:00', 'DE'), "
        "(2, '2023-01-06 10:00:00', 'FR')"
    )
    journey.write_specs(people={**SPEC, "exclude": ["country"]})
    sync_table(table="people", run_date=FIRST)
    sync_table(table="people", run_date=SECOND)
    add_to_target(journey)
    return journey


def add_to_target(journey: Any) -> None:
    journey.warehouse.execute(
        f'ALTER TABLE "{journey.schema}"."people" ADD COLUMN country VARCHAR(8)'
    )


def test_days_carried_without_a_column_that_is_not_excluded_any_more_are_missing(
    people: Any,
) -> None:
    people.write_specs(people=WITHOUT)
    sync_table(table="people", run_date=SECOND)
    assert missing() == {}
    people.write_specs(people=SPEC)
    sync_table(table="people", run_date=SECOND)
    assert missing() == {FIRST: WHY}
    assert (fill(), missing()) == (1, {})
    assert people.target("people", "id, country") == [(1, "DE"), (2, "FR")]
    statuses = [receipt.status for receipt in people.receipts("people")]
    assert statuses == ["loaded", "loaded", "loaded", "void", "loaded", "loaded"]


def test_days_carried_before_a_column_was_added_on_both_sides_are_missing(journey: Any) -> None:
    journey.sql("CREATE TABLE people (id BIGINT NOT NULL PRIMARY KEY, modified DATETIME NOT NULL)")
    journey.sql("INSERT INTO people VALUES (1, '2023-01-05 10:00:00'), (2, '2023-01-06 10:00:00')")
    journey.write_specs(people=SPEC)
    assert fill() == 2
    journey.sql("ALTER TABLE people ADD COLUMN country VARCHAR(8) NOT NULL DEFAULT 'DE'")
    add_to_target(journey)
    sync_table(table="people", run_date=SECOND)
    assert missing() == {FIRST: WHY}
    assert (fill(), missing()) == (1, {})
    assert journey.target("people", "id, country") == [(1, "DE"), (2, "DE")]


@pytest.fixture
def nations(journey: Any) -> Any:
    """Two days, carried with the column `nation`, of which a row has none."""
    journey.sql(
        "CREATE TABLE people (id BIGINT NOT NULL PRIMARY KEY, modified DATETIME NOT NULL, "
        "nation CHAR(2))"
    )
    journey.sql(
        "INSERT INTO people VALUES (1, '2023-01-05 10:00:00', 'DE'), "
        "(2, '2023-01-05 11:00:00', NULL), (3, '2023-01-06 10:00:00', 'FR')"
    )
    journey.write_specs(people=SPEC)
    assert fill() == 2
    return journey


def test_a_column_that_was_renamed_on_both_sides_has_its_values(nations: Any) -> None:
    nations.sql("ALTER TABLE people RENAME COLUMN nation TO country")
    with pytest.raises(SchemaError, match="If one was renamed, rename it") as refused:
        sync_table(table="people", run_date=SECOND)
    (rename,) = re.findall(r"ALTER TABLE \S+ RENAME COLUMN [^;]*;", str(refused.value))
    nations.warehouse.execute(rename)
    sync_table(table="people", run_date=SECOND)
    assert missing() == {}
    assert nations.target("people", "id, country") == [(1, "DE"), (2, None), (3, "FR")]
    assert "void" not in [receipt.status for receipt in nations.receipts("people")]


def test_a_column_that_came_when_another_one_went_has_not(nations: Any) -> None:
    nations.sql("ALTER TABLE people DROP COLUMN nation")
    nations.sql("ALTER TABLE people ADD COLUMN country VARCHAR(8) NOT NULL DEFAULT 'DE'")
    nations.warehouse.execute(f'ALTER TABLE "{nations.schema}"."people" DROP COLUMN nation')
    add_to_target(nations)
    sync_table(table="people", run_date=SECOND)
    assert missing() == {FIRST: WHY}


def test_a_column_that_was_left_out_for_a_while_before_it_was_renamed_has_not_all(
    nations: Any,
) -> None:
    nations.write_specs(people={**SPEC, "exclude": ["nation"], "target_only": ["nation"]})
    nations.sql("INSERT INTO people VALUES (4, '2023-01-05 12:00:00', 'IT')")
    sync_table(table="people", run_date=FIRST)
    nations.sql("ALTER TABLE people RENAME COLUMN nation TO country")
    nations.warehouse.execute(
        f'ALTER TABLE "{nations.schema}"."people" RENAME COLUMN nation TO country'
    )
    nations.write_specs(people=SPEC)
    sync_table(table="people", run_date=SECOND)
    assert missing() == {FIRST: WHY}


def test_a_backfill_of_all_days_voids_them_once(people: Any) -> None:
    people.write_specs(people={**SPEC, "batch_rows": 0})  # of one batch none would be void
    assert fill(reprocess="all", max_concurrency=1) == 2
    assert missing() == {}
    assert people.target("people", "id, country") == [(1, "DE"), (2, "FR")]
    assert [r.status for r in people.receipts("people")].count("void") == 1


def test_a_watermark_reads_all_rows_once(people: Any) -> None:
    watermark = {**SPEC, "mode": "watermark"}
    people.write_specs(people={**watermark, "exclude": ["country"], "target_only": ["country"]})
    sync_table(table="people")
    people.sql("INSERT INTO people VALUES (3, '2023-01-07 10:00:00', 'ES')")
    people.write_specs(people=watermark)
    assert sync_table(table="people").rows_extracted == 3
    assert people.target("people", "id, country") == [(1, "DE"), (2, "FR"), (3, "ES")]
    assert sync_table(table="people").rows_extracted == 1
    assert "void" not in [receipt.status for receipt in people.receipts("people")]


def test_a_column_without_a_value_in_older_rows_voids_nothing(people: Any) -> None:
    people.sql("UPDATE people SET country = NULL")
    people.sql("INSERT INTO people VALUES (3, '2023-01-07 10:00:00', 'ES')")
    people.write_specs(people=SPEC)
    sync_table(table="people", run_date=THIRD)
    assert missing() == {}
    assert "void" not in [receipt.status for receipt in people.receipts("people")]


def test_a_day_that_lands_late_without_the_column_is_seen_by_the_next_run(people: Any) -> None:
    people.sql("UPDATE people SET country = NULL WHERE id = 1")
    people.write_specs(people=SPEC)
    sync_table(table="people", run_date=SECOND)
    assert missing() == {}
    people.sql("UPDATE people SET country = 'IT' WHERE id = 1")
    people.write_specs(people=WITHOUT)
    sync_table(table="people", run_date=FIRST)  # as an older deployment's run would
    people.write_specs(people=SPEC)
    sync_table(table="people", run_date=SECOND)
    assert missing() == {FIRST: WHY}


@pytest.fixture
def growing(journey: Any) -> Any:
    """A first day, carried; on the second, a row that is going to get a value in a new column."""
    journey.sql("CREATE TABLE people (id BIGINT NOT NULL PRIMARY KEY, modified DATETIME NOT NULL)")
    journey.sql("INSERT INTO people VALUES (1, '2023-01-05 10:00:00'), (2, '2023-01-06 10:00:00')")
    journey.write_specs(people=SPEC)
    sync_table(table="people", run_date=FIRST)
    return journey


def grow(shop: Any) -> None:
    shop.sql("ALTER TABLE people ADD COLUMN country CHAR(2)")
    shop.sql("UPDATE people SET country = 'FR' WHERE id = 2")


def once_the_target_is_prepared(patch: pytest.MonkeyPatch, meanwhile: Callable[[], None]) -> None:
    """What happens once, after a batch has looked at the target, and before it has the lock."""
    pending = [meanwhile]

    def prepare(*given: Any) -> int:
        voids = prepare_target(*given)
        if pending:
            pending.pop()()
        return voids

    patch.setattr("tasks.upsert.prepare_target", prepare)


def test_a_batch_that_a_column_overtakes_behind_its_look_at_the_target_is_read_again(
    growing: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gained() -> None:
        grow(growing)
        sync_table(table="people", run_date=FIRST)  # no older row has a value: nothing is void

    once_the_target_is_prepared(monkeypatch, gained)
    sync_table(table="people", run_date=SECOND)
    assert growing.target("people", "id, country") == [(1, None), (2, "FR")]
    assert missing() == {}
    assert "void" not in [receipt.status for receipt in growing.receipts("people")]


@pytest.mark.parametrize("prepared", [False, True], ids=["since it was read", "since its column"])
def test_a_batch_that_brings_a_column_sees_what_has_landed_without_it_meanwhile(
    growing: Any, monkeypatch: pytest.MonkeyPatch, prepared: bool
) -> None:
    grow(growing)

    def lands_without() -> None:  # as a run that had read its rows before the column came
        growing.write_specs(people=WITHOUT if prepared else {**SPEC, "exclude": ["country"]})
        sync_table(table="people", run_date=SECOND)
        growing.write_specs(people=SPEC)

    if prepared:
        once_the_target_is_prepared(monkeypatch, lands_without)
        sync_table(table="people", run_date=FIRST)
    else:
        with pytest.raises(StaleReadError, match="without a column that it brings: country"):
            read_now_land_later("people", "window", {"run_date": FIRST}, lands_without)
        sync_table(table="people", run_date=FIRST)
    assert missing() == {SECOND: WHY}
    assert (fill(), missing()) == (1, {})
    assert growing.target("people", "id, country") == [(1, None), (2, "FR")]


def test_a_batch_of_a_part_has_not_looked_at_the_other_rows(people: Any) -> None:
    people.sql("UPDATE people SET country = NULL WHERE id = 1")
    people.write_specs(people=SPEC)
    sync_table(table="people", run_date=SECOND)
    assert missing() == {}
    people.warehouse.execute(
        "UPDATE ferry.receipts SET status = 'partial' WHERE columns_carried LIKE '%country%' "
        f"AND table_name = '{people.schema}.people'"
    )
    people.sql("UPDATE people SET country = 'IT' WHERE id = 1")
    sync_table(table="people", run_date=SECOND)
    assert missing() == {FIRST: WHY}


def test_rows_of_another_source_table_are_still_known_after_a_void_for_a_column(
    journey: Any,
) -> None:
    """It is said before the batch lands, and takes no row out."""
    journey.sql("CREATE TABLE people (id BIGINT NOT NULL, modified DATETIME NOT NULL)")
    journey.sql("INSERT INTO people VALUES (1, '2023-01-05 10:00:00'), (2, '2023-01-06 10:00:00')")
    journey.write_specs(people=SPEC)
    sync_table(table="people", run_date=FIRST)
    sync_table(table="people", run_date=SECOND)
    journey.sql("ALTER TABLE people ADD COLUMN country CHAR(2)")
    journey.sql("UPDATE people SET country = 'DE'")
    journey.sql("INSERT INTO people VALUES (2, '2023-01-06 10:00:00', 'FR')")
    with pytest.raises(DataError, match="of one key"):
        sync_table(table="people", run_date=SECOND)
    assert [each.status for each in journey.receipts("people")] == ["loaded", "loaded", "void"]

    journey.sql(
        "CREATE TABLE persons (id BIGINT NOT NULL, modified DATETIME NOT NULL, country CHAR(2))"
    )
    journey.write_specs(people={**SPEC, "source_table": "persons"})
    with pytest.raises(DataError, match="rows of another source table"):
        sync_table(table="people", run_date=FIRST)
    assert journey.target("people", "id") == [(1,), (2,)]
