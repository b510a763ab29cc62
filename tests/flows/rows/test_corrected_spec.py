"""What a spec that was wrong has carried, or replaced, is not taken for what it asks for now."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import pytest

from ferry.statements import PARAM, Statement
from flows.backfill_tables import backfill
from flows.sync_table import sync_table
from tests.flows.pipeline.full_copy import full_copy
from tests.flows.rows.two_days import FIRST, SECOND, fill, missing

pytestmark = pytest.mark.usefixtures("plain_runs")

DAY = date(2023, 1, 5)
NOON, LATER = "2023-01-05 12:00:00", "2023-01-05 13:00:00"


def test_a_full_copy_that_is_tried_again_from_another_table_is_another_batch(journey: Any) -> None:
    for number, table in enumerate(("asked", "mistaken")):
        journey.sql(f"CREATE TABLE {table} (id INT NOT NULL PRIMARY KEY)")
        journey.sql(f"INSERT INTO {table} VALUES (?)", [(number,)])
    spec = {"mode": "full", "key": ["id"]}
    journey.write_specs(people={**spec, "source_table": "mistaken"})
    full_copy("people", "the run")
    assert full_copy("people", "the run", attempt=2).rows_inserted == 1  # it is found
    assert len(journey.receipts("people")) == 1

    journey.write_specs(people={**spec, "source_table": "asked"})
    full_copy("people", "the run", attempt=3)
    assert journey.target("people") == [(0,)]


@pytest.mark.parametrize("key", [["parcel", "line"], []], ids=["keyed", "keyless"])
def test_a_watermark_does_not_go_on_where_another_key_has_replaced_rows_since(
    journey: Any, key: list[str]
) -> None:
    journey.sql("CREATE TABLE parcels (parcel INT NOT NULL, line INT NOT NULL, modified DATETIME)")
    rows = [(1, 1, NOON), (1, 2, LATER), (2, 1, NOON)]
    journey.sql("INSERT INTO parcels VALUES (?, ?, ?)", rows)
    right = {"mode": "watermark", "key": key, "cursor": "modified"}
    journey.write_specs(parcels=right)
    sync_table(table="parcels", mode="full")

    journey.sql("UPDATE parcels SET modified = ? WHERE line = 2", [("2023-01-05 14:00:00",)])
    journey.write_specs(parcels={**right, "key": ["parcel"], "on_repeated_key": "newest"})
    backfill(table="parcels", start_date=DAY, end_date=date(2023, 1, 6), reprocess="all")
    target = journey.target("parcels", "parcel, line", "parcel, line")
    assert target == [(1, 2), (2, 1)]

    journey.write_specs(parcels=right)
    assert sync_table(table="parcels").rows_extracted == 3
    assert journey.target("parcels", "parcel, line", "parcel, line") == [(1, 1), (1, 2), (2, 1)]
    assert sync_table(table="parcels").rows_extracted < 3


@pytest.fixture
def people(journey: Any) -> Any:
    """A row on each of two days; that of the second is marked as deleted."""
    journey.sql(
        "CREATE TABLE people (id INT NOT NULL PRIMARY KEY, created DATETIME NOT NULL, "
        "modified DATETIME NOT NULL, revision INT, gone CHAR(1))"
    )
    rows = [(1, f"{FIRST} 12:00:00", NOON, 1, "N"), (2, f"{SECOND} 12:00:00", LATER, 2, "Y")]
    journey.sql("INSERT INTO people VALUES (?, ?, ?, ?, ?)", rows)
    return journey


NEW = ("version", "soft_deletes")
"""Of how a batch was read, what an older Ferry did not write."""
DELETES = {"soft_deletes": "apply", "deleted_column": "gone"}
WINDOW = {"mode": "window", "key": ["id"], "cursor": "created", "start_date": str(FIRST)}


@pytest.mark.parametrize(
    ("before", "after", "why", "there"),
    [
        (
            {**DELETES, "deleted_values": ["N"]},
            {**DELETES, "deleted_values": ["Y"]},
            'soft_deletes apply (gone: "N"), and soft_deletes is now apply (gone: "Y")',
            [[2], [1]],
        ),
        (
            {**DELETES, "deleted_values": ["N, Y"]},
            {**DELETES, "deleted_values": ["N", "Y"]},
            'soft_deletes apply (gone: "N, Y"), and soft_deletes is now apply (gone: "N", "Y")',
            [[1, 2], []],
        ),
        (
            {},
            {**DELETES, "deleted_values": ["Y"]},
            'soft_deletes carry, and soft_deletes is now apply (gone: "Y")',
            [[1, 2], [1]],
        ),
        (
            {"version": "revision"},
            {"version": "modified"},
            "version revision, and version is now modified",
            [[1, 2], [1, 2]],
        ),
    ],
    ids=["the values that mark", "a value that was two", "to apply them", "the version"],
)
def test_days_count_no_more_that_were_carried_with_another_version_or_deletion(
    people: Any, before: Any, after: Any, why: str, there: list[list[int]]
) -> None:
    people.write_specs(people={**WINDOW, **before})
    assert (fill(), missing()) == (2, {})
    assert people.target("people", "id") == [(number,) for number in there[0]]
    people.write_specs(people={**WINDOW, **after})
    found = missing()
    assert list(found) == [FIRST, SECOND]
    assert all(f"it was carried with {why}" in each for each in found.values())
    assert (fill(), missing()) == (2, {})
    assert people.target("people", "id") == [(number,) for number in there[1]]


def test_what_an_older_ferry_wrote_in_other_words_is_carried_alike(
    people: Any, caplog: pytest.LogCaptureFixture
) -> None:
    people.write_specs(people={**WINDOW, "key": ["id", "modified"]})
    fill()
    people.write_specs(people=WINDOW)
    assert fill() == 2
    for text in {receipt.read_as for receipt in people.receipts("people")}:
        older = {name: said for name, said in json.loads(text).items() if name not in NEW}
        people.warehouse.execute(
            Statement(
                f"UPDATE ferry.receipts SET read_as = {PARAM} WHERE read_as = {PARAM}",
                (json.dumps(older, sort_keys=True), text),
            )
        )
    caplog.clear()
    sync_table(table="people", run_date=SECOND)
    assert missing() == {}
    assert "do not count as loaded any more" not in caplog.text


def test_a_watermark_reads_all_again_by_another_deletion(people: Any) -> None:
    watermark = {"mode": "watermark", "key": ["id"], "cursor": "id"}
    people.write_specs(people={**watermark, **DELETES, "deleted_values": ["N"]})
    sync_table(table="people")
    people.write_specs(people={**watermark, **DELETES, "deleted_values": ["Y"]})
    assert sync_table(table="people").rows_extracted == 2
    assert people.target("people", "id") == [(1,)]


def test_a_retry_by_another_deletion_is_another_batch(people: Any) -> None:
    people.write_specs(people={"mode": "full", "key": ["id"]})
    full_copy("people", "the run")
    assert full_copy("people", "the run", attempt=2).rows_inserted == 2  # it is found
    people.write_specs(people={"mode": "full", "key": ["id"], **DELETES, "deleted_values": ["Y"]})
    full_copy("people", "the run", attempt=3)
    assert people.target("people", "id") == [(1,)]
