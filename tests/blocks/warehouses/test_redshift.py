"""What is Redshift's alone: the COPY text, its load errors, its conflicts."""

from __future__ import annotations

from typing import Any

import pytest
import sqlfluff
from pydantic import ValidationError

from blocks.warehouses import RedshiftWarehouse
from blocks.warehouses.redshift.load_errors import _reason
from deployments.local.redshift_double import Fault, RedshiftDouble
from deployments.local.servers import S3
from ferry.batch import StageFormat
from ferry.errors import (
    BusyError,
    ConfigurationError,
    ConflictError,
    ConnectionLostError,
    DataError,
    FatalError,
    FerryError,
    OutcomeUnknownError,
    SchemaError,
)
from ferry.schema import Column, DataType, Kind, fits
from ferry.statements import PARAM, Statement
from ferry.target.retype import Retype, change_type

TWO = (Column("id", DataType(Kind.INT32)), Column("name", DataType(Kind.TEXT, max_bytes=40)))


def copies(double: RedshiftDouble, table: str) -> list[str]:
    return [s.sql for s in double.statements() if s.sql.startswith("COPY") and table in s.sql]


@pytest.mark.parametrize("format", StageFormat)
@pytest.mark.parametrize("region", [None, "eu-central-1"])
@pytest.mark.parametrize("role", ["default", "arn:aws:iam::123456789012:role/lake,with-path/x"])
def test_copy_is_of_redshifts_grammar_and_names_all_it_needs(
    redshift_engine: Any,
    redshift_double: RedshiftDouble,
    format: StageFormat,
    region: str | None,
    role: str,
) -> None:
    table = redshift_engine.create(TWO)
    staged = redshift_engine.stage_rows(TWO, [(1, "a")], [(2, None)], format=format)
    warehouse = redshift_engine.warehouse.model_copy(update={"iam_role": role, "region": region})
    assert warehouse.copy_in(table, staged, redshift_engine.stage) == 2
    (text,) = copies(redshift_double, table.schema)
    assert sqlfluff.parse(text + ";\n", dialect="redshift")
    expected = ["IAM_ROLE DEFAULT" if role == "default" else f"IAM_ROLE '{role}'", "MANIFEST"]
    if format is StageFormat.CSV:
        expected += [f"REGION '{region}'"] if region else []
        expected += ["FORMAT AS CSV", "ZSTD", "NULL AS '~null-test~'", "MAXERROR 0"]
        expected += ["TIMEFORMAT 'auto'", "DATEFORMAT 'auto'", "COMPUPDATE OFF", "STATUPDATE OFF"]
    else:
        expected += ["FORMAT AS PARQUET", "STATUPDATE OFF"]
        assert not any(word in text for word in ("REGION", "MAXERROR", "ZSTD", "COMPUPDATE"))
    assert all(each in text for each in expected), text
    assert f"FROM '{staged.manifest_uri}'" in text
    assert '("id", "name")' in text


def test_copy_runs_in_a_transaction_and_is_committed(
    redshift_engine: Any, redshift_double: RedshiftDouble
) -> None:
    table = redshift_engine.create(TWO)
    staged = redshift_engine.stage_rows(TWO, [(1, "a")])
    redshift_engine.warehouse.copy_in(table, staged, redshift_engine.stage)
    said = [each.sql.strip() for each in redshift_double.statements()]
    at = next(i for i, sql in enumerate(said) if sql.startswith("COPY") and table.schema in sql)
    assert any("BEGIN" in sql.upper() for sql in said[at - 2 : at])
    assert said[at + 1] == "SELECT pg_last_copy_count()"
    assert said[at + 2].upper() == "COMMIT"


def test_a_database_that_ignores_case_says_so(redshift_warehouse: Any, postgres: Any) -> None:
    assert not redshift_warehouse.ignores_case()
    # The double compares as PostgreSQL does; what such a database says of itself is all of it.
    redshift_warehouse.execute("CREATE DATABASE folded")
    connection = postgres.connect()
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(
            "ALTER DATABASE folded SET redshift_double.db_collation = 'case_insensitive'"
        )
    connection.close()
    assert redshift_warehouse.model_copy(update={"database": "folded"}).ignores_case()


