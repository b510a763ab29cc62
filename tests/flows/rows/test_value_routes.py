"""By which route rows go, and what is refused on each: named by column and row, never a value."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from prefect.client.schemas.objects import State

from ferry.errors import DataError, FerryError, SchemaError
from ferry.schema import TableName
from flows.backfill_tables import backfill
from flows.reconcile_tables import reconcile
from flows.sync_table import sync_table

pytestmark = pytest.mark.usefixtures("plain_runs")

ON_SERVERS = pytest.mark.parametrize(
    "route", ["mysql-folder-postgres", "mysql-s3-redshift"], indirect=True
)
SECRET = "s3cret-row-value"


def refused(journey: Any, table: str, error: type[FerryError], *says: str) -> str:
    """Carry it: refused with all this said, no value in it, and no target made."""
    with pytest.raises(error) as caught:
        sync_table(table=table)
    chain: BaseException | None = caught.value
    while chain:
        assert SECRET not in str(chain) and SECRET not in repr(chain)
        chain = chain.__cause__ or chain.__context__
    message = str(caught.value)
    assert [
        text for text in (f"{journey.schema}.{table}", "full", *says) if text not in message
    ] == []
    assert journey.warehouse.describe(TableName(journey.schema, table)) is None
    assert journey.leftovers() == set()
    return message


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
    for part in (journey.schema, "plan", "xmin, xmax, ctid", "`exclude`", "view"):
        assert part in message

    journey.write_specs(boxes={"mode": "full", "key": ["id"], "exclude": ["xmin", "XMAX", "ctid"]})
    sync_table(table="boxes")
    assert journey.target("boxes", "id") == [(1,)]


@pytest.mark.parametrize("route", ["mysql-s3-redshift"], indirect=True)
def test_redshift_has_a_column_more_of_its_own(journey: Any):
    journey.sql("CREATE TABLE boxes (id INT NOT NULL PRIMARY KEY, OID INT)")
    journey.write_specs(boxes={"mode": "full", "key": ["id"]})
    with pytest.raises(SchemaError, match="names of columns for itself: oid"):
        sync_table(table="boxes")


@pytest.mark.parametrize("route", ["mysql-folder-postgres"], indirect=True)
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
    return sorted(journey.warehouse.indexes_in(journey.schema), key=lambda each: each[0])


@pytest.mark.parametrize("route", ["mysql-s3-redshift"], indirect=True)
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


BAD_JSON = {
    "a repeated key": ('{"k": "' + SECRET + '", "k": 2}', "a key occurs twice"),
    "a repeated key further in": ('{"a": [{"k": 1, "b": 0, "k": 1}]}', "a key occurs twice"),
    "negative zero": ('{"a": -0}', "a number would be changed"),
    "a NUL": (f'["{SECRET}", "\\u0000"]', "NUL character"),
}


@ON_SERVERS
@pytest.mark.parametrize("case", BAD_JSON)
def test_json_that_would_change_is_refused_by_column_and_row_or_carried_as_text(
    journey: Any, case: str
):
    text, why = BAD_JSON[case]
    journey.sql("CREATE TABLE docs (id INT NOT NULL PRIMARY KEY, fine JSON, doc JSON)")
    journey.sql(
        "INSERT INTO docs VALUES (?, ?, ?)", [(1, '{"a": 1, "b": 2}', "{}"), (2, "{}", text)]
    )
    spec = {"mode": "full", "key": ["id"]}
    journey.write_specs(docs=spec)
    refused(
        journey, "docs", DataError, why, "column doc, file part-00000", "row 2", "`as_text: [doc]`"
    )

    journey.write_specs(docs={**spec, "as_text": ["doc"]})
    sync_table(table="docs")
    assert journey.target("docs", "id, doc") == [(1, "{}"), (2, text)]


@pytest.mark.parametrize("route", ["mysql-s3-redshift"], indirect=True)
def test_a_text_within_json_that_is_too_long_is_refused_by_column_and_row(journey: Any):
    journey.sql("CREATE TABLE docs (id INT NOT NULL PRIMARY KEY, doc JSON)")
    fits = '["' + "x" * 65_535 + '", "' + "x" * 65_535 + '"]'
    journey.sql("INSERT INTO docs VALUES (?, ?)", [(n, "{}") for n in range(3)])
    journey.sql("UPDATE docs SET doc = ? WHERE id = 0", [(fits,)])
    journey.sql("UPDATE docs SET doc = ? WHERE id = 1", [('["' + "x" * 65_536 + '"]',)])
    journey.write_specs(docs={"mode": "full", "key": ["id"]})
    message = refused(
        journey, "docs", DataError, "a text within JSON", "column doc, file part-00000", "row 2"
    )
    assert "`exclude` the column" in message and "as_text" not in message

    journey.sql("DELETE FROM docs WHERE id = 1")
    sync_table(table="docs")
    assert journey.target("docs", "id") == [(0,), (2,)]


@pytest.mark.parametrize("route", ["sqlite-folder-duckdb"], indirect=True)
def test_json_stays_the_text_that_it_is_where_the_warehouse_keeps_text(journey: Any):
    texts = [text for text, _ in BAD_JSON.values()]
    journey.sql("CREATE TABLE docs (id INTEGER PRIMARY KEY, doc JSON)")
    journey.sql("INSERT INTO docs VALUES (?, ?)", list(enumerate(texts)))
    journey.write_specs(docs={"mode": "full", "key": ["id"]})
    sync_table(table="docs")
    assert [doc for _, doc in journey.target("docs")] == texts


@pytest.mark.parametrize("insert_rows", [0, 50], ids=["by COPY", "by INSERT"])
@ON_SERVERS
def test_a_nul_is_refused_by_column_and_row_and_no_wider_column_is_advised(
    journey: Any, insert_rows: int
):
    journey.sql("CREATE TABLE notes (id INT NOT NULL PRIMARY KEY, a TEXT, b TEXT)")
    journey.sql(
        "INSERT INTO notes VALUES (?, ?, ?)", [(1, "x", "y"), (2, "y", f"a\0{SECRET}"), (3, "", "")]
    )
    journey.write_specs(notes={"mode": "full", "key": ["id"], "insert_rows": insert_rows})
    place = "column b, file part-00000.csv.zst, row 2"
    message = refused(journey, "notes", DataError, "extract", "`exclude`", "NUL", place)
    assert "widen" not in message


@pytest.mark.parametrize("route", ["sqlite-folder-duckdb"], indirect=True)
@pytest.mark.parametrize("insert_rows", [0, 50], ids=["by COPY", "by INSERT"])
def test_a_nul_arrives_where_a_text_can_hold_it(journey: Any, insert_rows: int):
    journey.sql("CREATE TABLE notes (id INTEGER PRIMARY KEY, a TEXT)")
    journey.sql("INSERT INTO notes VALUES (?, ?)", [(2, "a\0b")])
    journey.write_specs(notes={"mode": "full", "key": ["id"], "insert_rows": insert_rows})
    sync_table(table="notes")
    assert journey.target("notes") == [(2, "a\0b")]


@pytest.mark.parametrize("route", ["mysql-s3-redshift"], indirect=True)
@pytest.mark.parametrize("insert_rows", [0, 50], ids=["by COPY", "by INSERT"])
def test_a_text_that_is_too_long_for_any_column_is_refused_by_column_and_row(
    journey: Any, insert_rows: int
):
    journey.sql("CREATE TABLE notes (id INT NOT NULL PRIMARY KEY, a MEDIUMTEXT, b MEDIUMTEXT)")
    journey.sql("INSERT INTO notes VALUES (?, ?, ?)", [(1, "x", ""), (2, "y", "é" * 32_768)])
    journey.write_specs(notes={"mode": "full", "key": ["id"], "insert_rows": insert_rows})
    place = "column b, file part-00000.csv.zst, row 2"
    message = refused(journey, "notes", DataError, "extract", "`exclude`", "65,535", place)
    assert "widen" not in message


@ON_SERVERS
def test_what_only_the_warehouse_refuses_is_found_by_trying_and_told_by_column_and_row(
    journey: Any, monkeypatch: Any
):
    journey.sql("CREATE TABLE notes (id INT NOT NULL PRIMARY KEY, a TEXT, b TEXT)")
    journey.sql("INSERT INTO notes VALUES (?, ?, ?)", [(1, "x", "y"), (2, "y", f"a\0{SECRET}")])
    journey.write_specs(notes={"mode": "full", "key": ["id"]})
    monkeypatch.setattr("blocks.stages.parts.value_checks._checks", lambda *_: [])
    refused(journey, "notes", DataError, "copy", "column b, row 2 of 2")


WIDE_DECIMALS = "id INT NOT NULL PRIMARY KEY, d DECIMAL(65,30), e DECIMAL(40,2), f DECIMAL(38,2)"


@pytest.mark.parametrize("route", ["mysql-s3-redshift", "mysql-folder-duckdb"], indirect=True)
def test_decimals_that_are_too_wide_are_all_named_before_a_row_is_read_or_carried_as_text(
    journey: Any, monkeypatch: Any
):
    journey.sql(f"CREATE TABLE sums ({WIDE_DECIMALS})")
    whole = "1" * 35
    journey.sql("INSERT INTO sums VALUES (?, ?, ?, ?)", [(1, f"-{whole}.5", "2", "3.25")])
    spec = {"mode": "full", "key": ["id"]}
    journey.write_specs(sums=spec)
    with monkeypatch.context() as patch:
        patch.setattr(type(journey.source), "read", None)
        message = refused(
            journey, "sums", SchemaError, "1 to 38 digits", "d decimal(65,30), e decimal(40,2)",
            "`as_text: [d, e]`", "`exclude`",
        )  # fmt: skip
    assert "decimal(38,2)" not in message

    journey.write_specs(sums={**spec, "as_text": ["d", "E"]})
    for _ in range(2):
        sync_table(table="sums")
    (row,) = journey.target("sums")
    assert row == (1, f"-{whole}.5" + "0" * 29, "2.00", Decimal("3.25"))


@pytest.mark.parametrize("route", ["sqlite-folder-duckdb"], indirect=True)
def test_a_decimal_of_sqlite_without_digits_is_refused_or_carried_as_text_and_equal(journey: Any):
    journey.sql("CREATE TABLE sums (id integer PRIMARY KEY, d decimal, j json)")
    journey.sql("INSERT INTO sums VALUES (?, ?, ?)", [(1, 1.5, "5"), (2, 2**62, "{}")])
    spec = {"mode": "full", "key": ["id"]}
    journey.write_specs(sums=spec)
    refused(journey, "sums", SchemaError, "1 to 38 digits", "`as_text: [d]`", "`exclude`")

    journey.write_specs(sums={**spec, "as_text": ["d", "j"]})
    sync_table(table="sums")
    assert journey.target("sums") == [(1, "1.5", "5"), (2, str(2**62), "{}")]
    state: State[Any] = reconcile(table="sums", return_state=True)
    assert "all compared, 2 rows, equal" in str(state.message)


@pytest.mark.parametrize("route", ["sqlite-folder-postgres"], indirect=True)
def test_a_decimal_of_sqlite_without_digits_is_exact_where_the_warehouse_is_wide(journey: Any):
    journey.sql("CREATE TABLE sums (id integer PRIMARY KEY, d decimal)")
    journey.sql("INSERT INTO sums VALUES (?, ?)", [(1, 1e-15), (2, -(2**62)), (3, None)])
    journey.write_specs(sums={"mode": "full", "key": ["id"]})
    sync_table(table="sums")
    assert journey.target("sums") == [(1, Decimal("1e-15")), (2, Decimal(-(2**62))), (3, None)]
    state: State[Any] = reconcile(table="sums", return_state=True)
    assert "all compared, 3 rows, equal" in str(state.message)


@ON_SERVERS
def test_a_column_that_cannot_be_carried_as_text_is_refused_by_name(journey: Any):
    journey.sql("CREATE TABLE t (id INT NOT NULL PRIMARY KEY, a INT, body TEXT)")
    spec = {"mode": "full", "key": ["id"]}
    for names, told in ((["a"], "'a' does not become text"), (["nope"], "no column 'nope'")):
        journey.write_specs(t={**spec, "as_text": names})
        refused(journey, "t", SchemaError, told, "`as_text`")


@ON_SERVERS
def test_a_backfill_is_refused_once_for_what_its_spec_says_of_all_windows(journey: Any):
    journey.sql("CREATE TABLE t (id INT NOT NULL PRIMARY KEY, day DATE)")
    journey.write_specs(t={"mode": "window", "key": ["id"], "cursor": "day", "as_text": ["nope"]})
    with pytest.raises(SchemaError, match=r"no column 'nope'"):
        backfill(table="t", start_date=date(2023, 1, 1), end_date=date(2023, 1, 4))


@pytest.mark.parametrize("route", ["sqlite-folder-duckdb"], indirect=True)
def test_what_is_said_of_a_column_to_exclude_is_all_that_the_next_run_needs(journey: Any):
    journey.sql("CREATE TABLE notes (id INTEGER PRIMARY KEY, a TEXT)")
    journey.sql("INSERT INTO notes VALUES (1, 'x')")
    spec = {"mode": "full", "key": ["id"]}
    journey.write_specs(notes=spec)
    sync_table(table="notes")
    journey.sql("INSERT INTO notes VALUES (2, CAST(X'FF' AS TEXT))")
    with pytest.raises(DataError, match=r"`exclude` the column .*drop it there .*`target_only`"):
        sync_table(table="notes")

    journey.write_specs(notes={**spec, "exclude": ["a"]})
    journey.warehouse.execute(f'ALTER TABLE "{journey.schema}"."notes" DROP COLUMN "a"')
    sync_table(table="notes")
    assert journey.target("notes") == [(1,), (2,)]
