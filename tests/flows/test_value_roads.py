"""By which road rows go, and what is refused on each: named by column and row, never a value."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from ferry.errors import SchemaError
from flows.sync_table import sync_table

ON_SERVERS = pytest.mark.parametrize(
    "road", ["mysql-folder-postgres", "mysql-s3-redshift"], indirect=True
)
SECRET = "s3cret-row-value"


def test_rows_that_are_few_but_long_go_by_copy_however_well_they_compress(journey: Any):
    columns = ", ".join(f"c{n} TEXT" for n in range(8))
    journey.sql(f"CREATE TABLE pages (id INT NOT NULL PRIMARY KEY, {columns})")
    marks = ", ".join("?" * 9)
    rows = [(n, *(["x" * 60_000] * 8)) for n in range(1, 46)]
    journey.sql(f"INSERT INTO pages VALUES ({marks})", rows)
    journey.write_specs(pages={"mode": "full", "key": ["id"]})

    receipt = sync_table(table="pages")

    assert receipt.manifest_uri
    assert journey.target("pages", "id, length(c0), length(c7)") == [
        (n, 60_000, 60_000) for n in range(1, 46)
    ]
    journey.sql("DELETE FROM pages WHERE id > 1")
    assert sync_table(table="pages").manifest_uri is None  # one of them goes by INSERT
    assert journey.target("pages", "id, length(c0)") == [(1, 60_000)]


@ON_SERVERS
@pytest.mark.parametrize("mode", ["full", "window", "watermark"])
def test_a_column_that_the_warehouse_has_itself_is_refused_before_a_row_is_read(
    journey: Any, mode: str, monkeypatch: Any
):
    journey.sql(
        "CREATE TABLE boxes (id INT NOT NULL PRIMARY KEY, XMin DOUBLE, xmax DOUBLE, ctid INT, "
        "modified DATETIME)"
    )
    journey.sql("INSERT INTO boxes VALUES (1, 1.5, 2.5, 3, '2023-01-05 10:00:00')")
    journey.write_specs(boxes={"mode": mode, "key": ["id"]})
    dates = {"run_date": date(2023, 1, 5)} if mode == "window" else {}

    with monkeypatch.context() as patch, pytest.raises(SchemaError) as caught:
        patch.setattr(type(journey.source), "read", None)  # nobody may ask for rows
        sync_table(table="boxes", **dates)

    message = str(caught.value)
    for part in (journey.schema, "extract", "xmin, xmax, ctid", "`exclude`", "view"):
        assert part in message

    journey.write_specs(boxes={"mode": "full", "key": ["id"], "exclude": ["xmin", "XMAX", "ctid"]})
    sync_table(table="boxes")
    assert journey.target("boxes", "id") == [(1,)]


@pytest.mark.parametrize("road", ["mysql-s3-redshift"], indirect=True)
def test_redshift_has_a_column_more_of_its_own(journey: Any):
    journey.sql("CREATE TABLE boxes (id INT NOT NULL PRIMARY KEY, OID INT)")
    journey.write_specs(boxes={"mode": "full", "key": ["id"]})
    with pytest.raises(SchemaError, match="names of columns for itself: oid"):
        sync_table(table="boxes")


@pytest.mark.parametrize("road", ["mysql-folder-postgres"], indirect=True)
def test_every_target_has_an_index_of_its_own_on_its_key(journey: Any):
    tables = ["a" * 50 + end for end in ("_one", "_two")]
    for table in tables:
        journey.sql(f"CREATE TABLE {table} (id INT NOT NULL PRIMARY KEY, modified DATETIME)")
        journey.sql(f"INSERT INTO {table} VALUES (1, '2023-01-05 10:00:00')")
    journey.write_specs(**{table: {"mode": "window", "key": ["id"]} for table in tables})
    day = date(2023, 1, 5)

    for table in tables * 2:
        sync_table(table=table, run_date=day)
    assert [indexed for indexed, _ in indexes(journey)] == tables

    # One that is renamed, so that it is made again, keeps its own, and the new one gets another.
    renamed = f'ALTER TABLE "{journey.schema}"."{tables[0]}" RENAME TO kept'
    journey.warehouse.execute(renamed)
    sync_table(table=tables[0], run_date=day)
    assert [indexed for indexed, _ in indexes(journey)] == [*tables, "kept"]
    assert len({name for _, name in indexes(journey)}) == 3


def indexes(journey: Any) -> list[tuple[str, str]]:
    return journey.warehouse.fetch(
        "SELECT tablename, indexname FROM pg_indexes WHERE schemaname = %s ORDER BY 1",
        (journey.schema,),
    )


@pytest.mark.parametrize("road", ["mysql-s3-redshift"], indirect=True)
def test_a_long_name_leaves_room_for_the_table_of_newest_rows(journey: Any):
    table = "a" * 40
    journey.sql(f"CREATE TABLE {table} (id INT, modified DATETIME)")
    journey.sql(
        f"INSERT INTO {table} VALUES (?, ?)",
        [(1, "2023-01-05 10:00:00"), (1, "2023-01-05 11:00:00"), (2, "2023-01-05 11:00:00")],
    )
    journey.write_specs(**{table: {"mode": "window", "key": ["id"]}})
    for rows_inserted in (2, 0):
        receipt = sync_table(table=table, run_date=date(2023, 1, 5))
        assert receipt.rows_inserted == rows_inserted
    assert len(journey.target(table)) == 2