@pytest.mark.parametrize("kind", [Kind.TIME, Kind.JSON])
def test_what_redshift_does_not_read_from_parquet_is_refused_before(
    redshift_engine: Any, kind: Kind
) -> None:
    columns = (TWO[0], Column("other", DataType(kind)))
    table = redshift_engine.create(columns)
    staged = redshift_engine.stage_rows(columns, [(1, None)], format=StageFormat.PARQUET)
    with pytest.raises(SchemaError, match="other"):
        redshift_engine.warehouse.copy_in(table, staged, redshift_engine.stage)


def test_a_value_longer_than_its_column_in_bytes_is_told_without_it(redshift_engine: Any) -> None:
    columns = (TWO[0], Column("name", DataType(Kind.TEXT, max_bytes=9)))
    table = redshift_engine.create(columns)
    staged = redshift_engine.stage_rows(columns, [(1, "€€€")], [(2, "secrét€€€")])
    with pytest.raises(DataError, match=r"file part-1\.csv, line 1, column name") as caught:
        redshift_engine.warehouse.copy_in(table, staged, redshift_engine.stage)
    assert "secr" not in str(caught.value)


def test_a_staged_file_that_cannot_be_decompressed_loads_nothing_and_no_retry_helps(
    redshift_engine: Any, s3: S3
) -> None:
    table = redshift_engine.create(TWO)
    staged = redshift_engine.stage_rows(TWO, [(0, "a")], [(n, f"name {n}") for n in range(1, 9999)])
    place = dict(zip(("Bucket", "Key"), staged.files[1].uri[5:].split("/", 1), strict=True))
    packed = s3.client().get_object(**place)["Body"].read()
    half = len(packed) // 2
    broken = packed[:half] + bytes(255 - byte for byte in packed[half:])
    s3.client().put_object(**place, Body=broken)
    with pytest.raises(FatalError, match="decompressed") as caught:
        redshift_engine.warehouse.copy_in(table, staged, redshift_engine.stage)
    assert "name " not in str(caught.value)
    count = Statement(f'SELECT COUNT(*) FROM "{table.schema}"."{table.name}"')
    assert redshift_engine.warehouse.fetch(count) == [(0,)]
    s3.client().put_object(**place, Body=packed)
    assert redshift_engine.warehouse.copy_in(table, staged, redshift_engine.stage) == 9999


def test_a_missing_manifest_or_another_stage_is_told(redshift_engine: Any) -> None:
    table = redshift_engine.create(TWO)
    staged = redshift_engine.stage_rows(TWO, [(1, "a")])
    redshift_engine.stage.discard([staged.manifest.key])
    with pytest.raises(FatalError, match="a staged file is gone"):
        redshift_engine.warehouse.copy_in(table, staged, redshift_engine.stage)
    import dataclasses

    elsewhere = dataclasses.replace(staged.manifest, uri="file:///tmp/manifest.json")
    with pytest.raises(ConfigurationError, match="S3"):
        redshift_engine.warehouse.copy_in(
            table, dataclasses.replace(staged, manifest=elsewhere), redshift_engine.stage
        )


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault("serialization", "insert"), ConflictError),
        (Fault("serialization"), ConflictError),
        (Fault("ddl_conflict", "insert"), ConflictError),
        (Fault("cut_before", "insert"), ConnectionLostError),
        (Fault("cut_before"), OutcomeUnknownError),
        (Fault("cut_after"), OutcomeUnknownError),
        (Fault("stall", "insert", seconds=30), BusyError),
    ],
    ids=lambda each: getattr(each, "kind", "") + getattr(each, "pattern", "")[:6],
)
def test_what_goes_wrong_is_classified(
    redshift_engine: Any, redshift_double: RedshiftDouble, fault: Fault, error: type[Exception]
) -> None:
    table = redshift_engine.create(TWO)
    warehouse = redshift_engine.warehouse.model_copy(update={"statement_timeout_seconds": 1})
    redshift_double.inject(fault)
    with pytest.raises(error) as caught, warehouse.transaction() as tx:
        tx.execute(f'INSERT INTO "{table.schema}"."t" VALUES (1, \'a\')')
    assert type(caught.value) is error
    redshift_double.clear()
    landed = warehouse.fetch(f'SELECT count(*) FROM "{table.schema}"."t"')[0][0]
    assert landed == (1 if fault.kind == "cut_after" else 0)


@pytest.mark.parametrize(
    "text",
    [
        "could not complete because of conflict with concurrent transaction",
        "table 109311 dropped by concurrent transaction",
        "cache lookup failed for relation 109311",
        "could not find tuple for relation 109311",
        "could not open relation with OID 109311",
        "Relation with OID 109311 does not exist.",
        "tuple concurrently deleted",
    ],
)
def test_what_another_sessions_ddl_broke_off_is_a_conflict(
    redshift_engine: Any, redshift_double: RedshiftDouble, text: str
) -> None:
    table = redshift_engine.create(TWO)
    redshift_double.inject(Fault("ddl_conflict", "insert", message=text))
    with pytest.raises(ConflictError), redshift_engine.warehouse.transaction() as tx:
        tx.execute(f'INSERT INTO "{table.schema}"."t" VALUES (1, \'a\')')


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        ("Disk Full", 1016, "cluster's disk is full"),
        ("abort query", 1020, "cluster itself ended the query"),
        ("Out Of Memory: ", 1004, "cluster is out of memory"),
    ],
)
def test_what_the_cluster_has_no_room_for_is_busy_and_says_what_to_do(
    redshift_engine: Any, redshift_double: RedshiftDouble, error: str, code: int, told: str
) -> None:
    table = redshift_engine.create(TWO)
    detail = f"\n  -----\n  error:  {error}\n  code:      {code}\n  query:     2726\n  -----"
    for message in (error, "Query aborted"):  # known by its words, or by its number
        redshift_double.inject(Fault("ddl_conflict", "insert", message=message, detail=detail))
        with (
            pytest.raises(BusyError, match=told),
            redshift_engine.warehouse.transaction() as tx,
        ):
            tx.execute(f'INSERT INTO "{table.schema}"."t" VALUES (1, \'a\')')


@pytest.mark.parametrize(
    "said",
    [
        {"message": " 1018 ", "detail": "Relation does not exist."},
        {"message": "ERROR:  1018 DETAIL: Relation does not exist"},
    ],
)
def test_a_table_made_after_the_transactions_snapshot_is_a_conflict(
    redshift_engine: Any, redshift_double: RedshiftDouble, said: dict[str, str]
) -> None:
    table = redshift_engine.create(TWO)
    redshift_double.inject(Fault("ddl_conflict", "insert", **said))
    with (
        pytest.raises(ConflictError, match=": Relation does not exist"),
        redshift_engine.warehouse.transaction() as tx,
    ):
        tx.execute(f'INSERT INTO "{table.schema}"."t" VALUES (1, \'a\')')


def test_a_connection_lost_while_a_load_commits_is_retriable(
    redshift_engine: Any, redshift_double: RedshiftDouble
) -> None:
    table = redshift_engine.create(TWO)
    staged = redshift_engine.stage_rows(TWO, [(1, "a")])
    redshift_double.inject(Fault("cut_after"))
    with pytest.raises(ConnectionLostError):
        redshift_engine.warehouse.copy_in(table, staged, redshift_engine.stage)


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ("Invalid digit, Value 's3', Type: Integer", "Invalid digit, Value …, Type: Integer"),
        ("Invalid digit, Value ''', Pos 'x', Type: Short", "Invalid digit, Value …, Type: Short"),
        ("String length exceeds DDL length", "String length exceeds DDL length"),
        ("Missing newline: Unexpected character 0x73 found", "Missing newline"),
        ("Invalid char: e9, at 0x73", "Invalid char"),
    ],
)  # fmt: skip
def test_redshifts_reasons_are_told_without_values(told: str, reason: str) -> None:
    assert _reason(told) == reason


@pytest.mark.parametrize(
    ("data_type", "native"),
    [
        (DataType(Kind.TEXT, max_bytes=0), "varchar(1)"),
        (DataType(Kind.TEXT, max_bytes=300), "varchar(300)"),
        (DataType(Kind.TEXT), "varchar(65535)"),
        (DataType(Kind.TEXT, max_bytes=1 << 24), "varchar(65535)"),
        (DataType(Kind.BINARY, max_bytes=0), "varbyte(1)"),
        (DataType(Kind.BINARY), "varbyte(1024000)"),
        (DataType(Kind.DECIMAL, 18, 2), "numeric(18,2)"),
        (DataType(Kind.DECIMAL, 19, 2), "numeric(20,2)"),
        (DataType(Kind.DECIMAL, 38, 30), "numeric(38,30)"),
        (DataType(Kind.JSON), "super"),
    ],
)
def test_types_are_declared_with_redshifts_limits(
    redshift_engine: Any, data_type: DataType, native: str
) -> None:
    assert redshift_engine.warehouse.native_type(data_type) == native
    made = redshift_engine.warehouse.describe(redshift_engine.create((Column("c", data_type),)))
    if data_type.kind is Kind.DECIMAL:
        assert fits(data_type, made.columns[0].type)


@pytest.mark.parametrize(
    "wrong", [{"iam_role": "x' ACCESS_KEY_ID 'k"}, {"iam_role": ""}, {"region": "eu'"}]
)
def test_roles_and_regions_that_are_none_are_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        RedshiftWarehouse(host="h", database="d", user="u", password="p", **wrong)


def test_json_that_becomes_text_keeps_objects_arrays_and_quotes(redshift_engine: Any) -> None:
    """A cast makes NULL of an object: these statements are given to people, who run them."""
    columns = Column("id", DataType(Kind.INT32)), Column("info", DataType(Kind.JSON))
    table = redshift_engine.create(columns)
    warehouse = redshift_engine.warehouse
    values = ['{"a": 1}', "[1, 2]", '"a"', "7", "null", None]
    for number, value in enumerate(values):
        row = f"SELECT {number}, JSON_PARSE({PARAM})"
        warehouse.execute(Statement(f'INSERT INTO "{table.schema}"."{table.name}" {row}', (value,)))
    text = Column("info", DataType(Kind.TEXT, max_bytes=65535))
    change = Retype(columns[1], text, text.type, grows=False)
    for sql in change_type(table, change, warehouse.native_type, warehouse.capabilities):
        warehouse.execute(sql)
    found = warehouse.fetch(f'SELECT info FROM "{table.schema}"."{table.name}" ORDER BY id')
    assert [value for (value,) in found] == values


def test_a_truth_value_that_becomes_text_is_written_as_its_source_does(
    redshift_engine: Any,
) -> None:
    """Redshift has no cast for it: https://github.com/datafold/data-diff/issues/280."""
    columns = Column("id", DataType(Kind.INT32)), Column("flag", DataType(Kind.BOOLEAN))
    table = redshift_engine.create(columns)
    warehouse, name = redshift_engine.warehouse, f'"{table.schema}"."{table.name}"'
    warehouse.execute(f"INSERT INTO {name} VALUES (1, true), (2, false), (3, NULL)")
    text = Column("flag", DataType(Kind.TEXT, max_bytes=8))
    change = Retype(columns[1], text, text.type, grows=False)
    statements = change_type(table, change, warehouse.native_type, warehouse.capabilities)
    assert not any("CAST(" in each for each in statements)
    for each in statements:
        warehouse.execute(each)
    found = warehouse.fetch(f"SELECT flag FROM {name} ORDER BY id")
    assert found == [("1",), ("0",), (None,)]


@pytest.mark.parametrize(("scale", "holds"), [(37, True), (38, False)])
def test_a_decimal_has_at_most_37_digits_behind_the_point(
    redshift_engine: Any, scale: int, holds: bool
) -> None:
    declare = f'CREATE TABLE "{redshift_engine.schema}"."t" (a NUMERIC(38,{scale}))'
    if holds:
        assert redshift_engine.warehouse.native_type(DataType(Kind.DECIMAL, 38, scale))
        redshift_engine.warehouse.execute(declare)
        return
    with pytest.raises(SchemaError, match="37 behind the point"):
        redshift_engine.warehouse.native_type(DataType(Kind.DECIMAL, 38, scale))
    with pytest.raises(FerryError):
        redshift_engine.warehouse.execute(declare)
